"""Fetching models, from a pretended network: checksums, bounds, names, and only what is a model is kept."""

import hashlib
import io
import json
from contextlib import contextmanager

import pytest
from random_models import random_model

from htr_ssl.errors import UserError
from htr_ssl.models import fetch, shelf


@pytest.fixture
def network(tmp_path, monkeypatch):
    """Address -> content; other addresses are not found."""
    answers = {}

    @contextmanager
    def open_url(url):
        if url not in answers:
            raise UserError(f"{url}: 404 Not Found; check the address")
        yield io.BytesIO(answers[url])

    monkeypatch.setattr(fetch, "open_url", open_url)
    monkeypatch.setattr(shelf, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setenv(shelf.VARIABLE, str(tmp_path / "own"))
    return answers


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    return random_model(tmp_path_factory.mktemp("model") / "m.safetensors").read_bytes()


def left(tmp_path):
    return sorted(path.name for path in (tmp_path / "own").glob("*")) if (tmp_path / "own").exists() else []


URL = "https://example.org/models/french.safetensors"


def test_a_plain_address(network, content, tmp_path):
    network[URL] = content
    path, digest, compared = fetch.get(URL)
    assert (path, digest, compared) == (
        tmp_path / "own" / "french.safetensors",
        hashlib.sha256(content).hexdigest(),
        False,
    )
    assert path.read_bytes() == content
    assert fetch.get(URL, sha256=digest.upper())[2]
    assert left(tmp_path) == ["french.safetensors"]


def test_hugging_face_and_zenodo_give_checksums(network, content, tmp_path):
    digest, md5 = hashlib.sha256(content).hexdigest(), hashlib.md5(content).hexdigest()
    files = [{"rfilename": "README.md"}, {"rfilename": "model.safetensors", "lfs": {"sha256": digest}}]
    network["https://huggingface.co/api/models/some/hand?blobs=true"] = json.dumps({"siblings": files}).encode()
    network["https://huggingface.co/some/hand/resolve/main/model.safetensors"] = content
    assert fetch.get("hf:some/hand")[2]
    files = [{"key": "clerk.safetensors", "checksum": f"md5:{md5}"}, {"key": "clerk.mlmodel"}]
    network["https://zenodo.org/api/records/12"] = json.dumps({"files": files}).encode()
    network["https://zenodo.org/api/records/12/files/clerk.safetensors/content"] = content
    assert fetch.get("doi:10.5281/zenodo.12")[2]
    assert left(tmp_path) == ["clerk.safetensors", "hand.safetensors"]
    network["https://huggingface.co/some/hand/resolve/main/model.safetensors"] = content + b"x"
    with pytest.raises(UserError, match="its sha256 is"):
        fetch.get("hf:some/hand", name="other")
    assert left(tmp_path) == ["clerk.safetensors", "hand.safetensors"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("http://example.org/a.safetensors", "https"),
        ("file:///etc/passwd", "https"),
        ("/tmp/a.safetensors", "https"),
        ("https://example.org/a.pt", "only safetensors"),
        ("https://example.org/a.ckpt", "only safetensors"),
        ("hf:name", "OWNER/NAME"),
        ("hf:../../x", "OWNER/NAME"),
        ("doi:10.1000/1", "Zenodo"),
        ("https://example.org/none.safetensors", "404"),
        ("https://example.org/..safetensors", "name"),
    ],
)
def test_bad_sources_are_refused(network, tmp_path, source, message):
    with pytest.raises(UserError, match=message):
        fetch.get(source)
    assert left(tmp_path) == []


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "a b", "-x"])
def test_names_stay_in_the_folder(network, content, tmp_path, name):
    network[URL] = content
    with pytest.raises(UserError, match="name"):
        fetch.get(URL, name=name)
    assert left(tmp_path) == []


def test_what_is_no_model_or_too_large_is_not_kept(network, content, tmp_path, monkeypatch):
    for wrong in (b"hello", content[: len(content) // 2], b"\x80\x04pickle"):
        network[URL] = wrong
        with pytest.raises(UserError, match=r"french\.safetensors: this is not a whole model"):
            fetch.get(URL)
    network[URL] = content
    monkeypatch.setattr(fetch, "MOST", len(content) - 1)
    with pytest.raises(UserError, match="too large"):
        fetch.get(URL)
    assert left(tmp_path) == []


def test_another_model_of_the_name_stays(network, content, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "french.safetensors").write_bytes(b"mine")
    network[URL] = content
    with pytest.raises(UserError, match="another model of this name"):
        fetch.get(URL)
    assert (tmp_path / "own" / "french.safetensors").read_bytes() == b"mine"
    (tmp_path / "shipped").mkdir()
    (tmp_path / "shipped" / "base.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="comes with the package"):
        fetch.get(URL, name="base")


def test_a_hub_without_a_fitting_file(network):
    network["https://huggingface.co/api/models/a/b?blobs=true"] = b'{"siblings": [{"rfilename": "pytorch_model.bin"}]}'
    with pytest.raises(UserError, match="no safetensors file"):
        fetch.get("hf:a/b")
    two = {"files": [{"key": "a.safetensors"}, {"key": "b.safetensors"}]}
    network["https://zenodo.org/api/records/1"] = json.dumps(two).encode()
    with pytest.raises(UserError, match="several models"):
        fetch.get("doi:10.5281/zenodo.1")
    for odd in (b"<html>", b"[1]"):
        network["https://zenodo.org/api/records/1"] = odd
        with pytest.raises(UserError, match="no answer that can be read"):
            fetch.get("doi:10.5281/zenodo.1")

"""Manifests of both versions become pages; images are fetched once, bounded, from the web alone."""

import functools
import http.server
import json
import threading
from contextlib import nullcontext

import pytest
from PIL import Image

from htr_ssl.errors import UserError
from htr_ssl.pages import iiif
from htr_ssl.pages.transcribe import transcribe


def version2(images):
    canvases = [{"images": [{"resource": {"@id": image}}]} for image in images]
    return {"@context": "http://iiif.io/api/presentation/2/context.json", "sequences": [{"canvases": canvases}]}


def version3(images):
    bodies = [{"id": image, "type": "Image"} for image in images]
    items = [{"items": [{"items": [{"body": body}]}]} for body in bodies]
    return {"@context": "http://iiif.io/api/presentation/3/context.json", "items": items}


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "web"
    folder.mkdir()
    seen = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *message):
            seen.append(self.path)

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{running.server_port}", seen
        running.shutdown()


def read_lines(images):
    return [("text", 0.9) for _ in images]


@pytest.mark.parametrize("version", [version2, version3])
def test_a_manifest_in_a_file_with_images_beside_it(tmp_path, version):
    for name in "ab":
        Image.new("L", (80, 60), 255).save(tmp_path / f"{name} 1.png")
    manifest = tmp_path / "book.json"
    manifest.write_text(json.dumps(version(["a%201.png", "b 1.png"])))
    with pytest.warns(UserWarning, match="no line"):
        outcome = transcribe(read_lines, [manifest], tmp_path / "out", ["txt"])
    assert [str(path) for path in outcome.done] == ["book#001", "book#002"]
    assert (tmp_path / "out" / "book#002.txt").is_file()


def test_a_manifest_on_the_web_is_fetched_once(tmp_path, server):
    folder, address, seen = server
    Image.new("L", (80, 60), 255).save(folder / "a.png")
    (folder / "manifest.json").write_text(json.dumps(version3([f"{address}/a.png", f"{address}/gone.png"])))
    for _ in range(2):
        with pytest.warns(UserWarning, match="no line") if not seen else nullcontext():
            outcome = transcribe(read_lines, [f"{address}/manifest.json"], tmp_path / "out", ["txt"])
        assert "cannot be fetched" in outcome.failed[0][1]
        assert len(outcome.done) + len(outcome.skipped) == 1
    assert seen.count("/a.png") == 1


def test_what_is_refused(tmp_path, server, monkeypatch):
    folder, address, _ = server
    (folder / "big.json").write_text(" " * 2000)
    monkeypatch.setattr(iiif, "MAX_MANIFEST", 1000)
    with pytest.raises(UserError, match="larger than"):
        iiif.images_of(f"{address}/big.json")
    outside = tmp_path / "m.json"
    outside.write_text(json.dumps(version3(["../x.png"])))
    with pytest.raises(UserError, match="neither a web address nor a file beside it"):
        iiif.place_of("../x.png", outside, tmp_path)
    assert tmp_path in iiif.place_of("file:///etc/passwd", outside, tmp_path).parents
    with pytest.raises(ValueError, match="leads to"):
        iiif._WebOnly().redirect_request(None, None, 302, "", {}, "file:///etc/passwd")
    outside.write_text('{"@context": "http://iiif.io/api/presentation/3/context.json", "items": [{}]}')
    with pytest.raises(UserError, match="IIIF manifest"):
        iiif.images_of(outside)


def test_the_image_service_is_asked_for_the_whole_image():
    service = {"service": [{"id": "https://x.org/iiif/1/"}]}
    assert iiif._of(service) == "https://x.org/iiif/1/full/max/0/default.jpg"
    assert iiif.is_url("https:/x.org/a")
    assert iiif._address("https:/x.org/a") == "https://x.org/a"

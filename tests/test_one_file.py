"""A reader, a method, an encoder and an output format are each added by one file, and pass what the others pass."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = {
    "methods/mirrored.py": '''"""Mirrored: the mean of the frames of two views agrees. For the tests."""

from htr_ssl.methods import simclr


class Config(simclr.Config):
    """Options."""


class Method(simclr.Method):
    """As SimCLR."""
''',
    "encoders/plain.py": '''"""Plain: the smallest network that has frames. For the tests."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from htr_ssl.layers.convolutions import Backbone
from htr_ssl.layers.lstm import Context
from htr_ssl.layers.strip_encoder import StripEncoder


class Config(BaseModel):
    """Options."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    preset: Literal["small", "large"] = "small"
    """Size."""


class Encoder(StripEncoder):
    """Backbone and context."""

    def __init__(self, config: Config, height: int, in_channels: int = 1) -> None:
        super().__init__()
        width = {"small": 128, "large": 192}[config.preset]
        self.height, self.in_channels, self.out_dim, self.backbone_dim = height, in_channels, 2 * width, width
        self.backbone = Backbone(height, in_channels, (32, 64, 128, width), (0, 0, 0), width)
        self.context = Context(width, width, 0.0)
''',
    "data/readers/sidecar.py": '''"""Images with a `.words` file beside them. For the tests."""

from pathlib import Path

from htr_ssl.data.sample import Level
from htr_ssl.data.samples import FileSamples
from htr_ssl.folders import files, is_image


def detect(root: Path) -> bool:
    """Whether there is a `.words` file."""
    return root.is_dir() and any(path.suffix == ".words" for path in files(root))


def read(root: Path, level: Level) -> FileSamples:
    """Every image below `root` with the text beside it."""
    found = [path for path in files(root) if is_image(path)]
    texts = [path.with_suffix(".words") for path in found]
    return FileSamples(root, found, level, [t.read_text("utf-8").strip() if t.exists() else None for t in texts])


def example(root: Path) -> dict:
    """A miniature for the shared tests."""
    from PIL import Image, ImageDraw

    for name in ("a", "b"):
        picture = Image.new("L", (120, 40), 220)
        ImageDraw.Draw(picture).text((4, 10), name, 30)
        picture.save(root / f"{name}.png")
        (root / f"{name}.words").write_text(f"{name} word", "utf-8")
    return {f"{name}.png": (f"{name} word", None, None, None) for name in ("a", "b")}
''',
    "pages/formats/loud.py": '''"""Text in capitals. For the tests."""

from pathlib import Path

from htr_ssl.files import write_text
from htr_ssl.layout.document import Page

EXTENSION = ".loud"


def write(page: Page, path: Path) -> None:
    """Writes a line for each line."""
    write_text(path, "".join((line.text or "").upper() + "\\n" for line in page.lines))
''',
}


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """A copy of the package and its tests with the four files."""
    root = tmp_path_factory.mktemp("scratch")
    for name in ("htr_ssl", "tests"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    for name, text in FILES.items():
        assert not (root / "htr_ssl" / name).exists()
        (root / "htr_ssl" / name).write_text(text, encoding="utf-8")
    return root


def run(scratch, *command):
    environment = os.environ | {"PYTHONPATH": str(scratch), "PYTEST_XDIST_WORKER": "", "PYTEST_ADDOPTS": ""}
    done = subprocess.run(
        [sys.executable, *command], cwd=scratch, capture_output=True, text=True, env=environment, timeout=600
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


@pytest.mark.parametrize(("command", "name"), [("methods", "mirrored"), ("encoders", "plain"), ("formats", "loud")])
def test_it_is_listed(scratch, command, name):
    assert name in run(scratch, "-m", "htr_ssl", command)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("files", "name", "least"),
    [
        (["tests/methods/test_methods.py"], "mirrored", 5),
        (["tests/encoders/test_encoders.py"], "plain", 5),
        (["tests/data/test_layouts.py", "tests/data/test_readers.py"], "sidecar", 2),
        (["tests/pages/test_formats.py"], "loud", 1),
    ],
)
def test_it_passes_the_shared_tests(scratch, files, name, least):
    said = run(scratch, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", "-k", name, *files)
    assert int(said.rpartition(" passed")[0].split()[-1]) >= least

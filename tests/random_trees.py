"""Random trees of images, labels and names whose truth is known: what belongs to what."""

from __future__ import annotations

import csv
import random
import unicodedata
from collections import Counter
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image

from htr_ssl.data.reading import read
from htr_ssl.errors import UserError

STEMS = [
    "1858",
    "1858.03.14",
    "a",
    "A",
    "a.b",
    "a b",
    "é",
    "e\u0301",
    "p-1",
    "p_10",
    "p1",
    "p10",
    "x.bin",
    "x",
    "img.gt",
    "ß",
    "x..y",
    "a,b",
]
MORE = ["", ".2", ".png", " 2", ".bin", ".nrm", "é", "_", "-1", ".03.14", "."]
SUFFIXES = [".png", ".png", ".png", ".jpg", ".PNG", ".tif"]
FOLDERS = ["", "", "train", "val", "Ordner 1", "a.b/c", "é"]
FORMATS = ["gt_txt", "table", "page_xml", "alto"]
SHEETS = {
    "page_xml": '<PcGts><Page imageFilename="{name}" imageWidth="40" imageHeight="16"><TextRegion id="r">'
    '<TextLine id="l"><Coords points="0,0 39,0 39,15 0,15"/><TextEquiv><Unicode>{text}</Unicode></TextEquiv></TextLine>'
    "</TextRegion></Page></PcGts>",
    "alto": "<alto><Description><sourceImageInformation><fileName>{name}</fileName></sourceImageInformation>"
    '</Description><Layout><Page WIDTH="40" HEIGHT="16"><PrintSpace><TextBlock ID="b">'
    '<TextLine ID="l" HPOS="0" VPOS="0" WIDTH="40" HEIGHT="16"><String CONTENT="{text}"/></TextLine>'
    "</TextBlock></PrintSpace></Page></Layout></alto>",
}
"""XML of a page that is one line; some leave out the image's name."""


class Tree:
    """What was put into a folder.

    Attributes:
        images: name below the root -> number of the image, which its gray tells too.
        labels: name of the image that the label was made for, there or not -> text.
    """

    def __init__(self, root: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.root, self.images, self.labels = root, {}, {}
        self.format = self.rng.choice(FORMATS)
        taken: set[str] = set()
        for number in range(self.rng.randint(1, 9)):
            name = "/".join(filter(None, [self.rng.choice(FOLDERS), self._stem()]))
            suffix = self.rng.choice(SUFFIXES)
            key = unicodedata.normalize("NFC", name + (suffix if self.format == "table" else "")).casefold()
            if key in taken or unicodedata.normalize("NFC", name + suffix).casefold() in taken:
                continue
            taken |= {key, unicodedata.normalize("NFC", name + suffix).casefold()}
            kind = self.rng.choice(["both", "both", "both", "image", "label"])
            if kind != "label":
                self._image(name + suffix, number)
            if kind != "image":
                self.labels[name + suffix] = f"text {number}" + self.rng.choice(["", ', "so"', "; et", " é"])
        if not self.images:
            self._image("only.png", 20)
        self._write_labels()

    def _stem(self) -> str:
        return (self.rng.choice(STEMS) + self.rng.choice(MORE)).strip()

    def _image(self, name: str, number: int) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((16, 40), 40 + 8 * number, np.uint8)).save(path)
        self.images[name] = number

    def _write_labels(self) -> None:
        if self.format == "gt_txt":
            for name, text in self.labels.items():
                path = self.root / (str(Path(name).with_suffix("")) + ".gt.txt")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text + "\n", encoding="utf-8")
            return
        if self.format in SHEETS:
            for name, text in self.labels.items():
                path = self.root / f"{Path(name).with_suffix('')}.xml"
                path.parent.mkdir(parents=True, exist_ok=True)
                stated = Path(name).name if self.rng.random() < 0.8 else ""
                content = SHEETS[self.format].format(name=escape(stated), text=escape(text, {'"': "&quot;"}))
                path.write_text(content, encoding="utf-8")
            return
        delimiter = self.rng.choice([",", ";", "\t"])
        with open(self.root / "labels.csv", "w", encoding="utf-8", newline="") as handle:
            writer = csv.writer(handle, delimiter=delimiter)
            writer.writerow(["file_name", "text"])
            writer.writerows(self.labels.items())


def key(name: str) -> str:
    """Name under which a label may still be taken for an image's if nothing has its exact name."""
    path = Path(unicodedata.normalize("NFC", name).casefold())
    stem = path.name
    for _ in range(3):
        for suffix in (".png", ".jpg", ".tif", ".bin", ".nrm", ".gt", ".txt"):
            stem = stem.removesuffix(suffix)
    return str(path.with_name(stem)) if stem else str(path)


def wrong(root: Path, seed: int) -> list[str]:
    """What is wrong with how a tree is read; it is made in `root`."""
    tree = Tree(root, seed)
    try:
        samples = read(root, tree.format)
    except UserError as error:
        return [] if not tree.labels or not set(tree.images) & set(tree.labels) else [f"refused: {error}"]
    found: list[str] = []
    said = "\n".join(samples.problems)
    seen: Counter[str] = Counter()
    for place, own in enumerate(map(str, samples.column("id"))):
        name = own
        if tree.format in SHEETS:  # an id is that of the file, and of its only line
            name = next((other for other in tree.labels if str(Path(other).with_suffix("")) == own[:-2]), own)
        seen[name] += 1
        if tree.format in SHEETS and name not in tree.images:  # the page of another suffix, mark or folder
            tone = float(np.median(samples[place].load()))
            near = [n for other, n in tree.images.items() if key(Path(other).name) == key(Path(name).name)]
            if not any(abs(tone - (40 + 8 * n)) <= 4 for n in near):
                found.append(f"{name!r} has the pixels of an image that is not called so")
            if samples.cell("text", place) != tree.labels.get(name):
                found.append(f"{name!r} has another text")
            continue
        number = tree.images.get(name)
        if number is None:
            found.append(f"{name!r} was never there")
            continue
        text = samples.cell("text", place)
        tone = float(np.median(samples[place].load()))
        if abs(tone - (40 + 8 * number)) > 4:
            found.append(f"{name!r} has the pixels of another image")
        if text is None and name in tree.labels and tree.labels[name] not in said and Path(name).stem not in said:
            found.append(f"the label of {name!r} is lost in silence")
        if text is not None and text != tree.labels.get(name):
            owner = next((other for other, own in tree.labels.items() if own == text), None)
            free = owner is not None and owner not in tree.images and name not in tree.labels
            # A list's name may be resolved in another folder; a file beside an image may not.
            same = free and (
                key(owner) == key(name) or (tree.format == "table" and key(Path(owner).name) == key(Path(name).name))
            )
            ours = bool(same)
            if not ours:
                found.append(f"{name!r} got {text!r}, which belongs to {owner!r}")
    used = {samples.cell("text", place) for place in range(len(samples))}
    for name, text in tree.labels.items():
        stem = Path(name).with_suffix("").name
        if text not in used and stem not in said and Path(name).name not in said:
            found.append(f"the label {text!r} of {name!r} is neither used nor named")
    for name, count in seen.items():
        if count > 1:
            found.append(f"{name!r} came {count} times")
    for name in tree.images:
        if name not in seen and Path(name).name not in said and (tree.format == "gt_txt" or name in tree.labels):
            found.append(f"the image {name!r} is neither imported nor named")
    return found

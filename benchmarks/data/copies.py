"""Which copies of real images the doctor finds: copies.py --word W.parquet --line L.parquet --out FILE.json

Puts 50 copies of each kind, made of random images, beside all images of the file, and counts the copies that are found
together with their original, and the groups in which images of different writing stand together.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from htr_ssl.check.doctor import Report, check
from htr_ssl.data.reading import read
from htr_ssl.files import write_json
from htr_ssl.seeds import rng

COPIES = 50


def crop(image: np.ndarray, share: float) -> np.ndarray:
    """The image without that share of its height on every side."""
    margin = max(1, round(image.shape[0] * share))
    return image[margin:-margin, margin:-margin]


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """The image after JPEG of that quality."""
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)


def noisy(image: np.ndarray) -> np.ndarray:
    """The image with noise of 10 gray levels."""
    noise = rng(0, "noise").normal(0, 10, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


KINDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "at 60 %": lambda image: cv2.resize(image, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA),
    "at 200 %": lambda image: cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC),
    "darker": lambda image: (image * 0.6 + 10).astype(np.uint8),
    "JPEG 40": lambda image: jpeg(image, 40),
    "noise 10": noisy,
    "binary": lambda image: cv2.threshold(image, 0, 255, cv2.THRESH_OTSU)[1],
    "cut by 2 %": lambda image: crop(image, 0.02),
    "cut by 5 %": lambda image: crop(image, 0.05),
    "cut by 10 %": lambda image: crop(image, 0.1),
    "turned by 1 degree": lambda image: cv2.warpAffine(
        image,
        cv2.getRotationMatrix2D((image.shape[1] / 2, image.shape[0] / 2), 1, 1),
        image.shape[1::-1],
        borderMode=cv2.BORDER_REPLICATE,
    ),
}


def with_copies(source: Path, level: str, out: Path) -> None:
    """Writes all images as train and the copies as test; a copy's id is its kind and the original's row."""
    samples = read(source, "auto", level)
    images = [{"bytes": samples.image(row), "path": str(row)} for row in range(len(samples))]
    order = rng(0, "copies").permutation(len(samples))
    for place, (kind, change) in enumerate(KINDS.items()):
        for row in order[place * COPIES : (place + 1) * COPIES].tolist():
            image = samples[row].load()
            gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image
            data = cv2.imencode(".png", change(gray))[1].tobytes()
            images.append({"bytes": data, "path": f"{kind}|{row}"})
    splits = ["train"] * len(samples) + ["test"] * (len(images) - len(samples))
    pq.write_table(pa.table({"image": images, "split": splits}), out, row_group_size=256)


def judged(report: Report) -> dict[str, object]:
    """Copies found with their original, and groups of different originals."""
    found: Counter[str] = Counter()
    wrong = 0
    for finding in report.findings:
        if finding.kind in ("near_duplicate", "near_duplicate_in_two_splits"):
            for example in finding.examples:
                names = [report.survey.ids[row] for row in example.rows]
                wrong += len({name.rpartition("|")[2] for name in names}) > 1
                found.update(kind for kind, _, row in (name.rpartition("|") for name in names) if kind and row in names)
    return {"found": {kind: found[kind] for kind in KINDS}, "of": COPIES, "wrong_groups": wrong}


def measured(source: Path, level: str) -> dict[str, object]:
    """Counts and times of one file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "copies.parquet"
        with_copies(source, level, path)
        start, processor = time.perf_counter(), time.process_time()
        report = check(read(path, "auto", level), unlabelled=True)
        seconds, cpu = time.perf_counter() - start, time.process_time() - processor
    times = {"seconds": round(seconds, 1), "cpu_seconds": round(cpu, 1)}
    return {"data": source.stem, "images": len(report.survey.ids), **judged(report), **times}


def main() -> None:
    """Reads the arguments, prints and writes the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--word", type=Path, nargs="*", default=[])
    parser.add_argument("--line", type=Path, nargs="*", default=[])
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    results = []
    for level in ("word", "line"):
        for source in getattr(given, level):
            results.append(measured(source, level))
            print(results[-1])
    if given.out:
        write_json(given.out, results)


if __name__ == "__main__":
    main()

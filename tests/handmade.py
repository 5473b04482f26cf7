"""Word images drawn by OpenCV in a Parquet file, and result files of cells without any training."""

import io
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from htr_ssl.config import TableConfig
from htr_ssl.experiments import plan
from htr_ssl.experiments.evaluate import PREDICTIONS, RESULT, Prediction, score, write_predictions
from htr_ssl.files import write_json

WORDS = ["mer", "terre", "arbre", "maison", "chemin", "porte", "lettre", "main", "encre", "plume", "page", "livre"]


def draw(text: str, pen: int = 2) -> bytes:
    image = np.full((32, 18 * len(text) + 12), 255, np.uint8)
    cv2.putText(image, text, (4, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 0, pen)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def write_words(
    path: Path, pages: int = 9, per_page: int = 6, damaged: tuple[int, ...] = (), splits: bool = True, pen: int = 2
) -> Path:
    """Words on pages; of every three pages one is for validation and one for the test."""
    rows = []
    for number in range(pages * per_page):
        page = number // per_page
        text = WORDS[(7 * number + page) % len(WORDS)]
        data = b"not an image" if number in damaged else draw(text, pen)
        split = ("train", "validation", "test")[page % 3] if splits else None
        image = {"bytes": data, "path": f"w{number}.png"}
        rows.append({"image": image, "text": text, "page": f"p{page}", "writer": None, "split": split})
    schema = pa.schema(
        [
            ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            *((name, pa.string()) for name in ("text", "page", "writer", "split")),
        ]
    )
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
    return path


def predictions(correct: float, seed: int, pages: int = 12, per_page: int = 10) -> list[Prediction]:
    """Readings of which a share is right; the samples are the same for every call."""
    random = np.random.default_rng(seed)
    items = []
    for number in range(pages * per_page):
        written = WORDS[number % len(WORDS)]
        read = written if random.random() < correct else written[:-1] + "x"
        items.append(Prediction(f"w{number}", f"p{number // per_page}", "", written, read, 0.5))
    return items


def put_result(
    config: TableConfig, out: Path, row: str, fraction: float, seed: int, items: list[Prediction], probe: str = "none"
) -> None:
    """A finished cell whose readings are given."""
    cell = next(
        c for c in plan.plan(config, out) if (c.row, c.fraction, c.seed, c.probe) == (row, fraction, seed, probe)
    )
    mark = plan.cell_hash(config, cell)
    plan.claim(cell.folder, mark, out)
    write_predictions(cell.folder / PREDICTIONS, items)
    facts = {"row": row, "fraction": fraction, "seed": seed, "labels": round(300 * fraction), "cell_seconds": 60.0}
    write_json(cell.folder / RESULT, {**score(items, config.data.level), **facts, "cell_sha256": mark})

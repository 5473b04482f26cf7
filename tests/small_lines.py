"""Small images of lines in a Parquet file, some with a text, for tests of courses."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def write(path, labelled=30, count=60, broken=(), **columns):
    """Noise in the place of writing; the bytes of the images in `broken` are cut off."""
    rng = np.random.default_rng(0)
    images, texts = [], []
    for row in range(count):
        pixels = np.full((32, 120), 255, np.uint8)
        pixels[8:24, 10:110] = rng.integers(0, 255, (16, 100))
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        content = buffer.getvalue()
        images.append({"bytes": content[:60] if row in broken else content, "path": f"{row:03d}.png"})
        texts.append("".join(rng.choice(list("abcdef"), 4)) if row < labelled else None)
    pq.write_table(pa.table({"image": images, "text": pa.array(texts, pa.string()), **columns}), path)
    return path

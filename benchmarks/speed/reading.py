"""Lines read per second: python benchmarks/speed/reading.py MODEL.safetensors --lines 300 --out reading.json

Reads the test lines of the model's own data (or --source) with every variant in turn, in one process, so that other
load hits all alike; decoding of image files is not counted, scaling to the model's height is. `before` is the reader
as it was: batch norms apart, batches of 32, all threads on one batch. Prints the median and the best lines/s, processor
time per line (all threads), how many texts differ from `before`, and the CER.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from htr_ssl.config import DataConfig
from htr_ssl.data.loading import collate, prepare, read_samples, rows_of
from htr_ssl.data.sampling import sorted_batches
from htr_ssl.environment import environment
from htr_ssl.errors import UserError
from htr_ssl.files import write_json
from htr_ssl.recognizers.export import export
from htr_ssl.recognizers.reader import Reader, load_recognizer
from htr_ssl.text import ctc, metrics

Read = Callable[[list[np.ndarray]], list[str]]


def before(model: Path) -> Read:
    """The reader as it was."""
    recognizer, header = load_recognizer(model)
    recognizer.to(memory_format=torch.channels_last)
    charset = Reader(recognizer, header, torch.device("cpu")).charset
    data = DataConfig(height=header["height"], channels=header["channels"], max_width=header["max_width"])

    @torch.inference_mode()
    def read(images: list[np.ndarray]) -> list[str]:
        strips = [prepare(image, data) for image in images]
        texts = [""] * len(strips)
        for rows in sorted_batches([strip.shape[1] for strip in strips], 32):
            batch = collate([strips[i] for i in rows], rows).images()
            for row, (indices, _) in zip(rows, ctc.greedy(*recognizer(batch.pixels, batch.widths)), strict=True):
                texts[row] = charset.decode(indices)
        return texts

    return read


def now(model: Path, precision: str = "32", compiled: bool = False, batch_size: int = 32) -> Read:
    """The reader as it is."""
    reader = Reader.load(model, "cpu", precision=precision)
    if compiled:
        reader.recognizer = torch.compile(reader.recognizer, dynamic=True)
    return lambda images: [text for text, _ in reader.read(images, batch_size)]


def one_thread(read: Read) -> Read:
    """The same with a single thread."""

    def limited(images: list[np.ndarray]) -> list[str]:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return read(images)
        finally:
            torch.set_num_threads(threads)

    return limited


def variants(model: Path, lines: str, folder: Path, compiled: bool) -> dict[str, Read]:
    """What is compared; 8 bits have their ranges from `lines`."""
    found = {
        "before": before(model),
        "before, 1 thread": one_thread(before(model)),
        "reader": now(model),
        "reader, 1 thread": one_thread(now(model)),
        "reader, batches to 64": now(model, batch_size=64),
        "reader, bf16": now(model, "bf16"),
    }
    try:
        export(model, folder / "model.onnx")
        found["reader, ONNX file"] = now(folder / "model.onnx")
        found["reader, ONNX file, 1 thread"] = one_thread(found["reader, ONNX file"])
        export(model, folder / "int8.onnx", int8=True, lines=lines)
        found["reader, ONNX file, 8 bits"] = now(folder / "int8.onnx")
    except UserError as error:
        print(f"no ONNX: {error}")
    return found | ({"reader, torch.compile": now(model, compiled=True)} if compiled else {})


def measure(
    found: dict[str, Read], images: list[np.ndarray], written: list[str], rounds: int
) -> dict[str, dict[str, float]]:
    """Lines/s, processor time and texts of each variant, in turn; the first round counts for the texts only."""
    texts, first = {}, {}
    times: dict[str, list[float]] = {name: [] for name in found}
    busy: dict[str, list[float]] = {name: [] for name in found}
    for name, read in found.items():
        start = time.perf_counter()
        texts[name] = read(images)
        first[name] = time.perf_counter() - start
    for _ in range(rounds):
        for name, read in found.items():
            start, processor = time.perf_counter(), time.process_time()
            read(images)
            times[name].append(len(images) / (time.perf_counter() - start))
            busy[name].append(1000 * (time.process_time() - processor) / len(images))
    groups = [str(i) for i in range(len(images))]
    return {
        name: {
            "lines_per_second": round(statistics.median(times[name]), 1),
            "best": round(max(times[name]), 1),
            "cpu_ms_per_line": round(statistics.median(busy[name]), 2),
            "first_round_seconds": round(first[name], 2),
            "texts_that_differ": sum(a != b for a, b in zip(texts[name], texts["before"], strict=True)),
            "cer": round(metrics.score(written, texts[name], groups, "line").to_dict()["cer"], 5),
        }
        for name in found
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="model.safetensors of a finetune run")
    parser.add_argument("--source", help="other data than the model's own")
    parser.add_argument("--lines", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--compile", action="store_true", help="torch.compile too; its first round takes minutes")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)
    data = DataConfig(**load_recognizer(options.model)[1]["data"])
    if options.source:
        data = data.model_copy(update={"source": options.source})
    samples = read_samples(data)
    rows = rows_of(samples, "test", labelled=True)[: options.lines]
    images, written = [samples[i].load() for i in rows], [samples[i].text or "" for i in rows]
    load = os.getloadavg()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(
            variants(options.model, data.source, Path(folder), options.compile), images, written, options.rounds
        )
    result = {
        "environment": environment(),
        "load_before": load,
        "load_after": os.getloadavg(),
        "data": f"{Path(data.source).name}, {data.level}, height {data.height}, {len(images)} images",
        "rounds": options.rounds,
        "variants": found,
    }
    print(json.dumps(result, indent=2))
    if options.out:
        write_json(options.out, result)


if __name__ == "__main__":
    main()

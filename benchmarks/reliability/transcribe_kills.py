"""Kill -9 at random moments of a transcription of a hundred pages: are the files those of an undisturbed run?

    python benchmarks/reliability/transcribe_kills.py OUT [--kills 100] [--seed 0]

The pages (a PDF of 10, a TIFF of 10, 80 images) are small and made here; a line is read as its width. Prints one line
with the number of kills that hit a running program, restarts, and files that differ, and leaves result.json in OUT.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
from pathlib import Path

from PIL import Image, ImageDraw

from htr_ssl.pages.transcribe import transcribe

FORMATS = ["txt", "alto", "page", "pdf"]


def read_lines(images):
    """Reads a line as its width."""
    return [(f"width {image.shape[1]}", 0.9) for image in images]


def page(seed: int) -> Image.Image:
    """A small page of three rows of strokes."""
    image = Image.new("L", (260, 200), 250)
    draw = ImageDraw.Draw(image)
    for row in range(3):
        for x in range(30, 200 - seed % 40, 12):
            draw.line([x, 40 + 50 * row, x + 7, 55 + 50 * row], fill=20, width=3)
    return image


def make(folder: Path) -> None:
    """Writes the pages."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = [page(number) for number in range(100)]
    for number in range(80):
        pages[number].save(folder / f"{number:03d}.png")
    pages[80].save(folder / "book.tif", save_all=True, append_images=pages[81:90])
    pages[90].save(folder / "scans.pdf", save_all=True, append_images=pages[91:])


def work(folder: Path, out: Path) -> None:
    """One whole command."""
    transcribe(read_lines, [folder], out, FORMATS, reader="benchmark", jobs=2)


def contents(folder: Path) -> dict[str, bytes]:
    """Files of a folder of transcriptions, those of its memory left out."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in paths
        if not path.relative_to(folder).parts[0].startswith(".htr-ssl")
    }


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    folder = given.out / "pages"
    make(folder)
    work(folder, given.out / "whole")
    rng = random.Random(given.seed)
    context = multiprocessing.get_context("fork")
    killed = restarts = rounds = 0
    differing: list[str] = []
    while killed < given.kills:
        out = given.out / f"round{rounds}"
        rounds += 1
        finished = False
        while not finished:
            process = context.Process(target=work, args=(folder, out))
            process.start()
            restarts += 1
            process.join(rng.uniform(0.0, 2.0) if killed < given.kills else None)
            if process.is_alive() and process.pid is not None:
                os.kill(process.pid, signal.SIGKILL)
                killed += 1
            process.join()
            finished = process.exitcode == 0
        before, after = contents(given.out / "whole"), contents(out)
        differing += [f"{out.name}/{name}" for name in {*before, *after} if before.get(name) != after.get(name)]
    result = {"pages": 100, "kills": killed, "starts": restarts, "rounds": rounds, "differing": differing}
    (given.out / "result.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(result)


if __name__ == "__main__":
    main()

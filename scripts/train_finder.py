"""Trains the line finder that ships with the package; the same command goes on where a killed one stopped.

    python scripts/train_finder.py ../shared/data/segmentation runs/finder

The folder holds Parquet files of pages with baselines, outlines and regions; only their train split is used. Some
synthetic pages are drawn besides. The file of the result is written into the run's folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import torch

from htr_ssl.handwriting.page import page as synthetic_page
from htr_ssl.pages.finder import weights
from htr_ssl.pages.finder.train import Plan, train
from htr_ssl.pages.finder.truth import TruePage, from_row, rows_of, true_page

SYNTHETIC = 40
"""Synthetic pages among the real ones."""


def synthetic() -> list[TruePage]:
    """Pages drawn here."""
    pages = []
    for seed in range(SYNTHETIC):
        image, lines = synthetic_page(10_000 + seed, lines=8 + seed % 14)
        pages.append(true_page(f"synthetic{seed}", cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), lines, "synthetic"))
    return pages


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", type=Path, help="folder of Parquet files of pages")
    parser.add_argument("out", type=Path, help="folder of the run")
    parser.add_argument("--steps", type=int, default=Plan.steps)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    files = sorted(options.pages.glob("*.parquet"))
    if not files:
        parser.error(f"{options.pages} holds no Parquet files of pages")
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    pages = [from_row(row) for row in rows_of(files, "train")] + synthetic()
    print(f"{len(pages)} pages, {sum(len(page.base) for page in pages)} lines", flush=True)
    plan = Plan(steps=options.steps)
    net = train(pages, options.out, plan, progress=lambda step, terms: print(step, terms, flush=True))
    corpora = sorted({page.corpus for page in pages})
    card = {"corpora": corpora, "pages": len(pages), "steps": plan.steps, "seed": plan.seed, "licence": "CC BY 4.0"}
    weights.write(net, options.out / "finder.safetensors", card)
    print(options.out / "finder.safetensors")


if __name__ == "__main__":
    main()

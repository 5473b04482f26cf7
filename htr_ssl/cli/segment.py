"""The commands ``htr-ssl segment …``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from htr_ssl.cli.show import note, say

if TYPE_CHECKING:
    from htr_ssl.pages.finder.page_scores import Result

segment = typer.Typer(
    help="Teach the line finder your own pages, and measure line finders.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
Pages = Annotated[
    list[Path], typer.Argument(metavar="PAGES…", help="PAGE or ALTO files with their images, or folders.")
]


@segment.command()
def train(
    pages: Pages,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the finder, its figures and overlays.")],
    start: Annotated[Path | None, typer.Option(help="Finder to begin with. [default: the shipped one]")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the optimiser; more pages need more.")] = 120,
    seed: Annotated[int, typer.Option(help="Number that all random choices follow from.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only results and warnings.")] = False,
) -> None:
    """Teach the line finder your own kind of pages: 3 to 30 of them with the lines marked, in minutes.

    A third of the pages is kept for validation; the figures before and after are those of their lines. Use the file
    with `htr-ssl transcribe --segmenter OUT/finder.safetensors`.

    Example: `htr-ssl segment train marked --out finder`
    """
    from dataclasses import replace

    from htr_ssl.pages.finder import weights
    from htr_ssl.pages.finder.fine_tune import PLAN, fine_tune
    from htr_ssl.pages.finder.measure import Score
    from htr_ssl.pages.finder.page_scores import known_pages
    from htr_ssl.pages.segment.learned import find

    plan = replace(PLAN, steps=steps, seed=seed)

    def progress(step: int, terms: dict[str, float]) -> None:
        note(f"step {step} of {steps}, loss {sum(terms.values()):.3f}")

    result = fine_tune(list(known_pages(pages)), out, find, start or weights.SHIPPED, plan, None if quiet else progress)
    for name in ("before", "after"):
        score = Score(**result[name])
        say(
            f"{name}: {score.half} of {score.true} lines found, recall {100 * score.recall:.1f} %, precision "
            f"{100 * score.precision:.1f} %, {score.splits} split, {score.merges} merged"
        )
    if result["kept"] == "before":
        note("the finder did not get better on the pages kept for validation: the one it began with was kept", "yellow")
    say(f"{out / 'finder.safetensors'} ({result['seconds'] / 60:.1f} minutes)")


@segment.command()
def evaluate(
    pages: Pages,
    finder: Annotated[
        list[str] | None, typer.Option(help="Finder: a name of `htr-ssl formats` or a file; may be given again.")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="Recognizer that reads the lines, for the CER.")] = None,
    each: Annotated[bool, typer.Option("--each", help="A row for each page too.")] = False,
) -> None:
    """Measure line finders on pages whose lines are known; prints a Markdown table.

    Lines are paired one to one: their baselines cover each other by half, within 0.35 of the line distance. "CER found"
    counts what is missed as left out and what is spurious as put in; "CER marked" leaves aside the found lines that lie
    on no true one, since many are writing that nobody marked.

    Example: `htr-ssl segment evaluate marked --finder learned --finder projection`
    """
    from htr_ssl.pages.finder.page_scores import Result, known_pages, memory
    from htr_ssl.pages.finder.page_scores import evaluate as measured
    from htr_ssl.pages.segmenters import segmenter

    read = None
    if model is not None:
        from htr_ssl.models import shelf
        from htr_ssl.recognizers.reader import Reader

        read = Reader.load(shelf.find(model), "cpu").read
    names = finder or ["learned", "projection"]
    functions = [segmenter(name) for name in names]
    totals: dict[tuple[str, str], Result] = {}
    for page in known_pages(pages):
        for name, function in zip(names, functions, strict=True):
            result = measured(page, function, read)
            for key in [page.corpus, "all", *([f"{page.corpus}: {page.name}"] if each else [])]:
                totals[key, name] = totals.get((key, name), Result()) + result
    titles = [
        "pages", "finder", "lines", "found", "recall", "precision", "at 3/4", "outlines", "splits", "merges", "missed",
        "spurious", "in order", "s a page",
    ]  # fmt: skip
    titles += ["CER given", "CER marked", "CER found"] if read else []
    say(f"| {' | '.join(titles)} |\n|{' --- |' * len(titles)}")
    for (key, name), result in sorted(totals.items(), key=lambda item: (item[0][0] == "all", item[0])):
        say(f"| {' | '.join(_row(key, name, result, read is not None))} |")
    note(f"most memory: {memory():.0f} MB")


def _row(key: str, name: str, result: Result, read: bool) -> list[str]:
    score = result.score
    cells = [
        f"{key} ({score.pages})",
        name,
        str(score.true),
        str(score.found),
        f"{100 * score.recall:.1f}",
        f"{100 * score.precision:.1f}",
        f"{100 * score.most / max(1, score.true):.1f}",
        f"{100 * score.outlines / max(1, score.true):.1f}",
        str(score.splits),
        str(score.merges),
        str(score.missed),
        str(score.spurious),
        f"{score.ordered} of {score.half}",
        f"{score.seconds / max(1, score.pages):.2f}",
    ]
    if read:
        cells += [f"{100 * edits / max(1, total):.1f}" for edits, total in (result.given, result.marked, result.found)]
    return cells

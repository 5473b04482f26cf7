"""The command that reads whole pages."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from htr_ssl.cli.show import fail, named, note
from htr_ssl.errors import UserError


def transcribe(
    given: Annotated[
        list[str],
        typer.Argument(
            metavar="[MODEL] INPUT…", help="A model's file or name; images, PDF, PAGE, ALTO, folders, IIIF manifests."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the transcriptions.")],
    format: Annotated[str, typer.Option(help="What to write; see `htr-ssl formats`.")] = "txt",
    segmenter: Annotated[str, typer.Option(help="Line finder; see `htr-ssl formats`.")] = "learned",
    lines: Annotated[
        str, typer.Option(help="given: those of PAGE and ALTO files where there are any; found: always find them.")
    ] = "given",
    min_confidence: Annotated[
        float, typer.Option(min=0, max=1, help="Leave out lines whose confidence is lower.")
    ] = 0.0,
    keep_junk: Annotated[bool, typer.Option("--keep-junk", help="Keep stains and edges that look like lines.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace also files that somebody changed.")] = False,
    jobs: Annotated[int, typer.Option(min=0, help="Pages at a time; 0 = one per core.")] = 0,
    engine: Annotated[str, typer.Option(help="local: this machine; ray: all machines of a Ray cluster.")] = "local",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which pages would be read.")] = False,
    device: Annotated[str, typer.Option(help="What computes: auto, cpu, cuda, cuda:1 or mps (Apple).")] = "auto",
    language_model: Annotated[
        str,
        typer.Option("--lm", metavar="FILE", help="Language model: auto = the model's own; none; or a file."),
    ] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only results and warnings.")] = False,
) -> None:
    """Read whole pages: find the lines, read them, write one file per page and format.

    Every page of TIFF and PDF files is read. Pages already done with this model are skipped, further formats are
    written from the text that is there. Files that you corrected stay as they are; what is new lies beside them. What
    could not be read is named at the end, and `summary.html` shows the pages in doubt first. What a million pages cost,
    and how to read them on many machines, is in docs/scale.md.

    Example: `htr-ssl transcribe runs/finetune/model.safetensors scans --out text --format txt,alto,pdf`
    """
    if lines not in ("given", "found"):
        raise UserError(f"--lines {lines}: give given or found")
    if engine not in ("local", "ray"):
        raise UserError(f"--engine {engine}: give local or ray")
    if engine == "ray" and device not in ("auto", "cpu"):
        raise UserError(f"--engine ray reads on the cores of the cluster; leave out --device {device}")
    with _made_to_last():
        from functools import partial

        from htr_ssl.cli.show import pages_bar
        from htr_ssl.environment import cores
        from htr_ssl.files import sha256
        from htr_ssl.pages.one_page import Options
        from htr_ssl.pages.transcribe import transcribe as read_pages
        from htr_ssl.recognizers.aligned import read_aligned
        from htr_ssl.recognizers.reader import Reader

    model, inputs = _model_and_pages(given)
    reader = Reader.load(model, "cpu" if engine == "ray" else device, lm=language_model)
    formats = [name.strip() for name in format.split(",") if name.strip()]
    options = Options("found" if lines == "found" else "given", min_confidence, keep_junk)
    with pages_bar(quiet, dry_run) as progress:
        outcome = read_pages(
            partial(read_aligned, reader),
            inputs,
            out,
            formats,
            segmenter,
            progress,
            sha256(model.read_bytes()) + _mark(language_model),
            model=model.name,
            direction=reader.charset.direction,
            options=options,
            overwrite=overwrite,
            jobs=jobs or (0 if engine == "ray" else cores()),
            engine="ray" if engine == "ray" else "local",
            dry_run=dry_run,
            summary=True,
        )
    left_out = sum(result.left_out for result in outcome.results)
    if outcome.ignored:
        shown = ", ".join(path.name for path in outcome.ignored[:3]) + (", …" if outcome.ignored[3:] else "")
        note(f"{len(outcome.ignored)} file(s) are no pages and were left out: {shown}")
    if outcome.gone:
        shown = ", ".join(str(out / name) for name in outcome.gone[:3]) + (", …" if outcome.gone[3:] else "")
        note(f"{len(outcome.gone)} page(s) of earlier runs are not among the pages any more, their files stay: {shown}")
    for path, other in outcome.kept:
        new = f"; the new one is {other.name}" if other is not None else ""
        note(f"{path}: you changed this file, it stays{new}", "yellow")
    for older in outcome.older:
        note(f"{older}: it still has the text from before your change; remove it to have it made anew", "yellow")
    given_lines = [result.given for result in outcome.results if result.given]
    if given_lines:
        note(f"{len(given_lines)} page(s) have the lines of their PAGE or ALTO file; --lines found finds new ones")
    if left_out:
        note(f"{left_out} line(s) without certain text were left out")
    for result in outcome.results:
        for text in result.notes:
            note(f"{result.source}: {text}", "yellow")
    verb = "to transcribe" if dry_run else "transcribed"
    note(f"{out}: {len(outcome.done)} page(s) {verb}, {len(outcome.skipped)} skipped (done before)")
    if outcome.done and not dry_run:
        note(f"correct some pages there, every line of them; then `htr-ssl learn {out}` learns from those")
    total = len(outcome.done) + len(outcome.skipped) + len(outcome.failed)
    fail([named(path, text) for path, text in outcome.failed], total)


@contextmanager
def _made_to_last() -> Iterator[None]:
    """For imports: what they make lasts as long as the process, so the garbage collector never goes through it.

    It would do so again and again while PyTorch is imported, and once more when the process ends.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _model_and_pages(given: list[str]) -> tuple[Path, list[str]]:
    """The model and the pages of a command line; the model that comes with the package if it begins with a page.

    Raises:
        UserError: there is no model, or no page.
    """
    from htr_ssl.models import shelf

    if not shelf.is_name(Path(given[0])):
        return shelf.default(), given
    if not given[1:]:
        raise UserError(f"{given[0]}: this is the model; name the page images or folders to read after it")
    return shelf.find(Path(given[0])), given[1:]


def _mark(language_model: str) -> str:
    """What tells one language model from another: pages read with another are read again."""
    from htr_ssl.files import sha256

    if language_model == "auto":
        return ""
    return " none" if language_model == "none" else f" {sha256(Path(language_model).read_bytes())}"

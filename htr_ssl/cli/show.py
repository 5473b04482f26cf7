"""What the commands print, and the commands that only print: methods, formats, splits, show."""

from __future__ import annotations

import ast
import re
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from htr_ssl import plugins
from htr_ssl.cli.arguments import Configuration, loaded_of_any_kind

if TYPE_CHECKING:
    from htr_ssl.data.splits.named_splits import NamedSplit

_WIDTH = 100  # columns of the list of methods
Name = Annotated[str | None, typer.Argument(metavar="NAME", help="One of them, to list its options.")]


def methods(name: Name = None) -> None:
    """List the self-supervised methods with their papers and options, or explain the options of one.

    Example: `htr-ssl methods simclr`
    """
    if name is None:
        say("\n\n".join(_entries("htr_ssl.methods")))
    else:
        listing("htr_ssl.methods", name)


def formats() -> None:
    """List what can be read and written, and what finds the lines on a page."""
    for title, package in (
        ("data.format (read)", "htr_ssl.data.readers"),
        ("--format (write)", "htr_ssl.pages.formats"),
        ("--segmenter", "htr_ssl.pages.segment"),
    ):
        pairs(title, _first_lines(package))


def splits(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="One of them, or a file of your own.")] = None,
) -> None:
    """List the published splits that data can be divided by, or describe one.

    Example: `htr-ssl splits iam-rwth`
    """
    from htr_ssl.data.splits import named_splits

    if name is None:
        every = {item: named_splits.load(item) for item in named_splits.names()}
        rows = [(item, split.dataset, _size(split)) for item, split in every.items()]
        table(("data.splits", "data set", "train / validation / test"), rows)
        return
    split = named_splits.load(name)
    counts: dict[str, Mapping[str, int]] = {split.unit: split.counts}
    counts.update((level, numbers) for level, numbers in split.expected.items())
    sizes = [(f"{unit}s", _numbers(count)) for unit, count in counts.items()]
    texts = [(key, getattr(split, key)) for key in ("dataset", "about", "source")]
    pairs(name, [*texts, *sizes, ("sha256", split.sha256 or "none: the distribution divides it")])


def _size(split: NamedSplit) -> str:
    """How large it is, in pages where its ids stand for many of them each."""
    unit = "page" if "page" in split.expected else split.unit
    return f"{_numbers(split.expected.get('page', split.counts))} {unit}s"


def _numbers(counts: Mapping[str, int]) -> str:
    return " / ".join(f"{counts.get(part, 0):,}" for part in ("train", "validation", "test"))


def show(
    config: Configuration,
    yaml: Annotated[bool, typer.Option("--yaml", help="Complete YAML with comments, for your own file.")] = False,
) -> None:
    """Check a configuration and explain every value.

    The keys of a file decide its command: `rows` → table, `method` → pretrain, else finetune.

    Example: `htr-ssl show table train.lr=3e-4`
    """
    from htr_ssl.config.yaml_files import commented, describe

    whole = loaded_of_any_kind(config)
    if yaml:
        typer.echo(commented(whole), nl=False)
    else:
        table(("key", "value", "meaning"), describe(whole))


def say(text: object) -> None:
    """Prints a result to standard output, as it is."""
    typer.echo(str(text))


def note(text: str, style: str | None = None) -> None:
    """Prints a message to standard error."""
    typer.secho(text, fg=style, err=True)


def named(path: Path, text: str) -> str:
    """A sentence on a file that names the file once."""
    return text if text.startswith(str(path)) else f"{path}: {text}"


def fail(failed: list[str], total: int) -> None:
    """Names what failed and ends with code 1, if anything did."""
    if failed:
        note("\n".join([*failed, f"{len(failed)} of {total} failed"]), "red")
        raise typer.Exit(1)


def pairs(title: str, rows: Iterable[tuple[str, str]]) -> None:
    """Prints names and what they are."""
    table((title, ""), list(rows))


@contextmanager
def pages_bar(quiet: bool, planned: bool = False) -> Iterator[Callable[[int, int, Any], None] | None]:
    """Progress of pages with the time left; plain lines where there is no terminal, None if quiet.

    Pages that are only `planned` have a line each in a terminal too, and no time.
    """
    from rich import progress
    from rich.console import Console

    console = Console(stderr=True)
    if quiet:
        yield None
    elif planned:
        words = {"done": "to read"}
        yield lambda done, total, result: note(
            f"{done}/{total} {words.get(result.status, result.status)} {result.source}"
        )
    elif not console.is_terminal:
        start = time.monotonic()
        yield lambda done, total, result: note(_page_line(done, total, result, time.monotonic() - start))
    else:
        columns = (progress.BarColumn(), progress.MofNCompleteColumn(), progress.TimeRemainingColumn())
        with progress.Progress(progress.TextColumn("{task.description}"), *columns, console=console) as bar:
            task = bar.add_task("pages", total=None)
            yield lambda done, total, result: bar.update(
                task, completed=done, total=total, description=result.source.name
            )


def _page_line(done: int, total: int, result: Any, seconds: float) -> str:
    """One line on a page for a log: how far, what became of it, and the time left."""
    left = round(seconds / done * (total - done))
    time_left = f", {left // 60}:{left % 60:02d} left" if done < total else ""
    return f"{done}/{total} {result.status} {result.source}{time_left}"


def scores(result: dict[str, Any]) -> None:
    """Prints a result.json."""
    rows = []
    for name in ("wacc", "1-wer", "cer", "wer"):
        if name not in result:
            continue
        low, high = result[f"{name}_ci"]
        label = {"wacc": "WAcc", "1-wer": "1 − WER"}.get(name, name.upper())
        without = f"   without language model {100 * result['greedy'][name]:.1f} %" if "greedy" in result else ""
        rows.append((label, f"{100 * result[name]:.1f} %   [{100 * low:.1f}, {100 * high:.1f}]{without}"))
    few = " (fewer than ten: rough)" if result["units"] < 10 else ""
    units = f"intervals over {result['units']} {result['unit']}s{few}"
    rows.append(("samples", f"{result['n']} {result['level']}s, {units}"))
    if "language_model" in result:
        facts = result["language_model"]
        chosen = facts.get("chosen_on", "not chosen on this data")
        weights = f"weights {facts['alpha']:g} and {facts['beta']:g} ({chosen})"
        rows.append(("language model", f"character {facts['order']}-grams, {weights}"))
    rows.append(("text rule", result["normalisation"]))
    rows += [(name, choice) for name, choice in result.get("choices", {}).items()]
    rows += (
        [("confusions", ", ".join(f"{written}→{read} ×{count}" for written, read, count in result["confusions"][:10]))]
        if result["confusions"]
        else []
    )
    pairs(f"{result['data']}, {result['split']}", rows)


def reliability(
    model: Path, data: Any, split: str, out: Path, device: str = "auto", language_model: str | Path = "auto"
) -> None:
    """Compares confidence with truth: reliability.json and .png in `out`, and a line."""
    from htr_ssl.config import DataConfig
    from htr_ssl.experiments import evaluate, pictures
    from htr_ssl.files import write_bytes, write_json
    from htr_ssl.recognizers import calibration, language
    from htr_ssl.recognizers.reader import Reader

    reader = Reader.load(model, device, lm=language_model)
    judged = evaluate.judged(reader, data or DataConfig(**reader.header["data"]), split)
    numbers = reader.header.get(language.CALIBRATION)
    found = {"the network's": calibration.reliability(judged)}
    if numbers is not None:
        found["calibrated"] = calibration.reliability(judged, numbers)
    errors = {name: one.error for name, one in found.items()}
    write_json(out / "reliability.json", {"calibration": numbers, "characters": len(judged.right), "error": errors})
    write_bytes(out / "reliability.png", pictures.reliability(found))
    shown = ", ".join(f"{name} {100 * error:.1f} points" for name, error in errors.items())
    note(f"confidence is off by: {shown} (expected calibration error of characters; {out / 'reliability.png'})")


def listing(package: str, name: str | None) -> None:
    """Prints the plugins of a package, or the options of one."""
    if name is None:
        pairs(package.rpartition(".")[2], _first_lines(package))
        return
    from htr_ssl.config.yaml_files import describe

    module = plugins.load(package, name)
    say((module.__doc__ or "").strip() + "\n")
    table(("option", "default", "meaning"), describe(module.Config))


def _entries(package: str) -> list[str]:
    """Name, first line, papers and options with their defaults of each plugin, wrapped to `_WIDTH` columns."""
    names = plugins.names(package)
    indent = max(map(len, names)) + 2
    entries = []
    for name in names:
        module = plugins.load(package, name)
        text = module.__doc__ or ""
        papers = dict.fromkeys(re.findall(r"\b\d{4}\.\d{4,5}\b", text)) if "arXiv" in text else {}
        parts = [text.strip().partition("\n")[0]]
        parts += [f"arXiv {', '.join(papers)}"] if papers else []
        parts.append(f"options: {_options(module.Config)}")
        lines = [line for part in parts for line in textwrap.wrap(part, _WIDTH - indent, break_long_words=False)]
        entries.append(name.ljust(indent) + ("\n" + " " * indent).join(lines))
    return entries


def _options(config: Any) -> str:
    """``key=default`` of each option; of groups of options the names alone, as ``augment.…``."""
    from htr_ssl.config.yaml_files import describe

    parts = [f"{row.key}={row.value}" if "." not in row.key else row.key.partition(".")[0] for row in describe(config)]
    return ", ".join(dict.fromkeys(part if "=" in part else f"{part}.…" for part in parts)) or "none"


def _first_lines(package: str) -> list[tuple[str, str]]:
    """Plugins' names and the first lines of their docstrings; none of them is imported."""
    import importlib

    folder = Path(importlib.import_module(package).__path__[0])
    texts = {name: (folder / f"{name}.py").read_text(encoding="utf-8") for name in plugins.names(package)}
    return [(name, (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]) for name, text in texts.items()]


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints rows under titles."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*titles, box=None, pad_edge=False, header_style="bold")
    table.columns[0].no_wrap = True
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    # One row is one line where the output goes into a file.
    Console(width=None if sys.stdout.isatty() else 10_000).print(table)

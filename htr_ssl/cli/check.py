"""The command ``htr-ssl data check``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from htr_ssl.bars import rows_bar
from htr_ssl.cli.data import Format, Level, Partial, Quiet, Source, Splits, Threads, data, divided
from htr_ssl.cli.show import pairs, say, table
from htr_ssl.errors import UserError

if TYPE_CHECKING:
    from htr_ssl.check.doctor import Report
    from htr_ssl.check.survey import Training


@data.command()
def check(
    source: Source,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE", help="What training will do otherwise than the recipe, e.g. data.height=64."
        ),
    ] = None,
    level: Annotated[Level | None, typer.Option(help="What one image shows. [default: line]")] = None,
    format: Format = "auto",
    unlabelled: Annotated[
        bool, typer.Option("--unlabelled", help="The data is for pretraining only: texts are not missed.")
    ] = False,
    splits: Splits = None,
    partial: Partial = False,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Configuration of the training. [default: the recipe]")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Also write a page with pictures.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table, with every example.")] = False,
    threads: Threads = 0,
    quiet: Quiet = False,
) -> None:
    """Read all data once and say whether training on it would be sound, and why not.

    Unreadable and left-out files, characters and their look-alikes, texts that do not fit their image, copies, pages
    and writers in two splits, blank and odd images, each with examples. Ends with code 1 if there is an error;
    docs/check.md explains every finding. With a published split its images alone are judged, divided as it says.

    Sizes are judged as the training will see them: with the height, largest width, encoder and shares of the recipe,
    or of the configuration and values that are given.

    Example: `htr-ssl data check scans data.height=64 --html report.html`
    """
    import json

    from htr_ssl.check.doctor import check as diagnose
    from htr_ssl.check.html import write
    from htr_ssl.data.reading import read

    if html is not None and html.is_dir():
        raise UserError(f"{html}: this is a folder; give the name of a file, such as {html / 'report.html'}")
    training = _training(config, overrides or [])
    known = training.data
    chosen = known.level if level is None else level.value
    samples = divided(
        read(source, known.format if format == "auto" else format, chosen), splits or known.splits, partial
    )
    with rows_bar(quiet) as progress:
        report = diagnose(samples, threads, progress, unlabelled, training)
    if html is not None:
        write(report, source, html)
    if as_json:
        say(json.dumps({"source": source, **report.to_json()}, ensure_ascii=False, indent=2))
    else:
        _print(source, report)
    if not report.sound:
        raise typer.Exit(1)


def _training(path: Path | None, overrides: list[str]) -> Training:
    """Configuration that the data is judged for."""
    from htr_ssl.config.yaml_files import kind_of, load_config

    config: Any = load_config(path, overrides, kind_of(path, overrides))
    return config  # type: ignore[no-any-return]


def _print(source: str, report: Report) -> None:
    """What there is, the findings with some examples, the verdict."""
    from htr_ssl.check.doctor import titled, visible
    from htr_ssl.data.splits.splitting import FACTS

    counts = report.splits()
    names = list(next(iter(counts.values())))
    table((source, *names), [(split, *(f"{row[name]:,}" for name in names)) for split, row in counts.items()])
    signs = report.characters()
    facts = [("characters", f"{len(signs)}: {''.join(map(visible, sorted(signs)))}")] if signs else []
    facts += [("widths", report.widths())] if report.widths() else []
    facts += [(name, value) for name, value in report.survey.samples.facts.items() if name not in FACTS[1:]]
    pairs("", facts)
    rows: list[tuple[str, str, str]] = []
    for finding in report.findings:
        places = [visible(report.names(example)) for example in finding.examples[: finding.shown]]
        more = len(finding.examples) - len(places)
        places += [f"… and {more:,} more"] if more else []
        rows.append((finding.severity, titled(finding), places[0] if places else finding.advice))
        rows += [("", "", place) for place in places[1:]]
    if rows:
        table(("", "finding", ""), rows)
    say(f"\nnot sound: {'; '.join(report.reasons)}" if report.reasons else "\nsound: no finding is an error")

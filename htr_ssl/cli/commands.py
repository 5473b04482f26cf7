"""The command ``htr-ssl``. Heavy libraries are imported inside the commands, so that ``--help`` answers at once."""

from __future__ import annotations

import io
import shlex
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from htr_ssl import __version__
from htr_ssl.cli.arguments import Given, loaded
from htr_ssl.cli.check import check as check  # a command of data
from htr_ssl.cli.data import data
from htr_ssl.cli.export import export
from htr_ssl.cli.learn import learn
from htr_ssl.cli.lm import lm
from htr_ssl.cli.look import neighbours, views
from htr_ssl.cli.models import models
from htr_ssl.cli.segment import segment
from htr_ssl.cli.show import fail, formats, methods, named, note, say, show, splits
from htr_ssl.cli.speed import encoders, profile
from htr_ssl.cli.transcribe import transcribe
from htr_ssl.errors import UserError, WriteError

if TYPE_CHECKING:
    from htr_ssl.config import DataConfig

app = typer.Typer(
    help="Handwritten text recognition when almost nothing is transcribed.\n\n"
    "With scans: htr-ssl transcribe reads them, you correct some pages, htr-ssl learn learns from those. With lines of "
    "which some are transcribed: htr-ssl learn. To see it work: htr-ssl quickstart.\n\n"
    "Step by step: images without text → pretrain → a few labels (texts) → finetune → evaluate, table, transcribe. "
    "docs/glossary.md explains the words.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Folder for all that it makes. [default: runs/NAME, as name=NAME says]"),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only results and warnings.")]
Device = Annotated[str, typer.Option(help="What computes: auto, cpu, cuda, cuda:1 or mps (Apple).")]
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A model's file that finetune wrote, or its name.")]
LanguageModel = Annotated[
    str, typer.Option("--lm", metavar="FILE", help="Language model: auto = the model's own; none; or a file.")
]


@app.callback(invoke_without_command=True)
def _options(version: Annotated[bool, typer.Option("--version", help="Show the version and leave.")] = False) -> None:
    if version:
        say(__version__)
        raise typer.Exit


app.command(rich_help_panel="Start")(learn)


@app.command(rich_help_panel="Start")
def quickstart(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for everything it makes.")] = Path(
        "htr-ssl-quickstart"
    ),
    seed: Annotated[int, typer.Option(help="Number that all random choices follow from.")] = 0,
) -> None:
    """Go the whole way once on synthetic handwriting: pretrain, fine-tune, table, transcribed page.

    Needs no data, no network and no GPU.
    """
    from htr_ssl.experiments import quickstart as steps

    steps.run(out, seed)


@app.command(rich_help_panel="Train")
def pretrain(config: Given = None, out: Out = None, quiet: Quiet = False) -> None:
    """Pretrain an encoder on images without text → encoder.safetensors.

    The same command continues a run that was stopped.

    Example: `htr-ssl pretrain data.source=scans train.steps=5000`
    """
    from htr_ssl.config import PretrainConfig

    whole = loaded(config, PretrainConfig)
    from htr_ssl.training import pretrain as training

    say(training.run(whole, out or Path("runs") / whole.name, progress=not quiet))


@app.command(rich_help_panel="Train")
def finetune(config: Given = None, out: Out = None, quiet: Quiet = False) -> None:
    """Train a recognizer on labelled images → model.safetensors.

    `init=` starts from an encoder or a recognizer, `fraction=0.05` uses 5 % of the labels. `probe=linear` or
    `probe=bilstm` freezes the encoder and trains only what stands on it; raise train.lr then, e.g. to 0.01. The same
    command continues a run that was stopped.

    Example: `htr-ssl finetune data.source=lines init=runs/pretrain/encoder.safetensors`
    """
    from htr_ssl.config import FinetuneConfig

    whole = loaded(config, FinetuneConfig)
    from htr_ssl.training import finetune as training

    say(training.run(whole, out or Path("runs") / whole.name, progress=not quiet))


@app.command(rich_help_panel="Measure")
def table(
    config: Given = None,
    out: Out = None,
    final: Annotated[bool, typer.Option("--final", help="Score the test split, once, and write down when.")] = False,
    quiet: Quiet = False,
) -> None:
    """Compare ways of training: rows × shares of the labels × seeds → Markdown, CSV, LaTeX and a picture.

    Each is trained and scored, cell by cell; the same command continues where it was stopped and repeats cells that
    failed.

    The validation split is scored until `--final`. Beside every score stands its 95 % interval over writers, else pages
    (`interval_unit`), and over seeds; p-values against the baseline are plain and corrected for the rows of a column
    (Holm); bold is all that is not separable from the best. The caption says how many units there are, which seeds
    pretraining (`pretrain_seeds`) and fine-tuning had, how many labels were learnt and how many chose the weights
    (`select`), what each row cost, and what was read when. Where a row has a method, a supervised row of the same
    compute stands beside it (`matched`). `pairs=true` compares every row with every other.

    Example: `htr-ssl table data.source=words.parquet data.level=word "seeds=[0, 1, 2]"`
    """
    from htr_ssl.config import TableConfig

    whole = loaded([*(config or []), *(["report=test"] if final else [])], TableConfig)
    from htr_ssl.experiments import table as tables

    made = tables.run(whole, out or Path("runs") / whole.name, progress=not quiet)
    say((made.out / "table.md").read_text(encoding="utf-8"))
    note(f"{made.out}: table.md, table.csv, table.tex, cells.csv, curve.png ({whole.report} split)")
    fail([named(cell.folder, str(cell.error)) for cell in made.failed], len(made.cells))


@app.command(rich_help_panel="Measure")
def evaluate(
    model: Model,
    source: Annotated[
        str | None,
        typer.Argument(metavar="DATA", help="Lines with text to score it on. [default: those of its training]"),
    ] = None,
    split: Annotated[str, typer.Option(help="train, validation, test, or all of DATA.")] = "test",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for result.json and predictions.csv.")] = None,
    format: Annotated[str, typer.Option(help="Format of DATA; see `htr-ssl formats`.")] = "auto",
    splits: Annotated[
        str | None, typer.Option(metavar="NAME", help="Published split to divide DATA by; see `htr-ssl splits`.")
    ] = None,
    interval_unit: Annotated[
        str | None,
        typer.Option(
            metavar="UNIT",
            help="What intervals take as a whole: writer, page or sample. [default: the coarsest that is known]",
        ),
    ] = None,
    pages: Annotated[
        bool, typer.Option("--pages", help="DATA are whole pages, PAGE or ALTO with text: find the lines too.")
    ] = False,
    segmenter: Annotated[str, typer.Option(help="With --pages: what finds the lines.")] = "learned",
    cache: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Keeps the decoded images, as data.cache of a training does.")
    ] = None,
    device: Device = "auto",
    language_model: LanguageModel = "auto",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 = all free cores.")] = 0,
) -> None:
    """Score a model: wrong characters (CER), wrong and right words (WER, WAcc), and what it confuses most.

    The range beside a figure is where that of other pages of the same kind would lie, in 95 of 100 cases.

    With a language model it says both: with and without. The weights of one from a file are chosen on validation.

    With `--pages` it reads whole pages as `transcribe` does and says what finding the lines and their order cost.

    Example: `htr-ssl evaluate runs/finetune/model.safetensors --out runs/finetune`
    """
    if pages:
        from htr_ssl.cli.whole_pages import whole_pages

        whole_pages(model, source, segmenter, out, device, threads, language_model)
        return
    from htr_ssl.cli.show import reliability, scores
    from htr_ssl.experiments import evaluate as evaluation
    from htr_ssl.models import shelf

    model = shelf.find(model)
    if interval_unit not in (None, *evaluation.UNITS):
        raise UserError(f"--interval-unit {interval_unit}: expected one of {', '.join(evaluation.UNITS)}")
    given = _data(model, source, format, splits, cache)
    result = evaluation.evaluate(model, given, split, out, device, threads, unit=interval_unit, lm=language_model)
    scores(result)
    if out is not None:
        reliability(model, given, split, out, device, language_model)
    fail([f"{name}: not scored, the image cannot be read" for name in result["unreadable"]], result["n"])


app.command(rich_help_panel="Measure")(profile)
app.command(rich_help_panel="Look")(views)
app.command(rich_help_panel="Look")(neighbours)
app.command(rich_help_panel="Use")(transcribe)
app.command(rich_help_panel="Use")(export)
app.add_typer(data, name="data", rich_help_panel="Use")
app.add_typer(models, name="models", rich_help_panel="Use")
app.add_typer(lm, name="lm", rich_help_panel="Train")
app.add_typer(segment, name="segment", rich_help_panel="Use")
for _command in (methods, encoders, formats, splits, show):
    app.command(rich_help_panel="What there is")(_command)


def _data(
    model: Path, source: str | None, format: str, splits: str | None = None, cache: str | None = None
) -> DataConfig | None:
    """The model's own data with another source, which is divided by a published split only if one is given."""
    if source is None and splits:
        raise UserError("--splits divides DATA; give it, or leave --splits out: the model knows its own split")
    if source is None and cache is None:
        return None
    from htr_ssl.config import DataConfig
    from htr_ssl.model_file import read_header

    own = read_header(model)["data"] | {"cache": cache}
    if source is None:
        return DataConfig(**own)
    kept = own.get("splits") if source == own["source"] else None
    return DataConfig(**{**own, "source": source, "format": format, "splits": splits or kept})


def _warn(message: Warning | str, category: type[Warning], *place: Any, **_: Any) -> None:
    """Prints the package's own warnings as one line; those of libraries are for developers."""
    if issubclass(category, UserWarning):
        note(f"warning: {message}", "yellow")


def main() -> None:
    """Entry point: 0 all done, 1 some failed or cannot be written, 2 bad usage or configuration, 130 stopped."""
    warnings.showwarning = _warn
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a console that knows no arrows still shows the rest
    try:
        app(prog_name="htr-ssl")
    except UserError as error:
        note(str(error), "red")
        sys.exit(1 if isinstance(error, WriteError) else 2)
    except OSError as error:
        if error.filename is None:
            raise
        note(f"{error.filename}: {error.strerror}; check the path", "red")
        sys.exit(2)
    except SystemExit as error:
        if error.code == 130:
            note(f"stopped; the same command goes on from here: htr-ssl {shlex.join(sys.argv[1:])}", "yellow")
        raise

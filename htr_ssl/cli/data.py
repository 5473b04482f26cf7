"""The commands ``htr-ssl data …``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from htr_ssl.cli.show import note, pairs, say

if TYPE_CHECKING:
    from htr_ssl.data.importing import Outcome
    from htr_ssl.data.samples import Samples

data = typer.Typer(help="Make, check and look at data.", no_args_is_help=True, rich_markup_mode="markdown")


class Level(StrEnum):
    """What one image shows."""

    word = "word"
    line = "line"


class Encoding(StrEnum):
    """How images are stored that are cut out or scaled."""

    webp = "webp"
    png = "png"


class By(StrEnum):
    """What stays together when splits are drawn."""

    page = "page"
    writer = "writer"
    row = "row"


_DATA = "File, folder, zip or tar, or hf://OWNER/NAME; see `htr-ssl formats`."
Source = Annotated[str, typer.Argument(metavar="DATA", help=_DATA)]
Target = Annotated[Path, typer.Argument(metavar="OUT.parquet", help="File to write.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only results and warnings.")]
LevelOption = Annotated[Level, typer.Option(help="What one image shows.")]
Format = Annotated[str, typer.Option(help="Format of DATA; see `htr-ssl formats`.")]
Seed = Annotated[int, typer.Option(help="Number that all random choices follow from.")]
Splits = Annotated[
    str | None, typer.Option(metavar="NAME", help="Published split to divide DATA by; see `htr-ssl splits`.")
]
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A model's file that finetune wrote, or its name.")]
Partial = Annotated[bool, typer.Option("--partial", help="Take what is there of a published split.")]
Strict = Annotated[bool, typer.Option("--strict", help="End with code 1 if anything was left out.")]
Threads = Annotated[int, typer.Option(min=0, help="At work; 0 = one per CPU.")]


@data.command()
def synth(
    out: Target,
    options: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Others, e.g. hands=50, text=texts.txt, fonts=FOLDER, scans=lines."),
    ] = None,
    level: LevelOption = Level.line,
    samples: Annotated[int, typer.Option(min=1, help="Number of images.")] = 2000,
    seed: Seed = 0,
) -> None:
    """Write synthetic handwriting with its text as one Parquet file.

    Example: `htr-ssl data synth words.parquet --level word --samples 5000 hands=50`
    """
    from htr_ssl.config.yaml_files import load_config
    from htr_ssl.data import synthetic

    config = load_config(None, [*(options or []), f"samples={samples}"], synthetic.Config)
    synthetic.write_parquet(synthetic.samples(config, level.value, seed), out)
    note(f"{out}: {samples} synthetic {level.value}s")


@data.command("import")
def import_(
    format: Annotated[str, typer.Argument(metavar="FORMAT", help="Format of DATA, or auto; see `htr-ssl formats`.")],
    source: Source,
    out: Target,
    level: LevelOption = Level.line,
    height: Annotated[int, typer.Option(min=0, help="Scale images down to this height [px]; 0 leaves them.")] = 0,
    encoding: Annotated[
        Encoding, typer.Option(help="Of cut or scaled images: webp, or png (without loss).")
    ] = Encoding.webp,
    splits: Splits = None,
    partial: Partial = False,
    detokenise: Annotated[
        bool, typer.Option("--detokenise", help="Join what stands apart: `word .` becomes `word.` (IAM's lines).")
    ] = False,
    threads: Threads = 0,
    strict: Strict = False,
    quiet: Quiet = False,
) -> None:
    """Bring data of any format into one Parquet file: lines or words are cut out of pages, what is unusable is named.

    With a published split its images alone are written, divided as it says. The same command goes on where it was
    stopped. A list of what was left out lies beside the file; with --strict it is a failure (code 1).

    Example: `htr-ssl data import auto export lines.parquet --height 128`
    """
    from htr_ssl.bars import rows_bar
    from htr_ssl.data import importing
    from htr_ssl.data.loading import joined
    from htr_ssl.data.reading import read
    from htr_ssl.text import tokens

    samples = divided(read(source, format, level.value), splits, partial)
    if detokenise:
        samples = joined(samples)
    elif samples.facts.get(tokens.FACT) == tokens.APART:
        note("its tokens stand apart (`word .`), and scores will say so; --detokenise joins them", "yellow")
    with rows_bar(quiet) as progress:
        outcome = importing.write(samples, out, height, encoding.value, threads, progress)
    note(f"{out}: {outcome.rows} {level.value}s, {outcome.labelled} with text")
    for sentence in samples.notes:
        note(sentence, "yellow")
    _left_out(outcome, strict)


@data.command()
def words(
    model: Model,
    source: Source,
    out: Target,
    confidence: Annotated[float, typer.Option(min=0, max=1, help="Leave out words below; 0 keeps all.")] = 0.1,
    format: Format = "auto",
    device: Annotated[str, typer.Option(help="What computes: auto, cpu, cuda, cuda:1 or mps (Apple).")] = "auto",
    strict: Strict = False,
    quiet: Quiet = False,
) -> None:
    """Cut transcribed lines into words where a recognizer finds them (CTC alignment).

    Lines with characters that the recognizer does not know are left out and named.

    Example: `htr-ssl data words runs/finetune/model.safetensors lines.parquet words.parquet`
    """
    from htr_ssl.bars import rows_bar
    from htr_ssl.data import importing
    from htr_ssl.data.reading import read
    from htr_ssl.models import shelf
    from htr_ssl.recognizers.reader import Reader
    from htr_ssl.recognizers.words import words_of

    reader = Reader.load(shelf.find(model), device)
    with rows_bar(quiet) as progress:
        samples = words_of(read(source, format, "line"), reader, confidence, progress)
    with rows_bar(quiet) as progress:
        outcome = importing.write(samples, out, progress=progress)
    note(f"{out}: {outcome.rows} words")
    _left_out(outcome, strict)


@data.command()
def stackmix(
    model: Model,
    source: Source,
    out: Target,
    samples: Annotated[int, typer.Option(min=1, help="Number of new lines.")] = 2000,
    subset: Annotated[
        Path | None,
        typer.Option(metavar="LIST", help="Labels to use; default: subset.txt beside MODEL, if it is there."),
    ] = None,
    confidence: Annotated[float, typer.Option(min=0, max=1, help="Leave out words below; 0 keeps all.")] = 0.1,
    height: Annotated[int, typer.Option(min=0, help="Of the lines [px]; 0 = that of MODEL.")] = 0,
    seed: Seed = 0,
    format: Format = "auto",
    device: Annotated[str, typer.Option(help="What computes: auto, cpu, cuda, cuda:1 or mps (Apple).")] = "auto",
    quiet: Quiet = False,
) -> None:
    """Set words of transcribed train lines side by side as new lines with their text (StackMix).

    The words are cut where a recognizer finds them, as by `data words`. Validation and test lines are not touched.

    Example: `htr-ssl data stackmix runs/finetune/model.safetensors lines.parquet mixed.parquet --samples 5000`
    """
    from htr_ssl.bars import rows_bar
    from htr_ssl.config import DataConfig
    from htr_ssl.data import importing
    from htr_ssl.models import shelf
    from htr_ssl.recognizers.reader import Reader
    from htr_ssl.recognizers.stackmix import as_trained, stackmix, to_mix

    path = shelf.find(model)
    reader = Reader.load(path, device)
    config = reader.formatted(as_trained(DataConfig(source=source, format=format), reader.header))
    beside = path.with_name("subset.txt")
    lines = to_mix(config, subset or (beside if beside.exists() else None))
    if height:
        config = config.model_copy(update={"height": height, "max_width": config.max_width * height // config.height})
    with rows_bar(quiet) as progress:
        mixed = stackmix(lines, reader, samples, config, confidence, seed, progress)
    with rows_bar(quiet) as progress:
        importing.write(mixed, out, encoding="png", progress=progress)
    note(f"{out}: {samples} lines, made of {mixed.words} words of {len(lines)} lines")
    note(f"{mixed.left_out} word(s) below confidence {confidence:g} are left out")


def divided(samples: Samples, splits: str | None, partial: bool) -> Samples:
    """Samples of a published split, if one is asked for; says how many they are, and how many belong to no part."""
    from htr_ssl.data.splits.splitting import MARK, NAME, divide
    from htr_ssl.errors import UserError

    if splits is None:
        if partial:
            raise UserError("--partial takes what is there of a published split; name it with --splits NAME")
        return samples
    parts = divide(samples, splits, partial)
    counts = ", ".join(f"{parts.column('split').count(name)} {name}" for name in ("train", "validation", "test"))
    rest = len(samples) - len(parts)
    outside = f"; {rest} are in none of its parts and left out" if rest else ""
    note(f"{parts.facts[NAME]} (SHA-256 {parts.facts[MARK][:12]}…): {counts}{outside}")
    return parts


def _left_out(outcome: Outcome, strict: bool) -> None:
    """Says where the list of problems is, if there are any; with `strict` it ends with code 1."""
    if outcome.problems:
        note(f"warning: {outcome.report}: {len(outcome.problems)} left out, e.g. {outcome.problems[0]}", "yellow")
        if strict:
            raise typer.Exit(1)


@data.command()
def stats(
    source: Source,
    level: LevelOption = Level.line,
    format: Format = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """Count images, texts, writers and pages of each split, and measure the images.

    Example: `htr-ssl data stats words.parquet --level word`
    """
    import json

    from htr_ssl.check.describe import describe
    from htr_ssl.cli.show import table
    from htr_ssl.data.reading import read

    found = describe(read(source, format, level.value))
    if as_json:
        say(json.dumps(found, ensure_ascii=False, indent=2))
        return
    heads = ("split", "images", "labelled", "words", "characters", "alphabet", "writers", "pages")
    table(heads, [(split, *(f"{counts[name]:,}" for name in heads[1:])) for split, counts in found["splits"].items()])
    facts = [("left out", str(found["left_out"]))] if found["left_out"] else []
    sizes = [(name, str(value)) for name, value in found["sizes"].items()]
    pairs("5, 50, 95 % of the images", [*sizes, *facts, *found["facts"].items()])


@data.command()
def split(
    source: Source,
    out: Target,
    by: Annotated[By, typer.Option(help="What stays together in one split.")] = By.page,
    validation: Annotated[float, typer.Option(min=0, max=1, help="Share of the labelled images.")] = 0.1,
    test: Annotated[float, typer.Option(min=0, max=1, help="Share of the labelled images.")] = 0.1,
    splits: Splits = None,
    partial: Partial = False,
    level: LevelOption = Level.line,
    format: Format = "auto",
    seed: Seed = 0,
    strict: Strict = False,
    quiet: Quiet = False,
) -> None:
    """Draw train, validation and test anew, or take a published split, and write a Parquet file that names them.

    Example: `htr-ssl data split lines.parquet divided.parquet --by writer --test 0.2`
    """
    from htr_ssl.bars import rows_bar
    from htr_ssl.check.describe import draw
    from htr_ssl.data import importing
    from htr_ssl.data.reading import read
    from htr_ssl.data.splits.splitting import FACTS, NAME

    samples = divided(read(source, format, level.value), splits, partial)
    if splits:
        drawn = samples.column("split")
    else:
        drawn = draw(samples, by.value, validation, test, seed)
        kept = {key: value for key, value in samples.facts.items() if key not in FACTS}
        samples.facts = {**kept, NAME: f"by {by.value}, {validation:g} and {test:g}, seed {seed}"}
    with rows_bar(quiet) as progress:
        outcome = importing.write(samples, out, splits=drawn, progress=progress)
    counts = ", ".join(f"{drawn.count(name)} {name}" for name in ("train", "validation", "test"))
    note(f"{out}: {outcome.rows} {level.value}s: {counts}")
    _left_out(outcome, strict)


@data.command()
def fill(
    source: Source,
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="CSV or TSV with the columns id and text.")],
    out: Target,
    level: LevelOption = Level.line,
    format: Format = "auto",
    strict: Strict = False,
    quiet: Quiet = False,
) -> None:
    """Put texts that you wrote into a table, such as next.csv of `learn`, into the data that they belong to.

    Writes a new Parquet file: all images of DATA, with the texts of the table where it has one. Rows without a text
    change nothing; ids that DATA does not have are named.

    Example: `htr-ssl data fill lines.parquet runs/learn/next.csv more.parquet`
    """
    from htr_ssl.bars import rows_bar
    from htr_ssl.data import filling, importing
    from htr_ssl.data.reading import read

    samples = read(source, format, level.value)
    found = filling.look_up(samples, table)
    before = samples.column("text")
    changed = sum(before[row] not in (None, text) for row, text in found.texts.items())
    view = filling.filled(samples, found)
    view.problems += found.problems
    with rows_bar(quiet) as progress:
        outcome = importing.write(view, out, progress=progress)
    note(f"{out}: {outcome.rows} {level.value}s, {outcome.labelled} with text; {len(found.texts)} are from {table}")
    if changed:
        note(f"{changed} of them had another text before")
    if empty := len(found.rows) - len(found.texts):
        note(f"{empty} row(s) of {table} have no text yet")
    _left_out(outcome, strict)


@data.command()
def show(
    source: Source,
    out: Annotated[Path, typer.Option("--out", "-o", help="Picture to write (PNG).")] = Path("sheet.png"),
    samples: Annotated[int, typer.Option(min=1, help="Number of images on the sheet.")] = 30,
    only: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="Show the images whose ids this table has, all and large; see data fill."),
    ] = None,
    level: LevelOption = Level.line,
    format: Format = "auto",
    seed: Seed = 0,
) -> None:
    """Put random images, or those that a table names, with their text or id on one picture.

    Example: `htr-ssl data show words.parquet --out sheet.png`
    """
    from htr_ssl.data import filling
    from htr_ssl.data.reading import read
    from htr_ssl.look.sheet import sheet

    found = read(source, format, level.value)
    if only is None:
        sheet(found, out, samples, seed)
    else:
        rows = filling.look_up(found, only).rows
        sheet(filling.chosen(found, rows), out, len(rows), seed, large=True)
    say(out)

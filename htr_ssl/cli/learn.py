"""The command that does all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from htr_ssl.cli.data import Level, LevelOption
from htr_ssl.cli.show import note, say


def learn(
    source: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="Images of lines, some or none with a text: a folder, Parquet, PAGE, ALTO …, or pages that "
            "`transcribe` read and you corrected.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the model and what it reads.")] = Path(
        "runs/learn"
    ),
    hours: Annotated[float, typer.Option(help="About how long it may take.")] = 1.0,
    start: Annotated[str, typer.Option(help="Recognizer to start from: a name, a file, or none.")] = "base",
    fraction: Annotated[
        float, typer.Option(min=0, max=1, help="Share of your texts to use, to try how far fewer would go.")
    ] = 1.0,
    format: Annotated[str, typer.Option(help="How DATA is read; see `htr-ssl formats`.")] = "auto",
    level: LevelOption = Level.line,
    seed: Annotated[
        int, typer.Option(help="Number that random choices follow from; the lines to score by stay the same.")
    ] = 0,
    device: Annotated[str, typer.Option(help="What computes: auto, cpu, cuda, cuda:1 or mps (Apple).")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 = as many as are fastest.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only results and warnings.")] = False,
) -> None:
    """Learn a hand from a few transcribed lines, in the time you give, and read the lines that have no text.

    It fine-tunes the base recognizer on your lines, reads the others, learns from the readings it is surest of, and
    scores itself on lines it has not seen. Without any text it learns from the readings alone, and there is no score.
    The plan is shown first. After any stop the same command goes on.

    The folder holds `model.safetensors` (language model included), `result.json` (the score), `readings.csv` (the
    untranscribed lines, read; a part of them if there are too many for the time) and `next.csv` (the lines to
    transcribe next; `htr-ssl data fill` puts their texts into DATA).

    Example: `htr-ssl learn lines --hours 1`, then `htr-ssl transcribe runs/learn/model.safetensors scans --out text`

    From scans: `htr-ssl transcribe scans --out text`, correct some pages there, `htr-ssl learn text --hours 1`
    """
    from htr_ssl.cli.show import scores
    from htr_ssl.config import DataConfig, TrainConfig
    from htr_ssl.courses.course import run

    data = DataConfig(source=source, format=format, level=level.value)
    train = TrainConfig(device=device, threads=threads)
    course = run(data, out, hours, start, fraction, seed, train, note, not quiet)
    if course.score is not None:
        scores(course.score)
    say(f"model      {course.model}")
    say(f"readings   {course.readings}")
    say(f"next lines {course.next}")

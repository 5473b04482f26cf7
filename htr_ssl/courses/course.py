"""The course of learning: check, plan, fine-tune, read the unlabelled lines and learn from the surest, score, read all.

Source of the rounds: Xie et al. 2020, "Self-training with noisy student", arXiv 1911.04252. Differs: a round goes on
from the weights that have read, not from the start. In an hour of a core a network does not learn all that its lines
have to teach, and the updates before are worth more than a student that shares no mistakes (benchmarks/few_labels).
After each training the mean of the weights before and after it is a candidate too (recognizers/averaging.py).

Every stage lies in a folder of its own and is skipped when it is done, so that the same command goes on after any stop.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from htr_ssl import model_file
from htr_ssl.check import doctor
from htr_ssl.config import DataConfig, FinetuneConfig, LanguageConfig, Pseudo, TrainConfig
from htr_ssl.courses import schedule
from htr_ssl.data.loading import read_samples, rows_of
from htr_ssl.data.samples import Samples
from htr_ssl.data.splits import identity, subsets
from htr_ssl.errors import UserError
from htr_ssl.experiments.evaluate import evaluate
from htr_ssl.files import atomic_path, write_json, write_text
from htr_ssl.folders import begin_run
from htr_ssl.models import shelf
from htr_ssl.recognizers.aligned import strips_aligned
from htr_ssl.recognizers.reader import Reader
from htr_ssl.text.charset import Charset
from htr_ssl.training import equip, finetune, pseudo

PLAN, MODEL, SCORE = "plan.json", "model.safetensors", "result.json"
READINGS, NEXT = "readings.csv", "next.csv"
SUBSET = "subset.txt"
"""Ids of the lines whose texts were learnt, beside every model."""
START = "start"
"""Folder of the start as it is, with a language model of the labels, which every training has to beat."""
RUN, AVERAGED = "run", "averaged"
"""Folders of a round's training, and, in that of a training, of the mean of the weights before and after it."""
LANGUAGE = "language"
"""Folder of the last stage: a language model of what the best model has read."""
FITTING = 0.8
"""Least share of the labels' characters that a start must know to be started from."""
_SIZES = ("height", "channels", "max_width")  # of the images of a recognizer
_NEXT = 20  # lines that are proposed for transcription
_MISSES = 2  # rounds in a row without a gain that end the course
_PROBE = 8  # updates that are timed
_CHUNK = 256  # images held at once
Say = Callable[[str], None]


@dataclass(frozen=True)
class Course:
    """What a course leaves.

    Attributes:
        folder: with plan.json, and a folder for each stage.
        model: recognizer and language model in one file.
        score: as in result.json of `evaluate`, on held-out lines; None if there were too few labels to hold some out.
        readings: CSV of the lines without a text: id, page, text, confidence.
        next: CSV of the lines to transcribe next: id, page, read, confidence, and an empty text to be filled in.
    """

    folder: Path
    model: Path
    score: dict[str, Any] | None
    readings: Path
    next: Path


def run(
    data: DataConfig,
    out: Path,
    hours: float = 1.0,
    start: str = "base",
    fraction: float = 1.0,
    seed: int = 0,
    train: TrainConfig | None = None,
    say: Say = lambda text: None,
    progress: bool = True,
) -> Course:
    """Learns in the folder `out`, or goes on there.

    Args:
        data: images, some with texts. Their own validation split is the score's; without one some lines are held out.
            A test split is not touched.
        out: folder.
        hours: about how long it may take.
        start: recognizer to start from: a name, a file, or `none`.
        fraction: share of the labels that is used; the other train lines count as unlabelled.
        seed: of the subset and the trainings; the held-out lines are drawn by `data.seed`, so that courses share them.
        train: hardware options; steps, batch size and rate are chosen here.
        say: takes sentences on what is chosen.
        progress: show bars.

    Raises:
        UserError: no text to learn from and too few lines without one, or the folder holds another course.
        KeyboardInterrupt: the same call goes on.
    """
    if hours <= 0:
        raise UserError(f"hours={hours:g}: give the time there is, such as 0.5")
    if not 0 < fraction <= 1:
        raise UserError(f"fraction={fraction:g}: give a share of the labels above 0, at most 1")
    if start != "none":
        _recognizer(start)
    asked = {"data": data.model_dump(), "hours": hours, "start": start, "fraction": fraction, "seed": seed}
    train = train or TrainConfig()
    goes_on = (out / PLAN).exists()
    plan = _planned(asked, data, out, train, say)
    identity.check(out, {data.source: read_samples(_undivided(data))}, {}, goes_on)
    data = DataConfig(**plan["data"])
    config = _finetuning(plan, data, train)
    begun = time.monotonic()
    models = [finetune.begun(config, out / START)] if plan["init"] else []
    if plan["budget"]["first"]:
        models.append(_trained(config, out / "first", plan["budget"]["first"], progress=progress))
        if plan["init"]:
            models.append(_averaged(models[0], models[1], config))
    missed = 0  # rounds in a row that read the held-out lines no better; of few lines one may do so by chance
    for number, steps in enumerate(plan["budget"]["rounds"], 1):
        folder = out / f"round{number}"
        reader = models[-1] if missed else _best(models, config, plan)
        read = pseudo.make(reader, config, _choice(plan, schedule.KEEP), folder)
        facts = json.loads(read.read_text(encoding="utf-8"))
        learnt = f"learns from {len(facts['labels'])} of {facts['images']} lines"
        say(f"round {number}: {learnt} that {_stage(reader, out)} has read")
        if not facts["labels"]:
            break
        made = [_trained(config, folder / RUN, steps, (reader, read), progress)]
        if plan["held_out"]:  # without them nobody would know which of the two reads better
            made.append(_averaged(reader, made[0], config, read))
        models += made
        missed = 0 if _best(models, config, plan) in made else missed + 1
        if missed == _MISSES:
            say(f"round {number}: {missed} rounds in a row read the held-out lines no better; it is the last")
            break
    if plan["budget"].get("language"):
        reader = _best(models, config, plan)
        read = pseudo.make(reader, config, _choice(plan, 1.0), out / LANGUAGE)
        if pseudo.read(read):
            models.append(finetune.with_language(reader, config, read, out / LANGUAGE))
    best = _best(models, config, plan)
    score = _told_scores(models, best, config, out, say) if plan["held_out"] else None
    for name, source in ((SUBSET, best.with_name(SUBSET)), (MODEL, best)):
        if not (out / name).exists():
            with atomic_path(out / name) as temporary:
                shutil.copyfile(source, temporary)
    rows = _unlabelled(read_samples(data), best.with_name(SUBSET))
    if not plan["budget"].get("rest", True):
        rows = equip.spread(rows, plan["budget"]["pool"])
    _read_all(out, config, rows)
    say(f"done in {(time.monotonic() - begun) / 60:.0f} minutes")
    return Course(out, out / MODEL, score, out / READINGS, out / NEXT)


def _planned(asked: dict[str, Any], data: DataConfig, out: Path, train: TrainConfig, say: Say) -> dict[str, Any]:
    """The plan in the folder, or a new one."""
    path = out / PLAN
    if path.exists():
        plan: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if plan["asked"] != json.loads(json.dumps(asked)):
            wrong = [key for key, value in json.loads(json.dumps(asked)).items() if plan["asked"].get(key) != value]
            raise UserError(f"{out}: it holds a course with another {', '.join(wrong)}; give another --out")
        say(f"goes on with the plan in {path}")
        return plan
    samples = read_samples(_undivided(data))
    labelled = [row for row, text in enumerate(samples.column("text")) if text]
    begin_run(out)
    _looked_at(samples, out, say)
    given = "validation" in [samples.column("split")[row] for row in labelled]
    trainable = len(rows_of(samples, "train", labelled=True))
    kept = 0 if given else schedule.held_out(trainable)
    share = kept / trainable if kept else 0.0
    data = data.model_copy(update={"validation": share, "test": 0.0})
    samples = read_samples(data)
    known = len(rows_of(samples, "train", labelled=True))
    labels = max(min(1, known), round(known * asked["fraction"]))  # of some labels one is always learnt
    unlabelled = len(rows_of(samples, "train", labelled=False)) - labels
    init, why = _start(asked["start"], samples)
    if not labels and (init is None or unlabelled < schedule.FEWEST):
        raise UserError(
            f"{data.source}: no line has a text to learn from; transcribe some first (20 are a beginning). Of pages: "
            "read them with htr-ssl transcribe, correct some pages in its folder, and learn from that folder. Without "
            f"any text learn needs {schedule.FEWEST} lines and a recognizer to start from"
        )
    if init is not None:  # the images are made as those of the start
        header = _recognizer(init)
        data = data.model_copy(update={key: header[key] for key in _SIZES if key in header})
    plan = {"asked": asked, "data": data.model_dump(), "init": init, "why": why, "fraction": asked["fraction"]}
    plan |= {"seed": asked["seed"], "labels": labels, "unlabelled": unlabelled}
    plan["held_out"] = len(rows_of(samples, "validation", labelled=True))
    plan["held_out_wanted"] = kept or plan["held_out"]
    plan["learnt_by_start"] = _learnt(init, samples)
    plan["images_a_second"] = round(_speed(_finetuning(plan, data, train)), 2)
    speed = plan["images_a_second"]
    made = schedule.plan(labels, unlabelled, speed, asked["hours"], init is not None, plan["held_out"] > 0)
    if not labels and not made.rounds:
        raise UserError(
            f"{data.source}: no line has a text, and the time is too short to learn without; give more --hours"
        )
    plan["budget"] = asdict(made)
    for sentence in _told(plan):
        say(sentence)
    write_json(path, plan)
    return plan


def _undivided(data: DataConfig) -> DataConfig:
    """The data with the splits that it names and no other."""
    return data.model_copy(update={"validation": 0.0, "test": 0.0})


def _choice(plan: dict[str, Any], keep: float) -> Pseudo:
    """What is read of the lines without a text, and what share of it is learnt from."""
    most = plan["budget"].get("pool", 0)
    return Pseudo(keep=keep, width_groups=schedule.WIDTH_GROUPS, parts=schedule.PARTS, most=most)


def _looked_at(samples: Samples, out: Path, say: Say) -> None:
    """Asks the doctor; check.json has all that it found."""
    report = doctor.check(samples, unlabelled=not any(samples.column("text")))
    write_json(out / "check.json", report.to_json())
    for finding in report.findings:
        if finding.severity != "note" and finding.kind not in ("no_test", "no_train"):  # a course needs neither
            say(f"{finding.severity}: {doctor.titled(finding)}")
    if not report.sound:
        say(
            f"the lines that are named in {out / 'check.json'} may be left out or mislead; htr-ssl data check says more"
        )


def _told(plan: dict[str, Any]) -> list[str]:
    """The plan in sentences."""
    made = plan["budget"]
    kept = plan["held_out"]
    lines = [
        f"{plan['labels']} lines with a text to learn from, {kept} more to score by, {plan['unlabelled']} without",
        f"start: {plan['why']}",
        *[f"first {made['first']} updates on the labels at {plan['images_a_second']:.0f} lines a second"]
        * (made["first"] > 0),
        *_rounds_told(made["rounds"], kept),
        *["last: a language model of the lines without a text, as the best model reads them"] * made["language"],
        f"about {made['seconds'] / 60:.0f} minutes in all",
    ]
    if made["language"] and made["pool"] < plan["unlabelled"]:
        lines.insert(-1, f"it learns from {made['pool']} of the lines without a text; more fit into more --hours")
    if not made["rest"]:
        said = f"the end reads {made['pool']} of the lines without a text; more fit into more --hours"
        lines.insert(-1, f"{said}, and htr-ssl transcribe reads the scans")
    if not made["rounds"] and plan["unlabelled"] >= schedule.FEWEST:
        lines.insert(-1, "no self-training: the time is too short for it; give more --hours")
    if kept != (wanted := plan.get("held_out_wanted", kept)):
        lines.insert(1, f"whole pages are held out, so that {kept} lines score instead of {wanted}")
    if learnt := plan.get("learnt_by_start"):
        lines.insert(1, f"the start has learnt {learnt} of the {kept} lines to score by: the score will be too good")
    if not kept:
        lines.insert(1, "no score: of fewer than 20 labelled lines none is held out")
    if not plan["labels"]:
        lines.insert(1, "no line to learn from has a text: it learns from what the start reads")
    return lines


def _rounds_told(rounds: Sequence[int], kept: int) -> list[str]:
    """The rounds of self-training in at most one sentence."""
    if not rounds:
        return []
    each = f"reads the lines without a text, then {rounds[0]} updates on its readings"
    if len(rounds) == 1:
        return [f"a round of self-training: {each}"]
    last = "; two in a row that read the held-out lines no better are the last" if kept else ""
    return [f"{len(rounds)} rounds of self-training, each from the one before: {each}{last}"]


def _start(name: str, samples: Samples) -> tuple[str | None, str]:
    """Where to start from, and why; the train labels alone are asked."""
    if name == "none":
        return None, "from nothing, as asked"
    header = _recognizer(name)
    known = set(Charset.of_model(header).characters)
    column = samples.column("text")
    texts = [column[row] or "" for row in rows_of(samples, "train", labelled=True)]
    if not any(texts):
        return name, f"{name}; without a text nobody knows whether it has the letters"
    letters = [character for text in texts for character in text if not character.isspace()]
    share = sum(character in known for character in letters) / max(1, len(letters))
    if share < FITTING:
        return None, f"from nothing: {name} knows only {100 * share:.0f} % of the characters"
    return name, f"{name}, which knows {100 * share:.0f} % of the characters"


def _recognizer(name: str) -> dict[str, Any]:
    """Header of the start."""
    header = model_file.read_header(shelf.find(name))
    if header.get("kind") != "recognizer":
        raise UserError(
            f"{name}: it is an encoder and reads nothing; fine-tune it first, or give a recognizer as --start"
        )
    return header


def _learnt(init: str | None, samples: Samples) -> int:
    """Held-out lines whose texts the start has learnt, as the list beside its file says."""
    beside = shelf.find(init).with_name(SUBSET) if init else None
    if beside is None or not beside.exists():
        return 0
    ids, known = samples.column("id"), set(subsets.read(beside))
    return sum(ids[row] in known for row in rows_of(samples, "validation", labelled=True))


def _finetuning(plan: dict[str, Any], data: DataConfig, train: TrainConfig) -> FinetuneConfig:
    """What all trainings of a course share, but for the rate of the rounds."""
    rate = schedule.FIRST_RATE if plan["init"] else schedule.RATE
    return FinetuneConfig(
        name="learn",
        seed=plan["seed"],
        data=data,
        init=plan["init"],
        fraction=plan["fraction"],
        select="last",
        lm=LanguageConfig(order=schedule.ORDER),
        train=train.model_copy(update={"batch_size": schedule.BATCH, "lr": rate}),
    )


def _speed(config: FinetuneConfig) -> float:
    """Images a second of a few updates."""
    from lightning.pytorch import Callback

    class Times(Callback):
        def __init__(self) -> None:
            self.seen: list[float] = []

        def on_train_batch_end(self, *_: Any) -> None:
            self.seen.append(time.monotonic())

    times = Times()
    train = config.train.model_copy(update={"steps": _PROBE, "check_every": _PROBE})
    with tempfile.TemporaryDirectory() as folder:
        labels = _made_up(config, Path(folder) / "labels.json")
        short = config.model_copy(update={"train": train, "lm": None, "pseudo": labels and str(labels)})
        finetune.run(short, Path(folder) / "speed", progress=False, callbacks=[times])
    steps = sorted(later - earlier for earlier, later in zip(times.seen[:-1], times.seen[1:], strict=True))
    return schedule.BATCH / max(1e-6, steps[len(steps) // 2])


def _made_up(config: FinetuneConfig, path: Path) -> Path | None:
    """Texts that only serve to time updates, where no line has one."""
    samples = read_samples(config.data)
    if config.init is None or rows_of(samples, "train", labelled=True):
        return None
    ids, rows = samples.column("id"), equip.spread(rows_of(samples, "train", labelled=False), _PROBE * schedule.BATCH)
    text = "".join(Charset.of_model(_recognizer(config.init)).characters).split()[0][0] * 5
    return pseudo.write(path, [(0.0, str(ids[row]), text) for row in rows], {})


def _trained(
    config: FinetuneConfig, out: Path, steps: int, read: tuple[Path, Path] | None = None, progress: bool = True
) -> Path:
    """One fine-tuning; `read` are the model that it goes on from and that model's readings."""
    train = config.train.model_copy(update={"steps": steps, "check_every": max(1, min(200, steps // 4))})
    if read:
        train = train.model_copy(update={"lr": schedule.RATE})
    more = dict(zip(("continue_from", "pseudo"), map(str, read), strict=True)) if read else {}
    return finetune.run(config.model_copy(update={"train": train, **more}), out, progress)


def _averaged(before: Path, model: Path, config: FinetuneConfig, read: Path | None = None) -> Path:
    """The mean of the weights before a training and after it; `read` are the readings that it learnt from."""
    return finetune.with_language(model, config, read, model.parent / AVERAGED, before)


def _best(models: Sequence[Path], config: FinetuneConfig, plan: dict[str, Any]) -> Path:
    """The model so far that reads the held-out lines best, of equal ones the last; the last if none are held out."""
    if not plan["held_out"]:
        return models[-1]
    return min(reversed(models), key=lambda model: float(_score(model, config)["cer"]))


def _score(model: Path, config: FinetuneConfig) -> dict[str, Any]:
    """What `evaluate` says of a model on the held-out lines; it is asked once."""
    path = model.with_name(SCORE)
    if not path.exists():
        evaluate(model, config.data, "validation", model.parent, config.train.device, config.train.threads)
    score: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return score


def _stage(model: Path, out: Path) -> str:
    """Name of the stage that has made a model, such as `round1` or `round1, averaged`."""
    return ", ".join(part for part in model.parent.relative_to(out).parts if part != RUN)


def _told_scores(models: Sequence[Path], best: Path, config: FinetuneConfig, out: Path, say: Say) -> dict[str, Any]:
    """The score of the best model, which is written down; those of all are said."""
    for model in models:
        score = _score(model, config)
        low, high = score["cer_ci"]
        cer = f"CER {100 * score['cer']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
        say(f"{_stage(model, out)}: {cer} on {score['n']} held-out lines")
    if _stage(best, out) == START:
        say("no training reads these lines better: the start is kept, with a language model of your texts")
    score = _score(best, config) | {"course": {"models": len(models), "chosen": _stage(best, out)}}
    write_json(out / SCORE, score)
    return score


def _unlabelled(samples: Samples, subset: Path) -> list[int]:
    """Rows of the train lines that were learnt without a text."""
    known, ids = set(subsets.read(subset)), samples.column("id")
    return [row for row in rows_of(samples, "train", labelled=False) if ids[row] not in known]


def _read_all(out: Path, config: FinetuneConfig, rows: Sequence[int]) -> None:
    """Writes what is read in the rows, and which of them to transcribe next."""
    if (out / READINGS).exists() and (out / NEXT).exists():
        return
    samples = read_samples(config.data)
    reader = Reader.load(out / MODEL, config.train.device, config.train.threads)
    strips = pseudo.readable(samples, rows, config.data)
    found: list[tuple[str, str, str, float]] = []
    if strips is not None:
        ids, pages = strips.ids(), samples.column("page")
        for start in range(0, len(strips), _CHUNK):
            part = range(start, min(start + _CHUNK, len(strips)))
            readings = strips_aligned(reader, [strips.strip(i) for i in part])
            found += [
                (ids[i], pages[strips.rows[i]] or "", one.text, one.confidence)
                for i, one in zip(part, readings, strict=True)
            ]
    write_text(out / READINGS, _table(("id", "page", "text", "confidence"), found))
    form = [(*one, "") for one in _doubtful(found)]  # `htr-ssl data fill` takes the texts that a person fills in
    write_text(out / NEXT, _table(("id", "page", "read", "confidence", "text"), form))


def _doubtful(found: Sequence[tuple[str, str, str, float]]) -> list[tuple[str, str, str, float]]:
    """Lines whose transcription should teach most: unsure ones with some text, from as many pages as possible."""
    least = 3 if any(len(one[2]) > 3 for one in found) else 0  # short readings are of scraps, unless all are short
    seen: dict[str, int] = defaultdict(int)
    ranked: list[tuple[int, int, tuple[str, str, str, float]]] = []
    for one in sorted((one for one in found if len(one[2]) > least), key=lambda one: (round(one[3], 4), one[0])):
        ranked.append((seen[one[1]], len(ranked), one))
        seen[one[1]] += 1
    return [one for _, _, one in sorted(ranked)[:_NEXT]]


def _table(titles: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> str:
    """CSV whose fourth column is a confidence."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(titles)
    writer.writerows((*row[:3], f"{row[3]:.3f}", *row[4:]) for row in rows)
    return buffer.getvalue()

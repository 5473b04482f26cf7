"""Fine-tuning: encoder + CTC on a share of the labelled train images; never opens the test split."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback
from rich.console import Console

from htr_ssl import model_file, plugins
from htr_ssl.config import DataConfig, FinetuneConfig, PluginConfig, Scope
from htr_ssl.data.loading import Strips, read_samples, rows_of
from htr_ssl.data.pairs import PairedStrips
from htr_ssl.data.samples import Samples
from htr_ssl.data.splits import subset_lists, subsets
from htr_ssl.data.splits.splitting import carried, refuse_mixed
from htr_ssl.data.transductive import copied, same_splits, without_evaluated
from htr_ssl.errors import UserError
from htr_ssl.files import atomic_path, write_json, write_text
from htr_ssl.layers.contract import EncoderModule
from htr_ssl.models import shelf
from htr_ssl.recognizers import averaging
from htr_ssl.recognizers.probe import ProbeRecognizer
from htr_ssl.recognizers.probe import recognizer as build_recognizer
from htr_ssl.recognizers.recognizer import Recognizer, move_head
from htr_ssl.text import ctc, tokens
from htr_ssl.text.charset import Charset, listing, merge
from htr_ssl.text.direction import Direction, has_right_to_left, of_text
from htr_ssl.training import distributed, engine, equip, pretrain, pseudo
from htr_ssl.training.module import JointTask, Labelled, System
from htr_ssl.views.augment import TextAugment

FILE = "model.safetensors"
Lever = Callable[[Labelled, Strips], Labelled]
"""Another task in the place of the usual one, made of it and of the train images with their labels."""


def run(
    config: FinetuneConfig,
    out: Path,
    progress: bool = True,
    callbacks: Sequence[Callback] = (),
    lever: Lever | None = None,
) -> Path:
    """Fine-tunes in the run folder `out`, or continues there, and returns the recognizer's file.

    Args:
        config: all of it but a lever.
        out: the run's folder.
        progress: show a bar.
        callbacks: of the training.
        lever: an experiment with the loss; whoever gives one gives it again where the run goes on.

    Raises:
        UserError: bad data, labels that cannot be learnt, a bad `init`, another run in the
            folder, or one that was begun with other data.
        KeyboardInterrupt: see `engine.fit`.
    """
    out, path = Path(out), Path(out) / FILE
    if config.select == "last" and config.train.patience:
        raise UserError("select=last asks no validation label, so train.patience cannot stop early; set one of the two")
    config = _as_started(config, progress)
    engine.open_run(out, config)
    if engine.is_done(out, FILE, config.data):
        return path
    samples = read_samples(config.data)
    sources = {"data": samples}
    if config.joint and config.joint.data:
        sources["joint.data"] = read_samples(config.joint.data)
    engine.same_inputs(
        out, config, sources, {name: getattr(config, name) for name in ("init", "continue_from", "pseudo")}
    )
    if path.exists() and (out / "summary.json").exists():
        return path
    device = engine.prepare_device(config.train, config.seed)
    named, config = config.init, _found(config)
    if begin := _weights_from(config):
        refuse_mixed(samples.facts, model_file.read_header(Path(begin)), (config.data.source, begin))
    rows, subset_hash, subset_list = rows_to_train(samples, config, out, some=not config.pseudo)
    column = samples.column("text")
    texts = [column[row] or "" for row in rows]
    transductive = _transductive(config, samples)
    more: list[int] = []
    if config.pseudo:
        samples, more = pseudo.added(samples, config.pseudo, rows, config.data)
    train = engine.decoded(samples, rows + more, config, progress)
    known = _validation_rows(samples, config, out)
    validation = engine.decoded(samples, known, config, progress) if known else None

    header = model_file.encoder_header(config.encoder.model_dump(), config.data.height, config.data.channels)
    encoder = model_file.build_encoder(
        config.encoder.name, config.encoder.options(), config.data.height, config.data.channels
    )
    if not config.init:
        model_file.begin(encoder)
    charset = Charset.build(train.texts(), _direction(config, train.texts()))
    recognizer, charset, scope, report = _recognizer(config, encoder, header, charset)
    train.labels = [charset.encode(text) for text in train.texts()]
    _check(train, encoder, validation, charset, out)

    labelled = Labelled(recognizer, TextAugment(config.augment), config.head_warmup)
    if lever is not None:
        labelled = lever(labelled, train)
    task: Labelled | JointTask = labelled
    images: Strips | PairedStrips = train
    labels = "all labels" if config.fraction == 1 else f"{100 * config.fraction:g} % of the labels"
    if more:
        labels = f"{labels} and {len(more)} readings" if rows else f"{len(more)} readings"
    title = f"{'finetune' if config.probe == 'none' else f'{config.probe} probe'} on {labels}"
    if config.joint:
        task = JointTask(labelled, pretrain.build_method(config.joint, encoder), config.joint.weight)
        unlabelled, copies = _unlabelled(config, samples.facts, progress)
        transductive |= {"copies": _together(config, transductive["copies"], copies)}
        images = PairedStrips(train, unlabelled, config.joint.batch_size)
        title += f" with {config.joint.method.name}"
    system = System(task, config.train, config.seed)
    system.charset, system.references = charset, validation.texts() if validation else []
    last = config.select == "last"
    checks = engine.fit(
        system, images, validation, config.train, out, config.seed, title, progress, header, callbacks, last
    )
    _, state = model_file.read(checks.best_weights)
    summary = engine.summary(checks, train, device, config.train)
    learnt = len(set(rows).intersection(train.rows))
    summary |= {"labels": learnt, "labels_selection": 0 if last or validation is None else len(validation)}
    chosen = _asked(samples, config, known, validation)
    summary["labels_lm"] = len(chosen) if config.lm and len(chosen) >= equip.FEW else 0
    model_file.save(
        path,
        state,
        header
        | {"kind": "recognizer", "probe": config.probe, "scope": scope}
        | {"charset": charset.to_header(), "direction": charset.direction}
        | {"init": named, "method": _method(config)}
        | transductive
        | {"fraction": config.fraction, "seed": config.seed, "labels": len(train)}
        | {"select": config.select, "subset_by": config.subset_by}
        | {key: summary[key] for key in ("labels_selection", "labels_lm")}
        | {"pseudo_sha256": pseudo.digest(pseudo.read(config.pseudo)) if config.pseudo else None}
        | {"data": config.data.model_dump(exclude={"cache"}), "level": config.data.level}
        | {"max_width": config.data.max_width}
        | {**carried(samples.facts), "subset_list": subset_list}
        | {"subset_sha256": subset_hash, "normalisation": tokens.rule(samples.facts)}
        | {"val_cer": checks.best if validation else None},
    )
    equip.equip(path, config, texts, [samples.column("text")[row] or "" for row in more], validation, chosen)
    write_json(out / "summary.json", summary | {"charset": report})
    return path


def with_language(
    model: Path, config: FinetuneConfig, read: Path | None, out: Path, before: Path | None = None
) -> Path:
    """The recognizer of a training again, in the folder `out`, with a language model that knows its readings too.

    Args:
        model: what `config` made, with its subset.txt beside it.
        config: of the training, with `lm`.
        read: the readings, a file of pseudo-labels; None = none.
        out: folder; a model that lies there already is returned.
        before: recognizer that the training began with; the weights become the mean of both.
    """
    path = out / FILE
    if not path.exists():
        with atomic_path(out / "subset.txt") as temporary:
            shutil.copyfile(model.with_name("subset.txt"), temporary)
        heard = list(pseudo.read(read).values()) if read else []
        _with_texts(model, config, subsets.read(out / "subset.txt"), heard, path, before)
    return path


def begun(config: FinetuneConfig, out: Path) -> Path:
    """The start of a training as it is, in the folder `out`, with a language model that knows the labels too.

    Args:
        config: of the training, with `init` and `lm`; there may be no labels.
        out: folder; a model that lies there already is returned.
    """
    path = out / FILE
    if not path.exists():
        assert config.init is not None
        samples = read_samples(config.data)
        rows, _, _ = rows_to_train(samples, config, out, some=False)
        ids = samples.column("id")
        _with_texts(shelf.find(config.init), config, [str(ids[row]) for row in rows], [], path)
    return path


def _with_texts(
    model: Path,
    config: FinetuneConfig,
    learnt: Sequence[str],
    heard: Sequence[str],
    path: Path,
    before: Path | None = None,
) -> None:
    """Writes a copy of a recognizer whose language model knows labels, given by ids of images, and readings.

    With `before` its weights are the mean of both models'.
    """
    samples = read_samples(config.data)
    ids, column, known = samples.column("id"), samples.column("text"), set(learnt)
    texts = [column[row] or "" for row in rows_of(samples, "train", labelled=True) if ids[row] in known]
    rows = rows_of(samples, "validation", labelled=True)
    validation = Strips(samples, rows, config.data) if rows else None
    with atomic_path(path) as temporary:
        if before:
            averaging.save(before, model, temporary)
        else:
            shutil.copyfile(model, temporary)
        equip.equip(temporary, _found(config), texts, heard, validation, _asked(samples, config, rows, validation))


def _asked(samples: Samples, config: FinetuneConfig, rows: Sequence[int], validation: Strips | None) -> list[int]:
    """Places in `validation` of the images whose labels a language model and a calibration may ask.

    `rows` are those of all validation images; the ones that cannot be read are not in `validation`.
    """
    places = {row: place for place, row in enumerate(validation.rows)} if validation else {}
    chosen = _share(samples, config, list(rows)) if config.select == "last" and rows else range(len(rows))
    return [places[rows[i]] for i in chosen if rows[i] in places]


def _found(config: FinetuneConfig) -> FinetuneConfig:
    """The configuration with the file of `init`, which may be the name of a model."""
    return config.model_copy(update={"init": str(shelf.find(config.init))}) if config.init else config


def _weights_from(config: FinetuneConfig) -> str | None:
    """File whose weights the training begins with; None = random ones."""
    return config.continue_from or config.init


def _as_started(config: FinetuneConfig, progress: bool) -> FinetuneConfig:
    """The configuration with the encoder that `init` has, where no other than the default one is asked for."""
    default: PluginConfig = FinetuneConfig.model_fields["encoder"].default
    known = plugins.load("htr_ssl.encoders", default.name).Config
    if not config.init or config.encoder.name != default.name or known(**config.encoder.options()) != known():
        return config
    path = shelf.find(config.init)
    if not path.is_file():
        return config  # said later, unless the run is finished and needs it no more
    encoder = PluginConfig(**model_file.read_header(path)["encoder"])
    if encoder.name == default.name and known(**encoder.options()) == known():
        return config
    if progress:
        shown = ", ".join(f"{key} {value}" for key, value in encoder.model_dump().items())
        Console(stderr=True).print(f"encoder: {shown}, as in {config.init}", highlight=False, style="dim")
    return config.model_copy(update={"encoder": encoder})


def rows_to_train(
    samples: Samples, config: FinetuneConfig, out: Path, some: bool = True
) -> tuple[list[int], str, str | None]:
    """Rows of the labelled subset of `config.fraction`, the hash of their ids, and the committed list they are from.

    The ids are written to `out`.

    Raises:
        UserError: there is no label, and `some` are needed.
    """
    rows = rows_of(samples, "train", labelled=True)
    if not rows and not some:
        return [], subsets.write(out / "subset.txt", [], config.fraction, config.seed, config.data.source), None
    ids = [str(samples.column("id")[row]) for row in _some(rows, config, "train")]
    listed = None
    if config.subset_by == "sample":
        chosen, listed = subset_lists.chosen(ids, config.fraction, config.seed)
    else:
        chosen = subsets.subset(ids, config.fraction, config.seed, _groups(samples, rows, config), config.subset_by)
    digest = subsets.write(
        out / "subset.txt", [ids[i] for i in chosen], config.fraction, config.seed, config.data.source
    )
    return [rows[i] for i in chosen], digest, listed


def _groups(samples: Samples, rows: Sequence[int], config: FinetuneConfig) -> list[str | None] | None:
    """Page or writer of each row, if subsets are drawn by them."""
    if config.subset_by == "sample":
        return None
    column = samples.column(config.subset_by)
    return [column[row] for row in rows]


def _validation_rows(samples: Samples, config: FinetuneConfig, out: Path) -> list[int]:
    """Rows that are read at every check; the ids of a proportional share are written to `out`.

    With `select=last` they are only looked at, so that there may be none.
    """
    rows = rows_of(samples, "validation", labelled=True)
    if config.select == "last":
        return rows
    _some(rows, config, "validation")
    if config.select == "validation" or config.fraction == 1:
        return rows
    chosen = [rows[i] for i in _share(samples, config, rows)]
    ids = [str(samples.column("id")[row]) for row in chosen]
    subsets.write(out / "selection.txt", ids, config.fraction, config.seed, config.data.source)
    return chosen


def _share(samples: Samples, config: FinetuneConfig, rows: Sequence[int]) -> list[int]:
    """Places in `rows` of a share of validation lines as small as that of the train labels."""
    ids = [str(samples.column("id")[row]) for row in rows]
    return subsets.subset(ids, config.fraction, config.seed, _groups(samples, rows, config), config.subset_by)


def _unlabelled(config: FinetuneConfig, facts: dict[str, str], progress: bool) -> tuple[Strips, int]:
    """Train images for the objective beside CTC, and how many of them are validation or test images.

    Raises:
        UserError: there are none, or they are of another size or split.
    """
    assert config.joint is not None
    data = config.joint.data or config.data
    if (data.height, data.channels) != (config.data.height, config.data.channels):
        raise UserError(
            "joint.data: its images are of another height or number of channels than data's; give both the same"
        )
    if config.joint.batch_size < distributed.world(config.train):
        raise UserError(
            f"joint.batch_size={config.joint.batch_size} is less than an image for each of "
            f"{distributed.world(config.train)} processes"
        )
    samples = read_samples(data)
    refuse_mixed(facts, samples.facts, (config.data.source, data.source))
    strips = engine.decoded(
        samples, rows_of(samples, "train", labelled=False), config.model_copy(update={"data": data}), progress
    )
    return strips, without_evaluated(strips, config.joint.evaluated or config.data, config.transductive)


def _some(rows: list[int], config: FinetuneConfig, split: str) -> list[int]:
    if not rows:
        raise UserError(f"{config.data.source}: no labelled image in split {split!r}; fine-tuning needs some of each")
    return rows


def _recognizer(
    config: FinetuneConfig, encoder: EncoderModule, header: dict[str, Any], charset: Charset
) -> tuple[Recognizer | ProbeRecognizer, Charset, Scope, str]:
    """Recognizer with the weights of `init`, its charset, the part of its encoder in use, and a line on the charset.

    A probe's head starts anew: an old one would bring what it learnt together with the encoder.

    Raises:
        UserError: `head_warmup` or `joint` with a probe, or what `init` holds does not fit.
    """
    if config.joint and (config.probe != "none" or config.head_warmup):
        raise UserError(
            "joint: its objective trains the encoder, which must not be frozen; set probe=none, head_warmup=0"
        )
    if config.probe != "none" and config.head_warmup:
        raise UserError(f"head_warmup={config.head_warmup:g}: a {config.probe} probe trains only its head; set it to 0")
    report = f"{len(charset) - 1} characters: {listing(charset.characters)}"
    begin = _weights_from(config)
    if not begin:
        return build_recognizer(encoder, len(charset), config.probe), charset, "encoder", report
    old_header, rest = model_file.load_encoder(begin, encoder, header)
    mapping: list[int | None] = []
    if "charset" in old_header:
        charset, mapping, report = merge(Charset.of_model(old_header), charset, config.charset)
    scope: Scope = old_header.get("scope", "encoder") if config.probe != "none" else "encoder"
    recognizer = build_recognizer(encoder, len(charset), config.probe, scope)
    if config.probe == old_header.get("probe", "none") == "none":
        for name in ("head", "shortcut"):
            move_head(getattr(recognizer, name), rest, name, mapping)
    return recognizer, charset, scope, report


def _direction(config: FinetuneConfig, texts: Sequence[str]) -> Direction:
    """Direction of writing that is said, else that of most letters, else that of the start.

    Labels without a right-to-left letter that are said to be right-to-left are transliterations: they are reversed.
    """
    found, said = of_text(texts), config.data.direction
    if said == "rtl" and not has_right_to_left(texts):
        warnings.warn(
            "data.direction=rtl, but the labels have no right-to-left letter. They are taken for transliterations of "
            "right-to-left lines: each is reversed as a whole, numbers too. If they are none, set data.direction=auto",
            stacklevel=3,
        )
        return "reversed"
    if said != "auto":
        return said
    header = model_file.read_header(Path(config.init)) if config.init else {}
    start: Direction = header.get("direction", "ltr")
    return start if start == "reversed" and found == "ltr" else found or start


def _check(train: Strips, encoder: EncoderModule, validation: Strips | None, charset: Charset, out: Path) -> None:
    """Leaves out what cannot be learnt, each named in unlearnable.txt; says which validation characters are unknown.

    Raises:
        UserError: nothing can be learnt.
    """
    frames = encoder.frames(torch.tensor(train.widths)).tolist()
    wrong = ctc.infeasible(train.labels, frames)
    if wrong:
        ids, texts = train.ids(), train.texts()
        lines = [
            f"{ids[i]}: needs {ctc.frames_needed(train.labels[i])} frames, its image gives {frames[i]}: {texts[i]!r}"
            for i in wrong
        ]
        write_text(out / "unlearnable.txt", "\n".join(lines) + "\n")
        if len(wrong) == len(train):
            raise UserError(f"every label is too long for its image, e.g. {lines[0]}; use a larger data.height")
        warnings.warn(
            f"{len(wrong)} label(s) too long for their image are left out ({out / 'unlearnable.txt'}), e.g. {lines[0]}",
            stacklevel=3,
        )
        train.keep(sorted(set(range(len(train))) - set(wrong)))
    unseen = charset.unseen(validation.texts() if validation else [])
    if unseen:
        warnings.warn(
            f"in the validation texts but in no train label: {listing(unseen)}; counted as errors", stacklevel=3
        )


def _transductive(config: FinetuneConfig, samples: Samples) -> dict[str, Any]:
    """Whether validation or test images were among the unlabelled ones, here or where `init` comes from.

    Null if the images of a pretraining on other data are no longer there to be looked at.
    """
    begin = _weights_from(config)
    before = model_file.read_header(Path(begin)) if begin else {}
    seen = int(before.get("copies") or 0)
    kept = bool(config.joint and config.transductive) or before.get("transductive", False)
    foreign = before.get("kind") == "encoder" and not same_splits(_evaluated(before), config.data)
    if foreign and config.data.source != "synthetic":  # handwriting that is drawn is no copy of anything
        found = _seen(DataConfig(**before["data"]), config, samples)
        if found:
            warnings.warn(
                f"{begin}: its pretraining saw {found} validation or test images of {config.data.source}; the "
                "model is transductive: say so where you give its scores",
                stacklevel=3,
            )
        kept = kept or (None if found is None else found > 0)
        seen = found or seen
    return {"transductive": kept, "copies": seen}


def _together(config: FinetuneConfig, before: int, beside: int) -> int:
    """Copies among the images of the start and those beside CTC; images that both have count once."""
    begin = _weights_from(config)
    header = model_file.read_header(Path(begin)) if begin else {}
    data = (config.joint.data if config.joint else None) or config.data
    same = header.get("kind") == "encoder" and same_splits(DataConfig(**header["data"]), data)
    return max(before, beside) if same else before + beside


def _evaluated(header: dict[str, Any]) -> DataConfig:
    """Data whose validation and test images an encoder has not seen."""
    return DataConfig(**header.get("evaluated", header["data"]))


def _seen(data: DataConfig, config: FinetuneConfig, samples: Samples) -> int | None:
    """Number of train images of `data` that are validation or test images here; None if they are not there."""
    try:
        others = read_samples(data)
        strips = Strips(others, rows_of(others, "train", labelled=False), data)
    except UserError:
        return None
    return sum(copied(strips, config.data, samples))


def _method(config: FinetuneConfig) -> str:
    """What the recognizer started from, and whether it had pseudo-labels, for tables."""
    start = _start(config)
    parts = [
        start,
        *([f"joint {config.joint.method.name}"] if config.joint else []),
        *(["pseudo"] * bool(config.pseudo)),
    ]
    return "+".join(parts)


def _start(config: FinetuneConfig) -> str:
    if not config.init:
        return "supervised"
    header = model_file.read_header(Path(config.init))
    method = header.get("method", "supervised")
    name = method["name"] if isinstance(method, dict) else str(method)
    synthetic = header.get("kind") == "recognizer" and header.get("data", {}).get("source") == "synthetic"
    return f"{name}+synthetic" if synthetic and name != "supervised" else "synthetic" if synthetic else name

"""One training run on Lightning's Trainer: device, precision, resume, signals, and the run folder.

A run is cut into rounds of `check_every` steps (Lightning's epochs). After each, the whole state is on disk; a run that
is killed repeats at most one round and ends with the same weights.
"""

from __future__ import annotations

import logging
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch.utils.data import DataLoader

from htr_ssl import model_file
from htr_ssl.bars import rows_bar
from htr_ssl.config import BEFORE_THE_CHOICE, HARDWARE, DataConfig, FinetuneConfig, PretrainConfig, TrainConfig
from htr_ssl.config.yaml_files import dump_config, load_config
from htr_ssl.data.loading import Strips
from htr_ssl.data.pairs import PairedSampler, PairedStrips
from htr_ssl.data.samples import Samples
from htr_ssl.data.sampling import StepSampler, sorted_batches
from htr_ssl.data.splits import identity
from htr_ssl.environment import environment, hardware
from htr_ssl.errors import UserError
from htr_ssl.files import write_json, write_text
from htr_ssl.seeds import derive
from htr_ssl.training import choices, distributed
from htr_ssl.training.callbacks import Bar, Checkpoints
from htr_ssl.training.module import System


def open_run(out: Path, config: PretrainConfig | FinetuneConfig) -> None:
    """Makes the run folder, or checks that it is of this configuration; hardware may differ.

    A run that stopped before its first check, such as at a wrong name of its data, leaves nothing to go on with: its
    folder may be begun anew with any configuration.

    Raises:
        UserError: the folder holds a run with another configuration.
    """
    path = out / "config.yaml"
    if path.exists() and _begun(out) and _comparable(_stored(path, type(config))) != _comparable(config):
        raise UserError(
            f"{out}: it holds a run with another configuration (see {path}); choose another name or remove it"
        )
    if distributed.rank(config.train):
        warnings.filterwarnings("ignore", category=UserWarning)  # the first process says it
        return
    write_text(path, dump_config(config))
    write_json(out / "env.json", environment())


def same_inputs(
    out: Path,
    config: PretrainConfig | FinetuneConfig,
    sources: Mapping[str, Samples],
    paths: Mapping[str, str | None],
) -> None:
    """Checks that a run goes on with what it was begun with, see `identity.check`; the first process notes it.

    Raises:
        UserError: data or files have changed.
    """
    if not distributed.rank(config.train):
        identity.check(out, sources, paths, _begun(out))


def is_done(out: Path, name: str, data: DataConfig) -> bool:
    """Whether a run is finished and its data cannot be looked at any more, so that its file is all there is."""
    if not ((out / name).exists() and (out / "summary.json").exists()):
        return False
    source = Path(data.source).expanduser()
    return data.source != "synthetic" and "://" not in data.source and not source.exists()


def _stored(path: Path, kind: type[PretrainConfig | FinetuneConfig]) -> PretrainConfig | FinetuneConfig:
    """Configuration of a run; one that does not name an optimiser is older than the choice, and has AdamW."""
    older = [] if b"optimiser:" in path.read_bytes() else [f"train.optimiser={BEFORE_THE_CHOICE}"]
    return load_config(path, older, kind)


def _begun(out: Path) -> bool:
    return any((out / name).exists() for name in ("checkpoints", "metrics.csv", "summary.json"))


def decoded(samples: Samples, rows: Sequence[int], config: PretrainConfig | FinetuneConfig, bar: bool) -> Strips:
    """Strips of rows; a bar shows the images while they are decoded.

    Raises:
        UserError: there is no readable image among the rows.
    """
    with rows_bar(not bar or bool(distributed.rank(config.train))) as progress:
        return Strips(samples, rows, config.data, progress=progress)


def _comparable(config: PretrainConfig | FinetuneConfig) -> str:
    """The configuration without what may change while a run goes on.

    `devices` and `num_nodes` are of that kind: `batch_size` counts the images of all processes, so that a run on one
    GPU can go on with four. As with another device, random draws and rounding differ then.
    """
    neutral = {name: TrainConfig.model_fields[name].default for name in HARDWARE}
    train = config.train.model_copy(update=neutral)
    data = config.data.model_copy(update={"cache": None})
    return dump_config(config.model_copy(update={"train": train, "data": data}))


def summary(checks: Checkpoints, train: Strips, device: torch.device, config: TrainConfig) -> dict[str, Any]:
    """What a run cost and reached: seconds and images/s of the updates without validation, loader's share, CER.

    All of it is of the whole run, however often it was resumed. `device_seconds` are those of all processes; on a CPU
    times the threads of each. Passes and views are null if a part of the run is older than their count.
    """
    seconds = sum(row["seconds"] for row in checks.rows)
    images = sum(row["seconds"] * row["images_per_second"] for row in checks.rows)
    waited = sum(row["seconds"] * row["loader_share"] for row in checks.rows)
    cores = checks.threads if device.type == "cpu" else 1
    counted = all("views" in row for row in checks.rows)
    result = {
        "steps": checks.rows[-1]["step"],
        "images": len(train),
        "unreadable": train.unreadable,
        "seconds": round(seconds, 2),
        "images_per_second": round(images / seconds, 2),
        "loader_share": round(waited / seconds, 4),
        "encoder_passes": sum(row["encoder_passes"] for row in checks.rows) if counted else None,
        "views": sum(row["views"] for row in checks.rows) if counted else None,
        "device_seconds": round(seconds * distributed.world(config) * cores, 2),
        "loss": checks.rows[-1]["loss"],
        "device": str(device),
        "hardware": hardware(str(device)),
        "threads": checks.threads,
        "choices": checks.choices,
    }
    return result | ({"best_cer": checks.best, "stopped_early": checks.stopped} if checks.best < float("inf") else {})


def prepare_device(config: TrainConfig, seed: int) -> torch.device:
    """Threads, device and the seed from which weights start."""
    torch.set_num_threads(choices.most_threads(config))
    torch.manual_seed(derive(seed, "weights"))
    device = model_file.resolve_device(config.device)
    distributed.check(config, device)
    return device


def fit(
    system: System,
    train: Strips | PairedStrips,
    validation: Strips | None,
    config: TrainConfig,
    out: Path,
    seed: int,
    title: str,
    progress: bool,
    header: Mapping[str, Any],
    callbacks: Sequence[Callback] = (),
    last: bool = False,
) -> Checkpoints:
    """Trains until the steps are done or patience runs out; continues from the last checkpoint if there is one.

    If there are several processes (`train.devices`, `train.num_nodes`), only the first returns; the others end here.
    `header` is that of the encoder, for which number format and threads are chosen. With `last` the
    weights after the last step are kept, not those with the lowest validation CER.

    Raises:
        UserError: the last checkpoint is damaged or of another version of the network, or the processes do not train
            the same thing.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the same call continues.
        SystemExit: in all processes but the first.
    """
    device = model_file.resolve_device(config.device)
    checkpoints = Checkpoints(out, config.patience, last)
    state = _load_state(checkpoints, system)
    number = choices.precision(config, device, header, out, state is not None)
    threads = choices.threads(config, device, header, number[0] == "bf16", out, state is not None)
    checkpoints.threads = threads[0]
    checkpoints.choices = choices.explained(config, device, train.place, number, threads)
    facts = {"images": len(train), "widths": sum(train.widths), "step": state["global_step"] if state else 0}
    together = distributed.Together(facts)
    with distributed.joined(config, together):
        if state and (checkpoints.stopped or state["global_step"] >= config.steps):
            system.load_state_dict(state["state_dict"])
            return checkpoints
        rank, world = distributed.rank(config), distributed.world(config)
        loader, checks = _loaders(train, validation, config, seed, device)
        bar = [Bar(title, config.steps, checkpoints.choices)] if progress and not rank else []
        with _quiet():
            trainer = Trainer(
                accelerator="gpu" if device.type == "cuda" else device.type,
                precision="bf16-mixed" if number[0] == "bf16" else "32-true",
                max_epochs=-(-config.steps // config.check_every),
                callbacks=[checkpoints, together if world > 1 else _Interrupts(), *bar, *callbacks],
                default_root_dir=out,
                logger=_logger(out) if config.track else False,
                use_distributed_sampler=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                num_sanity_val_steps=0,
                log_every_n_steps=config.check_every,
                **distributed.trainer_options(config, device, system.task.unused),
            )
            system.to(memory_format=torch.channels_last)
            with _interruptible(), _threads(threads[0]):
                resumed = checkpoints.last if state else None
                trainer.fit(system, loader, checks, ckpt_path=resumed, weights_only=True)
    return checkpoints


def _loaders(
    train: Strips | PairedStrips, validation: Strips | None, config: TrainConfig, seed: int, device: torch.device
) -> tuple[Any, Any]:
    """Loaders of this process's share of the training and the validation images."""
    place = (distributed.rank(config), distributed.world(config))
    rounds = (config.steps, config.check_every)

    def order(strips: Strips, batch_size: int, seed: int) -> StepSampler:
        return StepSampler(strips.widths, batch_size, seed, *rounds, *place, strips.pieces(), strips.config.level)

    sampler: StepSampler | PairedSampler
    if isinstance(train, PairedStrips):
        labelled, unlabelled = train.parts
        beside = order(unlabelled, train.beside, derive(seed, "unlabelled"))
        sampler = PairedSampler(order(labelled, config.batch_size, seed), beside)
    else:
        sampler = order(train, config.batch_size, seed)
    options: dict[str, Any] = {"num_workers": choices.workers(config, train.place)}
    options |= {"persistent_workers": options["num_workers"] > 0, "pin_memory": device.type == "cuda"}
    loader = DataLoader(train, sampler=sampler, batch_size=None, **options)
    if validation is None:
        return loader, None
    batches = sorted_batches(validation.widths, config.batch_size, *place)
    return loader, DataLoader(validation, sampler=batches, batch_size=None)


def restore(system: System, out: Path) -> None:
    """Loads the weights of the last check of a run.

    Raises:
        UserError: there is none, or it is damaged or of another version of the network.
    """
    state = _load_state(Checkpoints(out, 0), system)
    if state is None:
        raise UserError(f"{out}: there is no checkpoint in it; run the training first")
    system.load_state_dict(state["state_dict"])


def _load_state(checkpoints: Checkpoints, system: System) -> dict[str, Any] | None:
    """State of the last check, its part of `checkpoints` restored; its weights are those of a network like `system`."""
    if not checkpoints.last.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(checkpoints.last, map_location="cpu", weights_only=True)
        checkpoints.load_state_dict(state["callbacks"][checkpoints.state_key])
    except Exception as error:
        raise UserError(
            f"{checkpoints.last}: the checkpoint is damaged ({type(error).__name__}); remove it to train from the start"
        ) from error
    if state["state_dict"].keys() != system.state_dict().keys():
        raise UserError(
            f"{checkpoints.last}: another version of this program began the run, with another network; go on with that "
            "version, or remove the checkpoint to train from the start"
        )
    return state


def _logger(out: Path) -> Any:
    """TensorBoard log of the run."""
    try:
        from lightning.pytorch.loggers import TensorBoardLogger

        return TensorBoardLogger(out, name="", version="tensorboard")
    except ModuleNotFoundError as error:
        raise UserError(
            "train.track needs TensorBoard; pip install 'htr-ssl[track]' or set train.track=false"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """The engine's remarks on hardware and workers are of no use to the user."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class _Interrupts(Callback):
    """Ctrl-C ends the training at the next step at the latest, wherever it was caught.

    The exception of a signal rises wherever the program happens to be: code that ignores exceptions, as a destructor
    does, would swallow it and go on for hours.
    """

    asked = False

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Remembers signals from now on."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._ask)

    def _ask(self, number: int, frame: Any) -> None:
        self.asked = True
        raise KeyboardInterrupt

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Stops if the exception did not."""
        if self.asked:
            raise KeyboardInterrupt


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Trains with so many CPU threads; what comes after it may have as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C and SIGTERM leave as KeyboardInterrupt; the engine ends the process on the one and raises on the other."""
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except (SystemExit, SIGTERMException) as error:
        raise KeyboardInterrupt from error
    finally:
        if main:
            signal.signal(signal.SIGINT, handler)

"""Pretraining: every train image, no text, one method; leaves an encoder file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from lightning.pytorch import Callback

from htr_ssl import model_file, plugins
from htr_ssl.config import Joint, PretrainConfig
from htr_ssl.config.yaml_files import load_config
from htr_ssl.data.loading import read_samples, rows_of
from htr_ssl.data.splits.splitting import carried, refuse_mixed
from htr_ssl.data.transductive import without_evaluated
from htr_ssl.files import write_json
from htr_ssl.layers.contract import EncoderModule
from htr_ssl.layers.part import BackboneAlone
from htr_ssl.models import shelf
from htr_ssl.objective import Objective
from htr_ssl.text.charset import NORMALISATION
from htr_ssl.training import collapse, engine
from htr_ssl.training.module import System, Unlabelled

FILE = "encoder.safetensors"


def run(config: PretrainConfig, out: Path, progress: bool = True, callbacks: Sequence[Callback] = ()) -> Path:
    """Pretrains in the run folder `out`, or continues there, and returns the encoder's file.

    Raises:
        UserError: bad data, a bad `init`, another run in the folder, or one that was begun with other data.
        KeyboardInterrupt: see `engine.fit`.
    """
    out, path = Path(out), Path(out) / FILE
    engine.open_run(out, config)
    if engine.is_done(out, FILE, config.data):
        return path
    samples = read_samples(config.data)
    engine.same_inputs(out, config, {"data": samples}, {"init": config.init})
    if path.exists() and (out / "summary.json").exists():
        return path
    device = engine.prepare_device(config.train, config.seed)
    strips = engine.decoded(samples, rows_of(samples, "train", labelled=False), config, progress)
    copies = without_evaluated(strips, config.evaluated or config.data, config.transductive)
    header = model_file.encoder_header(config.encoder.model_dump(), config.data.height, config.data.channels)
    encoder = model_file.build_encoder(
        config.encoder.name, config.encoder.options(), config.data.height, config.data.channels
    )
    if config.init:
        old, _ = model_file.load_encoder(shelf.find(config.init), encoder, header)
        refuse_mixed(samples.facts, old, (config.data.source, config.init))
    else:
        model_file.begin(encoder)
    method = build_method(config, encoder)
    system = System(Unlabelled(method), config.train, config.seed)
    system.monitor = collapse.Monitor(strips[collapse.chosen(len(strips))], method.encoder, config.seed)
    checks = engine.fit(
        system,
        strips,
        None,
        config.train,
        out,
        config.seed,
        f"pretrain {config.method.name}",
        progress,
        header,
        callbacks,
    )
    state = {name: value for name, value in system.best_model().state_dict().items() if name.startswith("encoder.")}
    summary = engine.summary(checks, strips, device, config.train)
    summary["encoder"] = {name: checks.rows[-1][name] for name in collapse.NAMES}
    model_file.save(
        path,
        state,
        header
        | {"kind": "encoder", "scope": config.scope, "method": config.method.model_dump(), "init": config.init}
        | {"seed": config.seed, "data": config.data.model_dump(exclude={"cache"}), "level": config.data.level}
        | {"transductive": config.transductive, "copies": copies}
        | {"evaluated": (config.evaluated or config.data).model_dump(exclude={"cache"})}
        | {"normalisation": NORMALISATION, "max_width": config.data.max_width, **carried(samples.facts)},
    )
    write_json(out / "summary.json", summary | {"transductive": config.transductive, "copies": copies})
    return path


def build_method(config: PretrainConfig | Joint, encoder: EncoderModule) -> Objective:
    """The configured method of the folder ``methods`` around an encoder, or around its backbone."""
    module = plugins.load("htr_ssl.methods", config.method.name)
    part = BackboneAlone(encoder) if config.scope == "backbone" else encoder
    method: Objective = module.Method(module.Config(**config.method.options()), part)
    return method


def load_method(run: Path) -> tuple[Objective, PretrainConfig]:
    """Method of a finished run with all its heads, and the run's configuration.

    Raises:
        UserError: the folder holds no finished pretraining.
    """
    config = load_config(run / "config.yaml", [], PretrainConfig)
    encoder = model_file.build_encoder(
        config.encoder.name, config.encoder.options(), config.data.height, config.data.channels
    )
    method = build_method(config, encoder)
    system = System(Unlabelled(method), config.train, config.seed)
    engine.restore(system, run)
    return cast(Objective, system.best_model()), config

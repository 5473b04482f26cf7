"""Commands that measure: encoders, profile."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from htr_ssl.cli.arguments import Configuration, loaded_of_any_kind
from htr_ssl.cli.show import Name, listing, note, pairs, say, table
from htr_ssl.errors import UserError

if TYPE_CHECKING:
    from htr_ssl.config import FinetuneConfig, PretrainConfig


def encoders(
    name: Name = None,
    height: Annotated[int, typer.Option(min=16, max=256, help="Height of the lines [px].")] = 40,
    width: Annotated[int, typer.Option(min=64, max=4000, help="Width of the lines [px].")] = 544,
    batch_size: Annotated[int, typer.Option(min=1, help="Lines per step.")] = 8,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 = all cores.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, …")] = "auto",
    measure: Annotated[bool, typer.Option("--measure", help="Time training and reading here, a second each.")] = False,
    seconds: Annotated[float, typer.Option(min=0, help="With --measure: time to measure each.")] = 1.0,
) -> None:
    """List the encoders with what they cost, or the options of one.

    Parameters, operations per line and pixels per frame; with --measure also lines/s of fine-tuning and reading here.

    Example: `htr-ssl encoders --measure --height 64 --width 800`
    """
    listing("htr_ssl.encoders", name)
    if name is not None:
        return
    import torch

    from htr_ssl import environment, model_file, plugins
    from htr_ssl.bars import rows_bar
    from htr_ssl.config import TrainConfig
    from htr_ssl.training import choices
    from htr_ssl.training.cost import cost, presets

    chosen = model_file.resolve_device(device)
    torch.set_num_threads(choices.most_threads(TrainConfig(device=device, threads=threads)))
    every = [(encoder, preset) for encoder in plugins.names("htr_ssl.encoders") for preset in presets(encoder)]
    rows = []
    with rows_bar(False, "encoders") as progress:
        for done, (encoder, preset) in enumerate(every, start=1):
            try:
                found = cost(encoder, preset, height, width, chosen, batch_size, seconds if measure else 0)
            except UserError as error:  # it needs an extra that is not installed
                note(str(error), "yellow")
                continue
            size = (f"{found.parameters / 1e6:.1f}", f"{found.flops / 1e9:.2f}", str(found.stride))
            rows.append((encoder, preset, *size, *map(_speed, (found.train, found.read) if measure else ())))
            if progress:
                progress(done, len(every))
    titles = ("encoder", "preset", "M params", "GFLOP/line", "px/frame", "train lines/s", "read lines/s")
    table(titles if measure else titles[:-2], rows)
    number = "bfloat16" if environment.precision("auto", chosen) == "bf16-mixed" else "float32"
    here = f", {batch_size} per step, {number}, {chosen}, {torch.get_num_threads()} threads" if measure else ""
    note(f"lines of {height}x{width} px{here}")


def _speed(value: float | None) -> str:
    """Lines/s, nothing if they were not measured."""
    return "" if value is None else f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def profile(
    config: Configuration,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for profile.json and profile.png. [default: runs/NAME/profile]"),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps to time, after one that is not counted.")] = 40,
) -> None:
    """Run a few steps of a training and say where their time goes.

    Loader, augmentation, forward, backward and optimiser in ms per step, the share of padding and the memory. Leaves no
    model and no run.

    Example: `htr-ssl profile finetune data.source=lines train.batch_size=32`
    """
    loaded = _training(config)
    from htr_ssl.training import profile as profiling

    out = out or Path("runs") / loaded.name / "profile"
    result = profiling.run(loaded, out, steps)
    _show(result)
    say(profiling.verdict(result))
    note(f"{out}: profile.json, profile.png")


def _training(given: list[str]) -> PretrainConfig | FinetuneConfig:
    """Configuration of one training.

    Raises:
        UserError: it is that of a table.
    """
    from htr_ssl.config import FinetuneConfig, PretrainConfig

    config = loaded_of_any_kind(given)
    if not isinstance(config, PretrainConfig | FinetuneConfig):
        raise UserError(f"{given[0]}: it is a table of many trainings; profile the configuration of one of them")
    return config


def _show(result: dict[str, Any]) -> None:
    """Prints the stages, then what they depend on."""
    rows = [
        (name, f"{stage['ms']:9.2f} ms {100 * stage['share']:6.1f} %   {stage['meaning']}")
        for name, stage in result["stages"].items()
    ]
    rows.append(("step", f"{result['step_ms']:9.2f} ms  100.0 %   {result['images_per_second']:.1f} images/s"))
    pairs(f"{result['kind']} {result['name']}, mean of {result['steps']} steps", rows)
    loader = result["loader"]
    device = f", {result['peak_device_mb']:.0f} MB on the device" if "peak_device_mb" in result else ""
    facts = [
        ("warm-up", f"{result['warm_up_ms']:.0f} ms: the first step, not counted above"),
        ("preparation", f"{result['preparation_s']:.1f} s before it: data, model, {loader['images']} images decoded"),
        (
            "a batch",
            f"{loader['decode_ms']:.1f} ms to decode, {loader['collate_ms']:.1f} ms to put together, {_when(loader)}",
        ),
        ("padding", _padding(result)),
        ("memory", f"{result['peak_rss_mb']:.0f} MB at most{device}"),
        *result["settings"].items(),
    ]
    pairs("", facts)


def _padding(result: dict[str, Any]) -> str:
    share, rounding = 100 * result["padding"], 100 * result["rounding"]
    return (
        f"{share:.1f} % of the pixels are right of their image's end, {rounding:.1f} % right of the widest in its batch"
    )


def _when(loader: dict[str, Any]) -> str:
    if loader["place"] != "source":
        return "decoded before the first step"
    return f"decoded in {loader['workers']} loader processes" if loader["workers"] else "decoded between the steps"

"""What a night of pretraining buys here: python benchmarks/speed/night.py data/timeus_lines.parquet --out night.json

Pretrains every encoder for a few updates through the public interface, by masked_image and by every method that asks
for one encoder (mae), and says how many updates and images ten hours are. The first third warms up and is not counted.
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
import warnings
from pathlib import Path

from htr_ssl import plugins
from htr_ssl.config import DataConfig, PluginConfig, PretrainConfig, TrainConfig
from htr_ssl.environment import environment
from htr_ssl.files import write_json
from htr_ssl.training import pretrain

HOURS = 10


def pairs() -> list[tuple[str, str]]:
    """Encoder and method of each measurement."""
    encoders = plugins.names("htr_ssl.encoders")
    special = {
        name: getattr(plugins.load("htr_ssl.methods", name), "ENCODERS", ())
        for name in plugins.names("htr_ssl.methods")
    }
    return [(name, "masked_image") for name in encoders] + [(e, m) for m, allowed in special.items() for e in allowed]


def images_per_second(config: PretrainConfig) -> float:
    """Speed of the last two thirds of a short training, loading included."""
    with tempfile.TemporaryDirectory() as folder:
        pretrain.run(config, Path(folder) / "run", progress=False)
        with open(Path(folder) / "run" / "metrics.csv", newline="", encoding="utf-8") as handle:
            rows = list(csv.DictReader(handle))[1:]
    return sum(float(row["seconds"]) * float(row["images_per_second"]) for row in rows) / sum(
        float(row["seconds"]) for row in rows
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--level", choices=["word", "line"], default="line")
    parser.add_argument("--height", type=int, default=40)
    parser.add_argument("--preset", default="small")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=30, help="updates of each training, a multiple of 3")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    train = TrainConfig(
        steps=options.steps, check_every=options.steps // 3, batch_size=options.batch_size, threads=options.threads
    )
    data = DataConfig(source=options.source, level=options.level, height=options.height)
    rows, loads = [], [os.getloadavg()]
    print(f"| encoder | method | images/s | updates per hour | updates in {HOURS} h | images in {HOURS} h |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for encoder, method in pairs():
        config = PretrainConfig(
            data=data,
            encoder=PluginConfig.model_validate({"name": encoder, "preset": options.preset}),
            method=PluginConfig(name=method),
            train=train,
        )
        speed = images_per_second(config)
        hourly = 3600 * speed / options.batch_size
        rows.append({"encoder": encoder, "method": method, "images_per_second": speed, "updates_per_hour": hourly})
        print(
            f"| {encoder} {options.preset} | {method} | {speed:.0f} | {hourly:,.0f} | {HOURS * hourly:,.0f} "
            f"| {HOURS * 3600 * speed / 1e6:.1f} M |",
            flush=True,
        )
    if options.out:
        settings = {name: str(value) for name, value in vars(options).items()}
        settings["source"] = Path(options.source).name
        settings.pop("out")
        write_json(
            options.out,
            {"environment": environment(), "load": [*loads, os.getloadavg()], "settings": settings, "rows": rows},
        )


if __name__ == "__main__":
    main()

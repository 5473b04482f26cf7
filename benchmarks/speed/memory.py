"""Memory of a long run: python benchmarks/speed/memory.py finetune data.source=lines --minutes 20

Starts a training, or with --transcribe a reader that reads the same lines again and again, or follows --pid, and writes
down the resident memory of the process and all its children every few seconds. Leaves memory.csv, memory.json,
memory.png; ends with 1 if the memory grows by more than --limit MB over the last three quarters of the time.

Resident memory (VmRSS) of several processes is added up: pages that loader processes share count once for each. Needs
/proc (Linux).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from htr_ssl.config.checking import COMMANDS
from htr_ssl.config.yaml_files import kind_of
from htr_ssl.environment import hardware
from htr_ssl.files import write_bytes, write_json, write_text

ENDLESS = 10_000_000
"""Steps of a training that is stopped by the clock."""
Track = list[tuple[float, float, int]]
"""Seconds since the start, resident memory [MB], number of processes."""


def tree(pid: int) -> Iterator[int]:
    """A process and all its descendants that are alive."""
    yield pid
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from tree(int(child))


def resident(pid: int) -> tuple[float, int]:
    """Resident memory of a process tree [MB] and the number of its processes; (0, 0) once it has ended."""
    sizes = []
    for process in tree(pid):
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{process}/status").read_text().splitlines()
            sizes += [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:")]
    return sum(sizes), len(sizes)


def follow(pid: int, seconds: float, every: float) -> Track:
    """Memory of a process tree until `seconds` are over or it ends."""
    track: Track = []
    start = time.monotonic()
    while (now := time.monotonic() - start) <= seconds:
        size, processes = resident(pid)
        if not processes:
            break
        track.append((round(now, 2), round(size, 2), processes))
        time.sleep(every)
    return track


def growth(track: Track) -> dict[str, float]:
    """Least-squares slope over the last three quarters of the time, what it comes to, and the largest value."""
    at, size = np.array([(seconds / 60, size) for seconds, size, _ in track]).T
    late = at >= at[-1] / 4
    slope = float(np.polyfit(at[late], size[late], 1)[0]) if late.sum() > 2 else float("nan")
    return {
        "minutes": round(float(at[-1]), 2),
        "slope_mb_per_minute": round(slope, 3),
        "growth_mb": round(slope * float(at[-1] - at[late][0]), 2),
        "max_mb": round(float(size.max()), 1),
        "last_mb": round(float(size[-1]), 1),
        "readings": len(track),
    }


def picture(track: Track, result: dict[str, float], title: str) -> bytes:
    """Memory over the minutes with the fitted line, as PNG."""
    import io

    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.6), layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    at, size = np.array([(seconds / 60, size) for seconds, size, _ in track]).T
    late = at >= at[-1] / 4
    slope = result["slope_mb_per_minute"]
    axes.plot(at, size, color="#0072B2", linewidth=1.2)
    axes.plot(at[late], size[late].mean() + slope * (at[late] - at[late].mean()), "--", color="#D55E00")
    axes.set(xlabel="minutes", ylabel="resident memory [MB]", ylim=(0, 1.1 * size.max()))
    axes.set_title(f"{title}: {slope:+.2f} MB/min", loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


def read_forever(model: Path, lines: int) -> None:
    """Reads the same synthetic lines, of many widths, until the process is ended."""
    from htr_ssl.data import synthetic
    from htr_ssl.recognizers.reader import Reader

    reader = Reader.load(model)
    samples = synthetic.samples(synthetic.Config(samples=lines), reader.header["level"], 0)
    images = [samples[i].load() for i in range(lines)]
    while True:
        reader.read(images)


def command(options: argparse.Namespace, folder: str) -> list[str]:
    """Command of the process whose memory is wanted."""
    if options.transcribe:
        return [sys.executable, __file__, "--transcribe", str(options.transcribe), "--read", f"--lines={options.lines}"]
    name, file = str(options.config), list[str]()
    if name not in COMMANDS:
        kind = kind_of(options.config, options.overrides)
        name, file = next(name for name, model in COMMANDS.items() if model is kind), [str(options.config)]
    return [
        sys.executable,
        "-m",
        "htr_ssl",
        name,
        *file,
        f"train.steps={ENDLESS}",
        *options.overrides,
        "--quiet",
        "--out",
        folder,
    ]


def measure(options: argparse.Namespace) -> Track:
    """Starts the process, or takes the given one, and follows it.

    Raises:
        SystemExit: it ended by itself, with an error.
    """
    seconds = 60 * options.minutes
    if options.pid:
        return follow(options.pid, seconds, options.every)
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(command(options, folder))
        try:
            track = follow(process.pid, seconds, options.every)
            code = process.poll()
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
    if code:
        raise SystemExit(f"the process ended after {track[-1][0] if track else 0:.0f} s with code {code}")
    return track


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, nargs="?", help="configuration of a pretrain or finetune")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--transcribe", type=Path, metavar="MODEL.safetensors", help="read lines instead of training")
    parser.add_argument("--lines", type=int, default=200, help="lines read again and again")
    parser.add_argument("--pid", type=int, help="follow this running process instead")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--every", type=float, default=5, help="seconds between two readings")
    parser.add_argument("--limit", type=float, default=50, help="growth that is still accepted [MB]")
    parser.add_argument("--out", type=Path, default=Path("runs/memory"), help="folder of the results")
    parser.add_argument("--read", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_intermixed_args()
    if sum(map(bool, (options.config, options.transcribe, options.pid))) != 1:
        parser.error("give one of CONFIG, --transcribe MODEL or --pid PID")
    if options.read:
        read_forever(options.transcribe, options.lines)
    track = measure(options)
    if len(track) < 8:
        raise SystemExit(f"only {len(track)} readings; give more --minutes or a smaller --every")
    result = growth(track)
    title = "transcribe" if options.transcribe else f"process {options.pid}" if options.pid else options.config.stem
    text = "seconds,resident_mb,processes\n" + "".join(f"{a},{b},{c}\n" for a, b, c in track)
    write_text(options.out / "memory.csv", text)
    write_json(options.out / "memory.json", {"run": title, **result, "limit_mb": options.limit, "hardware": hardware()})
    write_bytes(options.out / "memory.png", picture(track, result, title))
    print(json.dumps(result, indent=2))
    return int(result["growth_mb"] > options.limit)


if __name__ == "__main__":
    sys.exit(main())

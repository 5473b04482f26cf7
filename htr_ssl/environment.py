"""Where a run took place: hardware, versions and command, for people who compare figures."""

from __future__ import annotations

import math
import os
import platform
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from htr_ssl import __version__

if TYPE_CHECKING:
    import torch

Precision = Literal["32-true", "bf16-mixed"]


def hardware(device: str = "cpu") -> str:
    """Processor, number of cores and vector instructions, and the GPU if `device` is one, in words."""
    model = next(iter(_cpuinfo("model name")), platform.processor() or platform.machine())
    gpu = ""
    if device.startswith("cuda"):
        import torch

        gpu = f", {torch.cuda.get_device_name(device)}"
    features = "".join(f" {name}" for name in isa())
    return f"{model}, {os.cpu_count()} cores{',' if features else ''}{features}{gpu}"


@cache
def isa() -> list[str]:
    """Vector instructions of the processor that decide how fast it computes: of avx2, avx512, avx512_bf16, amx_bf16.

    Empty where the system does not name them (not Linux).
    """
    flags = set(next(iter(_cpuinfo("flags")), "").split())
    names = {"avx2": "avx2", "avx512f": "avx512", "avx512_bf16": "avx512_bf16", "amx_bf16": "amx_bf16"}
    return [name for flag, name in names.items() if flag in flags]


def cores() -> int:
    """Number of processors that this process may use; taskset, SLURM and containers give it a part of the machine."""
    seen = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(seen, _quota())))


def _quota(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float:
    """Processors that the control groups of this process grant it (Linux), which it sees more of; infinite without."""
    shares = [math.inf]
    try:
        for line in own.read_text().splitlines():
            _, controllers, place = line.split(":", 2)
            base = root / controllers if controllers else root
            for folder in (base / place.lstrip("/"), *(base / place.lstrip("/")).parents):
                if controllers and "cpu" in controllers.split(","):
                    shares.append(_share(folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us"))
                elif not controllers:
                    shares.append(_share(folder / "cpu.max"))
                if folder == base:
                    break
    except (OSError, ValueError):
        pass
    return min(shares)


def _share(*files: Path) -> float:
    """Microseconds granted in each period, by its microseconds; infinite if there is no limit."""
    if not all(file.is_file() for file in files):
        return math.inf
    granted, period = " ".join(file.read_text() for file in files).split()
    return math.inf if granted in ("max", "-1") else int(granted) / int(period)


def bfloat16() -> list[str]:
    """Instructions of the processor for bfloat16; without them PyTorch emulates it slowly and has no LSTM."""
    return [feature for feature in isa() if feature.endswith("bf16")]


def _cpuinfo(field: str) -> list[str]:
    """Values of a field for every core, none where there is no such list."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.partition(":")[2].strip() for line in lines if line.startswith(field)]


def environment() -> dict[str, Any]:
    """Versions, hardware and command of this process."""
    import torch

    names = ("torch", "lightning", "numpy", "cv2")
    return {
        "htr_ssl": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        **{name: getattr(sys.modules[name], "__version__", "") for name in names if name in sys.modules},
        "hardware": hardware("cuda" if torch.cuda.is_available() else "cpu"),
        "threads": torch.get_num_threads(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _commit() -> str | None:
    """Commit of the working copy the package runs from, None if it is installed elsewhere."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def precision(name: str, device: torch.device) -> Precision:
    """bf16 if asked for, or if `auto` and the device computes it natively, because emulation is slow."""
    if name == "auto":
        name = "bf16" if native_bfloat16(device) else "32"
    return "bf16-mixed" if name == "bf16" else "32-true"


def native_bfloat16(device: torch.device) -> bool:
    """Whether the device computes bfloat16 natively."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(bfloat16())

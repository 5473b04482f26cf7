"""Pages read on many machines: Ray Data hands them out, and gives those of a worker that died to another one.

A worker is a process of one core with a copy of the model. All machines see the same folders under the same paths. What
a worker has written is whole or absent, so a page that is begun again ends as if it had been read once.
"""

from __future__ import annotations

import logging
import os
import pickle
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from htr_ssl import __version__
from htr_ssl.errors import UserError
from htr_ssl.layout.ledger import HOME
from htr_ssl.pages.outcome import Result
from htr_ssl.pages.page_task import Item, Task, safely

TRIES = 3
"""How often a page is begun before it counts as the reason why its workers died."""
_MOST = 16  # pages handed out at once
_SHARE = 4  # times that every worker is to ask for pages, at least: none waits long for the last one


def read(task: Task, items: Sequence[Item], workers: int = 0) -> Iterator[Result]:
    """Results in the order of the items.

    The cluster is the one that this process is connected to, else that of `RAY_ADDRESS`, else the one that was started
    on this machine, else a new one of this machine's cores, which ends with the last result.

    Args:
        task: what the pages share.
        items: pages.
        workers: at most so many; 0 = one per core of the cluster.

    Raises:
        UserError: Ray is not installed, the cluster does not answer, or no worker can start.
    """
    ray = _ray()
    own = not ray.is_initialized()
    begun = task.out / HOME / "begun"
    shutil.rmtree(begun, ignore_errors=True)
    try:
        if own:
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        for row in _rows(ray, task, begun, items, workers):
            yield pickle.loads(row["result"])
    except (ray.exceptions.RayError, ConnectionError) as error:
        raise UserError(f"the Ray cluster: {str(error).strip().splitlines()[-1].strip()}") from error
    finally:
        shutil.rmtree(begun, ignore_errors=True)
        if own:
            ray.shutdown()


def _ray() -> Any:
    """The library; unless the user has said otherwise, it sends no statistics of its use and prints no diary."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UserError(f"--engine ray needs {error.name}: pip install 'htr-ssl[ray]'") from None
    return ray


def _rows(ray: Any, task: Task, begun: Path, items: Sequence[Item], workers: int) -> Iterator[dict[str, Any]]:
    """What the workers return, in the order of the items."""
    cores = int(ray.cluster_resources().get("CPU", 1))
    workers = max(1, min(workers or cores, cores, len(items)))
    at_once = max(1, min(_MOST, len(items) // (workers * _SHARE)))
    rows = [{"number": number, "item": pickle.dumps(item)} for number, item in enumerate(items)]
    data = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // at_once)).map(
        _Worker,
        fn_constructor_args=(task, begun, os.getcwd(), __version__),
        num_cpus=1,
        compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=1),
    )
    data.context.execution_options.preserve_order = True
    data.context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    yield from data.iter_rows()


class _Worker:
    """What reads pages in a process of the cluster."""

    def __init__(self, task: Task, begun: Path, folder: str, version: str) -> None:
        import cv2

        if version != __version__:
            raise UserError(f"the command has htr-ssl {version}, a worker has {__version__}; install the same")
        os.chdir(folder)  # paths are relative to where the command was given
        cv2.setNumThreads(1)  # PyTorch has the one thread that Ray gives a worker of one core
        self.task, self.begun = task, begun

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """The result of a page."""
        job, name = item = pickle.loads(row["item"])
        mark = self.begun / str(row["number"])  # a byte each time the page is begun; gone when it ends
        if mark.exists() and mark.stat().st_size >= TRIES:
            message = f"{job.shown}: the process that read it died {TRIES} times, perhaps for want of memory"
            return {"result": pickle.dumps(Result(job.shown, "failed", message, name=name))}
        with suppress(OSError):  # what hinders writing here is said when the page is written
            self.begun.mkdir(parents=True, exist_ok=True)
            with open(mark, "ab") as handle:
                handle.write(b".")
        result = safely(self.task, item)
        with suppress(OSError):
            mark.unlink()
        return {"result": pickle.dumps(result)}

"""Keeps every process of a parallel test run to a core of its own: threads of two on one core wait for each other."""

import os

os.environ.setdefault("HTR_SSL_MEASURE", "0")  # timings on a busy machine choose by chance

worker = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
if worker and hasattr(os, "sched_setaffinity"):
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {allowed[int(worker) % len(allowed)]})


def pytest_collection_modifyitems(items):
    """The longest tests come first, so that no process is left alone with them at the end."""
    items.sort(key=lambda item: "tests/training/" not in item.nodeid)

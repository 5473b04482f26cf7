"""Damaged models, configurations, run folders, pages, tables: a sentence or a result, in bounded time and memory."""

import contextlib
import resource
import time

import pytest
from fuzzing import DOORS, rounds

from htr_ssl.errors import UserError

ROUNDS = {"model": 12, "config": 25, "run": 20, "transcribe": 20, "table": 40, "language": 60}
SECONDS = 30
"""Longest that one input may keep the processor."""
MEMORY = 400e6
"""Growth of the process allowed over all inputs of a door [bytes]."""


def test_every_door_is_tried():
    assert ROUNDS.keys() == DOORS.keys()


@pytest.mark.parametrize("name", DOORS)
def test_damaged(name, tmp_path):
    door = DOORS[name]
    (tmp_path / "first").mkdir()
    door.build(tmp_path / "first")
    with contextlib.suppress(UserError):
        door.read(tmp_path / "first")  # libraries are loaded by now
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    good = 0
    for _ in rounds(door, tmp_path / "whole", ROUNDS[name]):
        begun = time.process_time()
        with contextlib.suppress(UserError):
            door.read(tmp_path / "whole")
            good += 1
        assert time.process_time() - begun < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before < MEMORY
    assert good > 0 or name not in ("transcribe", "table"), "no input was read: the damage is too great to test with"

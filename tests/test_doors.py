"""Damaged models, configurations, run folders, pages, tables: a sentence or a result, in bounded time and memory."""

import contextlib
import time

import pytest
from alone import alone, peak
from fuzzing import DOORS, rounds

from htr_ssl.errors import UserError

ROUNDS = {"model": 12, "config": 25, "run": 20, "transcribe": 20, "table": 40, "language": 60}
SECONDS = 30
"""Longest that one input may keep the processor."""
MEMORY = 250e6
"""Growth of the process allowed over all inputs of a door [bytes]."""


def test_every_door_is_tried():
    assert ROUNDS.keys() == DOORS.keys()


@pytest.mark.parametrize("name", DOORS)
def test_damaged(name, tmp_path):
    grown, good = alone(damaged, name, tmp_path)
    assert grown < MEMORY
    assert good > 0 or name not in ("transcribe", "table"), "no input was read: the damage is too great to test with"


def damaged(name, folder):
    """Bytes by which the process has grown over all inputs, and how many could be read."""
    door = DOORS[name]
    (folder / "first").mkdir()
    door.build(folder / "first")
    with contextlib.suppress(UserError):
        door.read(folder / "first")  # libraries are loaded by now
    before, good = peak(), 0
    for _ in rounds(door, folder / "whole", ROUNDS[name]):
        begun = time.process_time()
        with contextlib.suppress(UserError):
            door.read(folder / "whole")
            good += 1
        assert time.process_time() - begun < SECONDS
    return peak() - before, good

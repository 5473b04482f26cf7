"""Malformed input to every reader: nothing but a `UserError` may come out, and the memory stays bounded."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from alone import alone, peak
from fuzzing import damage
from miniatures import LAYOUTS

from htr_ssl import plugins
from htr_ssl.data import importing
from htr_ssl.data.reading import read
from htr_ssl.errors import UserError

ROUNDS = 45
"""Damaged copies of each layout."""
MEMORY = 250e6
"""Growth of the process allowed over all rounds of a layout, after it was read whole [bytes]."""


def test_enough_inputs_over_all_readers():
    assert {reader for reader, _, _ in LAYOUTS.values()} == set(plugins.names("htr_ssl.data.readers"))
    assert ROUNDS * len(LAYOUTS) >= 900


@pytest.mark.parametrize("name", LAYOUTS)
def test_damaged_files(name, tmp_path):
    grown, good = alone(damaged, name, tmp_path)
    assert grown < MEMORY
    assert good > 0, "no round left anything to read: the damage is too great to test with"


def damaged(name, folder):
    """Bytes by which the process has grown over all rounds, and how often there was something to read."""
    reader, level, build = LAYOUTS[name]
    (folder / "whole").mkdir()
    build(folder / "whole")
    whole = {path: path.read_bytes() for path in (folder / "whole").rglob("*") if path.is_file()}
    names, out = sorted(whole), folder / "out.parquet"
    for format in (reader, "auto"):
        with contextlib.suppress(UserError):
            importing.write(read(folder / "whole", format, level), out, threads=1)  # libraries are loaded by now
    before, good = peak(), 0
    for number in range(ROUNDS):
        random = np.random.default_rng(number)
        victims = [names[int(random.integers(len(names)))] for _ in range(random.integers(1, 3))]
        for path in victims:
            path.write_bytes(damage(whole[path], random)) if random.random() < 0.9 else path.unlink(missing_ok=True)
        for format in (reader, "auto"):
            try:
                outcome = importing.write(read(folder / "whole", format, level), out, threads=1)
            except UserError:
                continue
            good += 1
            assert outcome.rows == len(read(out, level=level)) > 0
        for path in set(victims):
            path.write_bytes(whole[path])
    return peak() - before, good

"""Malformed input to every reader: nothing but a `UserError` may come out, and the memory stays bounded."""

from __future__ import annotations

import resource

import numpy as np
import pytest
from fuzzing import damage
from miniatures import LAYOUTS

from htr_ssl import plugins
from htr_ssl.data import importing
from htr_ssl.data.reading import read
from htr_ssl.errors import UserError

ROUNDS = 45
"""Damaged copies of each layout."""
MEMORY = 400e6
"""Growth of the process allowed over all rounds of a layout [bytes]."""


def test_enough_inputs_over_all_readers():
    assert {reader for reader, _, _ in LAYOUTS.values()} == set(plugins.names("htr_ssl.data.readers"))
    assert ROUNDS * len(LAYOUTS) >= 900


@pytest.mark.parametrize("name", LAYOUTS)
def test_damaged_files(name, tmp_path):
    reader, level, build = LAYOUTS[name]
    (tmp_path / "whole").mkdir()
    build(tmp_path / "whole")
    whole = {path: path.read_bytes() for path in (tmp_path / "whole").rglob("*") if path.is_file()}
    names = sorted(whole)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    good = 0
    for number in range(ROUNDS):
        random = np.random.default_rng(number)
        victims = [names[int(random.integers(len(names)))] for _ in range(random.integers(1, 3))]
        for path in victims:
            path.write_bytes(damage(whole[path], random)) if random.random() < 0.9 else path.unlink(missing_ok=True)
        out = tmp_path / "out.parquet"
        for format in (reader, "auto"):
            try:
                outcome = importing.write(read(tmp_path / "whole", format, level), out, threads=1)
            except UserError:
                continue
            good += 1
            assert outcome.rows == len(read(out, level=level)) > 0
        for path in set(victims):
            path.write_bytes(whole[path])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before < MEMORY
    assert good > 0, "no round left anything to read: the damage is too great to test with"

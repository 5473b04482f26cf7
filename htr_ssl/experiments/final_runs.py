"""When the test split of some data was read in final runs, and by how many configurations."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from htr_ssl.errors import UserError
from htr_ssl.files import sha256, write_json

LEDGER = "final_runs.json"
"""Beside the folders of all runs: every final run, with its samples and cells."""
OWN = "final.json"
"""In the folder of a table: when its final run began, and which others had read the same samples before."""


def note(out: Path, samples: Iterable[tuple[str, str]], cells: Sequence[str]) -> dict[str, Any]:
    """Writes down that a table reads the test split; the first time counts, of the run and of every cell.

    An earlier run that has all cells of this one is no other configuration: it was repeated, or a part of it. One that
    has fewer is: rows or seeds were added after the test split was read.

    Args:
        out: folder of the table.
        samples: id and text of every test sample.
        cells: hashes of the table's cells.

    Returns:
        The content of `OWN`: ``when`` (UTC), ``cells``, how many were first read at which time, in their order, and
        ``others``, each with ``table`` and ``when``.

    Raises:
        UserError: the ledger is damaged.
    """
    path = out.parent / LEDGER
    runs = _runs(path)
    mark = sha256("\n".join(sorted(f"{name}\t{text}" for name, text in samples)))
    own = {"table": out.name, "samples_sha256": mark, "cells": sorted(cells)}
    known = next((run for run in runs if {**own, "when": run["when"]} == run), None)
    if known is None:
        known = {**own, "when": datetime.now(UTC).isoformat(timespec="seconds")}
        runs.append(known)
        write_json(path, runs)
    before = [run for run in runs[: runs.index(known)] if run["samples_sha256"] == mark]
    others = [run for run in before if not set(cells) <= set(run["cells"])]
    first = {cell: run["when"] for run in reversed([*before, known]) for cell in run["cells"]}
    found = {
        "when": known["when"],
        "cells": dict(sorted(Counter(first[cell] for cell in cells).items())),
        "others": [{key: run[key] for key in ("table", "when")} for run in others],
    }
    write_json(out / OWN, found)
    return found


def read(out: Path) -> dict[str, Any]:
    """Content of `OWN`; empty if there is none or it is damaged."""
    try:
        value = json.loads((out / OWN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _runs(path: Path) -> list[dict[str, Any]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return [{key: run[key] for key in ("table", "samples_sha256", "cells", "when")} for run in found]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}: the record of final runs is damaged; restore it, or remove it and say so") from None

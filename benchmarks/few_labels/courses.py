"""Figures of finished courses of `learn` in one file.

``python benchmarks/few_labels/courses.py OUT.json NAME=FOLDER [NAME=FOLDER ...]``

Each folder is that of `htr-ssl learn`; the score on the test split is there after
``htr-ssl evaluate FOLDER/model.safetensors DATA --out FOLDER/test``; that of a stage without labels on the validation
after the same with FOLDER/round1/run and the like. A name that is in OUT.json is replaced.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from question import said

from htr_ssl.courses import schedule
from htr_ssl.files import write_json

TRAININGS = {"first": "first"} | {f"round{k}": f"round{k}/run" for k in range(1, schedule.MOST_ROUNDS + 1)}
STAGES = {"start": "start"}
for _name, _folder in TRAININGS.items():
    STAGES |= {_name: _folder, f"{_name}_averaged": f"{_folder}/averaged"}
STAGES["language"] = "language"


def course(folder: Path) -> dict[str, Any]:
    """Plan, scores of each stage on the held-out lines, and score of the chosen model on the test split."""
    plan = _read(folder / "plan.json")
    budget = plan["budget"]
    return {
        "data": Path(plan["data"]["source"]).name,
        "level": plan["data"]["level"],
        "hours": plan["asked"]["hours"],
        "labels": plan["labels"],
        "unlabelled": plan["unlabelled"],
        "images_a_second": round(plan["images_a_second"], 2),
        "planned_minutes": round(budget["seconds"] / 60, 1),
        "first": budget["first"],
        "rounds": budget["rounds"],
        "read": budget["pool"],
        "language_of_last_readings": budget["language"],
        "validation": {
            name: scored(path) for name, sub in STAGES.items() if (path := folder / sub / "result.json").exists()
        },
        "chosen": _read(path)["course"]["chosen"] if (path := folder / "result.json").exists() else "the last",
        "test": scored(folder / "test" / "result.json"),
    }


def scored(path: Path) -> dict[str, Any]:
    """Number of lines, CER and WAcc with and without the language model."""
    result = _read(path)
    return {"n": result["n"], **said(result)}


def _read(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value


def main() -> None:
    """Adds the courses to the file."""
    out = Path(sys.argv[1])
    found = _read(out) if out.exists() else {"courses": {}}
    for argument in sys.argv[2:]:
        name, _, folder = argument.partition("=")
        found["courses"][name] = course(Path(folder))
    write_json(out, found)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main()

"""What becomes of each small situation of a folder of cases: one block a case, for `cases.md`.

Run: python benchmarks/reliability/cases.py ../shared/cases
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

from htr_ssl.check.doctor import check
from htr_ssl.data.reading import read
from htr_ssl.errors import UserError

WHOLE = ("12", "19", "29", "30", "31")
"""Cases whose folders belong together; each folder of the others is a case of its own."""


def main(root: Path) -> None:
    """Prints format, lines, texts, problems, notes and verdict."""
    warnings.simplefilter("ignore")
    for case in sorted(root.iterdir()):
        parts = [part for part in sorted(case.iterdir()) if part.is_dir()]
        for place in [case] if case.name[:2] in WHOLE or not parts else parts:
            print(place.relative_to(root))
            try:
                samples = read(place)
            except UserError as error:
                print(f"  refused: {error}")
                continue
            texts = samples.column("text")
            print(f"  {samples.facts['format']}, {len(samples)} images, {sum(map(bool, texts))} texts: {texts[:6]}")
            for sentence in (*samples.problems, *samples.notes):
                print(f"  {sentence}")
            report = check(samples)
            print(f"  check: {'sound' if report.sound else '; '.join(report.reasons)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

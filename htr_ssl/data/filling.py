"""Texts that somebody wrote into a table, such as next.csv of a course, go to the samples of their ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from htr_ssl.data.readers.table import texts
from htr_ssl.data.samples import Samples, SampleView, clean_text
from htr_ssl.errors import UserError

EXPECTED = "give a CSV or TSV table with the columns id and text, such as next.csv of `learn`"


@dataclass(slots=True)
class Table:
    """Rows of a table that belong to samples.

    Attributes:
        rows: numbers of the samples, in the table's order.
        texts: number of a sample -> text that the table gives it.
        problems: a sentence for each row that was left out.
    """

    rows: list[int] = field(default_factory=list)
    texts: dict[int, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def look_up(samples: Samples, path: Path) -> Table:
    """The samples whose ids a table has, and the texts that it gives them.

    Raises:
        UserError: the table cannot be read, or has no id of a sample.
    """
    places = {str(name): row for row, name in enumerate(samples.column("id"))}
    found, problems = texts(path, places)
    table, rows = Table(problems=problems), dict[int, None]()
    for place, name, text in found:
        row, text = places.get(name), clean_text(text) or ""
        if row is None:
            table.problems.append(f"{place}: there is no {samples.level} {name!r} in the data; the row is left out")
        elif table.texts.get(row, text) != text and text:
            table.problems.append(f"{place}: {name} has another text further up; the row is left out")
        else:
            rows[row] = None
            table.texts |= {row: text} if text else {}
    table.rows = list(rows)
    if not table.rows:
        raise UserError(f"{path}: it has no id of a {samples.level} of the data; {EXPECTED}")
    return table


def chosen(samples: Samples, rows: Sequence[int]) -> SampleView:
    """The samples of these rows, in their order."""
    splits = samples.column("split")
    return SampleView(samples, [splits[row] for row in rows], rows)


def filled(samples: Samples, table: Table) -> SampleView:
    """All samples, with the texts of the table in the place of their own.

    Raises:
        UserError: no text is filled in.
    """
    if not table.texts:
        raise UserError("no text is filled in; write what the images say into a column `text` of the table")
    return SampleView(samples, samples.column("split"), texts=table.texts)

"""The rows of a table: those of the configuration, and the supervised one of the same compute."""

from __future__ import annotations

from htr_ssl.config import Stage, TableConfig

MATCHED = "supervised_matched"
"""Name of the row that is supervised for as many passes through the encoder as the most expensive other row needs."""


def rows(config: TableConfig) -> dict[str, list[Stage]]:
    """Row name -> stages, in the order of the table."""
    return {**config.rows, MATCHED: []} if matched(config) else dict(config.rows)


def matched(config: TableConfig) -> bool:
    """Whether the table has a row of the same compute: where a row has a self-supervised method and is fine-tuned."""
    learns = any(stage.method or stage.joint for stages in config.rows.values() for stage in stages)
    return config.matched and learns and "none" in config.probes and MATCHED not in config.rows


def baseline(config: TableConfig) -> str | None:
    """Name of the row that the others are compared with: the configured one, else the first without stages."""
    return config.baseline or next((row for row, stages in config.rows.items() if not stages), None)

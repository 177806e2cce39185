"""How are the rows of a suite shown?

`as_text` for the terminal, `as_markdown` for the documentation: the same columns in both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lab import Row


@dataclass(frozen=True, slots=True)
class Column:
    """A figure of a row, and how it is written."""

    key: str
    title: str
    form: str = "{}"

    def of(self, row: Row) -> str:
        """The cell; empty where the row has no such figure."""
        value = row.get(self.key)
        return "" if value is None else self.form.format(value)


US = "{:,.2f}"
COLUMNS: Mapping[str, Sequence[Column]] = {
    "cost": (
        Column("work", "work"),
        Column("peer", "handler"),
        Column("caller_over_null", "caller, clock", US),
        Column("caller_cpu_over_null", "caller, CPU", US),
        Column("process_cpu_over_null", "process, CPU", US),
        Column("bytes", "bytes", "{:,.1f}"),
        Column("delivered", "delivered", "{:.2%}"),
    ),
}


def cells(suite: str, rows: Sequence[Row]) -> list[list[str]]:
    """The header, then a line for each row."""
    columns = COLUMNS[suite]
    return [[c.title for c in columns], *([c.of(row) for c in columns] for row in rows)]


def as_text(suite: str, rows: Sequence[Row]) -> str:
    """Columns for a terminal."""
    table = cells(suite, rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if number > 1 else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in table
    )


def as_markdown(suite: str, rows: Sequence[Row]) -> str:
    """A table for the documentation."""
    header, *lines = cells(suite, rows)
    rule = ["---", *("---:" if i else "---" for i in range(1, len(header)))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *lines))

"""The rows of a suite as tables.

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

    @property
    def is_text(self) -> bool:
        """Whether it is no number, and stands at the left."""
        return self.form == "{}"

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
    "latency": (
        Column("rate", "calls/s", "{:,}"),
        Column("peer", "handler"),
        Column("cores", "cores"),
        Column("p50", "p50", US),
        Column("p99", "p99", US),
        Column("p999", "p99.9", US),
        Column("max", "max", "{:,.0f}"),
        Column("p999_over_null", "p99.9 / null", "{:.2f}"),
    ),
    "receive": (
        Column("work", "work"),
        Column("receiver", "receiver"),
        Column("cpu", "µs a record", US),
        Column("faster", "times as fast", "{:.2f}"),
    ),
    "end_to_end": (
        Column("output", "into"),
        Column("pipeline", "pipeline"),
        Column("rate", "records/s", "{:,.0f}"),
        Column("faster", "times as fast", "{:.2f}"),
        Column("caller", "caller, clock", US),
        Column("sender_cpu", "sender CPU", US),
        Column("receiver_cpu", "receiver CPU", US),
        Column("delivered", "delivered", "{:.2%}"),
        Column("kernel_drops", "kernel drops", "{:.0f}"),
    ),
    "one_file": (
        Column("way", "four processes, one rotating file"),
        Column("rate", "records/s", "{:,.0f}"),
        Column("faster", "times the better of 2 and 3", "{:.2f}"),
        Column("caller", "caller, clock", US),
        Column("cpu", "CPU of the four", US),
        Column("lost", "lost", "{:,.0f}"),
        Column("logged", "of", "{:,}"),
    ),
    "bursts": (
        Column("records", "burst", "{:,}"),
        Column("handler", "handler"),
        Column("cpu_over_null", "process, CPU", US),
        Column("memory_mb", "MB", "{:,.1f}"),
        Column("dropped", "dropped", "{:,}"),
    ),
    "growth": (
        Column("grows", "with"),
        Column("handler", "handler"),
        Column("caller_over_null", "caller, clock", US),
        Column("process_cpu_over_null", "process, CPU", US),
        Column("rate", "records/s", "{:,.0f}"),
        Column("receiver_cpu", "receiver, CPU", US),
        Column("delivered", "delivered", "{:.2%}"),
    ),
    "workers": (
        Column("output", "into"),
        Column("workers", "workers", "{:,}"),
        Column("rate", "records/s", "{:,.0f}"),
        Column("faster", "times one worker", "{:.2f}"),
        Column("delivered", "delivered", "{:.2%}"),
    ),
    "imports": (
        Column("imports", "import"),
        Column("cpu", "ms", US),
        Column("ratio", "times logging, socket, json, zlib", "{:.2f}"),
    ),
    "rest": (
        Column("handler", "handler"),
        Column("memory_mb", "MB over NullHandler", US),
        Column("wakes", "wake-ups a second", US),
        Column("cpu", "µs of CPU a second", "{:,.1f}"),
    ),
}


def as_text(suite: str, rows: Sequence[Row]) -> str:
    """Columns for a terminal."""
    columns = COLUMNS[suite]
    padded: list[list[str]] = []
    for column in columns:
        cells = [column.title, *map(column.of, rows)]
        width = max(map(len, cells))
        padded.append([c.ljust(width) if column.is_text else c.rjust(width) for c in cells])
    return "\n".join("  ".join(line).rstrip() for line in zip(*padded, strict=True))


def as_markdown(suite: str, rows: Sequence[Row], *, without: str = "") -> str:
    """A table for the documentation; the column `without` is left out."""
    columns = [column for column in COLUMNS[suite] if column.key != without]
    header = [column.title for column in columns]
    rule = ["---" if column.is_text else "---:" for column in columns]
    lines = [[column.of(row) for column in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *lines))

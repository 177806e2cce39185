"""What became of the records of each case, in one table over everything that a run did.

Loss is a fault, except where a case is about a policy that drops: there the test says how much.
"""

from __future__ import annotations

import platform
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

__all__ = ["HEADINGS", "Row", "Table", "table_key"]

WIDTH = 58
HEADINGS = (
    f"| {'case':<{WIDTH}} | {'interpreter':<11} | {'logged':>7} | {'delivered':>9} "
    f"| {'lost':>5} | {'duplicated':>10} | {'seconds':>7} |"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    case: str
    logged: int
    delivered: int
    lost: int
    duplicated: int
    seconds: float

    def __str__(self) -> str:
        counts = f"{self.logged:>7} | {self.delivered:>9} | {self.lost:>5} | {self.duplicated:>10}"
        python = platform.python_version()
        return f"| {self.case:<{WIDTH}} | {python:<11} | {counts} | {self.seconds:>7.1f} |"


@dataclass(slots=True)
class Table:
    """The rows of a run, and what else it found out."""

    rows: list[Row] = field(default_factory=list)
    calls: dict[str, float] = field(default_factory=dict)
    """The longest log call of a usual round, in seconds, by case."""

    def add(
        self, case: str, logged: Collection[object], came: Iterable[object], began: float
    ) -> Row:
        """Count what came of what was logged since `began`, on the monotonic clock."""
        seen = Counter(came)
        lost = len(set(logged) - set(seen))
        duplicated = seen.total() - len(seen)
        seconds = time.monotonic() - began
        return self.add_row(Row(case, len(logged), seen.total(), lost, duplicated, seconds))

    def add_row(self, row: Row) -> Row:
        """Add what has been counted elsewhere."""
        self.rows.append(row)
        return row

    def lines(self) -> list[str]:
        """The table as text."""
        lines = [HEADINGS, *map(str, self.rows)]
        if self.calls:
            case = max(self.calls, key=self.calls.__getitem__)
            longest = 1_000 * self.calls[case]
            lines.append(f"longest log call of a usual round: {longest:.1f} ms ({case})")
        return lines


table_key: pytest.StashKey[Table] = pytest.StashKey()

"""The members of a compact payload that say types, shapes and exceptions.

They add to what the other members say already, so that a reader who ignores them has the records
all the same. They are read last, and what the budget does not allow is left out without a word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from batchudp_handler.core.errors import DecodeError
from batchudp_handler.core.payload import tagged
from batchudp_handler.core.payload.budget import Price
from batchudp_handler.core.records.remote_error import exceptions_in
from batchudp_handler.core.records.template import is_shaped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchudp_handler.core.payload.checks import Checks
    from batchudp_handler.core.records.batch import Column, Content

__all__ = ["Rows", "TypedReader"]

Rows: TypeAlias = "tuple[Sequence[int], Sequence[Any]]"
"""A sparse column that says its rows."""

MISSING = object()
HEADROOM = 4_000_000
"""Nanoseconds of work that are left for what comes after."""
OVERHEAD = 4
"""How much longer a value may be with its tags than without."""


class TypedReader:
    """Reads these members of one payload, within its checks and budget."""

    def __init__(self, checks: Checks) -> None:
        self._checks = checks
        self._limits = checks.limits
        self._budget = checks.budget

    def value(self, node: object, characters: int) -> Any:
        """Return the value of a node; `MISSING` where it is wrong, too large or too costly."""
        weight = self._checks.weight(node, 3 * self._limits.extra_depth)
        if weight > OVERHEAD * characters:
            return MISSING
        try:
            return tagged.decode(node, self._budget, self._limits.json_depth)  # type: ignore[arg-type]  # parsed JSON
        except DecodeError:
            raise
        except Exception:  # noqa: BLE001  # whatever a constructor of the list raises
            self._checks.fields_refused += 1
            return MISSING

    def extra(self, column: Column, typed: Rows) -> Column:
        """Return a column of extras with the values of the rows in `typed` in their place."""
        rows, values = column
        places = None if rows is None else {row: place for place, row in enumerate(rows)}
        changed = list(values)
        for row, node in zip(*typed, strict=True):
            place = row if places is None else places.get(row)
            if place is None or not self._can_afford():
                continue
            value = self.value(node, self._limits.extra_characters)
            if value is not MISSING:
                changed[place] = value
        return rows, changed

    def shape(self, content: Content | None, node: object) -> Content | None:
        """Return message and arguments in their shape, if they print the text that came along."""
        if content is None or content[1] or not self._can_afford():
            return content
        shape = self.value(node, self._limits.text_characters)
        if type(shape) is tuple and len(shape) == 2 and is_shaped(shape, content[0]):
            return shape
        return content

    def errors(self, column: Rows) -> Column:
        """Return the descriptions of exceptions that there is room for."""
        rows: list[int] = []
        errors: list[object] = []
        for row, description in zip(*column, strict=True):
            if self._can_afford():
                self._budget.work(exceptions_in(description) * Price.ERROR)
                rows.append(row)
                errors.append(description)
        return rows, errors

    def _can_afford(self) -> bool:
        return self._budget.can_work(HEADROOM // 4)

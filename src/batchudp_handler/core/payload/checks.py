"""The checks of values from the network that are to become attributes of a record.

One `Checks` goes through one payload and counts what it refuses or cuts. Sizes are only looked
at where the payload as a whole is large enough to exceed them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from batchudp_handler.core.payload.budget import Price
from batchudp_handler.core.records.portable import LAST_SECOND, MAX_INTEGER
from batchudp_handler.core.records.rebuild import attribute_name
from batchudp_handler.core.records.safe import cut, cut_middle
from batchudp_handler.core.records.template import SCALARS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchudp_handler.core.payload.budget import Budget
    from batchudp_handler.core.payload.limits import DecodeLimits
    from batchudp_handler.core.records.batch import JSON

__all__ = ["REFUSED", "Checks"]


class _Refused:
    """The type of `REFUSED`."""


REFUSED: Final = _Refused()
"""Stands where a value was that may not become an attribute."""


class Checks:
    """The checks of one payload of `size` bytes, and its budget."""

    def __init__(self, limits: DecodeLimits, budget: Budget, size: int) -> None:
        self.limits = limits
        self.budget = budget
        self.fields_refused = 0
        self.truncated = 0
        self._texts_fit = size <= limits.text_characters
        self._extras_fit = size <= limits.extra_characters

    def name(self, value: object, longest: int | None = None) -> str | None:
        """A name that is short enough, cut if need be; None if it is no text."""
        if value.__class__ is not str:
            return None
        return self._cut(value, longest or self.limits.name_characters)

    def word(self, value: object) -> str:
        """A name; the word that would have been printed for it if it is none."""
        name = self.name(value)
        return str(None) if name is None else name

    def text(self, value: object) -> str | None:
        """A text that is short enough, cut if need be; None if it is no text."""
        if value.__class__ is not str:
            return None
        return value if self._texts_fit else self._cut(value, self.limits.text_characters)

    def traceback(self, value: object) -> str | None:
        """A text of which the end matters, cut in its middle if need be; None if it is no text."""
        if value.__class__ is not str or self._texts_fit:
            return value if value.__class__ is str else None
        if len(value) > self.limits.text_characters:
            self.truncated += 1
        return cut_middle(value, self.limits.text_characters)

    def _cut(self, text: str, longest: int) -> str:
        if len(text) <= longest:
            return text
        self.truncated += 1
        return cut(text, longest)

    def args(self, values: Sequence[Any]) -> Sequence[Any]:
        """A column of scalars whose texts are short enough."""
        if self._texts_fit:
            return values
        return [self.text(value) if value.__class__ is str else value for value in values]

    def integer(self, value: object) -> int | None:
        """A whole number of a size that systems use for ids; None for anything else."""
        if value.__class__ is int and -MAX_INTEGER < value < MAX_INTEGER:
            return value
        return None

    def levelno(self, value: object) -> int | None:
        """A level number; None for anything else, a bool too."""
        number = self.integer(value)
        return None if number is None or abs(number) > self.limits.levelno else number

    @staticmethod
    def seconds(value: object) -> float | None:
        """A time between 1970 and 9998; None for anything else."""
        return _between(value, 0.0, LAST_SECOND)

    @staticmethod
    def msecs(value: object) -> float | None:
        """The millisecond part of a time; None for anything else."""
        number = _between(value, 0.0, 1000.0)
        return None if number == 1000.0 else number

    @staticmethod
    def relative(value: object) -> float | None:
        """Milliseconds since a process started; None for anything else."""
        return _between(value, -1e15, 1e15)

    def extras(self, values: Sequence[Any]) -> Sequence[Any]:
        """A column of values of extras, with `REFUSED` where one is not allowed."""
        if self._extras_fit and SCALARS.issuperset(map(type, values)):
            return values
        return [self.extra(value) for value in values]

    def extra(self, value: JSON) -> Any:
        """The value of an extra, cut if it is a long text; `REFUSED` if too deep or too large."""
        if value.__class__ is str:
            return self._cut(value, self.limits.extra_characters)
        if not isinstance(value, (list, dict)):
            return value
        if self.weight(value, self.limits.extra_depth) <= self.limits.extra_characters:
            return value
        self.fields_refused += 1
        return REFUSED

    @classmethod
    def weight(cls, value: object, depth: int) -> float:
        """About the characters of a value; infinite if it is nested deeper than `depth`."""
        if isinstance(value, str):
            return len(value)
        if not isinstance(value, (list, dict)):
            return 8
        if depth == 0:
            return float("inf")
        if isinstance(value, list):
            return 2 + sum([cls.weight(item, depth - 1) for item in value])
        items = value.items()
        return 2 + sum([len(key) + 2 + cls.weight(item, depth - 1) for key, item in items])

    def extra_name(self, name: str) -> str | None:
        """The attribute that an extra becomes, or None."""
        return attribute_name(name)

    def object(self, value: object) -> dict[str, JSON]:
        """Extras or static fields that came as one object, under their attributes' names."""
        if not isinstance(value, dict):
            self.fields_refused += value is not None
            return {}
        allowed: dict[str, JSON] = {}
        for done, (key, item) in enumerate(value.items()):
            if len(allowed) >= self.limits.extras:
                self.fields_refused += len(value) - done
                break
            self.budget.work(Price.MEMBER)
            name = self.extra_name(key)
            if name is None:
                self.fields_refused += 1
            elif (checked := self.extra(item)) is not REFUSED:
                allowed[name] = checked
        return allowed


def _between(value: object, low: float, high: float) -> float | None:
    if (value.__class__ is float or value.__class__ is int) and low <= value <= high:
        return float(value)
    return None

"""What a payload may cost, and what each part of it is charged before it is worked on.

Anybody can write a payload in which little stands for much: a field that every record repeats, a
template with wide columns, ten thousand empty lists. So everything is charged that multiplies, and
a payload that cannot pay is refused whole, before the work is done.

There are two accounts. *Output* is in bytes of text that the records may print, in the worst of
the usual encodings: control characters and quotes take more than they are. *Work* is in
nanoseconds of a tariff; the prices are what the operations took on two shared cores under Python
3.11 and 3.13, rounded up, so that the worst payload that a search could find stays below the limit
in measured time too (`fuzz/costs.py`, docs/security.md). Values are also priced so that what is in
memory while a payload is read stays below sixteen times its largest size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from batchudp_handler.core.errors import DecodeError, Reason

if TYPE_CHECKING:
    from batchudp_handler.core.payload.limits import DecodeLimits

__all__ = [
    "LARGE_FLOAT",
    "PAYLOAD_WEIGHT",
    "PRINTED_LARGE_FLOAT",
    "PRINTED_MEMBER",
    "PRINTED_NUMBER",
    "PRINTED_RECORD",
    "Budget",
    "Price",
    "printed",
    "printed_each",
    "printed_value",
]

WEIGHT_QUOTED: Final = 2
"""Quotes and backslashes are escaped in JSON."""
WEIGHT_FOREIGN: Final = 6
"""Up to four bytes of UTF-8, or an escape where JSON is kept to ASCII."""
WEIGHT_CONTROL: Final = 12
"""Characters that are escaped wherever they are printed; a pair of escapes in JSON."""
PRINTED_NUMBER: Final = 24
LARGE_FLOAT: Final = 1e16
PRINTED_LARGE_FLOAT: Final = 320
"""An argument from there on: `%f` of the largest float has 309 digits before the point."""
PRINTED_MEMBER: Final = 8
"""What stands between and around a name and its value."""
PRINTED_RECORD: Final = 256
"""Everything in a line that does not depend on what the record says."""
PAYLOAD_WEIGHT: Final = 5
"""Text that is printed once may be escaped twice on the way."""


class Price:
    """Nanoseconds of work."""

    BYTE: Final = 15
    VALUE: Final = 250
    """Of JSON: parsed, checked, and put where it belongs."""
    CONTAINER: Final = 900
    ESCAPE: Final = 100
    CONTROL: Final = 200
    """A character that outputs escape one by one."""
    SURROGATE: Final = 500
    CAREFUL_VALUE: Final = 200
    """On top, where some number is too large to be read at full speed."""
    RECORD: Final = 3_000
    ROW: Final = 10_000
    """A record that does not come in columns."""
    SITE: Final = 6_000
    ORIGIN: Final = 4_000
    COLUMN: Final = 5_000
    """An extra that only some records have."""
    FIELD: Final = 100
    """An extra or static field, for each record that gets it."""
    MEMBER: Final = 1_000
    """A member of a row that becomes an extra."""
    FALLBACK: Final = 2_000
    """A record whose template is not trusted, and each of its arguments."""
    FALLBACK_ARG: Final = 250
    STRING: Final = 200
    """Of the table."""
    TYPED: Final = 4_000
    """An array with a tag, which becomes a value of another type."""
    ERROR: Final = 40_000
    """An exception of which a class and an instance are made."""
    TRIAL: Final = 10_000
    """A template that is tried, and each of its characters."""
    TRIAL_CHARACTER: Final = 60


class Budget:
    """The two accounts of one payload."""

    __slots__ = ("_output", "_work")

    def __init__(self, limits: DecodeLimits) -> None:
        self._output = limits.output_factor * limits.inflated_bytes
        self._work = limits.work_allowed

    def work(self, nanoseconds: int) -> None:
        """Charge work that is about to be done.

        Raises:
            DecodeError: There is not so much left.
        """
        self._work -= nanoseconds
        if self._work < 0:
            raise DecodeError(Reason.WORK_LIMIT)

    def output(self, size: int) -> None:
        """Charge text that records may print.

        Raises:
            DecodeError: There is not so much left.
        """
        self._output -= size
        if self._output < 0:
            raise DecodeError(Reason.OUTPUT_LIMIT)

    def can_work(self, nanoseconds: int) -> bool:
        """Whether so much work is small beside what is left, so that nobody need count exactly."""
        return 4 * nanoseconds <= self._work


def printed(text: str) -> int:
    """At most so many bytes does a text take, however it is printed."""
    if not text.isprintable():
        return WEIGHT_CONTROL * len(text)
    if not text.isascii():
        return WEIGHT_FOREIGN * len(text)
    return WEIGHT_QUOTED * len(text) if '"' in text or "\\" in text else len(text)


def printed_each(texts: list[str]) -> list[int]:
    """`printed` of each of many, which mostly are plain."""
    together = "".join(texts)
    return list(map(len if printed(together) == len(together) else printed, texts))


def printed_value(value: Any) -> int:
    """The same for a value of JSON that is not nested deeply."""
    if isinstance(value, str):
        return printed(value) + PRINTED_MEMBER
    if isinstance(value, list):
        return PRINTED_MEMBER + sum([printed_value(item) for item in value])
    if isinstance(value, dict):
        items = value.items()
        return PRINTED_MEMBER + sum(
            [printed(str(key)) + printed_value(item) for key, item in items]
        )
    if value.__class__ is int:
        return PRINTED_NUMBER + int.bit_length(value) // 3
    return PRINTED_NUMBER

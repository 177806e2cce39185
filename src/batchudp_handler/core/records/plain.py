"""Whatever a record holds becomes values that nobody can change, on the thread that logs.

`snapshot.capture` comes here with every record that is not plain. Types are asked for by `type()`,
because an object may lie about its `__class__`; an instance of a subclass is never kept, because
its methods may be anything. All code of the user runs inside `guarded` or `attempted`. What comes
out is made of exact `str`, `int`, `float`, `bool` and `None`, in exact lists and dicts: the thread
that sends runs no code of the user and is never the last to hold one of its objects.
"""

from __future__ import annotations

import logging
from math import isfinite
from operator import index
from typing import TYPE_CHECKING, Any

from batchudp_handler.core.records.arrival import ARRIVAL, CONVENIENT, Arrival
from batchudp_handler.core.records.kept import json_safe, keep
from batchudp_handler.core.records.record_names import (
    FORMATTED,
    RESERVED,
    STANDARD,
    STANDARD_LENGTH,
)
from batchudp_handler.core.records.safe import TEXT_CHARACTERS, attempted, cut, cut_middle, guarded
from batchudp_handler.core.records.template import SCALARS, fallback_text
from batchudp_handler.core.records.weight import LIGHT

if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = [
    "additions",
    "complete",
    "exception_text",
    "format_exception",
    "message_text",
    "optional_text",
    "plain_place",
]

MAX_EXTRAS = 64

_NAME = frozenset((str,))
"""The exact type of a name; a set, which asks for many at once."""
_LEVELNO = 1
_TEXTS = (0, 2, 3, 4, 5, 7, 9, 11, 12)
_NUMBERS = (_LEVELNO, 6, 8, 10, 13, 14, 15)
"""Places in what `get_place` gives: names and paths; lines, processes, threads and times."""

format_exception = logging.Formatter().formatException
"""The text of an `exc_info` as the standard library writes it."""


def complete(attributes: Any) -> dict[str, Any]:
    """All standard attributes under exact names: for a record that somebody took some from.

    Raises:
        TypeError: `attributes` is no dict.
    """
    whole: dict[str, Any] = vars(logging.LogRecord("root", logging.INFO, "", 0, "", (), None))
    whole["taskName"] = None  # who takes it away does not want to see it
    given = attributes if type(attributes) is dict else dict.copy(attributes)
    for name, value in given.items():
        whole[name if type(name) is str else guarded(str, name)] = value
    return whole


def plain_place(place: tuple[Any, ...]) -> tuple[Any, ...]:
    """What `get_place` gave, every value of an exact type."""
    fields = list(place)
    for field in _TEXTS:
        if type(fields[field]) not in SCALARS:
            fields[field] = _text(fields[field])
    for field in _NUMBERS:
        if type(fields[field]) not in SCALARS:
            fields[field] = _number(fields[field])
    fields[_LEVELNO] = _level(fields[_LEVELNO])
    return tuple(fields)


def _number(value: Any) -> float | None:
    """The number that an object stands for; None when it stands for none."""
    if issubclass(type(value), int):
        return int.__int__(value)
    if issubclass(type(value), float):
        return float.__float__(value)
    try:
        return int.__int__(index(value)) if hasattr(value, "__index__") else float(value)
    except Exception:  # noqa: BLE001  # user code
        return None


def _level(value: object) -> int:
    """A level number that the buffer can compare."""
    if type(value) is int:
        return value
    is_number = type(value) is bool or (type(value) is float and isfinite(value))
    return int(value) if is_number else 0  # type: ignore[call-overload]  # exact


def message_text(record: logging.LogRecord) -> str:
    """The message, rendered now, because it or its arguments are the user's objects."""
    return cut(guarded(_get_message, record), TEXT_CHARACTERS)


def _get_message(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except Exception:  # noqa: BLE001  # what the near side could not print is shipped as it is
        return fallback_text(guarded(str, record.msg), json_safe(record.args))
    return text if type(text) is str else guarded(str, text)


def exception_text(
    exc_info: Any, exc_text: Any, format_as_asked: Callable[[Any], object]
) -> str | None:
    """The text that a formatter would print, which is the cached one where there is one.

    A formatter that raises, or gives something else than text, gets the traceback written as
    the standard library does.
    """
    if issubclass(type(exc_text), str) and str.__len__(exc_text):
        return cut_middle(str.__str__(exc_text), TEXT_CHARACTERS)
    if not _is_set(exc_info):
        return optional_text(exc_text)
    text = attempted(format_as_asked, exc_info)
    return (
        cut_middle(guarded(format_exception, exc_info) if text is None else text, TEXT_CHARACTERS)
        or None
    )


def optional_text(value: object) -> str | None:
    """The text of a stack, or of whatever was put in its place; None for nothing."""
    return _text(value) if _is_set(value) else None


def _is_set(value: object) -> bool:
    if value is None or type(value) in SCALARS:
        return bool(value)
    try:
        return bool(value)
    except Exception:  # noqa: BLE001  # user code
        return True


def _text(value: object) -> str:
    return cut(value if type(value) is str else guarded(str, value), TEXT_CHARACTERS)


def additions(
    attributes: Any, arrival: Arrival | None = None
) -> tuple[dict[str, Any] | None, str | None, int, bool]:
    """Extras, and the host name and hops of a record that came over the network.

    Args:
        attributes: All attributes of the record, every standard one among them. Those that are
            not standard are the last ones, unless somebody changed the order, and that shows.
        arrival: What a receiver knows of the record.

    Returns:
        Extras, host name, hops, and whether an extra may have a long text.
    """
    if type(attributes) is not dict or len(attributes) > STANDARD_LENGTH + MAX_EXTRAS:
        return _odd_additions(complete(attributes), arrival)
    if arrival is not None:
        return _odd_additions(complete(attributes), arrival)
    names, values = [*attributes][STANDARD_LENGTH:], [*attributes.values()][STANDARD_LENGTH:]
    if not _NAME.issuperset(map(type, names)) or not RESERVED.isdisjoint(names):
        return _odd_additions(complete(attributes), arrival)
    if not SCALARS.issuperset(map(type, values)):
        values = [keep(value) for value in values]
        return dict(zip(names, values, strict=True)), None, 0, True
    is_long = max(map(len, names), default=0) > LIGHT
    for value in values:
        if type(value) is str and len(value) > LIGHT:
            is_long = True
    return dict(zip(names, values, strict=True)), None, 0, is_long


def _odd_additions(
    attributes: dict[str, Any], arrival: Arrival | None
) -> tuple[dict[str, Any] | None, str | None, int, bool]:
    """The same for attributes that are not all extras, or are too many."""
    found = arrival or attributes.get(ARRIVAL)
    hidden = STANDARD | FORMATTED
    hostname, hops = None, 0
    if type(found) is Arrival:
        hidden |= {*CONVENIENT} - found.shadowed
        hidden |= set() if arrival else {ARRIVAL}
        hostname, hops = found.hostname, found.hops
    names = [name for name in attributes if name not in hidden]
    omitted = len(names) - MAX_EXTRAS
    if omitted > 0:
        del names[MAX_EXTRAS - 1 :]
    extras = {name: keep(attributes[name]) for name in names}
    if omitted > 0:
        extras["omitted_extras"] = omitted + 1
    return extras or None, hostname, hops, True

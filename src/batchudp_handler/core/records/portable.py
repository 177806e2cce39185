"""A second look at a snapshot whose values cannot all travel as they are.

This is the careful path of both encoders, taken for a batch that the fast path stumbled on: every
field gets an exact type, numbers that JSON lacks become text, and a record with such an argument
goes with its message rendered.
"""

from __future__ import annotations

from math import isfinite
from operator import contains, itemgetter
from types import NoneType
from typing import Any

from batchudp_handler.core.records.batch import BatchHeader
from batchudp_handler.core.records.kept import Typed, json_safe, keep
from batchudp_handler.core.records.safe import guarded, is_portable_number
from batchudp_handler.core.records.snapshot import (
    CREATED,
    EXTRAS,
    FUNCNAME,
    HOPS,
    HOSTNAME,
    LEVELNO,
    LINENO,
    NARGS,
    PATHNAME,
    PROCESS,
    PROCESSNAME,
    TASKNAME,
    TEMPLATE,
    THREAD,
    THREADNAME,
    VALUES,
    Snapshot,
    render,
)
from batchudp_handler.core.records.template import is_portable

__all__ = [
    "LAST_SECOND",
    "MAX_ARGS",
    "MAX_LEVELNO",
    "MAX_NAME",
    "MAX_PATH",
    "MAX_TEMPLATE",
    "MICRO",
    "is_portable_place",
    "is_shippable_template",
    "portable_header",
    "portable_snapshot",
]

MAX_ARGS = 64
MAX_TEMPLATE = 1_024
MAX_NAME = 255
MAX_PATH = 4_096
MAX_LEVELNO = 1_000_000
MAX_INTEGER = 1 << 64
MICRO = 1_000_000
"""Microseconds in a second: the unit of time in a payload."""
LAST_SECOND = 253_370_764_799
"""The end of the year 9998, which every time zone can still show."""

_NUMBERS: dict[int, int | None] = {
    **dict.fromkeys((LEVELNO, NARGS, HOPS), 0),
    **dict.fromkeys((LINENO, PROCESS, THREAD)),
}
"""The whole numbers of a place and what stands for one that is none."""
_OPTIONAL = (FUNCNAME, TEMPLATE, PROCESSNAME, THREADNAME, TASKNAME, HOSTNAME)
_TYPES: list[tuple[type, ...]] = [
    (str, NoneType) if field in _OPTIONAL else (str,) for field in range(CREATED)
]
for _field, _default in _NUMBERS.items():
    _TYPES[_field] = (int, type(_default))
_get_numbers = itemgetter(*_NUMBERS)
_get_names = itemgetter(
    *[field for field in range(CREATED) if field not in {*_NUMBERS, TEMPLATE, PATHNAME}]
)


def is_shippable_template(template: str, nargs: int) -> bool:
    """Whether every receiver with the usual limits takes the template beside its arguments."""
    return len(template) <= MAX_TEMPLATE and nargs <= MAX_ARGS and is_portable(template)


def is_portable_place(place: tuple[Any, ...]) -> bool:
    """Whether site and origin have the types and sizes that a receiver accepts."""
    if not all(map(contains, _TYPES, map(type, place))):
        return False
    if any(field is not None and len(field) > MAX_NAME for field in _get_names(place)):
        return False
    if any(field is not None and abs(field) >= MAX_INTEGER for field in _get_numbers(place)):
        return False
    return abs(place[LEVELNO]) <= MAX_LEVELNO and len(place[PATHNAME]) <= MAX_PATH


def _longest(field: int) -> int:
    return MAX_PATH if field == PATHNAME else MAX_NAME


def portable_snapshot(snapshot: Snapshot) -> Snapshot:
    """The snapshot with every field of a type and value that can travel."""
    fields = list(snapshot)
    for field in range(CREATED):
        if field in _NUMBERS:
            fields[field] = _integer(field, snapshot[field])
        elif field != TEMPLATE and (field not in _OPTIONAL or snapshot[field] is not None):
            fields[field] = _name(snapshot[field], _longest(field))
    if snapshot[TEMPLATE] is not None and not _is_portable_text(snapshot):
        fields[TEMPLATE], fields[NARGS], fields[VALUES] = None, 0, render(snapshot)
    if snapshot[EXTRAS]:
        fields[EXTRAS] = {
            key if type(key) is str else guarded(str, key): _portable(value)
            for key, value in snapshot[EXTRAS].items()
        }
    fields[CREATED:VALUES] = _times(*snapshot[CREATED:VALUES])
    return tuple(fields)


def _portable(value: Any) -> Any:
    return value if type(value) is Typed else keep(value)


def portable_header(header: BatchHeader) -> BatchHeader:
    """The header with a host name and fields that can travel."""
    fields = {str(name): json_safe(value) for name, value in header.static_fields.items()}
    return BatchHeader(_name(header.hostname, MAX_NAME), fields)


def _integer(field: int, value: object) -> int | None:
    if not isinstance(value, int) or not -MAX_INTEGER < value < MAX_INTEGER:
        return _NUMBERS[field]
    if field == LEVELNO:
        return int(max(-MAX_LEVELNO, min(value, MAX_LEVELNO)))
    return int(value)


def _name(value: object, longest: int) -> str:
    text: str = value if type(value) is str else guarded(str, value)
    return text if len(text) <= longest else text[: longest - 3] + "..."


def _is_portable_text(snapshot: Snapshot) -> bool:
    """Whether template and arguments mean the same at the far side."""
    for value in snapshot[VALUES]:
        if type(value) is str:
            if not _is_utf8(value):
                return False  # its escaped form has another width and another repr()
        elif value is not None and not is_portable_number(value):
            return False
    return _is_utf8(snapshot[TEMPLATE])


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _times(created: object, msecs: object, relative: object) -> tuple[float, float, float]:
    """Three finite numbers; what is no time becomes 1970, which nobody takes for the truth."""
    moment = _finite(created, 0.0)
    moment = max(0.0, min(moment, float(LAST_SECOND)))
    part = _finite(msecs, -1.0)
    if not 0 <= part < 1000:
        part = float(int(moment % 1 * 1000))
    start = _finite(relative, 0.0)
    return moment, part, start if abs(start) < 1e15 else 0.0


def _finite(value: object, default: float) -> float:
    if isinstance(value, (int, float)) and abs(value) < 1e300 and isfinite(value):
        return float(value)
    return default

"""What the texts of a record take in memory.

Most records have short texts, and nobody weighs them: `capture` adds up the lengths of message and
arguments in passing, and gives a record whose texts are longer than `LIGHT` as a snapshot. Of
snapshots the texts are weighed here, on the thread that logs; only if they are long, exactly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchudp_handler.core.batch import Captured

__all__ = ["LIGHT", "text_bytes"]

LIGHT = 256
"""Characters of all texts together up to which a record is charged a flat size."""
VALUES = 20
"""Where in a snapshot the values begin that are the record's own."""


def text_bytes(snapshot: Captured) -> int:
    """Bytes that message, arguments, extras, exception and stack of a snapshot take.

    Returns:
        At most `LIGHT`, when they have no more characters than that.
    """
    values, extras, exception, stack = snapshot[VALUES:]
    length = len(values) if type(values) is str else _characters(values)
    if extras is not None:
        length += _characters(extras.values())
    if exception is not None:
        length += len(exception)
    if stack is not None:
        length += len(stack)
    return length if length <= LIGHT else _size(snapshot[VALUES:])


def _characters(values: Any) -> int:
    """Characters in the texts, nested ones included."""
    length = 0
    for value in values:
        kind = type(value)
        if kind is str:
            length += len(value)
        elif kind is list or kind is tuple:
            length += _characters(value)
        elif kind is dict:
            length += _characters(value) + _characters(value.values())
    return length


def _size(value: Any) -> int:
    """Bytes of the texts, and of what holds them."""
    size: int = value.__sizeof__()
    kind = type(value)
    if kind is list or kind is tuple:
        size += sum(map(_size, value))
    elif kind is dict:
        size += sum(map(_size, value)) + sum(map(_size, value.values()))
    return size

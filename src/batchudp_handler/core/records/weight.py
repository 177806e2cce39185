"""What the texts of a record take in memory.

Most records have no long text, and nobody weighs them: whoever takes a snapshot sees in passing
that its texts are short. Where one is long, or sits deeper than a glance goes, the snapshot is
made `Long`, and weighed before it waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batchudp_handler.core.records.kept import Typed

if TYPE_CHECKING:
    from batchudp_handler.core.records.batch import Snapshot

__all__ = ["LIGHT", "Long", "text_bytes"]

LIGHT = 256
"""Characters of a text that is not long."""
NESTED = frozenset({list, tuple, dict})
VALUES = 20
"""Where in a snapshot the values begin that are the record's own."""


class Long(tuple[Any, ...]):
    """A snapshot that may have a long text."""

    __slots__ = ()


def text_bytes(snapshot: Snapshot) -> int:
    """Bytes that message, arguments, extras, exception and stack take; 0: none of them is long."""
    values, extras, exception, stack, shape, _ = snapshot[VALUES:]
    if (
        (len(values) > LIGHT if type(values) is str else _has_long_text(values))
        or (extras is not None and _has_long_text(extras.values()))
        or (exception is not None and len(exception) > LIGHT)
        or (stack is not None and len(stack) > LIGHT)
        or (extras is not None and max(map(len, extras), default=0) > LIGHT)
        or (shape is not None and shape.weight > LIGHT)
    ):
        return _size(snapshot[VALUES:])
    return 0


def _has_long_text(values: Any) -> bool:
    for value in values:
        kind = type(value)
        if kind is str:
            if len(value) > LIGHT:
                return True
        elif kind is Typed:
            if value.weight > LIGHT:
                return True
        elif kind in NESTED and (len(value) > LIGHT or _has_long_text(value)):
            return True
    return type(values) is dict and _has_long_text(values.values())


def _size(values: Any) -> int:
    """Bytes of the texts and numbers, and of what holds them."""
    size: int = values.__sizeof__()
    for value in values:
        size += _size(value) if type(value) in NESTED else value.__sizeof__()
        if type(value) is Typed:
            size += 2 * value.weight  # with what is made of it for those who read JSON
    return size + _size([*values.values()]) if type(values) is dict else size

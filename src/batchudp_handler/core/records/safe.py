"""Calls of user code that are contained, and texts and numbers of bounded size.

User objects do as they please: `__repr__` may raise, recurse, log through the very handler that
asked, or return a megabyte, and `__class__` may say anything, so types are asked for by `type()`.
Everything here is bounded and raises no `Exception`; what is meant to end the program
(`KeyboardInterrupt`, `SystemExit`) passes.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from math import isfinite
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "EXTRA_CHARACTERS",
    "LONGEST_MARKER",
    "MAX_BITS",
    "TEXT_CHARACTERS",
    "attempted",
    "contained",
    "cut",
    "cut_middle",
    "guarded",
    "is_portable_number",
    "number_text",
    "type_name",
]

EXTRA_CHARACTERS = 16 * 1024
TEXT_CHARACTERS = 256 * 1024
MAX_BITS = 996
"""An int of at most so many bits has at most 300 digits: every conversion and every float can take
it. Larger ones travel as text."""

_MARKER = re.compile(r"… \[truncated ([0-9]{1,12}) characters\]\Z")
_MIDDLE_MARKER = re.compile(r"\n… \[truncated ([0-9]{1,12}) characters\] …\n")
LONGEST_MARKER = 40
_LONGEST_TYPE_NAME = 100
_MAX_NESTED_CALLS = 4

# How many calls of user code lie on top of each other in this thread or task. An object whose
# __repr__ logs itself twice would otherwise make 2^n records before the stack ends.
_nested_calls: ContextVar[int] = ContextVar("batchudp_handler.nested_calls", default=0)


def guarded(function: Callable[[Any], object], value: object) -> str:
    """Return `function(value)` as an exact `str`, or a placeholder where there is none."""
    text = attempted(function, value)
    return _placeholder(value) if text is None else text


def attempted(function: Callable[[Any], object], value: object) -> str | None:
    """Return `function(value)` as an exact `str`; None if it raises or returns no text."""
    text = contained(function, value)
    return str.__str__(text) if issubclass(type(text), str) else None


def contained(function: Callable[[Any], Any], value: object) -> Any:
    """Return `function(value)`; None if it raises."""
    depth = _nested_calls.get()
    if depth >= _MAX_NESTED_CALLS:
        return None
    token = _nested_calls.set(depth + 1)
    try:
        return function(value)
    except Exception:  # noqa: BLE001  # user code: whatever it raises costs its value, no more
        return None
    finally:
        _nested_calls.reset(token)


# past what a metaclass may have put in its place
_name_of_type: Callable[[type], str] = type.__dict__["__name__"].__get__


def _placeholder(value: object) -> str:
    return f"<unprintable {type_name(value)} object>"


def type_name(value: object) -> str:
    """Return the name of a value's type."""
    return cut(str.__str__(_name_of_type(type(value))), _LONGEST_TYPE_NAME)


def cut(text: str, characters: int) -> str:
    """Return `text`, or its beginning and a marker that says how much is missing.

    A text that was cut before has one marker, which counts both times: the snapshot, the splitter
    and the far side may each find a text too long.
    """
    if len(text) <= characters:
        return text
    earlier = _MARKER.search(text, max(len(text) - LONGEST_MARKER, 0))
    end = earlier.start() if earlier else len(text)
    missing = max(end - characters, 0) + (int(earlier[1]) if earlier else 0)
    return f"{text[: min(end, characters)]}… [truncated {missing} characters]"


def is_portable_number(value: float) -> bool:
    """Whether JSON and every %-conversion can take this exact int or float."""
    if type(value) is float:
        return isfinite(value)
    return type(value) is bool or int.bit_length(value) <= MAX_BITS  # type: ignore[arg-type]  # the int half of float


def cut_middle(text: str, characters: int) -> str:
    """Return `text`, or its beginning and its end with a marker between them.

    The end of a traceback is the exception itself. The result has at most `characters`, if these
    are not very few, so that whoever has the same limit leaves it alone. The number counts what
    an earlier marker says.
    """
    if len(text) <= characters:
        return text
    room = max(characters - LONGEST_MARKER, characters // 2)
    head, tail = text[: room // 2], text[len(text) - (room - room // 2) :]
    missing = len(text) - room
    earlier = _MIDDLE_MARKER.search(text, len(head), len(text) - len(tail))
    if earlier:
        missing += int(earlier[1]) - len(earlier[0])
    return f"{head}\n… [truncated {missing} characters] …\n{tail}"


def number_text(value: float) -> str:
    """Return the digits of a number that does not travel as one."""
    if type(value) is int and int.bit_length(value) > 4 * 4_300:
        return cut(hex(value), 4_300)  # str() of an int is quadratic, and refused by CPython
    return guarded(repr, value)

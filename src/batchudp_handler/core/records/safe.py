"""Any Python object becomes a value that JSON can carry.

User objects do as they please: `__repr__` may raise, recurse, log through the very handler that
asked, or return a megabyte, and `__class__` may say anything, so types are asked for by `type()`.
Everything here is bounded and raises no `Exception`; what is meant to end the program
(`KeyboardInterrupt`, `SystemExit`) passes. What the `json` module would take keeps its type;
anything else becomes its text, because that is what a format string on the near side would have
printed.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from math import isfinite
from typing import TYPE_CHECKING, Any

from batchudp_handler.core.records.template import SCALARS

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchudp_handler.core.records.batch import JSON

__all__ = [
    "EXTRA_CHARACTERS",
    "LONGEST_MARKER",
    "MAX_BITS",
    "attempted",
    "cut",
    "guarded",
    "is_portable_number",
    "json_safe",
    "number_text",
]

EXTRA_CHARACTERS = 16 * 1024
MAX_BITS = 996
"""An int of at most so many bits has at most 300 digits: every conversion and every float can take
it. Larger ones travel as text."""

_MARKER = re.compile(r"… \[truncated ([0-9]{1,12}) characters\]\Z")
LONGEST_MARKER = 40
_LONGEST_TYPE_NAME = 100
_MAX_NODES = 1_000
_MAX_DEPTH = 16
_MAX_NESTED_CALLS = 4

# How many calls of user code lie on top of each other in this thread or task. An object whose
# __repr__ logs itself twice would otherwise make 2^n records before the stack ends.
_nested_calls: ContextVar[int] = ContextVar("batchudp_handler.nested_calls", default=0)


def guarded(function: Callable[[Any], object], value: object) -> str:
    """`function(value)` as an exact `str`, or a placeholder if it raises or returns no text."""
    text = attempted(function, value)
    return _placeholder(value) if text is None else text


def attempted(function: Callable[[Any], object], value: object) -> str | None:
    """`function(value)` as an exact `str`, or None if it raises or returns no text."""
    depth = _nested_calls.get()
    if depth >= _MAX_NESTED_CALLS:
        return None
    token = _nested_calls.set(depth + 1)
    try:
        text = function(value)
        return str.__str__(text) if issubclass(type(text), str) else None
    except Exception:  # noqa: BLE001  # user code: whatever it raises costs its text, no more
        return None
    finally:
        _nested_calls.reset(token)


# past what a metaclass may have put in its place
_name_of_type: Callable[[type], str] = type.__dict__["__name__"].__get__


def _placeholder(value: object) -> str:
    return f"<unprintable {_type_name(value)} object>"


def _type_name(value: object) -> str:
    return cut(str.__str__(_name_of_type(type(value))), _LONGEST_TYPE_NAME)


def cut(text: str, characters: int) -> str:
    """`text`, or its beginning and a marker that says how much is missing.

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


def json_safe(value: object, characters: int = EXTRA_CHARACTERS) -> JSON:
    """A JSON value for any object, with no user object in it."""
    return _Walk(characters).value(value, ())


def number_text(value: float) -> str:
    """The digits of a number that does not travel as one."""
    if type(value) is int and int.bit_length(value) > 4 * 4_300:
        return cut(hex(value), 4_300)  # str() of an int is quadratic, and refused by CPython
    return guarded(repr, value)


class _Walk:
    """One conversion, with what is left of its budget."""

    def __init__(self, characters: int) -> None:
        self._characters = characters
        self._nodes = _MAX_NODES

    def value(self, value: object, above: tuple[int, ...]) -> JSON:
        """Convert `value`, which lies inside the containers with the ids in `above`."""
        kind = type(value)
        if kind is str:
            return self._text(value)  # type: ignore[arg-type]  # an exact str
        if kind in SCALARS:
            return self._number(value)
        if issubclass(kind, (dict, list, tuple)):
            return self._container(value, above)
        return self._other(value, str if not above else repr)

    def _text(self, text: str) -> str:
        text = cut(text, max(self._characters, 0))
        self._characters -= len(text)
        return text

    def _number(self, value: Any) -> JSON:
        if value is None or is_portable_number(value):
            self._characters -= 8
            return value  # type: ignore[no-any-return]  # an exact scalar
        return self._text(number_text(value))

    def _other(self, value: Any, function: Callable[[Any], object]) -> JSON:
        kind = type(value)
        for base in (bytes, bytearray):
            if issubclass(kind, base):
                function = repr  # str() of bytes is an error under python -bb
                value = bytes(base.__getitem__(value, slice(0, self._characters + 1)))
        text = guarded(function, value)
        if issubclass(kind, int) and int.bit_length(value) <= MAX_BITS:
            number: float = int.__int__(value)
        elif issubclass(kind, float):
            number = float.__float__(value)
        else:
            return self._text(text)
        # an IntEnum and the like, which prints as its number, travels as that
        return self._number(number) if text == repr(number) else self._text(text)

    def _container(self, value: Any, above: tuple[int, ...]) -> JSON:
        is_object = issubclass(type(value), dict)
        if id(value) in above:
            return "{...}" if is_object else "[...]"
        if len(above) >= _MAX_DEPTH:
            return self._text(_summary(value))
        above = (*above, id(value))
        # the base class's own methods, so that no overridden one runs
        if is_object:
            return self._object(list(dict.items(value)), above)
        return self._array([*_base(value).__iter__(value)], above)

    def _spend(self) -> bool:
        self._nodes -= 1
        return self._nodes >= 0 and self._characters > 0

    def _array(self, items: list[object], above: tuple[int, ...]) -> JSON:
        safe: list[JSON] = []
        for done, item in enumerate(items):
            if not self._spend():
                safe.append(f"... [{len(items) - done} more items]")
                break
            safe.append(self.value(item, above))
        return safe

    def _object(self, items: list[tuple[object, object]], above: tuple[int, ...]) -> JSON:
        safe: dict[str, JSON] = {}
        for done, (key, item) in enumerate(items):
            if not self._spend():
                safe["..."] = f"[{len(items) - done} more items]"
                break
            safe[self._text(key if type(key) is str else guarded(str, key))] = self.value(
                item, above
            )
        return safe


def _base(value: object) -> Any:
    return next(base for base in (dict, list, tuple) if issubclass(type(value), base))


def _summary(value: object) -> str:
    return f"<{_type_name(value)} of {_base(value).__len__(value)} items>"

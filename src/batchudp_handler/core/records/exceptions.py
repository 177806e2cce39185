"""An exception described in values of JSON, so that the far side can make one like it.

The description says the class by its name, the text, the notes, and the same of causes, contexts
and the members of a group. Its size is bounded; code of the exception's class runs contained.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batchudp_handler.core.records.safe import (
    EXTRA_CHARACTERS,
    attempted,
    contained,
    cut,
    guarded,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchudp_handler.core.records.batch import JSON

__all__ = ["MAX_DEPTH", "MAX_EXCEPTIONS", "describe"]

MAX_EXCEPTIONS = 16
"""Exceptions in one description."""
MAX_DEPTH = 8
"""Links of a chain, and groups within groups."""
MAX_NOTES = 16

# past what a metaclass may have put in its place
_qualname_of: Callable[[type], str] = type.__dict__["__qualname__"].__get__
_module_of: Callable[[type], object] = type.__dict__["__module__"].__get__


def describe(exc_info: object) -> dict[str, JSON] | None:
    """Return the description of an `exc_info`; None where it holds no exception."""
    error = exc_info[1] if type(exc_info) is tuple and len(exc_info) == 3 else exc_info
    return _Walk().describe(error, MAX_DEPTH)


class _Walk:
    """One description, with what is left of its budget."""

    def __init__(self) -> None:
        self._characters = EXTRA_CHARACTERS
        self._seen: list[object] = []

    def describe(self, error: Any, depth: int) -> dict[str, JSON] | None:
        """Return the description of an exception; None for anything else, or once too often."""
        is_known = any(error is each for each in self._seen)
        if is_known or len(self._seen) >= MAX_EXCEPTIONS or depth == 0:
            return None
        if not issubclass(type(error), BaseException):
            return None
        self._seen.append(error)
        return {name: value for name, value in self._members(error, depth) if value}

    def _members(self, error: BaseException, depth: int) -> list[tuple[str, JSON]]:
        kind = type(error)
        module = _module_of(kind)
        if type(module) is not str or module == "builtins":
            module = None  # what is left out means that
        cause = contained(_get_cause, error)
        is_hidden = cause is not None or contained(_hides_context, error) is not False
        context = None if is_hidden else contained(_get_context, error)
        return [
            ("name", self._text(str.__str__(_qualname_of(kind)))),
            ("module", self._text(module) if type(module) is str else None),
            ("text", self._text(guarded(str, error))),
            ("notes", [self._text(note) for note in _notes(error)]),
            ("cause", self.describe(cause, depth - 1)),
            ("context", self.describe(context, depth - 1)),
            ("group", [self.describe(each, depth - 1) for each in _exceptions(error)]),
        ]

    def _text(self, text: str) -> str:
        text = cut(text, max(self._characters, 0))
        self._characters -= len(text)
        return text


def _get_cause(error: BaseException) -> object:
    return error.__cause__


def _get_context(error: BaseException) -> object:
    return error.__context__


def _hides_context(error: BaseException) -> object:
    return error.__suppress_context__


def _notes(error: BaseException) -> list[str]:
    notes = contained(lambda error: list(error.__notes__)[:MAX_NOTES], error) or []
    texts = [attempted(str, note) for note in notes]
    return [text for text in texts if text is not None]


def _exceptions(error: BaseException) -> list[object]:
    if not issubclass(type(error), BaseExceptionGroup):
        return []
    return contained(lambda error: list(error.exceptions)[:MAX_EXCEPTIONS], error) or []

"""Exceptions made of their descriptions, for tools that want more than a text.

No class is looked up by a name from the network. Each class is made here, with the name and module
of the original, and derives from `RemoteError` alone. The first cause of all prints the traceback
of the far side, as `concurrent.futures` shows that of another process.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from batchudp_handler.core.records.exceptions import MAX_DEPTH, MAX_EXCEPTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

__all__ = ["RemoteError", "RemoteTraceback", "exceptions_in", "restore"]

MAX_NAME = 255
KINDS = 256
"""Classes that are kept, so that the same kind of exception has the same class."""

_ExcInfo: TypeAlias = "tuple[type[BaseException], BaseException, TracebackType | None]"


class RemoteError(Exception):
    """An exception that was raised on another machine."""

    _text = ""

    def __str__(self) -> str:
        return self._text

    def __reduce__(self) -> tuple[type, tuple[str]]:
        """Pickle as a plain exception: nobody could import the class by its name."""
        return Exception, (f"{type(self).__qualname__}: {self._text}",)


class RemoteErrorGroup(RemoteError, ExceptionGroup[Exception]):
    """A group of exceptions that was raised on another machine."""


class RemoteTraceback(Exception):  # named as in `concurrent.futures`
    """The traceback of an exception that was raised on another machine."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._text = text

    def __str__(self) -> str:
        return f'\n"""\n{self._text}\n"""'


def exceptions_in(description: object, depth: int = MAX_DEPTH) -> int:
    """Return how many exceptions `restore` would make, about."""
    if not isinstance(description, dict) or depth == 0:
        return 0
    group = description.get("group")
    parts = [description.get("cause"), description.get("context")]
    parts += group[:MAX_EXCEPTIONS] if isinstance(group, list) else []
    return 1 + sum([exceptions_in(part, depth - 1) for part in parts])


def restore(description: object, traceback_text: str | None) -> _ExcInfo | None:
    """Return an `exc_info` that tools can use.

    Args:
        description: What `exceptions.describe` made, or anything else from the network.
        traceback_text: The traceback as the far side printed it.
    """
    error = _Workshop().make(description, MAX_DEPTH)
    if error is None:
        return None
    if traceback_text:
        _first_cause(error).__cause__ = RemoteTraceback(traceback_text)
    return type(error), error, _traceback_of(error)


def _traceback_of(error: RemoteError) -> TracebackType | None:
    """Return a traceback of this line; tools take an exception without one for never raised."""
    try:
        raise error
    except RemoteError:
        return error.__traceback__


def _first_cause(error: BaseException) -> BaseException:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


class _Workshop:
    """The exceptions of one record, a bounded number."""

    def __init__(self) -> None:
        self._left = MAX_EXCEPTIONS

    def make(self, description: object, depth: int) -> RemoteError | None:
        """Return one exception with its chain; None where nothing is described."""
        if not isinstance(description, dict) or depth == 0 or self._left == 0:
            return None
        self._left -= 1
        text = _string(description.get("text"))
        error = self._new(description, text, depth)
        error._text = text  # of this file
        notes = description.get("notes")
        for note in notes if isinstance(notes, list) else ():
            error.add_note(_string(note))
        reason = self.make(description.get("cause"), depth - 1)
        if reason is not None:  # None would hide the context, too
            error.__cause__ = reason
        error.__context__ = self.make(description.get("context"), depth - 1)
        return error

    def _new(self, description: Mapping[str, Any], text: str, depth: int) -> RemoteError:
        group = description.get("group")
        members = [self.make(each, depth - 1) for each in group] if isinstance(group, list) else []
        made = [member for member in members if member is not None]
        name = _name(description.get("name"), "Exception")
        module = _name(description.get("module"), "builtins")
        kind = _kind(name, module, RemoteErrorGroup if made else RemoteError)
        return kind(text, made) if made else kind(text)


@lru_cache(maxsize=KINDS)
def _kind(name: str, module: str, base: type[RemoteError]) -> type[RemoteError]:
    return type(name.rpartition(".")[2], (base,), {"__module__": module, "__qualname__": name})


def _name(value: object, default: str) -> str:
    is_name = isinstance(value, str) and value.isprintable() and 0 < len(value) <= MAX_NAME
    return value if is_name else default  # type: ignore[return-value]  # a str, then


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""

"""Errors that handlers of the standard library catch and only print.

`StreamHandler.emit` and its like catch what goes wrong and call `handleError`, which prints forty
lines on standard error and returns, so that nobody who calls the handler learns of it. Here a
handler gets a `handleError` of its own, an attribute of that instance alone, which counts the
record. No class and no module of `logging` is changed.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
import weakref
from typing import TYPE_CHECKING

from batchudp_handler.core.records.arrival import arrival_of
from batchudp_handler.receiver.guard import Seam, error_text, handler_text, to_stderr
from batchudp_handler.receiver.reemit import DIAGNOSTICS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from batchudp_handler.receiver.guard import Guard

__all__ = ["HandlerErrors", "configured_handlers"]

PRINT_SECONDS = 60.0
"""How often the forty lines of one handler are printed; every error is counted."""
DEEPEST = 8
"""Handlers within handlers, such as the target of a `MemoryHandler`."""


class HandlerErrors:
    """The counting of what chosen handlers catch themselves.

    Args:
        guard: Where they are counted.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._counters: list[weakref.ref[_Counter]] = []

    def watch(self, handlers: Iterable[logging.Handler]) -> list[logging.Handler]:
        """Count the errors of these and of the handlers behind them, from now on.

        Returns:
            Those that take no attribute, whose errors cannot be counted.
        """
        self._counters = [each for each in self._counters if each() is not None]
        refused = []
        for handler in with_those_behind(handlers):
            try:
                present = handler.handleError
                if isinstance(present, _Counter) and present.guard is self._guard:
                    continue
                counter = _Counter(handler, self._guard, present)
                handler.handleError = counter  # type: ignore[method-assign]  # this instance's alone
                self._counters.append(weakref.ref(counter))
            except Exception:  # noqa: BLE001  # a class of the program refuses attributes
                refused.append(handler)
        return refused

    def stop(self) -> None:
        """Give each handler back what it had."""
        for reference in self._counters:
            counter = reference()
            if counter is not None:
                with contextlib.suppress(Exception):  # a class of the program
                    counter.detach()
        self._counters = []


class _Counter:
    """The stand-in for one handler's `handleError`."""

    def __init__(
        self,
        handler: logging.Handler,
        guard: Guard,
        original: Callable[[logging.LogRecord], object],
    ) -> None:
        self.guard = guard
        self._handler = handler
        self._original = original
        self._prints_at = 0.0

    def __call__(self, record: logging.LogRecord) -> None:
        """Count the error that is being handled, then do what the handler would have done.

        What the original raises goes on to who gave the handler the record, and is counted there.
        """
        error = sys.exc_info()[1]
        seam = _seam_of(record)
        if seam is None:
            self._original(record)  # a record of the program itself
            return
        if seam is Seam.DIAGNOSTICS:  # rare, and a handler that fails is no place to tell it
            raised = f"{handler_text(self._handler)} raised {error_text(error)}"
            to_stderr(f"{message_text(record)} ({raised})")
        elif self._may_print() or not _only_prints(self._handler):
            self._original(record)
        self.guard.failed_in(seam, handler_text(self._handler), error)

    def _may_print(self) -> bool:
        now = time.monotonic()
        if now < self._prints_at:
            return False
        self._prints_at = now + PRINT_SECONDS
        return True

    def detach(self) -> None:
        """Leave the handler, unless somebody else has taken the place since."""
        if vars(self._handler).get("handleError") is self:
            del self._handler.handleError
            if self._handler.handleError != self._original:
                self._handler.handleError = self._original


def configured_handlers() -> list[logging.Handler]:
    """Return the handlers of all loggers of this process, the root logger's first."""
    root = logging.getLogger()
    loggers = [root, *list(root.manager.loggerDict.values())]
    return [each for logger in loggers for each in getattr(logger, "handlers", ())]


def with_those_behind(handlers: Iterable[logging.Handler]) -> Iterator[logging.Handler]:
    """Yield each of the handlers once, and those that they hand their records on to.

    Found where handlers keep them: as an attribute (`MemoryHandler.target`), in a list, or with a
    `QueueListener`.
    """
    seen: set[int] = set()
    waiting = [(each, 0) for each in handlers]
    while waiting:
        handler, depth = waiting.pop(0)
        if id(handler) in seen or depth > DEEPEST:
            continue
        seen.add(id(handler))
        yield handler
        waiting += [(each, depth + 1) for each in _behind(handler)]


def _behind(handler: logging.Handler) -> list[logging.Handler]:
    found: list[object] = []
    for value in list(getattr(handler, "__dict__", {}).values()):
        held = getattr(value, "handlers", ()) if _is_listener(value) else value
        found += held if isinstance(held, (list, tuple)) else [held]
    return [each for each in found if isinstance(each, logging.Handler)]


def _is_listener(value: object) -> bool:
    return type(value).__name__.endswith("QueueListener")


def _seam_of(record: logging.LogRecord) -> Seam | None:
    """Return whose record it is: one that arrived, the receiver's own, or the program's (None)."""
    attributes = getattr(record, "__dict__", {})
    if arrival_of(record) is not None:
        return Seam.HANDLER
    return Seam.DIAGNOSTICS if attributes.get("name") == DIAGNOSTICS else None


def _only_prints(handler: logging.Handler) -> bool:
    """Return whether the class itself only prints errors, which may be left out."""
    method = getattr(type(handler), "handleError", None)
    module = getattr(method, "__module__", "")
    closes = getattr(handler, "closeOnError", False) and getattr(handler, "sock", None)
    return module in {"logging", "logging.handlers"} and not closes


def message_text(record: logging.LogRecord) -> str:
    """Return the message of a record of our own, whatever a filter made of it."""
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001  # a filter of the program changed it
        return str(record.msg)

"""Containment of code that the receiver calls and does not own.

Handlers, filters, formatters, record factories and callbacks may raise anything, `SystemExit`
included. Each call to one of them names its `Seam`, and each thread its `Loop`. What is raised is
counted under that name and told to the operator at a bounded rate, and the thread goes on.

One thing passes: `KeyboardInterrupt` and `SystemExit` on the main thread, where the program's own
signal handlers raise them to end the program.
"""

from __future__ import annotations

import logging
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from batchudp_handler.core.records.safe import cut
from batchudp_handler.waits import sleep_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

__all__ = ["Guard", "Loop", "Seam", "Trouble", "error_text", "handler_text", "run_loop"]

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 1.0
"""Seconds before a loop that raised takes its next turn."""
MOST_PLACES = 32
"""Handlers that are told apart in messages; the errors of others are told together."""
TEXT_CHARACTERS = 300


class Seam(StrEnum):
    """Where the receiver calls code of the program. The values are the counters' names."""

    HANDLER = "handler"
    """A local handler, filter, formatter or logger class, on a record that arrived."""
    RECORD_FACTORY = "record_factory"
    """The factory of `logging.setLogRecordFactory`; the record is made without it."""
    DIAGNOSTICS = "diagnostics"
    """A handler of the logger `batchudp.receiver`; the message goes to standard error."""
    AFTER_BATCH = "after_batch"
    """The function that writes out what the handlers of one batch collected."""
    BETWEEN_BATCHES = "between_batches"
    """A function that was given to `call_between_batches`."""
    ON_READER = "on_reader"
    """A function that was given to `call_on_reader`."""
    WORKER = "worker"
    """A worker that `new_worker` made; batches that it did not take are rejected."""
    CLOCK = "clock"
    """The receiver's clock; its latest time is used instead."""
    TAP = "tap"
    """A record that cannot be shown to those who follow the control socket."""
    ANSWER = "answer"
    """An answer of the control socket, which says so."""
    METRICS = "metrics"
    """The page for Prometheus, which is answered with an error."""


class Loop(StrEnum):
    """The receiver's own loops. The values are the counters' names."""

    READER = "reader"
    """Reads the socket."""
    WORKER = "worker"
    """Decodes batches and runs handlers."""
    CONTROL = "control"
    """Answers on the control socket."""
    METRICS = "metrics"
    """Answers Prometheus."""
    PULSE = "pulse"
    """Asks the other loops whether they turn, and tells the service manager."""
    REPORTER = "reporter"
    """Writes the counters at intervals."""
    LINK = "link"
    """Listens to the supervisor of several workers."""
    ENGINE = "engine"
    """Talks to the engine."""


@dataclass(slots=True)
class Trouble:
    """The errors that were raised at one place and have not been told yet."""

    seam: Seam | Loop
    place: str
    count: int = 0
    text: str = ""
    """The latest error."""


@dataclass(slots=True)
class Guard:
    """A counter of what foreign code raises, by place; any thread may use it."""

    _errors: dict[Seam, int] = field(default_factory=dict)
    _internal: dict[Loop, int] = field(default_factory=dict)
    _refused: dict[str, int] = field(default_factory=dict)
    _untold: dict[tuple[str, str], Trouble] = field(default_factory=dict)
    # re-entrant: a signal handler or a destructor may count while it is held
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def run(
        self, seam: Seam, function: Callable[..., Any], *args: object, default: Any = None
    ) -> Any:
        """Return what the function returns, or `default` when it raises."""
        try:
            return function(*args)
        except BaseException as error:  # noqa: BLE001  # whatever code of others raises
            self.failed(seam, error)
            return default

    def failed(self, seam: Seam, error: BaseException | None, count: int = 1) -> None:
        """Count an error that was caught at a seam.

        Raises:
            KeyboardInterrupt, SystemExit: On the main thread, where they end the program.
        """
        _let_pass(error)
        place = _handler_in(error) if seam is Seam.HANDLER else ""
        self.failed_in(seam, place, error, count)

    def failed_in(
        self, seam: Seam, place: str, error: BaseException | None, count: int = 1
    ) -> None:
        """Count an error of which it is known which handler raised it."""
        with self._lock:
            self._errors[seam] = self._errors.get(seam, 0) + count
            if seam is not Seam.DIAGNOSTICS:
                self._note(seam, place, error, count)

    def loop_failed(self, loop: Loop, error: BaseException) -> None:
        """Count an error that reached the root of a loop.

        Raises:
            KeyboardInterrupt, SystemExit: On the main thread, where they end the program.
        """
        _let_pass(error)
        with self._lock:
            self._internal[loop] = self._internal.get(loop, 0) + 1
            self._note(loop, _line_of(error), error, 1)

    def refused(self, cause: str, count: int = 1) -> None:
        """Count clients of the control socket or the metrics page that were let go."""
        with self._lock:
            self._refused[cause] = self._refused.get(cause, 0) + count

    def say(self, log: logging.Logger, level: int, words: str, *args: object) -> None:
        """Log a message of the receiver; when that raises, it goes to standard error."""
        try:
            log.log(level, words, *args)
        except BaseException as error:  # noqa: BLE001  # a handler of this logger
            self.failed(Seam.DIAGNOSTICS, error)
            raised = f"a handler of the logger {log.name} raised {error_text(error)}"
            to_stderr(f"{words % args} ({raised})")

    def take_untold(self) -> list[Trouble]:
        """Take the errors since the last time, by place."""
        with self._lock:
            taken, self._untold = self._untold, {}
        return list(taken.values())

    @property
    def handler_errors(self) -> int:
        """Records on which a local handler raised."""
        return self._errors.get(Seam.HANDLER, 0)

    def callback_errors(self) -> dict[str, int]:
        """Return how often each seam raised."""
        with self._lock:
            return {str(seam): count for seam, count in self._errors.items()}

    def internal_errors(self) -> dict[str, int]:
        """Return how many errors reached the root of each loop."""
        with self._lock:
            return {str(loop): count for loop, count in self._internal.items()}

    def clients_refused(self) -> dict[str, int]:
        """Return how many clients were disconnected without an answer, by cause."""
        with self._lock:
            return dict(self._refused)

    def _note(
        self, where: Seam | Loop, place: str, error: BaseException | None, count: int
    ) -> None:
        key = type(where).__name__ + where, place
        if key not in self._untold and len(self._untold) >= MOST_PLACES:
            key, place = (key[0], ""), ""
        trouble = self._untold.setdefault(key, Trouble(where, place))
        trouble.count += count
        trouble.text = error_text(error)


def run_loop(
    guard: Guard,
    loop: Loop,
    turn: Callable[[], object],
    is_over: Callable[[], bool],
) -> None:
    """Take turns until it is over, at the root of a thread; an error costs a pause, no more."""
    pause = FIRST_PAUSE
    while not is_over():
        try:
            turn()
            pause = FIRST_PAUSE
        except BaseException as error:  # noqa: BLE001  # nothing may end a thread of ours
            guard.loop_failed(loop, error)
            sleep_for(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


def to_stderr(text: str) -> None:
    """Write a message as a last resort: one line, if there is a standard error that takes it."""
    if logging.raiseExceptions and sys.stderr is not None:
        with suppress(Exception):  # closed, full, or replaced by something that is no file
            sys.stderr.write(f"batchudp-receiver: {text}\n")


def error_text(error: BaseException | None) -> str:
    """Return the type and the text of an error on one line, whatever its `__str__` does."""
    if error is None:
        return "an unknown error"
    name = type.__getattribute__(type(error), "__name__")
    try:
        text = str.__str__(str(error))
    except BaseException:  # noqa: BLE001  # an error that raises when it is shown
        text = "<unprintable>"
    text = " ".join(cut(text, TEXT_CHARACTERS).split())
    text = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
    return f"{name}: {text}" if text else name


def handler_text(handler: logging.Handler) -> str:
    """Return a handler's class, configured name and file, as far as it has them."""
    text = type.__getattribute__(type(handler), "__name__")
    try:
        if handler.name:
            text += f" {handler.name!r}"
        path = vars(handler).get("baseFilename")
        return f"{text} ({path})" if path else text
    except BaseException:  # noqa: BLE001  # properties of a class of the program
        return str(text)


def _handler_in(error: BaseException | None) -> str:
    """Return the innermost handler that was running when the error was raised."""
    found: Any = None
    for _, owner in _frames(None if error is None else error.__traceback__):
        if issubclass(type(owner), logging.Handler):
            found = owner
    return "" if found is None else handler_text(found)


def _line_of(error: BaseException) -> str:
    """Return file and line where the error was raised."""
    place = ""
    for traceback, _ in _frames(error.__traceback__):
        file = traceback.tb_frame.f_code.co_filename.replace("\\", "/").rpartition("/")[2]
        place = f"{file}:{traceback.tb_lineno}"
    return place


def _frames(traceback: TracebackType | None) -> Iterator[tuple[TracebackType, object]]:
    while traceback is not None:
        yield traceback, traceback.tb_frame.f_locals.get("self")
        traceback = traceback.tb_next


def _let_pass(error: BaseException | None) -> None:
    ends_the_program = isinstance(error, (KeyboardInterrupt, SystemExit))
    if ends_the_program and threading.current_thread() is threading.main_thread():
        raise error  # type: ignore[misc]  # not None here

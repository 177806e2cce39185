"""The logging handler that writes the lines of a whole batch, and keeps them until they are out.

    emit    the record as a line; never fails, whatever the record and the pattern are
    flush   write the lines of the batch; returns when all of them are in the output

While the output refuses them, `flush` waits and tries again, from exactly where the writing
stopped. So the batch is not confirmed, the receiver's queue fills, and senders wait. Only the end
of the process gives up what could not be written, and then the batch stays unconfirmed.
"""

from __future__ import annotations

import errno
import logging
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from batchudp_handler.console import last_resort
from batchudp_handler.core.errors import UnfinishedBatch
from batchudp_handler.core.output.outage import Outage
from batchudp_handler.core.output.pending_lines import PendingLines

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

__all__ = ["Counters", "NoReader", "Output", "Target"]

MOST_BYTES = 65_536
"""Lines of one batch that may wait before its end."""

LONGEST_LOOK = 0.1
"""Seconds that a wait for a reader may take until it is looked whether the process ends."""

CLOSE_SECONDS = 0.3
"""For an output that was told to give up, until it has."""


class NoReader(Exception):
    """Error: whoever read the output has left, and will not be replaced."""


class Target(Protocol):
    """What lines are written to."""

    name: str
    encoding: str

    @property
    def exclusive(self) -> AbstractContextManager[object]:
        """The lock held from the first line of a batch to its last, against other processes."""

    def write(self, lines: PendingLines) -> None:
        """Write some of the lines and tell them how much, or raise `OSError`."""

    def wait_for_room(self, seconds: float) -> None:
        """Wait until it may take more, after `BlockingIOError`."""

    def sync(self, lines: PendingLines) -> None:
        """Have the disk keep what was written; if it fails, let the known lines wait again."""

    def give_up(self, lines: PendingLines) -> None:
        """Leave no half of a line behind, as far as possible."""

    def close(self) -> None:
        """Let go of it."""


@dataclass(slots=True)
class Counters:
    """What became of records and writes, over all outputs of a process."""

    unformatted: Counter[str] = field(default_factory=Counter)
    """Records that the pattern could not show, by error; they were written another way."""
    refused: Counter[str] = field(default_factory=Counter)
    """Writes that outputs refused, by the name of the errno."""


class Output(logging.Handler):
    """A handler that collects lines, and writes those of a batch at once.

    Args:
        target: Where lines go.
        counters: Where it is counted what did not go as it should.
        give_up: Waits for so many seconds, or until the process cannot wait any longer; True if
            that is so.
        tell: Says something to the operator, at a level, by a way that is not this output.
        sync_interval: None: the system writes to the disk when it likes. Otherwise seconds
            between two calls of `fsync`; 0: at the end of each batch, before it is confirmed.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        target: Target,
        *,
        counters: Counters,
        give_up: Callable[[float], bool],
        tell: Callable[[int, str], None],
        sync_interval: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.has_reader = True
        self._target = target
        self._counters = counters
        self._give_up = give_up
        self._tell = tell
        self._sync_interval = sync_interval
        self._clock = clock
        self._synced_at = clock()
        self._must_sync = False
        self._lines = PendingLines(keeps=sync_interval == 0)
        self._outage = Outage(target.name)
        self._is_unfinished = False
        """Something of the present batch was given up."""
        self._is_closed = False

    # --- lines -----------------------------------------------------------------------------------

    def emit(self, record: logging.LogRecord) -> None:
        """Add the record's line to those that wait."""
        try:
            text = self.format(record)
        except Exception as error:  # noqa: BLE001  # whatever a record holds, its line is written
            text = self._unformatted(record, error)
        line = text + "\n"
        self._lines.add(line.encode(self._target.encoding, "backslashreplace"))
        if self._lines.waiting >= MOST_BYTES:
            self._write()

    def _unformatted(self, record: logging.LogRecord, error: Exception) -> str:
        counters = self._counters.unformatted
        if not counters:
            words = "the format does not fit some records, which are written without it"
            self._say(logging.WARNING, f"{words}: {type(error).__name__}: {error}")
        counters[type(error).__name__] += 1
        return last_resort(self.formatter, record)

    def flush(self) -> None:
        """Write what waits.

        Raises:
            UnfinishedBatch: The process ends, or nobody reads any more; not all is written.
        """
        self.acquire()
        try:
            if self._write():
                self._sync()
            if self._is_unfinished:
                self._is_unfinished = False
                raise UnfinishedBatch
        finally:
            self.release()

    # --- writing ---------------------------------------------------------------------------------

    @property
    def problem(self) -> str | None:
        """What an operator should know; None: the output takes what it gets."""
        return self._outage.problem

    @property
    def blocked_seconds(self) -> float:
        """For how long the output has refused what waits; 0: it does not."""
        return self._outage.seconds(self._clock())

    def _write(self) -> bool:
        """Write until nothing waits; False if that was given up."""
        if not self._lines or self._is_unfinished:
            return not self._is_unfinished
        self._must_sync = True
        return self._repeat(self._write_some)

    def _write_some(self) -> bool:
        self._target.write(self._lines)
        return not self._lines

    def _repeat(self, step: Callable[[], bool]) -> bool:
        """Take steps until one says that it was the last; False if there is no time for more."""
        with self._target.exclusive:
            while True:
                try:
                    if step():
                        break
                    self._outage.progressed()
                except NoReader:
                    self.has_reader = False
                    return self._leave_unfinished()
                except Exception as error:  # noqa: BLE001  # confirm nothing that is not written
                    if self._is_refused(error):
                        return self._leave_unfinished()
        text = self._outage.ended(self._clock())
        if text is not None:
            self._say(logging.INFO, text)
        return True

    def _leave_unfinished(self) -> bool:
        self._is_unfinished = True
        self._target.give_up(self._lines)
        self._lines.clear()
        return False

    def _is_refused(self, error: Exception) -> bool:
        """Count, tell and wait; True if there is no time for another try."""
        number = error.errno if isinstance(error, OSError) else None
        name = errno.errorcode.get(number or 0, type(error).__name__)
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        before = self._outage.errors[name]
        text = self._outage.refused(name, reason, self._clock())
        self._counters.refused[name] += self._outage.errors[name] - before
        if text is not None:
            self._say(logging.WARNING, text)
        if isinstance(error, BlockingIOError):
            self._target.wait_for_room(min(self._outage.delay, LONGEST_LOOK))
            return self._give_up(0.0)
        return self._give_up(self._outage.delay)

    def _say(self, level: int, text: str) -> None:
        with suppress(Exception):  # whoever cannot be told must not keep lines from the output
            self._tell(level, text)

    # --- the disk --------------------------------------------------------------------------------

    def _sync(self) -> None:
        """Call `fsync` if it is due. Lines that the disk may not have are written once more."""
        interval = self._sync_interval
        if interval is None or not self._must_sync:
            return
        if self._clock() - self._synced_at >= interval and self._repeat(self._sync_or_write):
            self._synced_at, self._must_sync = self._clock(), False
            self._lines.forget_written()

    def _sync_or_write(self) -> bool:
        if self._lines:
            self._write_some()
            return False
        self._target.sync(self._lines)
        return True

    # --- the end ---------------------------------------------------------------------------------

    def close_soon(self) -> bool:
        """Close it, unless a write that does not end keeps it; return whether it is closed."""
        lock = self.lock
        if lock is None or not lock.acquire(timeout=CLOSE_SECONDS):
            return False
        try:
            self.close()
        finally:
            lock.release()
        return True

    def close(self) -> None:
        """Let go of the output; lines that still wait are not confirmed to anyone."""
        self.acquire()
        try:
            if not self._is_closed:
                with suppress(UnfinishedBatch, OSError):
                    self.flush()
                self._is_closed = True
                self._target.close()
        finally:
            self.release()
            super().close()

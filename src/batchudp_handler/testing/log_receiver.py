"""A receiver on the loopback interface that remembers the records of a program under test.

It is the real receiver on a real socket. The records go to a logger of its own, so they reach
neither the handlers of the program under test nor pytest's `caplog` a second time.
"""

from __future__ import annotations

import itertools
import logging
import math
import re
import threading
import time
from typing import TYPE_CHECKING, Any, Self

from batchudp_handler import BatchUDPHandler, BatchUDPReceiver
from batchudp_handler.settings import timeout as as_timeout
from batchudp_handler.waits import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from batchudp_handler.core.receive.stats import ReceiverStats

__all__ = ["LogReceiver"]

_DRAIN_TIMEOUT = 5.0
_POLL = 0.05

_numbers = itertools.count()


class LogReceiver:
    """A receiver on a free port of 127.0.0.1 that keeps all records it gets.

    >>> with LogReceiver() as log_receiver:
    ...     handler = log_receiver.handler(logger="shop")
    ...     logging.getLogger("shop").warning("%d left", 3)
    ...     log_receiver.has_record(level="WARNING", match="3 left", logger="shop")
    True

    Use it as a context manager; at the end the handlers that it made are detached and closed, and
    what is still on its way is received.
    """

    def __init__(self) -> None:
        self._name = f"log_receiver_{next(_numbers)}"
        self._collector = _Collector(prefix=self._name + ".")
        logging.Logger.manager.loggerDict[self._name] = _CollectingLogger(
            self._name, self._collector
        )
        self._receiver = BatchUDPReceiver("127.0.0.1", 0, logger_prefix=self._name + ".")
        self._attached: list[tuple[logging.Logger, BatchUDPHandler]] = []

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, for handlers in other processes."""
        address = self._receiver.address
        return str(address[0]), int(address[1])

    @property
    def records(self) -> list[logging.LogRecord]:
        """The records so far, in the order of their arrival; what own handlers sent is in it."""
        self._drain(_DRAIN_TIMEOUT)
        return self._collector.records()

    def handler(
        self, logger: str | logging.Logger | None = None, **settings: Any
    ) -> BatchUDPHandler:
        """Make a handler that ships here, and attach it.

        Args:
            logger: to which it is attached; None: the root logger.
            settings: of `BatchUDPHandler`. Unless they say otherwise, delivery is acknowledged.
        """
        if not isinstance(logger, logging.Logger):
            logger = logging.getLogger(logger)
        host, port = self.address
        defaults = {"host": host, "port": port, "delivery": "acknowledged"}
        handler = BatchUDPHandler(**{**defaults, **settings})
        logger.addHandler(handler)
        self._attached.append((logger, handler))
        return handler

    def has_record(
        self,
        *,
        level: int | str | None = None,
        match: str | None = None,
        logger: str | None = None,
        timeout: float | None = 0.0,
    ) -> bool:
        """Return whether a record arrived that fits all that is given.

        What the own handlers were given is sent and received before it looks.

        Args:
            level: number or name of its level.
            match: a regular expression that is found in its message.
            logger: the name of its logger.
            timeout: seconds to go on looking, for records of other processes; None or infinity:
                without end.
        """
        patience = as_patience(timeout)
        number = logging.getLevelName(level) if isinstance(level, str) else level
        if isinstance(number, str):
            raise ValueError(f"{level!r} is not the name of a level")
        wanted = _Wanted(number, None if match is None else re.compile(match), logger)
        collected = self._collector.records
        self._drain(_DRAIN_TIMEOUT)
        return self._collector.wait_until(lambda: any(map(wanted, collected())), patience)

    def wait_for(self, n: int, timeout: float | None = 5.0) -> list[logging.LogRecord]:
        """Return the records, as soon as there are at least `n`.

        Raises:
            AssertionError: after `timeout` seconds (None or infinity: never) there are fewer; it
                lists what arrived.
        """
        patience = as_patience(timeout)
        deadline = time.monotonic() + patience
        self._drain(patience)
        left = max(0.0, deadline - time.monotonic())
        if not self._collector.wait_until(lambda: len(self._collector.records()) >= n, left):
            records = self._collector.records()
            arrived = "".join(f"\n  {r.levelname} {r.name}: {r.getMessage()}" for r in records)
            message = f"{len(records)} of {n} records arrived in {timeout} s{arrived}"
            raise AssertionError(message)
        return self._collector.records()

    def clear(self) -> None:
        """Forget the records so far."""
        self._drain(_DRAIN_TIMEOUT)
        self._collector.clear()

    def stats(self) -> ReceiverStats:
        """Return the receiver's counters."""
        return self._receiver.stats()

    def close(self) -> None:
        """Detach and close the handlers, receive what is on its way, and end. Idempotent."""
        while self._attached:
            logger, handler = self._attached.pop()
            logger.removeHandler(handler)
            handler.close()
        self._receiver.close()
        # `logging` keeps loggers for ever; a suite makes one of these per test
        logging.Logger.manager.loggerDict.pop(self._name, None)

    def __enter__(self) -> Self:
        self._receiver.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _drain(self, timeout: float) -> None:
        """Send what the own handlers hold, and wait until it has arrived."""
        deadline = time.monotonic() + timeout
        for _, handler in self._attached:
            handler.flush(max(0.0, deadline - time.monotonic()))
        # one-way, "sent" is all that a handler knows
        shipped = [handler.stats() for _, handler in self._attached]
        sent = sum(stats.sent + stats.confirmed for stats in shipped)
        while time.monotonic() < deadline:
            if self._collector.wait_until(lambda: self._has_arrived(sent), _POLL):
                return

    def _has_arrived(self, count: int) -> bool:
        return self._collector.total + self._receiver.stats().filtered >= count


def as_patience(timeout: object) -> float:
    """Return the seconds that a test may wait; None: without end."""
    seconds = as_timeout(timeout)
    return math.inf if seconds is None else seconds


class _Collector(logging.Handler):
    """Keeps records, under the names that their senders gave them."""

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self.total = 0
        """All records ever, those forgotten since too."""
        self._prefix = prefix
        # re-entrant (an RLock inside), so that a condition may ask for the records
        self._changed = threading.Condition()
        self._records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        record.name = record.name.removeprefix(self._prefix)
        with self._changed:
            self._records.append(record)
            self.total += 1
            self._changed.notify_all()

    def records(self) -> list[logging.LogRecord]:
        with self._changed:
            return list(self._records)

    def clear(self) -> None:
        with self._changed:
            self._records.clear()

    def wait_until(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Wait for something to become true of the records; it is asked with the lock held."""
        with self._changed:
            return until(lambda piece: self._changed.wait_for(condition, piece), timeout)


class _CollectingLogger(logging.Logger):
    """A logger that hands received records to the collector and to nobody else.

    An ordinary logger would not do. pytest listens on those that do not propagate, and
    `dictConfig` disables all that exist.
    """

    def __init__(self, name: str, collector: _Collector) -> None:
        super().__init__(name, level=1)
        self.parent = logging.getLogger()
        self._collector = collector

    def callHandlers(self, record: logging.LogRecord) -> None:
        self._collector.handle(record)

    @property
    def disabled(self) -> bool:
        return False

    @disabled.setter
    def disabled(self, value: bool) -> None:
        """Stay enabled, whatever `dictConfig` sets."""


class _Wanted:
    """A test of whether a record fits."""

    def __init__(
        self, levelno: int | None, pattern: re.Pattern[str] | None, logger: str | None
    ) -> None:
        self._levelno = levelno
        self._pattern = pattern
        self._logger = logger

    def __call__(self, record: logging.LogRecord) -> bool:
        return (
            self._levelno in (None, record.levelno)
            and self._logger in (None, record.name)
            and (self._pattern is None or bool(self._pattern.search(record.getMessage())))
        )

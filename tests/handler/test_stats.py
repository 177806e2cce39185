"""The counters of a handler are those of one moment, on whatever thread and whenever one asks.

Records flow, are dropped, are confirmed; settings change; the process forks; the handler is closed
and gets more records. Meanwhile several threads ask without a pause. Each answer must add up, must
not have fewer records than were logged before the question nor more than had been begun after it,
and must never go back.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler import BatchUDPHandler, BatchUDPReceiver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from batchudp_handler.config import Delivery, Overflow
    from batchudp_handler.core.send.stats import SenderStats

THREADS, READERS, RECORDS = 3, 2, 3_000
CAPACITY = 500


@pytest.fixture(autouse=True)
def eager_switching() -> Iterator[None]:
    """Threads take turns as often as the interpreter can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.fixture
def receiver() -> Iterator[BatchUDPReceiver]:
    with BatchUDPReceiver("127.0.0.1", 0, logger_prefix="far.") as receiver:
        yield receiver


def identity(stats: SenderStats) -> None:
    parts = stats.sent + stats.confirmed + stats.rejected_by_receiver + stats.unconfirmed
    parts += stats.waiting + stats.retained + stats.spooled + sum(stats.dropped.values())
    assert stats.accepted == parts
    numbers = (stats.sent, stats.confirmed, stats.waiting, stats.retained, stats.spooled)
    assert min(*numbers, *stats.dropped.values(), 0) == 0


class Watched:
    """A handler that some threads log to, while others ask for its counters."""

    def __init__(self, handler: BatchUDPHandler) -> None:
        self.handler = handler
        self.begun, self.done = [0] * THREADS, [0] * THREADS
        self.answers = 0
        self.most = 0
        self._failures: list[BaseException] = []

    def log(self, place: int, count: int = RECORDS) -> None:
        for number in range(count):
            record = logging.LogRecord("n", 20, "f.py", 1, "record %d", (number,), None)
            self.begun[place] += 1
            self.handler.handle(record)
            self.done[place] += 1

    def _read(self, stop: threading.Event) -> None:
        last = 0
        try:
            while not stop.is_set():
                least = sum(self.done)
                stats = self.handler.stats()
                identity(stats)
                adopted = stats.accepted - stats.adopted
                assert max(least, last) <= adopted <= sum(self.begun)
                last = adopted
                self.most = max(self.most, stats.waiting + stats.retained)
                self.answers += 1
        except BaseException as error:  # noqa: BLE001  # told by the test's own thread
            self._failures.append(error)

    @contextmanager
    def read(self) -> Iterator[None]:
        """Ask on several threads."""
        stop = threading.Event()
        readers = [threading.Thread(target=self._read, args=(stop,)) for _ in range(READERS)]
        for reader in readers:
            reader.start()
        try:
            yield
        finally:
            stop.set()
            for reader in readers:
                reader.join()
        if self._failures:
            raise self._failures[0]
        assert self.answers

    def log_aside(self, beside: Callable[[], object] | None = None) -> None:
        """Log on several threads, and do something beside it, again and again."""
        threads = [threading.Thread(target=self.log, args=(each,)) for each in range(THREADS)]
        for thread in threads:
            thread.start()
        while beside is not None and any(thread.is_alive() for thread in threads):
            beside()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest", "block"])
@pytest.mark.parametrize("delivery", ["one_way", "acknowledged"])
def test_the_counters_add_up_while_records_flow(
    receiver: BatchUDPReceiver, delivery: Delivery, overflow: Overflow
) -> None:
    """With every policy, and no more records at a time than the capacity."""
    handler = BatchUDPHandler(
        "127.0.0.1", receiver.address[1], delivery=delivery, overflow=overflow,
        capacity=CAPACITY, overflow_timeout=30.0, shutdown_timeout=20.0,
    )  # fmt: skip
    watched = Watched(handler)
    with watched.read():
        watched.log_aside()
        handler.close()
    stats = handler.stats()
    identity(stats)
    assert (stats.accepted, stats.waiting, stats.retained) == (THREADS * RECORDS, 0, 0)
    assert watched.most <= CAPACITY + THREADS
    if overflow == "block":
        assert not stats.dropped


@pytest.mark.parametrize("delivery", ["one_way", "acknowledged"])
def test_the_counters_add_up_while_settings_change(
    receiver: BatchUDPReceiver, delivery: Delivery
) -> None:
    """And while the program flushes."""
    handler = BatchUDPHandler("127.0.0.1", receiver.address[1], delivery=delivery)
    watched = Watched(handler)
    sizes = [50, 5_000, 200]

    def change() -> None:
        handler.reconfigure(capacity=sizes[0], batch_size=sizes[1])
        handler.flush(0.01)
        sizes.append(sizes.pop(0))

    with watched.read():
        watched.log_aside(change)
        handler.close()
    identity(handler.stats())


@pytest.mark.slow
def test_the_counters_add_up_with_a_spool(tmp_path: Path) -> None:
    """While nobody answers and records go to disk, and when they were adopted."""
    settings: dict[str, Any] = {"delivery": "acknowledged", "spool_directory": str(tmp_path)}
    with BatchUDPReceiver("127.0.0.1", 0) as gone:
        port = gone.address[1]
    first = BatchUDPHandler("127.0.0.1", port, shutdown_timeout=5.0, **settings)
    watched = Watched(first)
    with watched.read():
        watched.log_aside()
        first.close()
    assert first.stats().spooled
    with BatchUDPReceiver("127.0.0.1", port, logger_prefix="far."):
        second = BatchUDPHandler("127.0.0.1", port, shutdown_timeout=20.0, **settings)
        watched = Watched(second)
        with watched.read():
            watched.log_aside()
            assert second.flush(60.0)
            second.close()
        stats = second.stats()
    identity(stats)
    assert stats.adopted == first.stats().spooled
    assert stats.waiting == stats.retained == stats.spooled == 0


def test_the_counters_add_up_after_the_close(receiver: BatchUDPReceiver) -> None:
    """Each late record has a machine of its own, whose numbers stay when it is gone."""
    handler = BatchUDPHandler("127.0.0.1", receiver.address[1], shutdown_timeout=5.0)
    watched = Watched(handler)
    handler.handle(logging.LogRecord("n", 20, "f.py", 1, "first", (), None))
    watched.begun[0] = watched.done[0] = 1
    handler.close()
    with watched.read():
        watched.log(1, 300)
    stats = handler.stats()
    identity(stats)
    assert stats.accepted == 301 == stats.sent + sum(stats.dropped.values())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_the_counters_add_up_while_the_process_forks(receiver: BatchUDPReceiver) -> None:
    """The parent's go on; the child's begin with nothing, and add up too."""
    handler = BatchUDPHandler("127.0.0.1", receiver.address[1], shutdown_timeout=20.0)
    watched = Watched(handler)
    codes: list[int] = []

    def fork() -> None:
        child = os.fork()
        if not child:
            try:
                identity(handler.stats())
                assert handler.stats().accepted == 0
                Watched(handler).log(0, 5)
                assert handler.stats().accepted == 5
                identity(handler.stats())
            except BaseException:  # noqa: BLE001  # the exit code tells
                os._exit(1)
            os._exit(0)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    with watched.read():
        for _ in range(5):
            fork()
        watched.log_aside(fork)
        handler.close()
    assert codes
    assert set(codes) == {0}
    identity(handler.stats())


def test_a_signal_handler_may_ask() -> None:
    """Also one that interrupts a thread that is just counting, or being asked."""
    signal = pytest.importorskip("signal")
    handler = BatchUDPHandler("127.0.0.1", 9, capacity=10)
    asked: list[SenderStats] = []
    before = signal.signal(signal.SIGALRM, lambda *_: asked.append(handler.stats()))
    try:
        for round_ in range(60):
            signal.setitimer(signal.ITIMER_REAL, 0.0001 + round_ * 8e-6)
            Watched(handler).log(0, 20)
            asked.append(handler.stats())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    for stats in asked:
        identity(stats)
    handler.close()

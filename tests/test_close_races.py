"""Starts, flushes and closes that meet on several threads: one machine, one close, full books."""

from __future__ import annotations

import logging
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from batchudp_handler import BatchUDPHandler
from batchudp_handler.testing.collector import DatagramCollector

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = 40
WORKERS = 8
RECORDS = 3


@pytest.fixture
def eager_switching() -> Iterator[None]:
    """Threads take turns a thousand times as often as usual."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("eager_switching")
def test_everything_is_counted_when_the_last_close_returns() -> None:
    """Eight threads log, flush and close at once: no record is left over, or counted twice."""
    record = logging.makeLogRecord({"msg": "x", "levelno": logging.INFO})
    with DatagramCollector() as collector:
        for _ in range(ROUNDS):
            handler = BatchUDPHandler(*collector.address, shutdown_timeout=10.0)
            _log_flush_close(handler, record)
            stats = handler.stats()
            assert (stats.accepted, stats.waiting) == (WORKERS * RECORDS, 0)
            assert stats.sent + sum(stats.dropped.values()) == stats.accepted


def _log_flush_close(handler: BatchUDPHandler, record: logging.LogRecord) -> None:
    together = threading.Barrier(WORKERS)

    def work() -> None:
        together.wait()
        for _ in range(RECORDS):
            handler.handle(record)
            handler.flush(10.0)
        handler.close()

    workers = [threading.Thread(target=work) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60.0)
        assert not worker.is_alive()

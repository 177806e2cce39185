"""Each policy for a full buffer keeps its word, and what it drops is counted."""

from __future__ import annotations

import logging
import logging.config
import logging.handlers
import threading
import time
from typing import TYPE_CHECKING

import pytest

from batchudp_handler import BatchUDPHandler
from batchudp_handler.core.records.snapshot import completed
from tests.support import balance, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchudp_handler.config import Overflow
    from batchudp_handler.testing.collector import DatagramCollector

NEVER = 1_000_000
"""Records: a batch that does not fill."""


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
def test_the_drop_policies_keep_their_word(
    logger: logging.Logger, overflow: Overflow, capsys: pytest.CaptureFixture[str]
) -> None:
    """With no way out, exactly the capacity is kept, from the right end, and stderr told once."""
    handler = BatchUDPHandler(
        "unresolvable.invalid", 9, capacity=50, overflow=overflow, shutdown_timeout=0.1
    )
    logger.addHandler(handler)
    for number in range(200):
        logger.info("n %d", number)
    stats = handler.stats()
    assert (stats.accepted, stats.waiting, stats.dropped) == (200, 50, {"buffer_full": 150})
    waiting = [snapshot[20][0] for snapshot in completed(handler._buffer._items)]
    assert waiting == list(range(150, 200) if overflow == "drop_oldest" else range(50))
    handler.close()
    stats = handler.stats()
    assert stats.dropped == {"buffer_full": 150, "closed": 50}
    assert stats.accepted == balance(stats) == 200
    note = capsys.readouterr().err
    assert "200 records" in note
    assert len(note.splitlines()) <= 2


def test_drops_are_told_to_the_receiver(
    make: Callable[..., BatchUDPHandler], logger: logging.Logger, collector: DatagramCollector
) -> None:
    """SYNC carries the number of records that never got a number."""
    handler = make(capacity=5, overflow="drop_newest", batch_size=NEVER, flush_interval=60.0)
    logger.addHandler(handler)
    logger.info("first")
    collector.wait_for(1)
    wait_until(lambda: handler.stats().sent == 1)

    def is_full() -> bool:  # the flusher may take some, but not as fast as they come
        for number in range(20):
            logger.info("n %d", number)
        return "buffer_full" in handler.stats().dropped

    wait_until(is_full)
    handler.close()
    collector.wait_until(lambda: collector.syncs and collector.syncs[-1][1].closing)
    assert collector.syncs[-1][1].dropped_records == handler.stats().dropped["buffer_full"] > 0


def test_block_loses_nothing(
    make: Callable[..., BatchUDPHandler], logger: logging.Logger, collector: DatagramCollector
) -> None:
    """With `overflow="block"`, a small buffer slows the callers down and keeps every record."""
    handler = make(capacity=100, overflow="block", overflow_timeout=10.0)
    logger.addHandler(handler)

    def log(worker: int) -> None:
        for number in range(5_000):
            logger.info("%d/%d", worker, number)

    workers = [threading.Thread(target=log, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30.0)
    assert handler.flush(60.0)
    assert len(set(collector.wait_for(20_000))) == 20_000
    assert handler.stats().dropped == {}


def test_block_gives_up_after_its_timeout(logger: logging.Logger) -> None:
    """Where nothing leaves, a log call is held for `overflow_timeout` and the record dropped."""
    handler = BatchUDPHandler(
        "unresolvable.invalid",
        9,
        capacity=10,
        overflow="block",
        overflow_timeout=0.2,
        shutdown_timeout=0.1,
    )
    logger.addHandler(handler)
    for number in range(10):
        logger.info("n %d", number)
    began = time.monotonic()
    logger.info("one too many")
    assert 0.15 <= time.monotonic() - began < 1.0
    assert handler.stats().dropped == {"buffer_full": 1}
    handler.close()


def test_quiet_when_told_to_be(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `logging.raiseExceptions` off, nothing is written to stderr."""
    monkeypatch.setattr(logging, "raiseExceptions", False)
    handler = BatchUDPHandler("unresolvable.invalid", 9, capacity=5, shutdown_timeout=0.0)
    logger.addHandler(handler)
    for number in range(20):
        logger.info("n %d", number)
    handler.close()
    assert capsys.readouterr().err == ""

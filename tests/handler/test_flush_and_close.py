"""`flush` and `close` are bounded, may be called from anywhere, and leave nothing uncounted."""

from __future__ import annotations

import gc
import logging
import logging.config
import logging.handlers
import threading
import time
import weakref
from typing import TYPE_CHECKING

from batchudp_handler import BatchUDPHandler
from tests.support import balance, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from batchudp_handler.testing.collector import DatagramCollector


NEVER = 1_000_000
"""Records: a batch that does not fill."""


def test_a_handler_without_records_costs_nothing() -> None:
    """No thread, no socket before the first record; flush and close return at once."""
    threads = threading.active_count()
    handler = BatchUDPHandler("unresolvable.invalid")
    assert threading.active_count() == threads
    began = time.monotonic()
    assert handler.flush()
    handler.close()
    handler.close()
    assert time.monotonic() - began < 0.1


def test_flush_is_bounded(logger: logging.Logger) -> None:
    """With no way out, `flush` says no after its timeout, and None stands for a bound, too."""
    handler = BatchUDPHandler("unresolvable.invalid", 9, shutdown_timeout=0.3)
    logger.addHandler(handler)
    logger.info("x")
    for timeout, least, most in ((0.1, 0.08, 0.6), (None, 0.25, 1.0)):
        began = time.monotonic()
        assert not handler.flush(timeout)
        assert least <= time.monotonic() - began < most
    began = time.monotonic()
    handler.close()
    assert time.monotonic() - began < 0.3, "a flush has just waited in vain: close must not again"


def test_close_is_bounded_and_says_what_it_left(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    """Within `shutdown_timeout`, and with one line on stderr."""
    handler = BatchUDPHandler("unresolvable.invalid", 9, shutdown_timeout=0.3)
    logger.addHandler(handler)
    for number in range(7):
        logger.info("n %d", number)
    began = time.monotonic()
    handler.close()
    assert time.monotonic() - began < 0.8
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "batchudp-handler: 7 records for unresolvable.invalid:9 were lost so far: closed 7; the "
    )


def test_close_sends_what_waits(
    make: Callable[..., BatchUDPHandler], logger: logging.Logger, collector: DatagramCollector
) -> None:
    """Nothing is left behind, the thread ends, and the receiver is told that it was all."""
    handler = make(batch_size=NEVER, flush_interval=60.0)
    logger.addHandler(handler)
    for number in range(500):
        logger.info("n %d", number)
    handler.close()
    assert len(collector.wait_for(500)) == 500
    collector.wait_until(lambda: len(collector.syncs) >= 2)
    assert collector.syncs[-1][1].closing
    assert collector.syncs[-1][1].next_rec == 500
    assert "batchudp-flusher" not in {thread.name for thread in threading.enumerate()}


def test_a_record_after_the_close_is_sent_at_once(
    make: Callable[..., BatchUDPHandler], logger: logging.Logger, collector: DatagramCollector
) -> None:
    """By the thread that logs, as a stream of its own with a beginning and an end."""
    handler = make()
    logger.addHandler(handler)
    logger.info("before")
    handler.close()
    logger.info("after")
    assert collector.wait_for(2) == ["before", "after"]
    assert len(collector.streams) == 2
    late = list(collector.streams)[-1]
    collector.wait_until(
        lambda: any(stream == late and sync.closing for stream, sync in collector.syncs)
    )
    stats = handler.stats()
    assert (stats.accepted, stats.sent) == (2, 2) == (balance(stats), 2)


def test_a_record_after_the_close_that_cannot_be_sent_is_counted(logger: logging.Logger) -> None:
    """It costs little time, and raises nothing."""
    handler = BatchUDPHandler("unresolvable.invalid", 9, shutdown_timeout=0.0)
    logger.addHandler(handler)
    handler.close()
    began = time.monotonic()
    logger.info("after")
    assert time.monotonic() - began < 0.5
    assert handler.stats().dropped == {"closed": 1}


def test_flush_and_close_from_many_threads(
    make: Callable[..., BatchUDPHandler], logger: logging.Logger, collector: DatagramCollector
) -> None:
    """Everybody gets an answer, and nothing is lost or sent twice."""
    handler = make(overflow="block")
    logger.addHandler(handler)
    results: list[bool] = []

    def work(worker: int) -> None:
        for number in range(50):
            logger.info("%d/%d", worker, number)
            results.append(handler.flush(5.0))
        handler.close()

    workers = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30.0)
        assert not worker.is_alive()
    assert len(set(collector.wait_for(400))) == 400
    stats = handler.stats()
    assert stats.accepted == balance(stats) == stats.sent == 400


def test_a_forgotten_handler_sends_what_it_has(
    logger: logging.Logger, collector: DatagramCollector
) -> None:
    """A handler that is collected without a close leaves no record and no thread behind."""
    handler = BatchUDPHandler(*collector.address, batch_size=NEVER, flush_interval=60.0)
    logger.addHandler(handler)
    logger.info("first")
    collector.wait_for(1)
    logger.info("second")
    gone = weakref.ref(handler)
    logger.removeHandler(handler)
    del handler
    gc.collect()
    assert gone() is None
    assert collector.wait_for(2) == ["first", "second"]
    wait_until(lambda: "batchudp-flusher" not in {each.name for each in threading.enumerate()})


def test_logging_shutdown_sends_what_waits(
    make: Callable[..., BatchUDPHandler], logger: logging.Logger, collector: DatagramCollector
) -> None:
    """`logging.shutdown` holds the handler's lock; nobody of us wants it."""
    handler = make(batch_size=NEVER, flush_interval=60.0)
    logger.addHandler(handler)
    for number in range(100):
        logger.info("n %d", number)
    logging.shutdown([weakref.ref(handler)])
    assert len(collector.wait_for(100)) == 100


def test_the_locked_handler_still_takes_records(
    make: Callable[..., BatchUDPHandler], logger: logging.Logger, collector: DatagramCollector
) -> None:
    """Somebody who holds the handler's lock, or took it away, stops no log call."""
    handler = make()
    logger.addHandler(handler)
    handler.acquire()
    worker = threading.Thread(target=logger.info, args=("locked",), daemon=True)
    worker.start()
    worker.join(5.0)
    assert not worker.is_alive()
    handler.release()
    handler.lock = None
    logger.info("no lock")
    assert handler.flush()
    assert collector.wait_for(2) == ["locked", "no lock"]
    handler.createLock()

"""No more records than the capacity wait or are retained, and the oldest go first."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from batchudp_handler import BatchUDPHandler, BatchUDPReceiver
from batchudp_handler.testing.faultproxy import FaultProxy, Faults
from tests.support import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batchudp_handler.config import Delivery, Overflow
    from batchudp_handler.core.send.stats import SenderStats

CAPACITY = 400
WORDS = "a line of the usual length, with its number: %d"


class Far(logging.Handler):
    """The numbers that have arrived."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: list[int] = []

    def handle(self, record: logging.LogRecord) -> bool:
        assert isinstance(record.args, tuple)
        self.numbers.append(int(str(record.args[0])))
        return True


@pytest.fixture
def far(request: pytest.FixtureRequest) -> Iterator[Far]:
    logger = logging.getLogger(f"far.{request.node.name.partition('[')[0]}")
    handler = Far()
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.handlers = []


def receiving(far: Far, request: pytest.FixtureRequest, port: int = 0) -> BatchUDPReceiver:
    prefix = f"far.{request.node.name.partition('[')[0]}."
    return BatchUDPReceiver("127.0.0.1", port, logger_prefix=prefix)


def log(handler: BatchUDPHandler, first: int, last: int) -> None:
    for number in range(first, last):
        handler.handle(logging.LogRecord("n", 20, "f.py", 1, WORDS, (number,), None))


def identity(stats: SenderStats) -> None:
    parts = stats.sent + stats.confirmed + stats.rejected_by_receiver + stats.unconfirmed
    parts += stats.waiting + stats.retained + stats.spooled + sum(stats.dropped.values())
    assert stats.accepted == parts


def nobody() -> int:
    """A port where nobody listens."""
    with BatchUDPReceiver("127.0.0.1", 0) as receiver:
        port: int = receiver.address[1]
    return port


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest", "block"])
@pytest.mark.parametrize("delivery", ["one_way", "acknowledged"])
def test_the_capacity_holds_while_nobody_listens(delivery: Delivery, overflow: Overflow) -> None:
    """Whatever the machine has taken counts, whether it is sealed, sent or just waits."""
    handler = BatchUDPHandler(
        "127.0.0.1", nobody(), delivery=delivery, overflow=overflow, capacity=CAPACITY,
        overflow_timeout=0.0, max_retries=1_000, shutdown_timeout=0.1,
    )  # fmt: skip
    for first in range(0, 10 * CAPACITY, 50):
        log(handler, first, first + 50)
        time.sleep(0.002)
        stats = handler.stats()
        identity(stats)
        assert stats.waiting + stats.retained <= CAPACITY
    assert stats.waiting + stats.retained > CAPACITY // 3
    handler.close()
    identity(handler.stats())


def test_the_newest_are_kept_while_nobody_listens(
    far: Far, request: pytest.FixtureRequest
) -> None:
    """The receiver that comes gets the latest records, and none of the dropped ones is older."""
    port = nobody()
    handler = BatchUDPHandler(
        "127.0.0.1", port, delivery="acknowledged", capacity=CAPACITY, shutdown_timeout=20.0
    )
    log(handler, 0, 5_000)
    with receiving(far, request, port):
        assert handler.flush(60.0)
        handler.close()
    stats = handler.stats()
    identity(stats)
    assert far.numbers == list(range(5_000 - stats.confirmed, 5_000))
    assert stats.confirmed >= CAPACITY * 9 // 10
    assert stats.dropped == {"buffer_full": 5_000 - stats.confirmed}


@pytest.mark.parametrize("pause", [0.0, 0.001])
@pytest.mark.slow
def test_what_was_on_its_way_goes_before_what_waits(
    far: Far, request: pytest.FixtureRequest, pause: float
) -> None:
    """The network goes with records unconfirmed; newer ones fill the room, fast or slowly."""
    with receiving(far, request) as receiver, FaultProxy(receiver.address) as proxy:
        handler = BatchUDPHandler(
            *proxy.address, delivery="acknowledged", capacity=CAPACITY, shutdown_timeout=20.0
        )
        log(handler, 0, 10)
        assert handler.flush(60.0)
        proxy.change(Faults(loss=1.0))
        log(handler, 10, 200)
        wait_until(lambda: handler.stats().retained > 100)
        wait_until(lambda: handler._flusher._get_loop().session.own.is_away)
        for number in range(200, 2_000):
            log(handler, number, number + 1)
            time.sleep(pause)
            stats = handler.stats()
            identity(stats)
            assert stats.waiting + stats.retained <= CAPACITY
        wait_until(lambda: handler.stats().retained == 0)
        assert handler.stats().unconfirmed > 0
        proxy.change()
        assert handler.flush(60.0)
        handler.close()
    stats = handler.stats()
    identity(stats)
    late = stats.confirmed - 10
    assert far.numbers == [*range(10), *range(2_000 - late, 2_000)]
    assert late >= CAPACITY // 2


def test_blocked_callers_wait_for_confirmations(far: Far, request: pytest.FixtureRequest) -> None:
    """Room comes when the receiver's handlers have returned, and so nothing is lost."""
    with receiving(far, request) as receiver:
        handler = BatchUDPHandler(
            "127.0.0.1", receiver.address[1], delivery="acknowledged", overflow="block",
            overflow_timeout=None, capacity=20, shutdown_timeout=20.0,
        )  # fmt: skip
        log(handler, 0, 2_000)
        handler.close()
    stats = handler.stats()
    identity(stats)
    assert (stats.confirmed, stats.dropped) == (2_000, {})
    assert far.numbers == list(range(2_000))


def test_what_the_spool_has_needs_no_room(
    far: Far, request: pytest.FixtureRequest, tmp_path: object
) -> None:
    """The disk has a size of its own: many times the capacity survives there."""
    port = nobody()
    handler = BatchUDPHandler(
        "127.0.0.1", port, delivery="acknowledged", spool_directory=str(tmp_path),
        overflow="block", overflow_timeout=60.0, capacity=CAPACITY, shutdown_timeout=20.0,
    )  # fmt: skip
    log(handler, 0, 20 * CAPACITY)
    stats = handler.stats()
    identity(stats)
    assert stats.waiting + stats.retained <= CAPACITY
    assert stats.spooled > 10 * CAPACITY
    with receiving(far, request, port):
        assert handler.flush(60.0)
        handler.close()
    assert far.numbers == list(range(20 * CAPACITY))


# --- bytes -------------------------------------------------------------------------------------

LONG_TEXTS = """
import logging, sys, threading, time
from batchudp_handler import BatchUDPHandler

logging.raiseExceptions = False


def memory():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def many(handler, first, last):
    for number in range(first, last):
        text = chr(97 + number % 26) * 1_000_000
        handler.handle(logging.LogRecord("n", 20, "f.py", 1, "%s %d", (text, number), None))


delivery, overflow = sys.argv[1:]
handler = BatchUDPHandler(
    "127.0.0.1", 9, delivery=delivery, overflow=overflow, overflow_timeout=0.0,
    capacity_bytes=20_000_000, max_retries=1_000, shutdown_timeout=0.2,
)
before, most = memory(), 0
for first in range(0, 300, 10):
    many(handler, first, first + 10)
    time.sleep(0.005)
    most = max(most, memory())
stats = handler.stats()
parts = stats.sent + stats.confirmed + stats.unconfirmed + stats.waiting + stats.retained
print(most - before, stats.waiting, stats.dropped.get("capacity_bytes", 0))
assert stats.accepted == 300 == parts + sum(stats.dropped.values()), stats
handler.close()
end = time.monotonic() + 60.0
while (stats := handler.stats()).waiting and time.monotonic() < end:
    time.sleep(0.01)  # the thread is still encoding what it had taken
assert stats.accepted == 300 == stats.sent + stats.unconfirmed + sum(stats.dropped.values()), stats
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest", "block"])
@pytest.mark.parametrize("delivery", ["one_way", "acknowledged"])
def test_long_texts_that_wait_are_bounded(delivery: Delivery, overflow: Overflow) -> None:
    """300 records of 1 MB while nobody listens: what is allowed is taken, and the rest counted."""
    done = subprocess.run(
        [sys.executable, "-c", LONG_TEXTS, delivery, overflow],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    grown, waiting, dropped = map(int, done.stdout.split())
    assert grown < 60_000_000
    assert 5 <= waiting <= 22  # those that are being encoded are charged as a whole
    assert dropped >= 200


def test_long_texts_arrive_although_only_a_few_may_wait(
    far: Far, request: pytest.FixtureRequest
) -> None:
    """Callers that are held wait for bytes as they wait for places."""
    with receiving(far, request) as receiver:
        handler = BatchUDPHandler(
            "127.0.0.1", receiver.address[1], delivery="acknowledged", overflow="block",
            overflow_timeout=None, capacity_bytes=200_000, flush_interval=3_600.0,
            batch_size=1_000, shutdown_timeout=20.0,
        )  # fmt: skip
        for number in range(100):
            words = WORDS + "%s"
            record = logging.LogRecord("n", 20, "f.py", 1, words, (number, "x" * 50_000), None)
            handler.handle(record)
        handler.close()
    stats = handler.stats()
    identity(stats)
    assert (stats.confirmed, stats.dropped) == (100, {})
    assert far.numbers == list(range(100))


def test_the_bytes_can_be_changed_while_records_flow() -> None:
    """As the number of records can."""
    handler = BatchUDPHandler("127.0.0.1", nobody(), delivery="acknowledged", shutdown_timeout=0.1)
    log(handler, 0, 1_000)
    assert not handler.stats().dropped
    assert handler.reconfigure(capacity_bytes=65_536)
    log(handler, 1_000, 1_100)
    stats = handler.stats()
    identity(stats)
    assert stats.dropped["capacity_bytes"] >= 800
    handler.close()

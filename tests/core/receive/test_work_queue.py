"""The work queue refuses what it has no room for, and every batch is answered for once."""

from __future__ import annotations

import pytest

from batchudp_handler.core.receive.events import BatchReceived
from batchudp_handler.core.receive.work_queue import WorkQueue
from tests.core.receive.bench import HOME, WALL, Bench, Source, connected


def test_the_queue_counts_more_than_bytes() -> None:
    """A million batches of one byte are not a megabyte."""
    bench = Bench(work_queue_bytes=1 << 20)
    source = Source()
    for _ in range(5000):
        bench.feed(source.data(1, b"x"), drained=False)
    assert len(bench.waiting) < 2100


def test_a_full_queue_starts_no_stream() -> None:
    """Neither for a baseline datagram nor for a stranger's is there room."""
    bench = Bench(work_queue_bytes=1000)
    bench.feed(Source().data(1, bytes(600)))
    bench.feed(Source(2).data(), b"{}")
    assert bench.stats().refused == {"no_room": 2}
    assert bench.stats().streams_seen == 1


def test_an_empty_queue_takes_any_batch() -> None:
    """Or a small limit would stop everything for ever."""
    bench = Bench(work_queue_bytes=10)
    bench.feed(Source().data(1, bytes(1000)))
    assert len(bench.waiting) == 1


def test_credit_shrinks_as_the_queue_fills() -> None:
    """In full until half of it is used, nothing when it is full."""
    bench, source = connected(work_queue_bytes=100_000, receive_buffer=400_000)
    shares = []
    for _ in range(10):
        bench.feed(source.data(1, bytes(10_000 - 512)))
        shares.append(bench.replies()[-1].credit)
    assert shares[:5] == [100_000] * 5
    assert shares[5:] == [80_000, 60_000, 40_000, 20_000, 0]
    bench.handle()
    assert bench.replies()[-1].credit == 100_000


def test_a_baseline_batch_is_answered_once() -> None:
    """A second answer raises and changes nothing: the queue would take more than its limit."""
    bench = Bench()
    bench.feed(b'{"message": "hi"}', b'{"message": "hi"}')
    for batch in bench.waiting:
        bench.protocol.on_batch_handled(batch, 1, {}, bench.now)
    with pytest.raises(ValueError, match="not waiting"):
        bench.protocol.on_batch_handled(bench.waiting[0], 1, {}, bench.now)
    assert (bench.stats().queued_bytes, bench.stats().delivered) == (0, 2)


def test_equal_batches_are_counted_one_by_one() -> None:
    """A batch that came twice is answered for twice, and not three times."""
    queue = WorkQueue(10_000)
    batch = BatchReceived(None, 0, 0, 0, b"[]", HOME, 0, WALL)
    queue.add(batch)
    queue.add(batch)
    for _ in range(2):
        queue.check_waiting(batch)
        queue.remove(batch)
    with pytest.raises(ValueError, match="not waiting"):
        queue.check_waiting(batch)
    assert queue.used == 0

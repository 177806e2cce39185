"""Streams begin, vanish, come back, end and are forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchudp_handler.core.receive.events import (
    BatchReceived,
    SenderDropped,
    StreamEnded,
    StreamStarted,
)
from tests.core.receive.bench import Bench, Source, connected

if TYPE_CHECKING:
    from batchudp_handler.core.trace import TraceEvent


def test_a_closed_stream_ends_when_nothing_waits() -> None:
    """Handled, lost, and then its numbers in the event."""
    bench, source = Bench(), Source()
    first, _ = source.datas(2)
    bench.feed(first, source.sync(closing=True))
    bench.handle()
    assert bench.of(StreamEnded) == []
    bench.wait(2.1)
    (ended,) = bench.of(StreamEnded)
    assert ended.reason == "closed"
    assert (ended.stats.delivered, ended.stats.lost) == (10, 10)
    assert not ended.stats.tail_unknown


def test_a_silent_stream_vanishes_and_its_tail_is_unknown() -> None:
    """After three promised intervals, and not as `0 lost`."""
    bench, source = Bench(), Source()
    bench.feed(source.data(), source.sync(promise_ms=10_000))
    bench.handle()
    bench.wait(29.9)
    assert bench.of(StreamEnded) == []
    bench.wait(0.2)
    (ended,) = bench.of(StreamEnded)
    assert (ended.reason, ended.stats.tail_unknown) == ("vanished", True)
    assert bench.stats().streams_ended == {"vanished": 1}


def test_a_vanished_stream_may_come_back() -> None:
    """It was the network; the same numbers go on, and nothing is delivered twice."""
    bench, source = Bench(), Source()
    first, _, third = source.datas(3)
    bench.feed(first, source.sync(promise_ms=1000))
    bench.wait(10.0)
    bench.feed(first, third)
    bench.handle()
    stream = bench.stream()
    assert stream.ended is None
    assert not stream.tail_unknown
    assert (stream.delivered, stream.duplicates) == (20, 10)
    assert len(bench.of(StreamStarted)) == 2


def test_a_silent_stream_is_forgotten_and_stays_in_the_totals() -> None:
    """After 600 s; its last numbers can still be read."""
    bench, source = Bench(), Source()
    first, _, third = source.datas(3)
    bench.feed(first, third)
    bench.handle()
    bench.wait(601.0)
    stats = bench.stats()
    assert (stats.streams_live, stats.streams_seen, stats.streams_ended) == (0, 1, {"idle": 1})
    assert (stats.delivered, stats.lost) == (20, 10)
    assert bench.stream().ended == "idle"
    assert bench.protocol.next_timeout() is None


def test_a_stream_with_batches_at_the_handlers_is_not_forgotten() -> None:
    """However long they take."""
    bench, source = Bench(), Source()
    bench.feed(source.data())
    bench.wait(2000.0)
    bench.handle()
    assert bench.stats().delivered == 10


def test_records_dropped_by_the_sender_are_told() -> None:
    """The counter in SYNC is cumulative and wraps; each event tells the news."""
    bench, source = Bench(), Source()
    bench.feed(source.sync(dropped_records=5), source.sync(dropped_records=5))
    bench.feed(source.sync(dropped_records=12))
    assert [event.records for event in bench.of(SenderDropped)] == [5, 7]
    assert bench.stream().sender_dropped == 12
    bench.feed(source.sync(dropped_records=3))
    assert bench.stream().sender_dropped == 12


def test_a_forgotten_acknowledged_stream_leaves_nothing_pending() -> None:
    """What had come of an unfinished group is missing again, and its room is free."""
    bench, source = connected()
    group = source.fragments(bytes(300), 100, n_rec=3)
    bench.feed(group[0])
    bench.wait(700.0)
    stream = bench.stream()
    assert (stream.ended, stream.pending, stream.missing) == ("idle", 0, 3)
    assert bench.stats().reassembly_bytes == 0


def test_a_timer_that_comes_early_does_nothing() -> None:
    """The shell may call whenever it wakes up."""
    bench, source = Bench(), Source()
    first, _, third = source.datas(3)
    bench.feed(first, third)
    due = bench.protocol.next_timeout()
    assert due == bench.now + 2.0
    bench.protocol.handle_timeout(bench.now + 1.0)
    assert bench.protocol.next_timeout() == due


def test_closing_ends_when_all_is_final() -> None:
    """And a repeated goodbye is still answered with the floor."""
    bench, source = connected()
    bench.feed(source.data(), source.sync(closing=True))
    assert bench.of(StreamEnded) == []
    bench.handle()
    assert [event.reason for event in bench.of(StreamEnded)] == ["closed"]
    bench.replies()
    bench.feed(source.sync(closing=True))
    assert bench.replies()[0].floor == 1
    assert len(bench.of(StreamEnded)) == 1


def test_a_closing_receiver_tells_and_finishes() -> None:
    """No new datagrams; what the handlers finish is still acked, with the flag."""
    bench, source = connected()
    one_way = Source(2)
    bench.feed(*source.datas(2), one_way.data())
    bench.replies()
    bench.protocol.close(bench.now)
    bench.collect()
    assert [(ack.closing, ack.floor) for ack in bench.replies()] == [(True, 0)]
    bench.feed(source.data(), Source(3).data())
    assert bench.of(BatchReceived)[-1].stream_id == 2
    assert not bench.protocol.is_settled
    bench.handle()
    assert [(ack.closing, ack.floor) for ack in bench.replies()] == [(True, 2)]
    assert {event.reason for event in bench.of(StreamEnded)} == {"shutdown"}
    assert bench.protocol.is_settled
    assert bench.stats().delivered == 30
    bench.protocol.close(bench.now)
    bench.collect()
    assert bench.replies() == []


def test_a_stream_is_evicted_for_another_one() -> None:
    """It has been silent for a minute, and a newcomer needs its place."""
    bench = Bench(max_streams=1)
    bench.feed(Source(1).data())
    bench.handle()
    bench.wait(61.0)
    bench.feed(Source(2).data())
    assert [event.reason for event in bench.of(StreamEnded)] == ["evicted"]


def test_a_stream_that_completes_by_a_timeout_leaves_the_table() -> None:
    """Nothing that may still come is wanted when the beginning is closed."""
    bench, source = Bench(), Source(seq=5)
    bench.feed(source.data(), source.sync(closing=True))
    bench.handle()
    bench.wait(1.9)
    assert len(bench.streams) == 1
    bench.wait(0.2)
    assert [event.reason for event in bench.of(StreamEnded)] == ["closed"]
    assert len(bench.streams) == 0


def test_the_end_of_a_stream_is_told_once() -> None:
    """One that vanished is forgotten later without another word."""
    bench, source = Bench(), Source()
    bench.feed(source.data(), source.sync(promise_ms=1_000))
    bench.handle()
    bench.wait(700.0)
    assert [event.reason for event in bench.of(StreamEnded)] == ["vanished"]
    assert len(bench.streams) == 0


def test_the_life_of_a_stream_is_traced() -> None:
    """Its beginning, its losses, and its end with the reason."""
    events: list[TraceEvent] = []
    bench, source = Bench(trace=events.append), Source()
    first, _, third = source.datas(3)
    bench.feed(first, third)
    bench.handle()
    bench.feed(source.sync(closing=True))
    bench.wait(3.0)
    names = ("stream_started", "records_lost", "stream_ended")
    assert [event.values for event in events if event.name in names] == [
        {"acknowledged": False},
        {"records": 10},
        {"reason": "closed"},
    ]

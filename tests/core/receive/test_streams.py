"""Streams that are over in a moment take a place for that moment, and are recognised for long."""

from __future__ import annotations

import random
import tracemalloc
from typing import Any

import pytest

from batchudp_handler.core.receive.events import (
    BatchReceived,
    RecordsLost,
    SenderDropped,
    StreamEnded,
    StreamStarted,
)
from batchudp_handler.core.wire.datagram import CHECKSUM, Seal, parse
from tests.core.receive.bench import AWAY, HOME, KEY, WALL, Bench, Source

PROCESSES = 12_500
"""In 150 seconds."""
BOTH = pytest.mark.parametrize("acknowledged", [False, True], ids=["one_way", "acknowledged"])


def places(bench: Bench) -> int:
    """How many streams are in the table."""
    return len(bench.streams)


def say_all(
    bench: Bench, number: int, *, acknowledged: bool, seal: Seal = CHECKSUM
) -> tuple[Source, list[bytes]]:
    """One record and a goodbye, as a process that is over in a moment sends them."""
    source = Source(number, acknowledged=acknowledged, seal=seal)
    source.sealed_at = int(bench.now + bench.offset)
    recorded: list[bytes] = []
    if acknowledged:
        bench.connect(source)
    else:
        recorded.append(source.sync())
    recorded.append(source.data(1))
    recorded += [source.sync(closing=True), source.sync(closing=True)]
    bench.feed(*recorded[:-1])
    bench.handle()
    bench.feed(recorded[-1])
    return source, recorded


# --- the place ----------------------------------------------------------------------------------


@BOTH
def test_a_stream_that_said_goodbye_frees_its_place(acknowledged: bool) -> None:
    """At once, with an event that has all its numbers, which stay in the totals."""
    bench = Bench(max_streams=1)
    for number in range(1, 11):
        say_all(bench, number, acknowledged=acknowledged)
        assert places(bench) == 0
    ended = bench.of(StreamEnded)
    assert [(each.reason, each.stats.delivered) for each in ended] == [("closed", 1)] * 10
    stats = bench.stats()
    assert (stats.delivered, stats.refused, stats.streams_seen) == (10, {}, 10)
    assert stats.duplicate_datagrams == 0


@BOTH
def test_as_many_as_fifty_thousand_processes_in_ten_minutes(acknowledged: bool) -> None:
    """Each with one record; the table is that of the defaults."""
    bench = Bench()
    for number in range(PROCESSES):
        source = Source(number, acknowledged=acknowledged)
        address = (HOME[0], number % 60_000)
        if acknowledged:
            bench.connect(source, address)
        bench.feed(source.data(1), source.sync(closing=True), address=address)
        bench.handle()
        bench.events.clear()
        bench.sent.clear()
        bench.now += 150 / PROCESSES
        bench.protocol.handle_timeout(bench.now)
    stats = bench.stats()
    assert (stats.delivered, stats.lost, stats.refused) == (PROCESSES, 0, {})
    assert places(bench) == 0


def test_killed_processes_make_room_for_others() -> None:
    """2,000 of them in eight seconds say nothing at their end; all are heard."""
    bench = Bench()
    for number in range(2_000):
        source = Source(number)
        bench.feed(source.sync(promise_ms=1_250), source.data(1))
        bench.handle()
        bench.wait(8 / 2_000)
    stats = bench.stats()
    assert (stats.delivered, stats.refused) == (2_000, {})
    assert sum(stats.streams_ended.values()) >= 2_000 - 1_024


def test_killed_acknowledged_processes_make_room_too() -> None:
    """As long as a tombstone says all that their streams said: nothing is above the floor."""
    bench = Bench(max_streams=10)
    for number in range(100):
        source = Source(number, acknowledged=True)
        bench.connect(source)
        bench.feed(source.data(1))
        bench.handle()
        bench.wait(0.5)
    assert (bench.stats().delivered, bench.stats().refused) == (100, {})


def test_a_stream_with_a_hole_keeps_its_place_for_a_minute() -> None:
    """A tombstone does not know what is held above the floor."""
    bench = Bench(max_streams=1)
    source = Source(1, acknowledged=True)
    bench.connect(source)
    bench.feed(source.datas(2)[1])
    bench.handle()
    bench.wait(59.0)
    bench.feed(Source(2).data())
    assert bench.stats().refused == {"stream_limit": 1}
    bench.wait(1.0)
    bench.feed(Source(2).data())
    assert [each.reason for each in bench.of(StreamEnded)] == ["evicted"]


def test_a_stream_heard_of_for_longer_keeps_its_place_for_a_minute() -> None:
    """It is no process that was over in a moment; newcomers come after it."""
    bench = Bench(max_streams=1)
    source = Source(1)
    for _ in range(12):
        bench.feed(source.data())
        bench.handle()
        bench.wait(1.0)
    bench.wait(58.0)
    bench.feed(Source(2).data())
    assert bench.stats().refused == {"stream_limit": 1}
    bench.wait(1.0)
    bench.feed(Source(2).data())
    assert bench.of(StreamEnded)[0].stream_id == 1


def test_ended_streams_go_before_silent_ones() -> None:
    """One that lost a record keeps its place, in case it comes late, until somebody needs it."""
    bench = Bench(max_streams=2)
    silent, lossy = Source(1), Source(2)
    bench.feed(silent.data(), lossy.sync(), lossy.datas(2)[1])
    bench.handle()
    bench.feed(lossy.sync(closing=True))
    bench.wait(3.0)
    assert [(each.stream_id, each.reason) for each in bench.of(StreamEnded)] == [(2, "closed")]
    assert places(bench) == 2
    bench.feed(Source(3).data())
    assert bench.streams.get(1) is not None
    assert bench.streams.get(2) is None


# --- what comes around a goodbye ----------------------------------------------------------------


def test_a_second_goodbye_is_no_new_stream() -> None:
    """One-way senders say it twice, and the network may double both."""
    bench = Bench()
    source, recorded = say_all(bench, 1, acknowledged=False)
    bench.feed(source.sync(closing=True), *recorded)
    assert len(bench.of(StreamStarted)) == len(bench.of(StreamEnded)) == 1
    stats = bench.stats()
    assert (stats.delivered, stats.duplicates, stats.refused) == (1, 1, {})


def test_a_goodbye_that_overtakes_the_record() -> None:
    """The record is delivered, and the stream ends when nothing more can come."""
    bench, source = Bench(), Source()
    record = source.data(1)
    bench.feed(source.sync(closing=True), source.sync(closing=True), record)
    bench.handle()
    bench.wait(3.0)
    assert bench.stats().delivered == 1
    assert [each.stats.delivered for each in bench.of(StreamEnded)] == [1]
    assert places(bench) == 0


def test_a_record_that_comes_while_its_stream_waits_for_it() -> None:
    """After the goodbye and before it counts as lost."""
    bench, source = Bench(), Source()
    first, second = source.datas(2)
    bench.feed(source.sync(next_seq=0, next_rec=0, floor=0), second, source.sync(closing=True))
    bench.handle()
    bench.wait(1.0)
    bench.feed(first)
    bench.handle()
    assert (bench.stream().delivered, bench.stream().lost) == (20, 0)
    assert [each.reason for each in bench.of(StreamEnded)] == ["closed"]
    assert places(bench) == 0


def test_a_record_that_comes_after_it_counted_as_lost() -> None:
    """It is taken and counted as late, and frees the place that was kept for it."""
    bench, source = Bench(), Source()
    first, second = source.datas(2)
    bench.feed(source.sync(next_seq=0, next_rec=0, floor=0), second, source.sync(closing=True))
    bench.handle()
    bench.wait(30.0)
    assert (bench.stream().lost, places(bench)) == (10, 1)
    bench.feed(first)
    bench.handle()
    assert (bench.stream().delivered, bench.stream().lost, bench.stream().late) == (20, 0, 10)
    assert places(bench) == 0


def test_drops_that_the_second_goodbye_tells_first() -> None:
    """The count goes on where it was, though the stream was forgotten in between."""
    bench, source = Bench(), Source()
    bench.feed(source.data(1), source.sync(closing=True, dropped_records=4))
    bench.handle()
    bench.feed(source.sync(closing=True, dropped_records=6))
    bench.feed(source.sync(closing=True, dropped_records=6))
    assert [each.records for each in bench.of(SenderDropped)] == [4, 2]
    assert bench.stats().sender_dropped == 6


@BOTH
def test_a_stream_that_was_evicted_and_goes_on(acknowledged: bool) -> None:
    """Its numbers go on where they were: nothing twice, and what was missed meanwhile is lost."""
    bench = Bench(max_streams=1)
    source = Source(1, acknowledged=acknowledged)
    if acknowledged:
        bench.connect(source)
    early = source.data()
    bench.feed(early)
    bench.handle()
    bench.wait(2.0)
    bench.feed(Source(2).data())
    bench.handle()
    assert bench.streams.get(1) is None
    bench.wait(2.0)
    missed, after = source.datas(2)
    if acknowledged:
        bench.feed(after)
        bench.sent.clear()
        bench.feed(source.sync())
        (ack,) = bench.replies()
        assert (ack.floor, ack.delivered_records) == (1, 10)
    bench.feed(after, early)
    bench.handle()
    bench.wait(3.0)
    assert bench.stats().delivered == 30
    assert bench.stats().unseen_before_start == 0
    if acknowledged:
        bench.feed(missed)
        bench.handle()
        assert bench.stats().delivered == 40
    else:
        assert bench.stats().lost == 10
        assert sum(each.records for each in bench.of(RecordsLost)) == 10


def test_a_goodbye_that_is_asked_again() -> None:
    """The last ack was lost: the sender asks until it knows that all is final, and learns it."""
    bench = Bench(max_streams=1)
    source, _ = say_all(bench, 1, acknowledged=True)
    bench.sent.clear()
    bench.feed(source.sync(closing=True))
    (ack,) = bench.replies()
    assert (ack.floor, ack.delivered_records, ack.rejected_records) == (1, 1, 0)
    assert places(bench) == 0


def test_a_goodbye_that_is_asked_again_with_an_old_cookie() -> None:
    """First the address must be proven again."""
    bench = Bench()
    source, _ = say_all(bench, 1, acknowledged=True)
    bench.sent.clear()
    bench.wait(100.0)
    bench.feed(source.sync(closing=True))
    (challenge,) = bench.replies()
    assert challenge.cookie is not None
    source.cookie = challenge.cookie
    bench.feed(source.sync(closing=True))
    (ack,) = bench.replies()
    assert (ack.cookie, ack.floor, ack.delivered_records) == (None, 1, 1)


def test_a_datagram_that_is_sent_again_after_the_end() -> None:
    """The ack for it was lost. Its sender learns that all is final; it is not delivered."""
    bench = Bench()
    source, _ = say_all(bench, 1, acknowledged=True)
    source.seq = source.rec = 0
    bench.sent.clear()
    bench.feed(source.data(1, bytes(200)))
    (challenge,) = bench.replies()
    source.cookie = challenge.cookie or b""
    bench.feed(source.sync())
    (ack,) = bench.replies()
    assert ack.floor == 1
    assert bench.stats().delivered == 1


# --- replays ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seal", [CHECKSUM, KEY.sender], ids=["no key", "key"])
@BOTH
@pytest.mark.parametrize("after", [0.0, 59.0, 61.0, 3_600.0])
def test_a_replayed_stream_is_recognised(acknowledged: bool, seal: Seal, after: float) -> None:
    """From its own address and another, right after its end and an hour later."""
    bench = Bench(keys=[KEY] if seal.key_id else [])
    _, recorded = say_all(bench, 1, acknowledged=acknowledged, seal=seal)
    for number in range(2, 100):
        say_all(bench, number, acknowledged=acknowledged, seal=seal)
    bench.wait(after)
    delivered = bench.stats().delivered
    for address in (HOME, AWAY):
        for datagram in (*recorded, *reversed(recorded)):
            bench.feed(datagram, address=address)
    assert bench.waiting == []
    assert bench.stats().delivered == delivered == 99
    assert len(bench.of(StreamStarted)) == 99


def test_a_flood_of_goodbyes_hides_no_acknowledged_stream() -> None:
    """What anybody can send is remembered apart from what needs a proof or a key."""
    bench = Bench(remembered_streams=100, keys=[KEY], accept_unauthenticated=True)
    _, proven = say_all(bench, 1, acknowledged=True, seal=KEY.sender)
    _, keyed = say_all(bench, 2, acknowledged=False, seal=KEY.sender)
    for number in range(1_000, 2_000):
        bench.feed(Source(number).sync(closing=True))
    bench.feed(*proven, *keyed)
    assert bench.stats().delivered == 2
    assert bench.waiting == []
    assert bench.streams.complete_since == 1_000.0


# --- no room ------------------------------------------------------------------------------------


def busy(**options: Any) -> Bench:
    """A receiver whose only place is taken by a stream that is at work."""
    bench = Bench(max_streams=1, **options)
    bench.feed(Source(99).data())
    bench.wait(2.0)
    return bench


def test_an_acknowledged_stream_that_finds_no_room_is_told() -> None:
    """As by a receiver that takes nothing at present, with a credit of 0, and counted."""
    bench, source = busy(), Source(1, acknowledged=True)
    bench.feed(source.sync())
    source.cookie = bench.replies()[-1].cookie or b""
    bench.feed(source.sync())
    (ack,) = bench.replies()
    assert (ack.closing, ack.credit, ack.floor) == (True, 0, 0)
    assert bench.stats().refused == {"stream_limit": 1}
    bench.handle()
    bench.wait(1.0)
    bench.feed(source.sync())
    assert [ack.closing for ack in bench.replies()] == [False]


def test_a_receiver_that_closes_offers_credit() -> None:
    """So that a sender can tell it from one without room."""
    bench, source = Bench(work_queue_bytes=600), Source(1, acknowledged=True)
    bench.connect(source)
    bench.feed(source.data(1, bytes(600)))
    bench.replies()
    bench.protocol.close(bench.now)
    bench.collect()
    (ack,) = bench.replies()
    assert ack.closing
    assert ack.credit > 0


def test_one_way_records_that_find_no_room_are_counted() -> None:
    """By reason, once for each batch, as far as headers say how many."""
    bench, source = busy(), Source(1)
    group = source.fragments(bytes(300), 100, n_rec=3)
    bench.feed(source.sync(), source.data(7), source.data(5), *group)
    stats = bench.stats()
    assert stats.refused == {"stream_limit": 6}
    assert stats.refused_records == {"stream_limit": 15}


def test_copies_are_no_records_that_found_no_room() -> None:
    """What was had before is a duplicate, however full the table is."""
    bench = Bench(max_streams=1)
    _, recorded = say_all(bench, 1, acknowledged=False)
    bench.feed(Source(99).data(), *recorded)
    assert bench.stats().refused_records == {}
    assert bench.stats().duplicates == 1


# --- the table ---------------------------------------------------------------------------------


def test_the_list_of_forgotten_streams_is_bounded_and_the_totals_are_not() -> None:
    """Thousands of short streams: all counted, the latest 256 shown."""
    bench = Bench()
    for number in range(3000):
        bench.feed(Source(number).data(), drained=False)
        bench.handle()
        bench.wait(1.0)
    stats = bench.stats()
    assert stats.delivered == 30_000
    assert stats.streams_seen == 3000
    assert len(stats.streams) <= 1024 + 256


def test_a_flood_of_streams_evicts_nobody_young() -> None:
    """100,000 invented ids: the table stays full of those that were there."""
    bench = Bench()
    honest = [Source(number) for number in range(1024)]
    for source in honest:
        bench.feed(source.data(), drained=False)
    bench.handle()
    for number in range(100_000):
        bench.protocol.receive_datagram(Source(10**6 + number).data(), AWAY, bench.now, WALL)
    bench.collect()
    assert bench.of(StreamEnded) == []
    assert bench.stats().refused == {"stream_limit": 100_000}
    for source in honest:
        bench.feed(source.data(), drained=False)
    bench.handle()
    assert bench.stats().delivered == 20_480


# --- what it costs ------------------------------------------------------------------------------


def test_a_living_stream_takes_a_few_kilobytes() -> None:
    """So that 1,024 of them are a few megabytes."""
    chance = random.Random(3)
    datagrams = [Source(chance.getrandbits(64)).data(1) for _ in range(1_000)]
    bench = Bench()
    bench.feed(Source(1).data())
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for datagram in datagrams:
            bench.protocol.receive_datagram(datagram, HOME, bench.now, bench.now + bench.offset)
        for event in bench.protocol.events_received():
            if isinstance(event, BatchReceived):
                bench.protocol.on_batch_handled(event, 1, {}, bench.now)
        del event
        each = (tracemalloc.get_traced_memory()[0] - before) / len(datagrams)
    finally:
        tracemalloc.stop()
    assert 500 < each < 3_000
    assert parse(datagrams[0])


def test_a_victim_that_is_heard_again_keeps_its_place() -> None:
    """Victims are looked for in advance; who must go is decided when somebody comes."""
    bench = Bench(max_streams=16)
    sources = [Source(number) for number in range(16)]
    for source in sources:
        bench.feed(source.data())
    bench.handle()
    bench.wait(3.0)
    bench.feed(Source(100).data())
    bench.handle()
    bench.feed(sources[1].data())
    bench.handle()
    bench.feed(Source(101).data())
    assert bench.stats().refused == {"stream_limit": 1}
    bench.feed(Source(101).data())
    assert [each.stream_id for each in bench.of(StreamEnded)] == [0, 2]

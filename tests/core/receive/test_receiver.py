"""The receiving machine counts everything, believes nobody, and is never broken."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchudp_handler.core.errors import Reason
from batchudp_handler.core.receive.admission import source_of
from batchudp_handler.core.receive.events import (
    BatchReceived,
    DatagramsRefused,
    StreamEnded,
)
from batchudp_handler.core.trace import EVENTS, TraceEvent
from batchudp_handler.core.wire.ack import Ack, encode_ack
from batchudp_handler.core.wire.constants import NO_COOKIE
from batchudp_handler.core.wire.datagram import (
    CHECKSUM,
    Baseline,
    Seal,
    encode_baseline,
    encode_data,
)
from batchudp_handler.core.wire.sync import Sync, encode_sync
from tests.core.receive.bench import AWAY, EPOCH, KEY, OTHER_KEY, WALL, Bench, Source, connected


def test_baseline_datagrams_are_delivered_without_a_stream() -> None:
    """Raw JSON, and JSON behind three bytes; handled records count in the totals."""
    bench = Bench()
    bench.feed(b'{"message": "hi"}', encode_baseline(Baseline(0, b"[]")))
    assert [(event.stream_id, event.codec, event.body) for event in bench.waiting] == [
        (None, 0, b'{"message": "hi"}'),
        (None, 0, b"[]"),
    ]
    bench.protocol.on_batch_handled(bench.waiting[0], 1, {}, bench.now)
    bench.protocol.on_batch_handled(bench.waiting[1], 0, {Reason.JSON: 2}, bench.now)
    stats = bench.stats()
    assert (stats.delivered, stats.rejected, stats.queued_bytes) == (1, {"json": 2}, 0)
    assert stats.streams == {}


def test_refusals_are_told_at_once_and_then_once_a_minute() -> None:
    """By reason and source; the time for the next word is a deadline of the machine."""
    bench = Bench(keys=[KEY])
    bench.feed(Source().data(), Source().data(), Source().data(), address=AWAY)
    bench.feed(Source(seal=OTHER_KEY.sender).data())
    assert [(event.report.reason, event.report.count) for event in bench.of(DatagramsRefused)] == [
        ("unauthenticated", 1),
        ("unknown_key", 1),
    ]
    bench.wait(59.9)
    assert len(bench.of(DatagramsRefused)) == 2
    bench.wait(0.2)
    third = bench.of(DatagramsRefused)[2].report
    assert (third.reason, third.sources) == ("unauthenticated", ((source_of(AWAY), 2),))
    assert bench.protocol.next_timeout() is None


def test_what_is_untold_is_told_at_the_end() -> None:
    """A receiver that closes within the minute keeps nothing to itself."""
    bench = Bench(longest_datagram=100)
    for _ in range(5):
        bench.feed(b"garbage")
    bench.feed(bytes(101))
    bench.protocol.close(bench.now)
    bench.collect()
    counts = [event.report.count for event in bench.of(DatagramsRefused)]
    assert counts == [1, 1, 4]
    assert bench.stats().refused == {"malformed": 5, "truncated_read": 1}


def session(source: Source, bench: Bench) -> list[bytes]:
    """A whole conversation, as someone on the path records it."""
    recorded = [source.sync()]
    bench.feed(recorded[0])
    if source.acknowledged:
        source.cookie = bench.replies(source.seal)[-1].cookie or NO_COOKIE
        recorded.append(source.sync())
        bench.feed(recorded[-1])
    for _ in range(5):
        recorded.append(source.data(10, bytes(200)))
        bench.feed(recorded[-1])
        bench.handle()
    recorded.append(source.sync(closing=True))
    bench.feed(recorded[-1])
    bench.handle()
    return recorded


MODES = [
    pytest.param(True, CHECKSUM, id="acknowledged"),
    pytest.param(True, KEY.sender, id="acknowledged-key"),
    pytest.param(False, KEY.sender, id="one-way-key"),
]


def recorded_session(acknowledged: bool, seal: Seal, **options: Any) -> tuple[Bench, list[bytes]]:
    bench = Bench(keys=[KEY] if seal.key_id else [], **options)
    source = Source(acknowledged=acknowledged, seal=seal)
    source.sealed_at = int(WALL)
    recorded = session(source, bench)
    assert bench.stats().delivered == 50
    return bench, recorded


@pytest.mark.parametrize(("acknowledged", "seal"), MODES)
@pytest.mark.parametrize("after", [0.0, 10.0, 59.0, 301.0, 599.0])
def test_a_replayed_session_delivers_nothing(acknowledged: bool, seal: Seal, after: float) -> None:
    """Right after its end, and at any time while the stream is remembered."""
    bench, recorded = recorded_session(acknowledged, seal)
    bench.wait(after)
    bench.feed(*recorded)
    bench.handle()
    assert bench.stats().delivered == 50


@pytest.mark.parametrize(("acknowledged", "seal"), MODES)
def test_a_replay_after_the_stream_was_forgotten_delivers_nothing(
    acknowledged: bool, seal: Seal
) -> None:
    """Idle for ten minutes: the cookie is dead, the sealing time too old."""
    bench, recorded = recorded_session(acknowledged, seal)
    bench.wait(700.0)
    assert bench.stats().streams_live == 0
    bench.feed(*recorded)
    assert len(bench.waiting) == 0
    assert bench.stats().delivered == 50


@pytest.mark.parametrize(("acknowledged", "seal"), MODES)
def test_a_replay_after_eviction_delivers_nothing(acknowledged: bool, seal: Seal) -> None:
    """Thrown out for want of room after a minute, while the datagrams are still fresh."""
    bench, recorded = recorded_session(acknowledged, seal, max_streams=1)
    bench.wait(61.0)
    newcomer = Source(2, acknowledged=acknowledged, seal=seal)
    newcomer.sealed_at = int(WALL) + 61
    session(newcomer, bench)
    assert bench.streams.get(1) is None
    bench.wait(61.0)
    bench.feed(*recorded)
    assert len(bench.waiting) == 0
    assert bench.stats().delivered == 100


@pytest.mark.parametrize(("acknowledged", "seal"), MODES)
def test_a_replay_after_a_restart_delivers_nothing(acknowledged: bool, seal: Seal) -> None:
    """The cookie was another one's; the sealing time is before the start."""
    _, recorded = recorded_session(acknowledged, seal)
    bench = Bench(keys=[KEY] if seal.key_id else [], wall=WALL + 6, epoch=99)
    bench.protocol._replies._cookies = type(bench.protocol._replies._cookies)(b"another secret")
    bench.feed(*recorded)
    assert bench.of(BatchReceived) == []


def samples() -> list[bytes]:
    source = Source(acknowledged=True)
    return [
        Source().data(10, bytes(range(100))),
        Source().sync(closing=True),
        source.data(10, bytes(range(100))),
        source.sync(),
        *Source().fragments(bytes(100), 60),
        encode_ack(CHECKSUM, Ack(receiver_epoch=3), stream_id=1, counter=1, sealed_at=0),
    ]


@pytest.mark.parametrize("datagram", samples())
def test_no_damaged_datagram_is_taken(datagram: bytes) -> None:
    """Every cut and every flipped bit is refused and counted; nothing is answered or stored."""
    bench = Bench()
    number = int.from_bytes(datagram, "big")
    damaged = [
        (number ^ 1 << bit).to_bytes(len(datagram), "big") for bit in range(8 * len(datagram))
    ]
    damaged += [datagram[:length] for length in range(len(datagram))]
    bench.feed(*damaged)
    assert bench.events == bench.of(DatagramsRefused)
    assert bench.sent == []
    assert sum(bench.stats().refused.values()) == len(damaged)


u64 = st.one_of(st.integers(0, 40), st.integers(0, 2**64 - 1))

u32 = st.one_of(st.integers(0, 400), st.integers(2**32 - 400, 2**32 - 1))


@st.composite
def hostile(draw: st.DrawFn) -> bytes:
    """A datagram with a right trailer and any fields."""
    stream_id = draw(st.integers(1, 3))
    if draw(st.integers(0, 3)) == 0:
        floor, next_seq = sorted((draw(u64), draw(u64)))
        sync = Sync(
            next_seq=next_seq,
            floor=floor,
            next_rec=draw(u32),
            acknowledged=draw(st.booleans()),
            closing=draw(st.booleans()),
            resumed=draw(st.booleans()),
            max_datagram=draw(st.sampled_from([0, 1472, 65_535])),
            dropped_records=draw(u32),
            receiver_epoch=draw(st.sampled_from([0, EPOCH, 5])),
            promise_ms=draw(st.sampled_from([0, 100, 2**32 - 1])),
        )
        return encode_sync(
            CHECKSUM, sync, stream_id=stream_id, counter=draw(u64), sealed_at=draw(u32)
        )
    count = draw(st.sampled_from([1, 1, 1, 2, 3, 1024]))
    index = draw(st.integers(0, count - 1))
    return encode_data(
        CHECKSUM,
        bytes(draw(st.sampled_from([0, 1, 100, 100, 1400]))),
        acknowledged=draw(st.booleans()),
        codec=draw(st.integers(0, 255)),
        stream_id=stream_id,
        seq=draw(u64),
        rec=draw(u32),
        sealed_at=draw(u32),
        n_rec=draw(st.sampled_from([0, 1, 10, 65_535])),
        frag_index=index,
        frag_count=count,
    )


@settings(max_examples=300, deadline=None)
@given(
    steps=st.lists(
        st.one_of(hostile(), st.floats(0.0, 700.0), st.sampled_from(["handle", "handle one"])),
        min_size=5,
        max_size=60,
    )
)
def test_hostile_fields_break_nothing(steps: list[Any]) -> None:
    """Proven addresses and right checksums, any numbers: identity R holds after each step."""
    bench = Bench(max_streams=3)
    for number in (1, 2):
        bench.connect(Source(number, acknowledged=True))
    for step in steps:
        if isinstance(step, bytes):
            bench.feed(step)
        elif isinstance(step, float):
            bench.wait(step)
        else:
            bench.handle(1 if step == "handle one" else None)
        stats = bench.stats()
        assert stats.pending >= sum(batch.n_rec for batch in bench.waiting if batch.stream_id)
    bench.handle()
    assert bench.stats().queued_bytes == 0


@settings(max_examples=200, deadline=None)
@given(noise=st.lists(st.binary(max_size=200), max_size=20))
def test_noise_is_counted(noise: list[bytes]) -> None:
    """Each datagram is taken or refused by reason."""
    bench = Bench()
    bench.feed(*noise)
    stats = bench.stats()
    assert stats.datagrams_received == len(noise)
    assert sum(stats.refused.values()) + len(bench.waiting) == len(noise)


def test_an_epoch_is_not_zero() -> None:
    """0 on the wire means that no receiver is known."""
    with pytest.raises(ValueError, match="epoch"):
        Bench(epoch=0)


def test_an_impossible_answer_for_a_baseline_batch_is_our_mistake() -> None:
    """It raises and changes nothing; the batch still waits."""
    bench = Bench()
    bench.feed(b'{"message": "hi"}')
    (batch,) = bench.waiting
    impossible: list[tuple[int, dict[str, int]]] = [(-1, {}), (1, {"json": -1})]
    for delivered, rejected in impossible:
        with pytest.raises(ValueError, match="negative"):
            bench.protocol.on_batch_handled(batch, delivered, rejected, bench.now)
    bench.protocol.on_batch_handled(batch, 1, {}, bench.now)
    assert (bench.stats().queued_bytes, bench.stats().delivered) == (0, 1)


def test_a_closed_receiver_takes_nothing_and_finishes() -> None:
    """Streams of both modes end when their batches are handled; closing twice is the same."""
    bench, source = connected()
    bench.feed(source.data(), Source(2).data())
    bench.replies()
    assert not bench.protocol.is_settled
    for _ in range(2):
        bench.protocol.close(bench.now)
    bench.feed(source.data(), Source(3).data())
    assert [ack.closing for ack in bench.replies()] == [True]
    assert bench.stats().datagrams_received == 4
    bench.handle()
    assert bench.protocol.is_settled
    assert {event.reason for event in bench.of(StreamEnded)} == {"shutdown"}


def test_a_batch_that_is_not_waiting_cannot_be_answered() -> None:
    """Of no stream that is known, or answered for already."""
    bench, source = Bench(), Source()
    bench.feed(source.data())
    (batch,) = bench.waiting
    bench.handle()
    for each in (batch, replace(batch, stream_id=5)):
        with pytest.raises(ValueError, match="not waiting"):
            bench.protocol.on_batch_handled(each, 10, {}, bench.now)


def test_only_what_is_due_is_done() -> None:
    """The shell may call whenever it wakes up; without anything to do it need not."""
    bench, source = Bench(), Source()
    assert bench.protocol.next_timeout() is None
    first, _, third = source.datas(3)
    bench.feed(first, third)
    bench.protocol.handle_timeout(bench.now + 1.0)
    assert bench.stream().missing == 10
    assert bench.protocol.next_timeout() == bench.now + 2.0
    assert bench.protocol.progress().sums() == (0, 10)


def test_a_cut_datagram_is_refused_and_not_counted_as_received() -> None:
    """It was longer than what was read."""
    bench = Bench(longest_datagram=100)
    bench.feed(bytes(101))
    assert bench.stats().refused == {"truncated_read": 1}
    assert bench.stats().datagrams_received == 0


def test_baseline_datagrams_need_room_and_no_key() -> None:
    """As every other batch does."""
    bench = Bench(work_queue_bytes=600)
    bench.feed(b"[1]", b"[2]")
    assert bench.stats().refused == {"no_room": 1}
    keyed = Bench(keys=[KEY])
    keyed.feed(b"[1]")
    assert keyed.stats().refused == {"unauthenticated": 1}


def test_an_ack_is_nothing_for_a_receiver() -> None:
    """It was sent back to where it came from."""
    bench = Bench()
    bench.feed(encode_ack(CHECKSUM, Ack(receiver_epoch=1), stream_id=1, counter=1, sealed_at=0))
    assert bench.stats().refused == {"unsupported_type": 1}


def test_gelf_is_taken_where_a_setting_says_so() -> None:
    """An unfinished message is refused when its time is over, with all of its chunks."""
    bench = Bench(gelf=True)
    whole = b'{"version":"1.1","host":"h","short_message":"m"}'
    chunk = b"\x1e\x0f" + bytes(8) + b"\x00\x03" + b"first"
    bench.feed(zlib.compress(whole), chunk, chunk, b'{"message": "ours"}')
    assert len(bench.waiting) >= 1
    bench.wait(10.0)
    assert sum(bench.stats().refused.values()) >= 1
    assert bench.stats().reassembly_bytes == 0


def test_a_trace_tells_the_story_of_a_stream() -> None:
    """In order, with the names that are documented."""
    events: list[TraceEvent] = []
    bench, source = Bench(trace=events.append), Source(1, acknowledged=True)
    bench.connect(source)
    bench.feed(source.data(), b"garbage")
    bench.handle()
    bench.feed(source.sync(closing=True))
    one_way = Source(2)
    first, _, third = one_way.datas(3)
    bench.feed(first, third)
    bench.wait(3.0)
    names = [event.name for event in events if event.stream_id == 1]
    assert names == [
        *(
            "datagram_received",
            "challenge_sent",
            "datagram_received",
            "stream_started",
            "ack_sent",
        ),
        *("datagram_received", "batch_received", "ack_sent", "batch_handled", "ack_sent"),
        *("datagram_received", "stream_ended", "ack_sent"),
    ]
    assert [event.values for event in events if event.stream_id == 0] == [{"reason": "malformed"}]
    assert events[-1].name == "records_lost"
    assert {event.name for event in events} <= EVENTS.keys()


def test_a_trace_that_fails_stops_nothing() -> None:
    """The machine goes on, and does not call it again."""
    calls: list[TraceEvent] = []

    def fail(event: TraceEvent) -> None:
        calls.append(event)
        raise OSError("disk full")

    bench = Bench(trace=fail)
    bench.feed(*Source().datas(3))
    bench.handle()
    assert (bench.stats().delivered, len(calls)) == (30, 1)

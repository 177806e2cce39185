"""What is sent back says where the stream stands, and never exceeds what came."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchudp_handler.core.wire.ack import Ack, encode_ack
from batchudp_handler.core.wire.datagram import CHECKSUM, Header, parse
from tests.core.receive.bench import KEY, WALL, Bench, Source, connected

if TYPE_CHECKING:
    from batchudp_handler.core.trace import TraceEvent


def test_the_floor_follows_the_handlers() -> None:
    """Received is held; handled is final."""
    bench, source = connected()
    bench.feed(*source.datas(3))
    (ack,) = bench.replies()
    assert (ack.floor, ack.bitmap, ack.delivered_records) == (0, 0b111, 0)
    bench.handle(1)
    bench.handle()
    ack = bench.replies()[-1]
    assert (ack.floor, ack.bitmap, ack.delivered_records) == (3, 0, 30)


def test_the_counter_of_acks_grows_over_all_streams() -> None:
    """Also after a stream was forgotten and met again."""
    bench = Bench(max_streams=1)
    counters = []
    for number in (1, 2, 1):
        bench.connect(Source(number, acknowledged=True))
        bench.feed(Source(number, acknowledged=True).data(1, bytes(200)))
        bench.handle()
        counters += [Header(*parse(data)).seq for data, _ in bench.sent]
        bench.sent.clear()
        bench.wait(61.0)
    assert counters == sorted(set(counters))
    # the third time, the sender learns from what is remembered that all is final
    assert len(counters) == 5


def test_acks_never_exceed_what_came() -> None:
    """Even when each of many tiny datagrams asks for a large bitmap; tiny ones count as 256."""
    bench, source = connected()
    received = 256
    replied = 74
    for datagram in source.datas(3000, n_rec=1)[::-2]:
        bench.feed(datagram)
        received += 256
        replied += sum(len(data) for data, _ in bench.sent)
        bench.sent.clear()
        assert replied <= received
    assert replied > received / 2
    bench.handle()
    for _ in range(6):
        bench.feed(source.sync())
    assert bench.replies()[-1].bitmap.bit_count() == 1500


def test_credit_is_a_share_of_the_buffer() -> None:
    """A quarter of it, divided among the active streams."""
    bench = Bench(receive_buffer=400_000)
    shares = [bench.connect(Source(number, acknowledged=True)).credit for number in range(4)]
    assert shares == [100_000, 50_000, 33_333, 25_000]
    bench.wait(6.0)
    assert bench.connect(Source(9, acknowledged=True)).credit == 100_000


def test_datagrams_are_not_taken_from_mirrors() -> None:
    """An ACK sent back to the receiver is no datagram for it, with and without a key."""
    bench = Bench(keys=[KEY], accept_unauthenticated=True)
    ack = Ack(receiver_epoch=1)
    for seal in (CHECKSUM, KEY.receiver):
        bench.feed(encode_ack(seal, ack, stream_id=1, counter=1, sealed_at=int(WALL)))
    assert bench.stats().refused == {"unsupported_type": 1, "auth_failed": 1}


def test_a_repeated_goodbye_is_answered_as_by_the_stream() -> None:
    """It was forgotten because all of it is final."""
    bench, source = connected()
    bench.feed(source.data(), source.sync(closing=True))
    bench.handle(rejected={"json": 2})
    bench.replies()
    bench.feed(source.sync(closing=True))
    (ack,) = bench.replies()
    assert (ack.floor, ack.delivered_records, ack.rejected_records) == (1, 8, 2)
    assert not ack.closing


def test_a_full_table_is_told_as_a_receiver_that_takes_nothing() -> None:
    """With a credit of 0, by which the sender knows that it does not close."""
    bench = Bench(max_streams=1)
    bench.feed(Source(2).data())
    source = Source(1, acknowledged=True, seq=7)
    bench.feed(source.sync())
    source.cookie = bench.replies()[-1].cookie or b""
    bench.feed(source.sync())
    (ack,) = bench.replies()
    assert (ack.closing, ack.credit, ack.floor, ack.delivered_records) == (True, 0, 7, 0)


def test_a_forgotten_stream_is_not_answered() -> None:
    """Neither for what was due nor for what was heard."""
    bench, source = connected()
    bench.feed(source.data(), drained=False)
    bench.handle()
    bench.protocol._replies.forget(1)
    bench.protocol.on_socket_drained(bench.now)
    assert bench.protocol.datagrams_to_send() == []


def test_a_datagram_that_is_too_small_causes_no_challenge() -> None:
    """A reply must not be larger than what asks for it."""
    bench = Bench()
    bench.feed(Source(acknowledged=True).data(1, bytes(10)))
    assert bench.stats().refused == {"unproven_address": 1}
    assert bench.replies() == []


def test_replies_are_traced() -> None:
    """The challenge, and what an ack says."""
    events: list[TraceEvent] = []
    bench = Bench(trace=events.append)
    bench.connect(Source(1, acknowledged=True))
    sent = [event for event in events if event.name in {"ack_sent", "challenge_sent"}]
    assert [event.name for event in sent] == ["challenge_sent", "ack_sent"]
    assert sent[1].values == {"floor": 0, "credit": 212_992 // 4}

"""Acknowledged datagrams are taken from proven addresses only."""

from __future__ import annotations

from batchudp_handler.core.receive.events import (
    BatchReceived,
    DatagramsRefused,
    StreamStarted,
)
from batchudp_handler.core.wire.constants import NO_COOKIE
from tests.core.receive.bench import AWAY, EPOCH, HOME, KEY, WALL, Bench, Source, connected


def test_a_stream_has_one_delivery_mode() -> None:
    """An acknowledged datagram in a one-way stream contradicts it, and the other way round."""
    bench, source = connected()
    source.acknowledged = False
    bench.feed(source.data(), source.sync())
    one_way = Source(2)
    bench.feed(one_way.data())
    one_way.acknowledged = True
    bench.feed(one_way.data(), one_way.sync())
    assert bench.stats().refused["malformed"] == 4


def test_the_handshake_takes_one_round_trip_and_no_state() -> None:
    """SYNC, CHALLENGE, SYNC with cookie, ACK; the stream exists from the third message on."""
    bench, source = Bench(), Source(acknowledged=True, seq=40, rec=400)
    bench.feed(source.sync())
    (challenge,) = bench.replies()
    assert challenge.receiver_epoch == EPOCH
    assert challenge.cookie is not None
    assert bench.events == []
    assert bench.stats().streams == {}
    source.cookie = challenge.cookie
    bench.feed(source.sync())
    (ack,) = bench.replies()
    assert (ack.cookie, ack.floor, ack.credit) == (None, 40, 212_992 // 4)
    assert bench.events == [StreamStarted(1, HOME, 0, acknowledged=True)]


def test_data_from_a_stranger_is_challenged_and_not_taken() -> None:
    """So that a receiver that has restarted is noticed at once; too small is too cheap."""
    bench, source = Bench(), Source(acknowledged=True)
    bench.feed(source.data(10, bytes(86)))
    (challenge,) = bench.replies()
    assert challenge.cookie is not None
    bench.feed(source.data(10, bytes(85)))
    assert bench.replies() == []
    assert bench.events == bench.of(DatagramsRefused)
    assert bench.stats().refused == {"unproven_address": 1}


def test_a_lost_ack_is_repeated_on_the_next_sync() -> None:
    """The address is proven, no cookie is asked for any more."""
    bench, source = connected()
    source.cookie = NO_COOKIE
    bench.feed(source.sync())
    assert bench.replies()[0].cookie is None


def test_in_order_arrivals_are_acked_when_the_socket_is_empty() -> None:
    """One ack for up to eight datagrams."""
    bench, source = connected()
    bench.feed(*source.datas(7), drained=False)
    assert bench.replies() == []
    bench.feed(source.data(), drained=False)
    assert len(bench.replies()) == 1
    bench.feed(*source.datas(2))
    assert len(bench.replies()) == 1
    bench.feed()
    assert bench.replies() == []


def test_out_of_order_arrivals_are_acked_at_once() -> None:
    """A gap, what fills it, and a duplicate are news that the sender waits for."""
    bench, source = connected()
    first, second, third = source.datas(3)
    bench.feed(first, third, drained=False)
    assert [ack.bitmap for ack in bench.replies()] == [0b101]
    bench.feed(second, drained=False)
    assert [ack.bitmap for ack in bench.replies()] == [0b111]
    bench.feed(second, drained=False)
    assert len(bench.replies()) == 1


def test_handled_batches_are_acked_by_sixteen_or_when_none_waits() -> None:
    """The worker's half of the policy."""
    bench, source = connected()
    bench.feed(*source.datas(40))
    bench.replies()
    bench.handle(15)
    assert bench.replies() == []
    bench.handle(1)
    assert [ack.floor for ack in bench.replies()] == [16]
    bench.handle()
    assert [ack.floor for ack in bench.replies()] == [32, 40]


def test_a_stream_follows_its_sender_to_a_new_address() -> None:
    """One challenge; the same floor, the same dedupe state."""
    bench, source = connected()
    datagrams = source.datas(2)
    bench.feed(datagrams[0])
    bench.handle()
    bench.replies()
    bench.feed(source.data(10, bytes(100)), address=AWAY)
    (challenge,) = bench.replies()
    assert len(bench.of(BatchReceived)) == 1
    source.cookie = challenge.cookie or NO_COOKIE
    bench.feed(source.sync(), address=AWAY)
    (ack,) = bench.replies()
    assert ack.floor == 1
    bench.feed(*datagrams, address=AWAY)
    bench.handle()
    stream = bench.stream()
    assert (stream.address, stream.address_changes, stream.delivered) == (AWAY, 1, 20)
    bench.sent.clear()
    bench.feed(source.data(10, bytes(100)), address=HOME)
    assert bench.replies()[0].cookie is not None


def test_nothing_is_delivered_from_an_address_that_is_not_proven() -> None:
    """Whoever knows a stream id cannot speak in it from elsewhere."""
    bench, source = connected()
    source.cookie = NO_COOKIE
    bench.feed(source.data(10, bytes(200)), source.sync(closing=True), address=AWAY)
    assert bench.of(BatchReceived) == []
    assert bench.stream().ended is None
    assert bench.stream().address == HOME


def test_spooled_datagrams_may_be_old() -> None:
    """Acknowledged streams are protected by the cookie, not by the clock."""
    bench = Bench(keys=[KEY])
    source = Source(acknowledged=True, seal=KEY.sender)
    source.sealed_at = int(WALL) - 86_400
    spooled = source.data()
    bench.connect(source)
    bench.feed(spooled)
    assert len(bench.waiting) == 1

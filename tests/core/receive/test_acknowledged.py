"""Acknowledged datagrams are taken from proven addresses only."""

from __future__ import annotations

from batchudp_handler.core.receive.events import (
    AddressShared,
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


def test_an_old_sync_is_a_copy() -> None:
    """Unless it resumes a stream from a spool and proves its address."""
    bench, source = connected()
    old = source.sync()
    bench.feed(source.sync(), old)
    assert bench.stats().refused == {"replayed": 1}
    source.counter = 0
    bench.feed(source.sync(resumed=True))
    assert bench.stats().refused == {"replayed": 1}


def test_a_sender_that_left_for_another_receiver_is_a_sign() -> None:
    """It had named this one, names another one, and goes on to send here."""
    bench, source = connected()
    bench.feed(source.sync())
    source.epoch = EPOCH + 1
    for _ in range(2):
        bench.wait(3.0)
        bench.feed(source.sync())
    assert bench.of(AddressShared)


def test_one_that_has_not_heard_our_answers_is_a_sign_only_in_the_long_run() -> None:
    """It names another receiver, and never this one."""
    bench = Bench()
    source = Source(acknowledged=True)
    source.epoch = EPOCH + 1
    bench.feed(source.sync())
    source.cookie = bench.replies()[-1].cookie or NO_COOKIE
    for number in range(17):
        assert bool(bench.of(AddressShared)) is (number > 16)
        bench.wait(0.2)
        bench.feed(source.sync())
    assert bench.of(AddressShared)


def test_a_stranger_with_the_cookie_of_another_receiver_is_a_sign() -> None:
    """It was challenged here, and answers somebody else's challenge again and again."""
    bench, source = Bench(), Source(acknowledged=True)
    source.cookie = b"another receiver"
    for _ in range(20):
        bench.wait(0.2)
        bench.feed(source.sync())
    assert bench.of(AddressShared)


def test_a_forgotten_stream_goes_on_or_is_told_that_all_is_final() -> None:
    """By what its sender knows."""
    bench, source = connected(max_streams=1)
    bench.feed(source.data(), source.sync(closing=True))
    bench.handle()
    bench.feed(source.sync(closing=True))
    assert bench.stats().streams_seen == 1
    bench.replies()
    source.data()
    bench.feed(source.sync())
    assert [ack.floor for ack in bench.replies()] == [1]
    assert bench.stats().streams_seen == 2


def test_a_stream_that_finds_no_room_begins_later() -> None:
    """It is told, and counted."""
    bench = Bench(max_streams=1)
    bench.feed(Source(2).data())
    source = Source(1, acknowledged=True)
    bench.feed(source.sync())
    source.cookie = bench.replies()[-1].cookie or NO_COOKIE
    bench.feed(source.sync())
    assert bench.stats().refused == {"stream_limit": 1}
    bench.handle()
    bench.wait(3.0)
    bench.feed(source.sync())
    assert bench.stats().streams_seen == 2

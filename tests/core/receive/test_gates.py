"""Only datagrams of allowed sources, with accepted keys, get behind the gates."""

from __future__ import annotations

from batchudp_handler.core.receive.events import (
    DatagramsRefused,
)
from batchudp_handler.core.wire.auth import HmacKey
from batchudp_handler.core.wire.datagram import Baseline, encode_baseline
from tests.core.receive.bench import AWAY, HOME, KEY, OTHER_KEY, WALL, Bench, Source


def test_a_keyed_receiver_refuses_everything_without_a_key() -> None:
    """Baseline forms, checksums, unknown keys, wrong secrets: no event, no reply."""
    bench = Bench(keys=[KEY])
    forged = HmacKey(7, bytes(32)).sender
    for datagram in (
        b'{"message": "hi"}',
        encode_baseline(Baseline(0, b"[]")),
        Source().data(),
        Source(acknowledged=True).sync(),
        Source(seal=OTHER_KEY.sender).data(),
        Source(seal=forged).data(10, bytes(200)),
        Source(acknowledged=True, seal=forged).sync(),
        Source(acknowledged=True, seal=forged).data(10, bytes(200)),
    ):
        bench.feed(datagram)
    assert bench.events == bench.of(DatagramsRefused)
    assert bench.sent == []
    stats = bench.stats()
    assert stats.refused == {"unauthenticated": 4, "unknown_key": 1, "auth_failed": 3}
    assert stats.auth_failed == {7: 3}
    assert stats.key_last_used == {}


def test_a_keyed_receiver_accepts_its_keys() -> None:
    """Several at a time, so that keys can be changed without a gap."""
    bench = Bench(keys=[KEY, OTHER_KEY])
    bench.feed(Source(1, seal=KEY.sender).data(), Source(2, seal=OTHER_KEY.sender).data())
    assert [batch.key_id for batch in bench.waiting] == [7, 8]
    assert bench.stats().key_last_used == {7: WALL, 8: WALL}


def test_both_kinds_can_be_accepted_when_asked() -> None:
    """While a fleet moves to keys."""
    bench = Bench(keys=[KEY], accept_unauthenticated=True)
    bench.feed(Source(1, seal=KEY.sender).data(), Source(2).data(), b'{"message": "hi"}')
    assert [batch.key_id for batch in bench.waiting] == [7, 0, 0]


def test_only_allowed_networks_are_heard() -> None:
    """Everybody else is counted and gets no answer."""
    bench = Bench(allow=["192.0.2.0/26"])
    bench.feed(Source(1).data(), address=HOME)
    bench.feed(Source(2).data(), Source(3, acknowledged=True).sync(), address=AWAY)
    assert [batch.address for batch in bench.waiting] == [HOME]
    assert bench.stats().refused == {"not_allowed": 2}
    assert bench.sent == []


def test_a_source_has_a_rate() -> None:
    """Ten at once and ten a second; another source is not held up."""
    bench = Bench(source_rate=10.0, source_burst=10.0)
    bench.feed(*Source(1).datas(15))
    bench.feed(*Source(2).datas(5), address=AWAY)
    assert bench.stats().refused == {"rate_limited": 5}
    bench.wait(0.5)
    bench.feed(*Source(3).datas(10))
    assert bench.stats().refused == {"rate_limited": 10}


def test_a_checksum_that_is_wrong_is_no_matter_of_keys() -> None:
    """It is counted as a damaged datagram, for no key."""
    bench = Bench()
    datagram = Source().data()
    bench.feed(datagram[:-1] + bytes([datagram[-1] ^ 1]))
    assert bench.stats().refused == {"bad_crc": 1}
    assert bench.stats().auth_failed == {}

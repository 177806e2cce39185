"""Cookies prove one address for a while, and challenges are no weapon."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from batchudp_handler.core.receive.admission import source_of
from batchudp_handler.core.receive.cookies import ChallengeLimiter, ChallengeLimits
from batchudp_handler.core.receive.events import (
    StreamStarted,
)
from batchudp_handler.core.receive.receiver import ReceiverProtocol, ReceiverSettings
from batchudp_handler.core.wire.auth import HmacKey
from batchudp_handler.core.wire.constants import NO_COOKIE, SYNC_SIZE
from batchudp_handler.core.wire.datagram import CHECKSUM

if TYPE_CHECKING:
    from batchudp_handler.core.receive.stats import Address
from tests.core.receive.bench import AWAY, HOME, KEY, WALL, Bench, Source


@pytest.mark.parametrize(("age", "is_good"), [(0.0, True), (29.0, True), (61.0, False)])
def test_a_cookie_lives_30_to_60_seconds(age: float, is_good: bool) -> None:
    """The bucket it was made in, and the next one."""
    bench, source = Bench(), Source(acknowledged=True)
    bench.feed(source.sync())
    source.cookie = bench.replies()[0].cookie or NO_COOKIE
    bench.wait(age)
    bench.feed(source.sync())
    assert (bench.replies()[0].cookie is None) is is_good


@pytest.mark.parametrize("change", ["host", "port", "stream", "byte", "receiver"])
def test_a_cookie_is_good_for_one_thing_only(change: str) -> None:
    """One host, port, stream and receiver; anything else is challenged again."""
    bench, source = Bench(), Source(acknowledged=True)
    bench.feed(source.sync())
    source.cookie = bench.replies()[0].cookie or NO_COOKIE
    address: Address = HOME
    if change == "host":
        address = (AWAY[0], HOME[1])
    elif change == "port":
        address = (HOME[0], 5001)
    elif change == "stream":
        source.stream_id = 2
    elif change == "byte":
        source.cookie = bytes([source.cookie[0] ^ 1]) + source.cookie[1:]
    else:
        bench.protocol = ReceiverProtocol(
            ReceiverSettings(), epoch=5, secret=b"t" * 32, now=bench.now, wall=WALL
        )
    bench.feed(source.sync(), address=address)
    assert bench.replies()[0].cookie is not None
    assert bench.of(StreamStarted) == []


def test_challenges_are_limited_per_source_and_in_total() -> None:
    """Five at once and 20 a second for one source; a thousand a second for all."""
    bench = Bench()
    for _ in range(100):
        bench.feed(Source(acknowledged=True).sync())
    assert bench.stats().challenges == 5
    bench.wait(1.0)
    for _ in range(100):
        bench.feed(Source(acknowledged=True).sync())
    assert bench.stats().challenges == 10
    before = bench.stats().challenges
    for step in range(10_000):
        bench.wait(0.0001)
        bench.feed(Source(acknowledged=True).sync(), address=(f"10.0.{step >> 8}.{step & 255}", 1))
    assert 900 <= bench.stats().challenges - before <= 1000


def test_an_answered_challenge_does_not_count_against_its_source() -> None:
    """64 processes of one host find their receiver restarted, and all come back at once."""
    bench = Bench()
    for number in range(1, 65):
        bench.connect(Source(number, acknowledged=True))
    assert bench.stats().challenges == 64
    assert bench.stats().refused == {}


def test_answers_give_back_no_more_than_was_taken() -> None:
    """However many streams prove an address, five unanswered challenges are the most at once."""
    bench = Bench()
    for number in range(1, 65):
        bench.connect(Source(number, acknowledged=True))
    for number in range(100, 200):
        bench.feed(Source(number, acknowledged=True).sync())
    assert bench.stats().challenges == 64 + 5


def test_the_limits_of_challenges_can_be_set() -> None:
    """For hosts with hundreds of processes."""
    bench = Bench(challenge_limits=ChallengeLimits(per_source=500.0, burst_per_source=100.0))
    for number in range(100):
        bench.feed(Source(number, acknowledged=True).sync())
    assert bench.stats().challenges == 100


@pytest.mark.parametrize("keyed", [False, True])
def test_nobody_can_be_flooded_in_another_name(keyed: bool) -> None:
    """Any datagrams from unproven addresses: at most 0.8 of their bytes come back, at most a
    thousand replies a second, and with a wrong tag nothing at all."""
    chance = random.Random(5)
    bench = Bench(keys=[KEY] if keyed else [])
    seal = HmacKey(7, bytes(32)).sender if keyed else CHECKSUM
    received: Counter[str] = Counter()
    replied: Counter[str] = Counter()
    makers = [
        lambda source: source.sync(),
        lambda source: source.sync(cookie=chance.randbytes(16)),
        lambda source: source.data(1, chance.randbytes(chance.randrange(1460))),
        lambda source: chance.randbytes(chance.randrange(1500)),
        lambda source: source.sync()[: chance.randrange(128)],
    ]
    start = bench.now
    for number in range(40_000):
        victim = f"198.51.{number % 7}.{number % 251}"
        source = Source(number, acknowledged=True, seal=seal)
        datagram = chance.choice(makers)(source)
        received[victim] += len(datagram)
        bench.now += 0.0001
        bench.protocol.receive_datagram(datagram, (victim, 9), bench.now, WALL)
        for reply, address in bench.protocol.datagrams_to_send():
            replied[source_of(address)] += len(reply)
    assert all(replied[victim] <= 0.8 * received[victim] for victim in received)
    stats = bench.stats()
    assert stats.replies <= 1000 * (bench.now - start) + 1
    assert (stats.replies == 0) is keyed
    assert stats.streams == {}


def test_the_secret_for_cookies_is_not_shown() -> None:
    """Not in a traceback's locals, nor anywhere else that uses `repr`."""
    assert "sss" not in repr(Bench().protocol._replies._cookies)


def test_a_datagram_smaller_than_its_challenge_causes_none() -> None:
    """Or a forged address would get more than was sent in its name."""
    limiter = ChallengeLimiter(ChallengeLimits(), 0.0)
    assert not limiter.permits(HOME, SYNC_SIZE - 1, 0.0)
    assert limiter.permits(HOME, SYNC_SIZE, 0.0)

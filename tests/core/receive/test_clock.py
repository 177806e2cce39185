"""Wall clocks say what they like: no step silences a stream, and recordings stay out.

Only new one-way streams with a key are looked at for their sealing time, and only to keep out
what was recorded before the receiver began.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batchudp_handler.core.wire.constants import NO_COOKIE
from tests.core.receive.bench import AWAY, KEY, OTHER_KEY, WALL, Bench, Source

if TYPE_CHECKING:
    from batchudp_handler.core.wire.datagram import Seal

HOUR = 3_600
YEARS = 10 * 365 * 24 * HOUR
STEPS = [-YEARS, -5 * HOUR, -301, 301, 5 * HOUR, YEARS]


def keyed(stream_id: int, sealed_at: float, seal: Seal = KEY.sender) -> Source:
    """A one-way stream of a sender whose clock says this."""
    source = Source(stream_id, seal=seal)
    source.sealed_at = max(0, int(sealed_at))
    return source


def is_heard(bench: Bench, source: Source) -> bool:
    """Whether the next datagram of a stream is taken."""
    bench.feed(source.data())
    heard = bool(bench.waiting)
    bench.handle()
    return heard


@pytest.mark.parametrize(("sealed", "is_taken"), [(-5, True), (-6, False), (0, True)])
def test_what_was_sealed_before_the_start_is_not_taken(sealed: int, is_taken: bool) -> None:
    """Five seconds are allowed for clocks that differ a little."""
    bench = Bench(keys=[KEY])
    assert is_heard(bench, keyed(1, WALL + sealed)) is is_taken
    assert bench.stats().refused == ({} if is_taken else {"stale": 1})
    assert bench.stats().refused_records == ({} if is_taken else {"stale": 10})


@pytest.mark.parametrize("uptime", [10, 5 * HOUR])
def test_a_stream_may_be_as_old_as_the_receiver(uptime: int) -> None:
    """A recording from before its start is always older than that."""
    bench = Bench(keys=[KEY])
    bench.wait(uptime)
    assert is_heard(bench, keyed(1, WALL - 5))
    assert not is_heard(bench, keyed(2, WALL - 6))


@pytest.mark.parametrize("step", STEPS)
def test_a_sender_whose_clock_steps_is_heard(step: int) -> None:
    """In the stream that lives, whatever it says then."""
    bench, source = Bench(keys=[KEY]), keyed(1, WALL)
    assert is_heard(bench, source)
    source.sealed_at = max(0, source.sealed_at + step)
    bench.wait(1.0)
    assert is_heard(bench, source)
    assert bench.stats().refused == {}


@pytest.mark.parametrize("step", [301, 5 * HOUR, YEARS])
@pytest.mark.parametrize("pause", [0.0, 61.0, 700.0])
def test_a_clock_in_the_future_silences_nobody(step: int, pause: float) -> None:
    """Not the others, and not the next stream of the same host, when its clock is right again."""
    bench = Bench(keys=[KEY, OTHER_KEY], max_streams=2)
    ahead = keyed(1, WALL + step)
    assert is_heard(bench, ahead)
    bench.feed(ahead.sync(closing=True))
    bench.wait(pause)
    now = bench.now + bench.offset
    for number in range(2, 6):
        bench.wait(61.0)
        assert is_heard(bench, keyed(number, now, OTHER_KEY.sender))
        assert is_heard(bench, keyed(10 + number, now))
    assert bench.stats().refused == {}


@pytest.mark.parametrize("step", STEPS)
def test_a_receiver_whose_clock_steps_hears_everybody(step: int) -> None:
    """Streams that live, and streams that begin, on hosts whose clocks went on."""
    bench, old = Bench(keys=[KEY]), keyed(1, WALL)
    assert is_heard(bench, old)
    bench.wait(10.0)
    bench.offset += step
    assert is_heard(bench, old)
    assert is_heard(bench, keyed(2, WALL + 10))
    bench.offset -= step
    bench.wait(10.0)
    assert is_heard(bench, old)
    assert is_heard(bench, keyed(3, WALL + 20))
    assert bench.stats().refused == {}


def test_a_receiver_that_starts_before_its_clock_is_set() -> None:
    """It hears everybody in 1970 and after it learned the time, and keeps recordings out then."""
    bench = Bench(keys=[KEY], wall=12.0)
    source = keyed(1, WALL)
    assert is_heard(bench, source)
    bench.wait(30.0)
    bench.offset = WALL - 1_000.0
    assert is_heard(bench, source)
    assert is_heard(bench, keyed(2, WALL + 30))
    assert not is_heard(bench, keyed(3, WALL - 60))
    assert bench.stats().refused == {"stale": 1}


def test_a_receiver_whose_clock_was_ahead_when_it_started() -> None:
    """It hears new streams as soon as its clock is right."""
    bench = Bench(keys=[KEY], wall=WALL + 2 * HOUR)
    bench.wait(10.0)
    bench.offset -= 2 * HOUR
    assert is_heard(bench, keyed(1, WALL + 10))


def test_a_spool_that_is_adopted_under_an_earlier_clock() -> None:
    """The counter of its SYNCs begins lower; a proof of the address stands in for it."""
    bench = Bench(keys=[KEY])
    source = Source(1, acknowledged=True, seal=KEY.sender)
    source.counter = int(WALL) << 20
    bench.connect(source)
    bench.feed(source.sync(resumed=True), source.data())
    bench.handle()
    bench.sent.clear()
    source.counter, source.cookie = int(WALL - HOUR) << 20, NO_COOKIE
    bench.feed(source.sync(resumed=True), address=AWAY)
    (challenge,) = bench.replies(KEY.sender)
    source.cookie = challenge.cookie or NO_COOKIE
    bench.feed(source.sync(resumed=True), source.data(), address=AWAY)
    assert bench.replies(KEY.sender)[0].floor == 1
    assert len(bench.waiting) == 1
    assert bench.stats().refused == {}


def test_an_old_sync_of_a_stream_that_was_never_in_a_spool() -> None:
    """Even with a cookie that is still good, it is a copy."""
    bench, source = Bench(), Source(1, acknowledged=True)
    bench.connect(source)
    old = source.sync()
    bench.feed(source.sync(), old)
    assert bench.stats().refused == {"replayed": 1}


def test_a_stream_that_was_long_silent_goes_on() -> None:
    """It was forgotten, and is recognised by its number, with a clock that went back."""
    bench, source = Bench(keys=[KEY]), keyed(1, WALL)
    assert is_heard(bench, source)
    bench.wait(5 * HOUR)
    assert bench.streams.get(1) is None
    source.sealed_at -= HOUR
    assert is_heard(bench, source)
    assert bench.stats().unseen_before_start == 0


def test_more_streams_than_are_remembered() -> None:
    """Then it counts since when none is missing; a recording from before that is refused."""
    bench = Bench(keys=[KEY], remembered_streams=10)
    first = keyed(1, WALL)
    recorded = [first.data(), first.sync(closing=True)]
    bench.feed(*recorded)
    bench.handle()
    for number in range(2, 40):
        bench.wait(1.0)
        source = keyed(number, bench.now + bench.offset)
        assert is_heard(bench, source)
        bench.feed(source.sync(closing=True))
    bench.feed(*recorded)
    assert bench.waiting == []
    assert bench.stats().refused == {"stale": 2}


def test_without_a_key_no_clock_is_looked_at() -> None:
    """Anybody could say anything."""
    bench, source = Bench(), Source(1)
    source.sealed_at = 0
    assert is_heard(bench, source)

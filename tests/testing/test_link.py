"""One direction of a bad network, decided without sockets and in virtual time."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchudp_handler.testing.faultproxy import Faults, FaultyLink

N = 20_000


def carry(
    link: FaultyLink[None], count: int, *, interval: float = 0.001
) -> list[tuple[int, float]]:
    """Send `count` numbered datagrams at even intervals; what arrived, and when."""
    arrived = []
    for n in range(count):
        now = n * interval
        link.receive_datagram(n.to_bytes(4, "big"), None, now)
        arrived += _leaving(link, now)
    while (due := link.next_timeout()) is not None:
        arrived += _leaving(link, due)
    return arrived


def _leaving(link: FaultyLink[None], now: float) -> list[tuple[int, float]]:
    return [(int.from_bytes(data, "big"), now) for data, _ in link.datagrams_to_send(now)]


def make_link(seed: int = 1, **faults: object) -> FaultyLink[None]:
    return FaultyLink(Faults.from_mapping(faults), random=Random(seed))


def assert_adds_up(link: FaultyLink[None]) -> None:
    c = link.counters
    gone = c.lost + c.burst_lost + c.blackholed + c.too_long + c.queue_full
    assert c.received + c.duplicated == c.forwarded + gone + c.waiting


def test_no_faults_carries_everything_at_once_and_in_order() -> None:
    """Without faults the link is a wire."""
    link = make_link()
    assert carry(link, 100) == [(n, n * 0.001) for n in range(100)]


def test_long_datagrams_vanish() -> None:
    """Those above the length, and no others; each is counted."""
    link = make_link(largest=400)
    for size in (1, 400, 401, 1_400):
        link.receive_datagram(bytes(size), None, 0.0)
    assert [len(data) for data, _ in link.datagrams_to_send(0.0)] == [1, 400]
    assert link.counters.too_long == 2
    assert_adds_up(link)


def test_loss_rate() -> None:
    """About the given share is lost, and exactly what is counted."""
    link = make_link(loss=0.3)
    arrived = carry(link, N)
    assert len(arrived) == N - link.counters.lost
    assert link.counters.lost == pytest.approx(0.3 * N, rel=0.05)


def test_bursts_have_the_mean_length_that_was_asked_for() -> None:
    """Gilbert-Elliott: losses come in runs of 1 / burst_end datagrams."""
    link = make_link(burst_start=0.01, burst_end=0.05)
    arrived = {n for n, _ in carry(link, N)}
    runs, length = [], 0
    for n in range(N):
        if n in arrived and length:
            runs.append(length)
            length = 0
        length += n not in arrived
    assert sum(runs) / len(runs) == pytest.approx(20, rel=0.25)
    assert link.counters.burst_lost == N - len(arrived)


def test_duplicates_arrive_as_often_as_asked_for() -> None:
    """copies says how often a duplicated datagram arrives in all."""
    link = make_link(duplicate=0.1, copies=5)
    arrived = [n for n, _ in carry(link, N)]
    counts = {arrived.count(n) for n in arrived[:500]}
    assert counts == {1, 5}
    assert len(arrived) == N + link.counters.duplicated


def test_reorder_lets_later_datagrams_overtake() -> None:
    """A datagram that is held back arrives after its successors, within reorder_delay."""
    link = make_link(reorder=0.1, reorder_delay=0.02)
    arrived = carry(link, N)
    assert [n for n, _ in arrived] != list(range(N))
    assert sorted(n for n, _ in arrived) == list(range(N))
    late = [when - n * 0.001 for n, when in arrived]
    assert max(late) <= 0.02 + 1e-9
    assert sum(x > 1e-9 for x in late) == link.counters.reordered


def test_delay_and_jitter() -> None:
    """Each datagram is late by the delay and at most the jitter more."""
    late = [when - n * 0.001 for n, when in carry(make_link(delay=0.5, jitter=0.1), 1_000)]
    assert 0.5 - 1e-9 <= min(late) < 0.51
    assert 0.59 < max(late) <= 0.6 + 1e-9


def test_flip_changes_exactly_one_bit() -> None:
    """A flipped datagram differs in one bit, and the bits are spread over all of it."""
    link = make_link(flip=1.0)
    positions = set()
    for _ in range(2_000):
        link.receive_datagram(bytes(16), None, 0.0)
        [(data, _)] = link.datagrams_to_send(0.0)
        value = int.from_bytes(data, "big")
        assert value.bit_count() == 1
        positions.add(value.bit_length())
    assert len(positions) == 128


def test_truncate_cuts() -> None:
    """A truncated datagram is a real prefix of what was sent."""
    link = make_link(truncate=1.0)
    for _ in range(100):
        link.receive_datagram(b"0123456789", None, 0.0)
        [(data, _)] = link.datagrams_to_send(0.0)
        assert len(data) < 10
        assert b"0123456789".startswith(data)


def test_empty_datagrams_survive_damage() -> None:
    """There is nothing to flip or cut in an empty datagram."""
    link = make_link(flip=1.0, truncate=1.0)
    link.receive_datagram(b"", None, 0.0)
    assert link.datagrams_to_send(0.0) == [(b"", None)]


def test_blackhole_passes_nothing() -> None:
    """A black hole swallows and counts."""
    link = make_link(blackhole=True)
    assert carry(link, 10) == []
    assert link.counters.blackholed == 10


def test_rate_limit_spaces_datagrams_and_drops_above_its_queue() -> None:
    """A slow link carries its rate; what finds the queue full is dropped and counted."""
    link = make_link(rate=1_000, queue=3_000)
    for _ in range(5):
        link.receive_datagram(bytes(1_000), None, 0.0)
    assert link.counters.queue_full == 2
    times = []
    while (due := link.next_timeout()) is not None:
        times.append(due)
        link.datagrams_to_send(due)
    assert times == [1.0, 2.0, 3.0]


def test_route_stays_with_its_datagram() -> None:
    """The caller finds the way back through what it gave."""
    link: FaultyLink[str] = FaultyLink(Faults(reorder=0.5), random=Random(3))
    for name in "abcdef":
        link.receive_datagram(name.encode(), name, 0.0)
    assert all(data.decode() == route for data, route in link.datagrams_to_send(1.0))


def test_same_seed_same_fate() -> None:
    """A run can be repeated."""
    faults = {"loss": 0.2, "reorder": 0.2, "duplicate": 0.2, "jitter": 0.01}
    assert carry(make_link(7, **faults), 500) == carry(make_link(7, **faults), 500)
    assert carry(make_link(7, **faults), 500) != carry(make_link(8, **faults), 500)


def test_another_rate_leaves_the_rest_as_it_was() -> None:
    """Switching one fault off does not change which datagrams meet another."""
    both = {n for n, _ in carry(make_link(loss=0.3, duplicate=0.3, flip=0.0, jitter=0.1), 1_000)}
    alone = {n for n, _ in carry(make_link(loss=0.3), 1_000)}
    assert both == alone


RATES = st.floats(0.0, 1.0)


@settings(max_examples=100)
@given(
    st.fixed_dictionaries(
        {
            "loss": RATES,
            "burst_start": RATES,
            "burst_end": RATES,
            "duplicate": RATES,
            "copies": st.integers(1, 5),
            "reorder": RATES,
            "flip": RATES,
            "truncate": RATES,
            "rate": st.none() | st.floats(100, 1e6),
            "queue": st.integers(0, 2_000),
        }
    ),
    st.integers(0, 200),
)
def test_every_datagram_is_accounted_for(faults: dict[str, Any], count: int) -> None:
    """Whatever the faults, the counters add up, at every moment."""
    link = make_link(**faults)
    for n in range(count):
        link.receive_datagram(bytes(4), None, n * 0.001)
        assert_adds_up(link)
    arrived = 0
    while (due := link.next_timeout()) is not None:
        arrived += len(link.datagrams_to_send(due))
        assert_adds_up(link)
    assert arrived == link.counters.forwarded
    assert link.counters.waiting == 0


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"los": 0.1}, "unknown fault 'los'"),
        ({"loss": 1.5}, "loss must be from 0 to 1"),
        ({"loss": "much"}, "loss must be of type float"),
        ({"loss": True}, "loss must be of type float"),
        ({"delay": -1}, "delay must be 0 or more"),
        ({"copies": 0}, "copies must be 1 or more"),
        ({"copies": "1.5"}, "copies must be of type int"),
        ({"rate": 0}, "rate must be more than 0"),
        ({"blackhole": "perhaps"}, "blackhole must be of type bool"),
        ({"loss": [0.1]}, "loss must be of type float"),
    ],
)
def test_bad_faults_are_refused(values: dict[str, object], complaint: str) -> None:
    """A wrong name or value says what is wrong."""
    with pytest.raises(ValueError, match=complaint):
        Faults.from_mapping(values)


def test_faults_from_text() -> None:
    """Values may be text, as on a command line."""
    faults = Faults.from_mapping({"loss": "0.1", "copies": "3", "blackhole": "yes", "rate": None})
    assert faults == Faults(loss=0.1, copies=3, blackhole=True)
    assert Faults.from_mapping({"blackhole": "off"}) == Faults()
    assert Faults.from_mapping({"blackhole": True}) == Faults(blackhole=True)

"""Sources are let in by network and by rate, with bounded memory."""

from __future__ import annotations

import pytest

from batchudp_handler.core.errors import ConfigError
from batchudp_handler.core.receive.admission import (
    TABLE_SIZE,
    AllowList,
    SourceLimiter,
    TokenBucket,
    source_of,
)


@pytest.mark.parametrize(
    ("source", "is_permitted"),
    [
        ("192.0.2.0", True),
        ("192.0.2.255", True),
        ("192.0.3.0", False),
        ("198.51.100.7", True),
        ("198.51.100.8", False),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("::ffff:192.0.2.9", True),
        ("::ffff:192.0.3.9", False),
        ("fe80::1%eth0", True),
        ("/run/socket", False),
        ("", False),
    ],
)
def test_sources_are_permitted_by_network(source: str, is_permitted: bool) -> None:
    """Both edges of a network, single addresses, IPv6, and IPv4 that came through IPv6."""
    allowed = AllowList(["192.0.2.0/24", "198.51.100.7", "2001:db8::/32", "fe80::/10"])
    assert allowed.permits(source) is is_permitted
    assert allowed.permits(source) is is_permitted


def test_an_empty_list_permits_everybody() -> None:
    """Whoever names no network means all."""
    assert not AllowList()
    assert AllowList().permits("192.0.2.1")
    assert AllowList().permits("/run/socket")


@pytest.mark.parametrize("text", ["192.0.2.1/24", "example.org", "192.0.2.0/33", ""])
def test_what_is_no_network_is_refused(text: str) -> None:
    """A host bit set by mistake would permit more or less than was meant."""
    with pytest.raises(ConfigError, match="not a network"):
        AllowList([text])


def test_the_memory_of_decisions_is_bounded() -> None:
    """Forged sources do not make the table grow."""
    allowed = AllowList(["192.0.2.0/24"])
    for number in range(3 * TABLE_SIZE):
        assert not allowed.permits(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(allowed._known) <= TABLE_SIZE


def test_a_bucket_permits_a_burst_and_then_a_rate() -> None:
    """Two per second after a burst of three; time that stands still permits nothing."""
    bucket = TokenBucket(2.0, 3.0, now=10.0)
    assert [bucket.take(10.0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(10.4)
    assert bucket.take(10.5)
    assert not bucket.take(10.5)
    assert not bucket.take(9.0)
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]


def test_sources_have_buckets_of_their_own() -> None:
    """One loud source takes nothing from a quiet one."""
    limiter = SourceLimiter(1.0, 2.0)
    assert [limiter.take("loud", 0.0) for _ in range(5)].count(True) == 2
    assert limiter.take("quiet", 0.0)


def test_the_table_of_sources_is_bounded() -> None:
    """The one that came first gives way."""
    limiter = SourceLimiter(1.0, 1.0)
    for number in range(2 * TABLE_SIZE):
        assert limiter.take(str(number), 0.0)
    assert len(limiter._buckets) == TABLE_SIZE
    assert not limiter.take(str(2 * TABLE_SIZE - 1), 0.0)


def test_the_source_of_an_address_is_its_host() -> None:
    """IPv4, IPv6 and the names of other kinds of socket."""
    assert source_of(("192.0.2.1", 5)) == "192.0.2.1"
    assert source_of(("2001:db8::1", 5, 0, 0)) == "2001:db8::1"
    assert source_of("/run/socket") == "/run/socket"


def test_a_permit_can_be_given_back() -> None:
    """Never more than were taken, and only to a source that is remembered."""
    limiter = SourceLimiter(1.0, 2.0)
    limiter.give_back("unknown")
    assert limiter.take("a", 0.0)
    assert limiter.take("a", 0.0)
    assert not limiter.take("a", 0.0)
    limiter.give_back("a")
    assert limiter.take("a", 0.0)
    assert not limiter.take("a", 0.0)

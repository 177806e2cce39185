"""The source addresses that are let in, and how many datagrams each may send.

`AllowList` names source networks. `TokenBucket` is a rate with a burst; `SourceLimiter` keeps one
per source address, in a table of bounded size. None of them proves anything: a source address can
be forged. They keep honest machines apart and cheap noise out.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

from batchudp_handler.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from batchudp_handler.core.receive.stats import Address

__all__ = ["AllowList", "SourceLimiter", "TokenBucket", "source_of"]

TABLE_SIZE = 4096


def source_of(address: Address) -> str:
    """Return the host part of an address; the port is the sender's to choose."""
    return address if isinstance(address, str) else str(address[0])


class AllowList:
    """The networks whose datagrams are accepted; an empty list accepts every network's."""

    __slots__ = ("_known", "_networks")

    def __init__(self, networks: Iterable[str] = ()) -> None:
        self._networks = [_network(text) for text in networks]
        self._known: dict[str, bool] = {}

    def __bool__(self) -> bool:
        return bool(self._networks)

    def permits(self, source: str) -> bool:
        """Return whether a source address is in one of the networks."""
        if not self._networks:
            return True
        known = self._known.get(source)
        if known is None:
            known = self._look_up(source)
            if len(self._known) >= TABLE_SIZE:
                self._known.clear()
            self._known[source] = known
        return known

    def _look_up(self, source: str) -> bool:
        try:
            address = ip_address(source.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text.strip())
    except ValueError as error:
        raise ConfigError(f"{text!r} is not a network such as 192.0.2.0/24") from error


class TokenBucket:
    """A limit of `rate` permits per second on average, and `burst` at once."""

    __slots__ = ("_burst", "_rate", "_tokens", "_updated")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._updated = now

    def take(self, now: float) -> bool:
        """Use up one permit; return whether there was one."""
        if now > self._updated:
            self._tokens = min(self._burst, self._tokens + (now - self._updated) * self._rate)
            self._updated = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def give_back(self) -> None:
        """Undo one `take`: what was permitted has turned out well."""
        self._tokens = min(self._burst, self._tokens + 1)


class SourceLimiter:
    """One token bucket for each source address.

    When the table is full the source that came first gives way: a flood of forged addresses can
    only give sources a fresh burst, which a bucket for all of them must bound.
    """

    __slots__ = ("_buckets", "_burst", "_rate")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._buckets: dict[str, TokenBucket] = {}

    def take(self, source: str, now: float) -> bool:
        """Use up one of the source's permits; return whether there was one."""
        bucket = self._buckets.get(source)
        if bucket is None:
            if len(self._buckets) >= TABLE_SIZE:
                del self._buckets[next(iter(self._buckets))]
            bucket = self._buckets[source] = TokenBucket(self._rate, self._burst, now)
        return bucket.take(now)

    def give_back(self, source: str) -> None:
        """Undo one `take` of the source, unless it has been forgotten."""
        bucket = self._buckets.get(source)
        if bucket is not None:
            bucket.give_back()

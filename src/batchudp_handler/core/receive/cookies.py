"""Cookies, by which a sender proves that it receives at the address it sends from.

A cookie is a proof that needs no memory: only who can read what is sent to an address can repeat
the cookie made for it. Cookies are bound to the stream too and live 30 to 60 seconds, less than
the shortest life of a stream in the receiver's table; so whoever repeats an old conversation meets
either the stream, which knows its datagrams, or a dead cookie.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchudp_handler.core.receive.admission import SourceLimiter, TokenBucket, source_of
from batchudp_handler.core.wire.constants import COOKIE_SIZE, SYNC_SIZE

if TYPE_CHECKING:
    from batchudp_handler.core.receive.stats import Address

__all__ = ["ChallengeLimiter", "ChallengeLimits", "CookieMaker"]

COOKIE_BUCKET = 30.0


@dataclass(frozen=True, slots=True)
class ChallengeLimits:
    """How many challenges are sent.

    Per source, those that the source answered do not count: many processes of one host, which
    find their receiver restarted, all get theirs in a few round trips.
    """

    per_second: float = 1000.0
    """To everybody together."""
    per_source: float = 20.0
    """To one source address, per second."""
    burst_per_source: float = 5.0
    """To one source address at once, after a pause."""


class CookieMaker:
    """Cookies made with a secret that lives as long as the receiver."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def make(self, address: Address, stream_id: int, now: float) -> bytes:
        """Return the cookie for a stream at an address."""
        return self._cookie(address, stream_id, int(now // COOKIE_BUCKET))

    def is_good(self, cookie: bytes, address: Address, stream_id: int, now: float) -> bool:
        """Return whether a cookie was made for this stream at this address, and lately."""
        bucket = int(now // COOKIE_BUCKET)
        return any(
            hmac.compare_digest(cookie, self._cookie(address, stream_id, each))
            for each in (bucket, bucket - 1)
        )

    def _cookie(self, address: Address, stream_id: int, bucket: int) -> bytes:
        port = "" if isinstance(address, str) else address[1:2]
        text = f"{source_of(address)!a} {port!a} {stream_id} {bucket}".encode("ascii")
        return hmac.digest(self._secret, text, "sha256")[:COOKIE_SIZE]

    def __repr__(self) -> str:
        return "<CookieMaker>"


class ChallengeLimiter:
    """A limit on challenges: a receiver must not be a weapon against forged addresses."""

    __slots__ = ("_all", "_by_source")

    def __init__(self, limits: ChallengeLimits, now: float) -> None:
        # of the thousand in any second, some at the start of it and the rest as time passes
        burst = max(1.0, limits.per_second / 10)
        self._all = TokenBucket(limits.per_second - burst, burst, now)
        self._by_source = SourceLimiter(limits.per_source, limits.burst_per_source)

    def permits(self, address: Address, size: int, now: float) -> bool:
        """Return whether a datagram of this size from there may cause a CHALLENGE."""
        if size < SYNC_SIZE:
            return False
        return self._by_source.take(source_of(address), now) and self._all.take(now)

    def on_proof(self, address: Address) -> None:
        """Permit one more challenge to this source: it has answered one, which hurt nobody."""
        self._by_source.give_back(source_of(address))

"""The checks that a datagram passes before it is looked at as part of a stream.

Cheapest first, and nothing is stored before the trailer has proved right: source address, key,
trailer, fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.receive.admission import AllowList, SourceLimiter, source_of
from batchudp_handler.core.wire.auth import KeyRing

if TYPE_CHECKING:
    from batchudp_handler.core.receive.state import ReceiverState
    from batchudp_handler.core.receive.stats import Address
    from batchudp_handler.core.wire.datagram import Header, Seal

__all__ = ["Gates"]


class Gates:
    """The checks of one receiver; each raises `DecodeError` on what does not pass.

    Args:
        state: Shared with the other parts of the machine.
    """

    def __init__(self, state: ReceiverState) -> None:
        settings = state.settings
        self._state = state
        self._allowed = AllowList(settings.allow)
        rate = settings.source_rate
        self._limiter = SourceLimiter(rate, settings.source_burst) if rate is not None else None
        self.ring = KeyRing(settings.keys, accept_unauthenticated=settings.accept_unauthenticated)

    def check_source(self, address: Address) -> None:
        """Check that a source address may send, and no more often than it may."""
        if not self._allowed and self._limiter is None:
            return
        source = source_of(address)
        if not self._allowed.permits(source):
            raise DecodeError(Reason.NOT_ALLOWED)
        if self._limiter is not None and not self._limiter.take(source, self._state.clock.now):
            raise DecodeError(Reason.RATE_LIMITED)

    def check_baseline(self) -> None:
        """Check that datagrams without a header, which have no key, are accepted."""
        if not self.ring.accepts_unauthenticated:
            raise DecodeError(Reason.UNAUTHENTICATED)

    def open(self, header: Header, data: bytes) -> tuple[bytes, Seal]:
        """Return the body of a datagram whose trailer proves right, and its seal."""
        key_id = header.key_id
        seal = self.ring.seal(key_id)
        try:
            body = seal.open(data)
        except DecodeError as error:
            if error.reason is Reason.AUTH_FAILED:
                self._state.counters.auth_failed[key_id] += 1
            raise
        if key_id:
            self._state.counters.key_last_used[key_id] = self._state.clock.wall
        header.check()
        return body, seal

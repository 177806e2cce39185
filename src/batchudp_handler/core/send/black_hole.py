"""Paths on which large datagrams vanish and small ones arrive.

Where a router drops what is too large and the message that says so is lost as well (RFC 4821,
RFC 8899), large datagrams are never acked while SYNCs of 128 bytes are answered. After a number of
rounds in which datagrams above a size were sent, and some answers, and some time without one of
them acked, that size is used: of the common ones, the largest of which this is true. When it
vanishes as well, the next one follows.

Rounds are counted and not datagrams, because one burst of loss may swallow many at once.
"""

from __future__ import annotations

__all__ = ["COMMON_SIZES", "BlackHoleDetector"]

COMMON_SIZES = (1200, 548, 256)
"""Bytes, largest first: RFC 8899's BASE_PLPMTU, which QUIC relies on; what fits the 576 bytes that
every IPv4 host must take; and what fits the odd radio link. Below that nothing is saved."""

MIN_ROUNDS = 9
"""At 50 % loss and two probes each, one run in 2**18 of so many rounds is lost as a whole."""
ROUND = 0.01
"""Seconds: transmissions closer together than this are one round."""
MIN_ANSWERS = 3
MIN_TIME = 2.0


class _Sizes:
    """What was sent above one size, and what came back, since such a datagram was acked."""

    __slots__ = ("answers", "latest", "rounds", "since")

    def __init__(self) -> None:
        self.rounds = 0
        self.answers = 0
        self.since = 0.0
        self.latest = 0.0

    def on_sent(self, now: float) -> None:
        if not self.rounds:
            self.since = now
            self.answers = 0
        elif now - self.latest < ROUND:
            return
        self.latest = now
        self.rounds += 1

    def is_suspected(self, now: float) -> bool:
        return (
            self.rounds >= MIN_ROUNDS
            and self.answers >= MIN_ANSWERS
            and now - self.since >= MIN_TIME
        )


class BlackHoleDetector:
    """Counts what was sent large and what came back since a large datagram was acked."""

    def __init__(self) -> None:
        self._above = {size: _Sizes() for size in COMMON_SIZES}
        self._most_credit = 0

    def on_sent(self, size: int, now: float) -> None:
        """Note a transmission."""
        for limit, seen in self._above.items():
            if size > limit:
                seen.on_sent(now)

    def on_answer(self, credit: int) -> None:
        """Note an answer; a receiver that takes its credit back may be refusing what arrives."""
        self._most_credit = max(self._most_credit, credit)
        is_full = 2 * credit < self._most_credit
        for seen in self._above.values():
            if is_full:
                seen.rounds = 0
            else:
                seen.answers += 1

    def on_acked(self, size: int) -> None:
        """Note a datagram that arrived."""
        for limit, seen in self._above.items():
            if size > limit:
                seen.rounds = 0

    def suspected_size(self, now: float) -> int | None:
        """Return the size to fall back to, if larger datagrams seem to vanish."""
        return next((size for size, seen in self._above.items() if seen.is_suspected(now)), None)

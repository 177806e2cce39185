"""Do large datagrams vanish on a path that carries small ones?

Where a router drops what is too large and the message that says so is lost as well (RFC 4821,
RFC 8899), large datagrams are never acked while SYNCs of 128 bytes are answered. After a number of
rounds in which large datagrams were sent, and some answers, and some time without one of them
acked, the size that every path carries is used.

Rounds are counted and not datagrams, because one burst of loss may swallow many at once.
"""

from __future__ import annotations

__all__ = ["BASE_SIZE", "BlackHoleDetector"]

BASE_SIZE = 1200
"""Bytes: RFC 8899's BASE_PLPMTU, and what QUIC relies on."""

MIN_ROUNDS = 9
"""At 50 % loss and two probes each, one run in 2**18 of so many rounds is lost as a whole."""
ROUND = 0.01
"""Seconds: transmissions closer together than this are one round."""
MIN_ANSWERS = 3
MIN_TIME = 2.0


class BlackHoleDetector:
    """Counts what was sent large and what came back since a large datagram was acked."""

    def __init__(self) -> None:
        self._rounds = 0
        self._answers = 0
        self._most_credit = 0
        self._since = 0.0
        self._latest = 0.0

    def on_sent(self, size: int, now: float) -> None:
        """Note a transmission."""
        if size <= BASE_SIZE:
            return
        if not self._rounds:
            self._since = now
            self._answers = 0
        elif now - self._latest < ROUND:
            return
        self._latest = now
        self._rounds += 1

    def on_answer(self, credit: int) -> None:
        """Note an answer; a receiver that takes its credit back may be refusing what arrives."""
        self._most_credit = max(self._most_credit, credit)
        if 2 * credit < self._most_credit:
            self._rounds = 0
        else:
            self._answers += 1

    def on_acked(self, size: int) -> None:
        """Note a datagram that arrived."""
        if size > BASE_SIZE:
            self._rounds = 0

    def is_suspected(self, now: float) -> bool:
        """Say whether to fall back to `BASE_SIZE`."""
        return (
            self._rounds >= MIN_ROUNDS
            and self._answers >= MIN_ANSWERS
            and now - self._since >= MIN_TIME
        )

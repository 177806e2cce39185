"""The part of a handshake that outlives one datagram: what SYNCs prove, and when.

A receiver asks for a proof of the sender's address with a cookie, and the next SYNC brings it. The
first answer to such a SYNC tells a first round trip. DATA that was sent from an address which was
not proven has been thrown away, so it is sent again once the proof is accepted.
"""

from __future__ import annotations

__all__ = ["Handshake"]


class Handshake:
    """The SYNCs that answered a challenge, and the DATA that went out before its proof."""

    def __init__(self) -> None:
        self._introductions = 0
        self._introduced_at = 0.0
        self._is_unproven = False
        self._unproven_order = 0

    def on_new_receiver(self) -> None:
        """Note that a receiver which was not met before has challenged."""
        self._introductions = 0

    def on_new_address(self) -> None:
        """Note that the receiver sees another address, which the next SYNC will prove."""
        self._is_unproven = True

    def on_sync_sent(self, now: float, next_order: int, *, is_introduction: bool) -> None:
        """Note a SYNC.

        Args:
            now: The time.
            next_order: The order of the next transmission of DATA.
            is_introduction: Whether it answers the challenge of a new receiver.
        """
        if self._is_unproven:
            self._is_unproven = False
            self._unproven_order = next_order
        if is_introduction:
            self._introductions += 1
            self._introduced_at = now

    def round_trip(self, now: float) -> float | None:
        """Return the round trip that a new receiver's first answer tells, if it tells one.

        Karn's rule: only one SYNC can have caused the answer.
        """
        return now - self._introduced_at if self._introductions == 1 else None

    def take_unproven_order(self) -> int:
        """Return once the order below which DATA went out without a proof; 0 means none did."""
        order, self._unproven_order = self._unproven_order, 0
        return order

"""The congestion window: how many bytes may be in flight at once.

Slow start, then one datagram more per window, half of it at a loss (RFC 9002 section 7, the
NewReno of RFC 6582). One loss per round counts: datagrams that had been sent before the window was
halved say nothing about the halved window. No pacing and no model of the path: the flows are
small, and the receiver's credit is the other limit.

The floor is higher than QUIC's two datagrams. Loss on a bad radio link is not congestion, and
eight small datagrams per round trip (RFC 6928 allows ten at the start) harm nobody.
"""

from __future__ import annotations

__all__ = ["CongestionController"]

SMALL_DATAGRAM = 1432
"""Bytes: a datagram that fits an Ethernet frame with room for tunnels."""

INITIAL_DATAGRAMS = 10
FLOOR_DATAGRAMS = 8
MAX_WINDOW = 1 << 28
"""Bytes: beyond this the window stops growing; no receive buffer is larger."""


class CongestionController:
    """The congestion window of one path, in bytes."""

    __slots__ = ("_datagram_size", "_recovery_order", "_threshold", "window")

    def __init__(self, max_datagram_size: int) -> None:
        self._datagram_size = max_datagram_size
        self.reset()

    def reset(self) -> None:
        """Start again, for another receiver or another path."""
        size = self._datagram_size
        self.window = max(2 * size, INITIAL_DATAGRAMS * min(size, SMALL_DATAGRAM))
        self._threshold = MAX_WINDOW
        self._recovery_order = -1

    def set_datagram_size(self, max_datagram_size: int) -> None:
        """Use another size for the floor and for growth; the window itself stays."""
        self._datagram_size = max_datagram_size
        self.window = max(self.window, self.floor)

    @property
    def floor(self) -> int:
        """The size below which the window never falls, in bytes."""
        return max(2 * self._datagram_size, FLOOR_DATAGRAMS * SMALL_DATAGRAM)

    @property
    def is_in_slow_start(self) -> bool:
        """Whether the window still doubles per round trip."""
        return self.window < self._threshold

    def on_acked(self, acked_bytes: int, bytes_in_flight: int) -> None:
        """Grow the window, if it was in use.

        Args:
            acked_bytes: What one ack took out of flight.
            bytes_in_flight: What was in flight before it.
        """
        # RFC 9002 section 7.8: a window that is not filled proves nothing about the path
        if 2 * bytes_in_flight < self.window:
            return
        if self.is_in_slow_start:
            self.window = min(self.window + acked_bytes, MAX_WINDOW)
        else:
            growth = max(self._datagram_size * acked_bytes // self.window, 1)
            self.window = min(self.window + growth, MAX_WINDOW)

    def on_lost(self, newest_lost_order: int, next_order: int) -> None:
        """Halve the window, once per round.

        Args:
            newest_lost_order: The place in the order of transmissions of the latest one lost.
            next_order: The place that the next transmission will have.
        """
        if newest_lost_order < self._recovery_order:
            return
        self._recovery_order = next_order
        self.window = max(self.window // 2, self.floor)
        self._threshold = self.window

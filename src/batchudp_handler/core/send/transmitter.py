"""The DATA of an acknowledged stream: which datagram is sent next, within both windows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchudp_handler.core.send.window import DatagramState
from batchudp_handler.core.wire.constants import WINDOW_SIZE

if TYPE_CHECKING:
    from batchudp_handler.core.send.connection import Connection
    from batchudp_handler.core.send.window import RetainedDatagram

__all__ = ["Transmitter"]

PROBED = 2
"""Datagrams sent again when the probe timer expires (RFC 9002 section 6.2.4 allows two)."""


class Transmitter:
    """Chooses the next datagram with DATA, and seals one where there is room for it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._outbox = connection.outbox
        self._peer = connection.peer
        self.outstanding: RetainedDatagram | None = None
        """The datagram whose fate is not known."""
        self._previous: RetainedDatagram | None = None

    @property
    def outstanding_data(self) -> bytes | None:
        """The bytes of the datagram whose fate is not known."""
        return None if self.outstanding is None else self.outstanding.data

    def next(self, now: float) -> bytes | None:
        """Choose the datagram to send now, and return its bytes."""
        self.outstanding = self._choose(now) if self._connection.state.is_open else None
        if self.outstanding is None:
            self._seal_ahead(now)
            return None
        return self.outstanding.data

    def _choose(self, now: float) -> RetainedDatagram | None:
        probes = self._connection.probes
        while probes:
            probe = probes.popleft()
            if probe.state is DatagramState.IN_FLIGHT and probe.data is not None:
                return probe
        head = self._head(now)
        if head is None and self._may_seal:
            self._outbox.seal_next(now)
            head = self._head(now)
        return head if head is not None and self._may_send(head.size) else None

    def _head(self, now: float) -> RetainedDatagram | None:
        window = self._connection.window
        floor = window.floor
        head = self._outbox.head(self._peer.floor + WINDOW_SIZE, now)
        if window.floor > floor:  # something was cut smaller
            self._connection.syncs.soon()
        return head

    def _may_send(self, size: int) -> bool:
        """Return whether the window has room; one datagram may always go, to ask for more."""
        in_flight = self._connection.window.bytes_in_flight
        return not in_flight or in_flight + size <= min(
            self._connection.path.congestion.window, self._peer.credit
        )

    @property
    def _may_seal(self) -> bool:
        """Whether a datagram that is sealed now could be sent now."""
        if not self._outbox.splitter.is_ready or not self._outbox.has_room:
            return False
        # one that waits already waits for the spool, or for the receiver's window
        return self._connection.window.peek() is None and self._may_send(self._outbox.next_size)

    def _seal_ahead(self, now: float) -> None:
        if self._outbox.should_seal_ahead(is_open=self._connection.state.is_open):
            self._outbox.seal_next(now)

    @property
    def is_ready(self) -> bool:
        """Whether `next` has something to do."""
        is_open = self._connection.state.is_open
        if self._outbox.should_seal_ahead(is_open=is_open):
            return True
        if not is_open:
            return False
        if self._connection.probes:
            return True
        head = self._connection.window.peek()
        if head is None:
            return self._may_seal
        is_sendable = head.data is not None and head.seq < self._peer.floor + WINDOW_SIZE
        return is_sendable and self._may_send(min(head.size, self._outbox.size))

    def probe(self) -> bool:
        """Send the oldest datagrams again that are in flight; return whether there are any."""
        # a receiver without room would only drop two
        limit = PROBED if self._peer.credit else 1
        self._connection.probes.extend(self._connection.window.oldest_unheld(limit))
        return bool(self._connection.probes)

    def on_sent(self, now: float) -> None:
        """Note that the network took the datagram."""
        sent, connection = self.outstanding, self._connection
        assert sent is not None, "nothing was to be sent"
        self.outstanding = None
        self._previous = sent
        connection.path.on_sent(sent, now)
        connection.counters.bytes_sent += sent.size
        is_again = sent.sent_count > 0
        connection.counters.retransmissions += is_again
        connection.window.on_sent(sent, now)
        if connection.trace is not None:
            name = "datagram_retransmitted" if is_again else "datagram_sent"
            connection.trace(now, name, seq=sent.seq, size=sent.size, records=sent.records)

    def send_previous_again(self) -> None:
        """Send the datagram before the outstanding one again: it reached no socket."""
        if self._previous is not None:
            self._connection.window.requeue(self._previous)
            self._previous = None

    def forget_previous(self) -> None:
        """Note that errors of the socket are no longer about the datagram sent before."""
        self._previous = None

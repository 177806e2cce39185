"""The SYNCs of an acknowledged stream: what each says, and what its sending means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchudp_handler.core.wire.sync import Sync

if TYPE_CHECKING:
    from batchudp_handler.core.send.connection import Connection

__all__ = ["GOODBYES", "SyncSender"]

GOODBYES = 3
"""SYNCs that say goodbye before the stream ends without an answer."""
PROMISE_MS = 12_500
"""The heartbeat, or the rarest probe with its jitter."""


class SyncSender:
    """Seals SYNCs when they are due."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.outstanding: bytes | None = None
        """The SYNC whose fate is not known."""
        self.buffer_dropped = 0
        """Records that were dropped before they came here."""
        self.has_last_word = False
        """Whether one SYNC is to be sent although the stream was given up."""

    def next(self, now: float) -> bytes | None:
        """Return the SYNC that is due; the same one until its fate is told."""
        connection = self._connection
        if self.has_last_word:
            self.has_last_word = False
            self.outstanding = self._seal(now, closing=True)
        elif connection.syncs.is_due(now):
            self.outstanding = self._seal(now, closing=connection.is_saying_goodbye)
        return self.outstanding

    def _seal(self, now: float, *, closing: bool) -> bytes:
        connection = self._connection
        outbox, window, peer = connection.outbox, connection.window, connection.peer
        sync = Sync(
            next_seq=max(window.sent_end, window.floor),
            floor=window.floor,
            next_rec=window.sent_end_rec,
            acknowledged=True,
            closing=closing,
            resumed=outbox.is_resumed,
            max_datagram=outbox.size,
            dropped_records=self.buffer_dropped + outbox.splitter.dropped,
            receiver_epoch=peer.epoch,
            cookie=peer.cookie,
            promise_ms=0 if closing else PROMISE_MS,
        )
        return connection.stream.seal_sync(sync, now)

    def on_sent(self, now: float) -> None:
        """Note that the network took the SYNC."""
        connection = self._connection
        assert self.outstanding is not None, "nothing was to be sent"
        connection.counters.bytes_sent += len(self.outstanding)
        connection.counters.syncs_sent += 1
        self.outstanding = None
        connection.syncs.on_sent(now)
        peer = connection.peer
        if peer.unanswered_since is None:
            peer.unanswered_since = now
        connection.handshake.on_sync_sent(
            now, connection.window.next_order, is_introduction=peer.is_new
        )
        if connection.is_saying_goodbye and connection.state.is_open:
            connection.goodbyes += 1
            connection.path.timer.restart(now)
        if connection.trace is not None:
            connection.trace(now, "sync_sent", floor=connection.window.floor)

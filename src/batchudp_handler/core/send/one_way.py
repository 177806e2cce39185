"""One-way delivery: datagrams are sent, and nobody answers.

Nothing is retained after transmission, with one exception: the datagram before the current one.
A connected UDP socket reports "connection refused" one call late: the call that fails did not
send, and the datagram before it, which seemed to be sent, was lost. Both are sent again.

Losses on the way show at the receiver, because SYNCs tell it how far the stream has come (see
`one_way_syncs`).

A batch that is given up before any part of it was on the wire gives its numbers back. Otherwise
the receiver would count as lost what the sender has counted as dropped.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from batchudp_handler.core.send.delivery import Delivery
from batchudp_handler.core.send.one_way_syncs import OneWaySyncs
from batchudp_handler.core.send.outgoing import BaselineStream, OutgoingStream
from batchudp_handler.core.send.retry import SendFailure, backoff
from batchudp_handler.core.wire.sync import Sync

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchudp_handler.core.send.counters import SenderCounters
    from batchudp_handler.core.send.outgoing import SealedGroup
    from batchudp_handler.core.send.settings import SenderSettings
    from batchudp_handler.core.trace import Trace

__all__ = ["OneWayDelivery"]

NEW_SOCKET_AFTER = 3
"""Failures in a row after which the name should be looked up again."""


class _Datagram:
    """One datagram of a batch, or a SYNC (which belongs to no batch)."""

    __slots__ = ("attempts", "batch", "data", "is_last")

    def __init__(self, data: bytes, batch: SealedGroup | None, *, is_last: bool) -> None:
        self.data = data
        self.batch = batch
        self.is_last = is_last
        self.attempts = 0


class OneWayDelivery(Delivery):
    """Sends each datagram once, and again only if the own machine says that it did not leave."""

    def __init__(
        self,
        settings: SenderSettings,
        stream_id: int,
        stream: OutgoingStream | BaselineStream,
        counters: SenderCounters,
        random: Callable[[], float],
    ) -> None:
        super().__init__(settings, stream_id, stream, counters)
        self.buffer_dropped = 0
        """Records that never came here; the receiver is told."""
        self._random = random
        self._waiting: deque[_Datagram] = deque()
        self._outstanding: _Datagram | None = None
        self._previous: _Datagram | None = None
        self._failures = 0
        self._blocked_until = float("-inf")
        self._syncs = OneWaySyncs()
        self._unsent = 0
        """Sealed records that have not been sent for the first time."""
        self._dropped_unnumbered = 0
        """Records of batches that gave their numbers back: the receiver cannot miss them."""

    # commands

    def _on_records(self, now: float) -> None:
        if isinstance(self._stream, OutgoingStream):
            self._syncs.start(now)

    def note_dropped(self, records: int, now: float) -> None:
        """Tell the receiver soon how many records were dropped so far."""
        if records != self.buffer_dropped:
            self._syncs.tell_soon(now)
        self.buffer_dropped = records

    def _cut_again(self, size: int) -> None:
        too_big = [batch for batch in self._unfinished() if max(map(len, batch.datagrams)) > size]
        self._take_out(too_big)
        self._splitter.put_back([batch.source for batch in too_big if batch.source is not None])

    def close(self) -> None:
        """Send what is left, and two SYNCs that say so."""
        self._syncs.close()

    def give_up(self) -> None:
        """Count what has not been sent."""
        for batch in self._unfinished():
            self._drop(batch, "closed")
        self._splitter.drop_oldest(len(self._splitter), "closed")
        self._outstanding = self._previous = None
        self._syncs.end()

    def drop_oldest(self, limit: int, cause: str) -> None:
        """Drop about `limit` records, batch by batch, oldest first."""
        for batch in self._unfinished():
            if limit <= 0:
                return
            self._drop(batch, cause)
            limit -= batch.n_rec
        self._splitter.drop_oldest(limit, cause)

    # outputs

    def datagram_to_send(self, now: float) -> bytes | None:
        """Return the datagram to send now; the same one until its fate is told."""
        if self._outstanding is None:
            if now < self._blocked_until:
                return None
            self._outstanding = self._next(now)
            if self._outstanding is None:
                return None
        return self._outstanding.data

    def _next(self, now: float) -> _Datagram | None:
        if self._syncs.is_due(now):
            return self._sync(now)
        if not self._waiting and self._splitter.is_ready:
            self._seal_next(now)
        if self._waiting:
            return self._waiting.popleft()
        return self._sync(now) if self._syncs.is_goodbye_due(now) else None

    def _seal_next(self, now: float) -> None:
        made = self._splitter.next_sealed(
            lambda group: self._stream.seal_group(
                group.codec, group.bodies, len(group.snapshots), now
            )
        )
        if made is None:
            return
        source, batch = made
        batch.source = source
        self._unsent += batch.n_rec
        last = len(batch.datagrams) - 1
        for index, data in enumerate(batch.datagrams):
            self._waiting.append(_Datagram(data, batch, is_last=index == last))

    def _sync(self, now: float) -> _Datagram:
        assert isinstance(self._stream, OutgoingStream)
        closing = bool(self._syncs.goodbyes) and not self._waiting and not len(self._splitter)
        unsent = [each.batch for each in self._waiting if each.batch is not None]
        next_seq = unsent[0].first_seq if unsent else self._stream.next_seq
        next_rec = unsent[0].first_rec if unsent else self._stream.next_rec
        sync = Sync(
            next_seq=next_seq,
            floor=next_seq,
            next_rec=next_rec,
            closing=closing,
            max_datagram=self.max_datagram_size,
            dropped_records=self.buffer_dropped
            + self._dropped_unnumbered
            + self._splitter.dropped,
            promise_ms=0 if closing else int(self._syncs.interval * 1000),
        )
        return _Datagram(self._stream.seal_sync(sync, now), None, is_last=closing)

    def next_timeout(self) -> float | None:
        """Return when `datagram_to_send` may have something, if not at once."""
        if self.is_closed:
            return None
        if self._waiting or len(self._splitter):
            return self._blocked_until
        goodbye_at = self._syncs.goodbye_at
        due = self._syncs.at if goodbye_at is None else goodbye_at
        return None if due is None else max(due, self._blocked_until)

    # inputs

    def on_datagram_sent(self, now: float) -> None:
        """Note that the network took the datagram."""
        sent = self._outstanding
        assert sent is not None, "nothing was to be sent"
        self._outstanding = None
        self._previous = sent
        self._failures = 0
        counters = self.counters
        counters.datagrams_sent += 1
        counters.bytes_sent += len(sent.data)
        if self._trace is not None:
            self._tell_sent(self._trace, sent, now)
        if sent.batch is None:
            counters.syncs_sent += 1
            self._syncs.on_sent(now, is_goodbye=sent.is_last)
            return
        sent.batch.is_touched = True
        if sent.is_last and not sent.batch.is_counted:
            sent.batch.is_counted = True
            self._unsent -= sent.batch.n_rec
            counters.sent += sent.batch.n_rec
        self._syncs.on_data_sent(now)

    @staticmethod
    def _tell_sent(trace: Trace, sent: _Datagram, now: float) -> None:
        if sent.batch is None:
            trace(now, "sync_sent")
            return
        name = "datagram_retransmitted" if sent.attempts else "datagram_sent"
        group = sent.batch
        seq = group.first_seq + group.datagrams.index(sent.data)
        trace(now, name, seq=seq, size=len(sent.data), records=group.n_rec if sent.is_last else 0)

    def _on_refused(self, failure: SendFailure, now: float) -> None:
        self._failures += 1
        if self._trace is not None:
            self._trace(now, "send_failed", failure=failure.value)
        again = [self._outstanding] if self._outstanding is not None else []
        if failure is SendFailure.REFUSED and self._previous is not None:
            again.insert(0, self._previous)
            self._previous = None
        self._outstanding = None
        attempts = 0
        for datagram in reversed(again):
            attempts = max(attempts, self._try_again(datagram, now))
        self._blocked_until = now + backoff(max(attempts, 1), self._random)

    def _try_again(self, datagram: _Datagram, now: float) -> int:
        """Put a datagram in front of those that wait, or give it up; return its attempts."""
        if datagram.batch is None:
            self._syncs.on_refused(now, is_goodbye=datagram.is_last)
            return 1
        datagram.attempts += 1
        if datagram.batch.is_gone:
            return datagram.attempts
        if datagram.attempts > self._settings.max_retries:
            self._drop(datagram.batch, "send_failed")
        else:
            self.counters.retries += 1
            self._waiting.appendleft(datagram)
        return datagram.attempts

    def on_new_socket(self) -> None:
        """Note that the name was looked up again."""
        self._failures = 0
        self._previous = None
        self._blocked_until = float("-inf")

    # inside

    def _unfinished(self) -> list[SealedGroup]:
        """Return the batches of which a datagram is to be sent, oldest first."""
        datagrams = [] if self._outstanding is None else [self._outstanding]
        datagrams.extend(self._waiting)
        return list({id(each.batch): each.batch for each in datagrams if each.batch}.values())

    def _drop(self, batch: SealedGroup, cause: str) -> None:
        self.counters.drop(cause, batch.n_rec)
        if self._take_out([batch]):
            self._dropped_unnumbered += batch.n_rec

    def _take_out(self, batches: list[SealedGroup]) -> bool:
        """Forget the datagrams of some batches; return whether their numbers are free again."""
        self._waiting = deque(each for each in self._waiting if each.batch not in batches)
        if self._outstanding is not None and self._outstanding.batch in batches:
            self._outstanding = None
        is_retracted = True
        for batch in reversed(batches):
            batch.is_gone = True
            if batch.is_counted:
                self.counters.sent -= batch.n_rec
            else:
                self._unsent -= batch.n_rec
            is_retracted &= not batch.is_touched and self._stream.retract(batch)
        return is_retracted

    # getters

    @property
    def _outstanding_size(self) -> int:
        return 0 if self._outstanding is None else len(self._outstanding.data)

    @property
    def can_send(self) -> bool:
        """Whether more records may come."""
        return not len(self._splitter) and self._syncs.goodbyes is None

    @property
    def _appetite(self) -> int:
        # what is cut already is sent first
        if self._syncs.goodbyes is not None or self._waiting or self._outstanding:
            return 0
        if self._failures:  # one is enough to find out, and the others can be dropped one by one
            return 0 if len(self._splitter) else 1
        return self._splitter.appetite

    @property
    def is_stuck(self) -> bool:
        """Whether what is held cannot be sent just now."""
        return self._failures > 0

    @property
    def is_idle(self) -> bool:
        """Whether everything was sent or counted."""
        return not (self._waiting or self._outstanding or len(self._splitter))

    @property
    def is_closed(self) -> bool:
        """Whether the last SYNC is out."""
        return self._syncs.goodbyes == 0 and self.is_idle

    @property
    def wants_new_socket(self) -> bool:
        """Whether so many sends failed that the name should be looked up again."""
        return self._failures >= NEW_SOCKET_AFTER

    @property
    def pending_records(self) -> int:
        """Records that were accepted and are neither sent nor counted otherwise."""
        return len(self._splitter) + self._unsent

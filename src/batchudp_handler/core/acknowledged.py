"""How are datagrams sent until the receiver's handlers have had them?

    IDLE      nothing was ever to be sent
    SYNCING   asking for an answer, growing rarer; no DATA, because nobody may be there
    OPEN      DATA within the window; what is lost is sent again
    AWAY      the receiver has been silent or refused: as SYNCING, and the name is looked up again
    CLOSED    everything settled, or given up

A SYNC is the probe in every state in which something waits for an answer, so the side that is
blocked is never the only one with a timer. Three timers run while the stream is open: the loss
timer (a datagram that was overtaken becomes overdue), the probe timer (no progress for a while)
and the heartbeat.

Records are settled where the floor passes them. What is given up in between (expired, cut again
for a smaller path, lost from the spool) keeps its number until the floor reaches it, and SYNC
tells the receiver not to wait.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING

from batchudp_handler.core.black_hole import BASE_SIZE, BlackHoleDetector
from batchudp_handler.core.congestion import CongestionController
from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.peer import Peer, Verdict
from batchudp_handler.core.probe_timer import ProbeTimer
from batchudp_handler.core.retry import SendFailure, backoff
from batchudp_handler.core.rtt import RttEstimator
from batchudp_handler.core.send_window import (
    WINDOW_SIZE,
    DatagramState,
    RetainedDatagram,
    SendWindow,
)
from batchudp_handler.core.splitter import MAX_FRAGMENTS, fragments
from batchudp_handler.core.storage import Storage, StoragePolicy, StoredDatagram
from batchudp_handler.core.sync_schedule import SyncSchedule
from batchudp_handler.core.wire import Sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from batchudp_handler.core.outgoing import OutgoingStream, SealedGroup
    from batchudp_handler.core.send_window import AckOutcome
    from batchudp_handler.core.sender_counters import SenderCounters
    from batchudp_handler.core.splitter import Splitter
    from batchudp_handler.core.wire import Ack, Header

__all__ = ["AcknowledgedDelivery", "State"]

AWAY_AFTER_REFUSALS = 3
REFUSALS_WITHIN = 1.0

PROBED = 2
"""Datagrams sent again when the probe timer expires (RFC 9002 section 6.2.4 allows two)."""

FORGOTTEN_AFTER = 50.0
"""Seconds: a receiver never forgets a stream that it has heard of within 60."""

GOODBYES = 3
MAX_SPOOLED = 1 << 16
"""Datagrams above the floor, with a spool. Without one the receiver's window is the limit."""

PROMISE_MS = 12_500
"""The heartbeat, or the rarest probe with its jitter."""


class State(Enum):
    """Where the stream stands; see the head of this file."""

    IDLE = "idle"
    SYNCING = "syncing"
    OPEN = "open"
    AWAY = "away"
    CLOSED = "closed"


class AcknowledgedDelivery:
    """Keeps each datagram until the receiver says that it is final."""

    def __init__(
        self,
        stream: OutgoingStream,
        splitter: Splitter,
        counters: SenderCounters,
        *,
        max_datagram_size: int,
        max_retained_bytes: int,
        max_age: float | None,
        storage: StoragePolicy,
        random: Callable[[], float],
    ) -> None:
        self.state = State.IDLE
        self.window = SendWindow()
        self.rtt = RttEstimator()
        self.congestion = CongestionController(max_datagram_size)
        self.wants_new_socket = False
        self.suspected_size: int | None = None
        """A size that arrives where the one in use does not."""
        self._stream = stream
        self._splitter = splitter
        self._counters = counters
        self._size = max_datagram_size
        self._max_age = max_age
        self._random = random
        self._peer = Peer()
        self._storage = Storage(self.window, storage, max_retained_bytes)
        self._sync = SyncSchedule(random)
        self._black_hole = BlackHoleDetector()

        self._outstanding: RetainedDatagram | None = None
        self._outstanding_sync: bytes | None = None
        self._previous: RetainedDatagram | None = None
        self._probes: deque[RetainedDatagram] = deque()
        self._timer = ProbeTimer(self.rtt)

        # the socket's refusals
        self._failures = 0
        self._refusals: deque[float] = deque(maxlen=AWAY_AFTER_REFUSALS)
        self._blocked_until = float("-inf")

        # the SYNCs that answered a challenge, for a first sample of the round trip
        self._introductions = 0
        self._introduced_at = 0.0

        self._answered_at = float("inf")
        self._is_unproven = False
        self._unproven_order = 0
        self._unsettled_rejections = 0
        self._buffer_dropped = 0
        self._dropped_numbered = 0
        self._is_closing = False
        self._is_resumed = False
        self._goodbyes = 0

    # commands

    def on_records(self, now: float) -> None:
        """Note that the splitter has got records."""
        if self.state is State.IDLE:
            self.state = State.SYNCING
            self._sync.probe(now)

    def note_dropped(self, records: int, now: float) -> None:
        """Tell the receiver soon how many records were dropped so far."""
        if records != self._buffer_dropped and self.state is State.OPEN:
            self._sync.by(now + 1.0)
        self._buffer_dropped = records

    def reconfigure(
        self, *, max_retries: int, max_retained_bytes: int, max_age: float | None
    ) -> None:
        """Use other limits."""
        del max_retries  # nothing is dropped because it was refused
        self._storage.max_retained = max_retained_bytes
        self._max_age = max_age

    def set_max_datagram_size(self, size: int, now: float) -> None:
        """Use another size; what is sealed and too big is sealed again when its turn comes."""
        del now
        self._size = size
        self.suspected_size = None
        self._black_hole = BlackHoleDetector()
        self.congestion.set_datagram_size(size)
        self._outstanding = None
        for each in self.window:
            if each.size > size:
                self.window.requeue(each)

    def close(self, now: float) -> None:
        """Send what is left, and say goodbye when all of it is final."""
        self._is_closing = True
        if self.state is State.IDLE:
            self.state = State.CLOSED
        elif self.is_idle:
            self._sync.soon(now)

    def give_up(self, now: float) -> None:
        """Count what is not confirmed. What the spool has stays there for another process."""
        if self.state is State.CLOSED:
            return
        was_open = self.state is State.OPEN
        self._counters.drop("closed", self._splitter.clear())
        self._counters.unconfirmed += self.window.retained_records
        has_stored = bool(self.window.stored_records)
        self._outstanding = self._outstanding_sync = None
        for each in list(self.window):
            if not each.is_stored:
                self.window.abandon(each)
        self.state = State.CLOSED
        if was_open and not has_stored:
            # one last word, if the shell still sends: what is missing will not come
            self._outstanding_sync = self._seal_sync(now, closing=True)

    def resume(self, stored: Iterable[tuple[Header, int]], now: float) -> None:
        """Take up what another process left in the spool."""
        self._is_resumed = True
        for header, size in stored:
            if not len(self.window) and not self.window.next_seq:
                self.window = SendWindow(header.seq)
                self._storage = self._storage.for_window(self.window)
            self._resume_gap(header)
            is_last = header.frag_index == header.frag_count - 1
            each = RetainedDatagram(
                header.seq,
                records=header.n_rec if is_last else 0,
                n_rec=header.n_rec,
                end_rec=header.rec + header.n_rec,
                data=None,
                size=size,
                sealed=now,
            )
            each.is_stored = True
            self.window.append(each)
            self._stream.next_rec = each.end_rec
        self._stream.continue_at(self.window.next_seq, now)
        self.window.sent_end = self.window.next_seq
        self.window.sent_end_rec = self._stream.next_rec
        self.on_records(now)

    def _resume_gap(self, header: Header) -> None:
        """Number the datagrams that the spool has lost; nothing waits for them."""
        for seq in range(self.window.next_seq, header.seq):
            missing = RetainedDatagram(
                seq, records=0, n_rec=0, end_rec=header.rec, data=None, size=0, sealed=0.0
            )
            missing.state = DatagramState.ABANDONED
            self.window.append(missing)

    # outputs

    def datagram_to_send(self, now: float) -> bytes | None:
        """Return the datagram to send now; the same one until its fate is told."""
        if self._outstanding_sync is not None:
            return self._outstanding_sync
        if self._outstanding is not None and self._outstanding.data is not None:
            return self._outstanding.data
        if self.state in (State.IDLE, State.CLOSED) or now < self._blocked_until:
            return None
        if self._sync.is_due(now):
            self._outstanding_sync = self._seal_sync(now, closing=self._is_saying_goodbye)
            return self._outstanding_sync
        self._outstanding = self._next_data(now) if self.state is State.OPEN else None
        if self._outstanding is None:
            self._seal_ahead(now)
            return None
        return self._outstanding.data

    def _next_data(self, now: float) -> RetainedDatagram | None:
        while self._probes:
            probe = self._probes.popleft()
            if probe.state is DatagramState.IN_FLIGHT and probe.data is not None:
                return probe
        head = self._head(now)
        if head is None and len(self._splitter) and self._has_room and self._may_send_next():
            self._seal_next(now)
            head = self._head(now)
        return head if head is not None and self._may_send(head.size) else None

    def _may_send(self, size: int) -> bool:
        """Say whether the window has room; one datagram is always allowed, to ask for more."""
        in_flight = self.window.bytes_in_flight
        return not in_flight or in_flight + size <= min(self.congestion.window, self._peer.credit)

    def _may_send_next(self) -> bool:
        if self.window.peek() is not None:  # it waits for the spool, or for the receiver's window
            return False
        share = min(len(self._splitter) / self._splitter.full_batch, 1.0)
        return self._may_send(int(share * self._size))

    def _head(self, now: float) -> RetainedDatagram | None:
        """Return the oldest datagram to send, once its bytes are at hand and fit."""
        while True:
            head = self.window.peek()
            if head is None or head.data is None:
                return None
            if head.seq >= self._peer.floor + WINDOW_SIZE:
                return None
            if head.size <= self._size:
                return head
            if not self._reseal(head, now):
                return None

    def _seal_next(self, now: float) -> None:
        group = self._splitter.next_group()
        if group is not None:
            count = len(group.snapshots)
            self._append(self._stream.seal_group(group.codec, group.bodies, count, now), now)

    def _append(self, group: SealedGroup, now: float) -> None:
        last = len(group.datagrams) - 1
        for index, data in enumerate(group.datagrams):
            self.window.append(
                RetainedDatagram(
                    group.first_seq + index,
                    records=group.n_rec if index == last else 0,
                    n_rec=group.n_rec,
                    end_rec=group.first_rec + group.n_rec,
                    data=data,
                    size=len(data),
                    sealed=now,
                )
            )

    @property
    def _has_room(self) -> bool:
        limit = WINDOW_SIZE if self._storage.policy is StoragePolicy.OFF else MAX_SPOOLED
        return (
            len(self.window) < limit - MAX_FRAGMENTS
            and self.window.retained_bytes < self._storage.max_retained
        )

    @property
    def _should_seal_ahead(self) -> bool:
        """Say whether a datagram should be sealed that cannot be sent yet.

        A full one may as well be: compressed it takes less memory. A small one is worth it only
        where the spool can keep it if this process dies.
        """
        pending = len(self._splitter)
        if not pending or not self._has_room or self.state is State.CLOSED:
            return False
        is_stored_now = self._storage.is_needed(is_open=self.state is State.OPEN)
        return pending >= self._splitter.full_batch or is_stored_now

    def _seal_ahead(self, now: float) -> None:
        if self._should_seal_ahead:
            self._seal_next(now)

    def _reseal(self, head: RetainedDatagram, now: float) -> bool:
        """Cut the sealed bytes into fragments that fit, under new numbers.

        The records in them stay as they are encoded. The receiver may have had the old datagrams
        already: these are the only copies that no restart has caused.
        """
        group = self._group_of(head)
        if group is None:
            return False
        header, parts = group
        bodies = fragments(
            b"".join(self._stream.open_own(part.data or b"") for part in parts),
            self._size - self._stream.overhead,
        )
        if any(part.sent_count for part in parts):
            self._counters.resealed += header.n_rec
        for part in parts:
            self.window.abandon(part)
        if len(bodies) > MAX_FRAGMENTS:
            self._drop_numbered("oversize", header.n_rec)
        else:
            self._append(self._stream.seal_group(header.codec, bodies, header.n_rec, now), now)
        self._sync.soon(now)
        return True

    def _group_of(
        self, datagram: RetainedDatagram
    ) -> tuple[Header, list[RetainedDatagram]] | None:
        """Return all fragments that belong to a datagram; None while some are in the spool."""
        assert datagram.data is not None
        header = self._stream.header_of(datagram.data)
        first = datagram.seq - header.frag_index
        parts = [self.window.get(first + index) for index in range(header.frag_count)]
        known = [part for part in parts if part is not None]
        if len(known) < len(parts) or any(part.data is None for part in known):
            return None
        return header, known

    def _seal_sync(self, now: float, *, closing: bool) -> bytes:
        window = self.window
        dropped = sum(self._counters.dropped.values()) - self._dropped_numbered
        sync = Sync(
            next_seq=max(window.sent_end, window.floor),
            floor=window.floor,
            next_rec=window.sent_end_rec,
            acknowledged=True,
            closing=closing,
            resumed=self._is_resumed,
            max_datagram=self._size,
            dropped_records=self._buffer_dropped + dropped,
            receiver_epoch=self._peer.epoch,
            cookie=self._peer.cookie,
            promise_ms=0 if closing else PROMISE_MS,
        )
        return self._stream.seal_sync(sync, now)

    # timers

    def next_timeout(self) -> float | None:
        """Return when something is to be done; the past means that it is to be done now."""
        if self.state in (State.IDLE, State.CLOSED):
            return None
        times = [self._sync.at, self._expiry_time]
        if self.state is State.OPEN:
            times.append(self.window.loss_time(self.rtt.loss_delay))
            times.append(self._probe_time)
        if self._should_seal_ahead or self._is_ready_to_send:
            times.append(float("-inf"))
        first = min((time for time in times if time is not None), default=None)
        return None if first is None else max(first, self._blocked_until)

    @property
    def _is_ready_to_send(self) -> bool:
        """Say whether `datagram_to_send` would have DATA if it were called again."""
        if self.state is not State.OPEN:
            return False
        if self._probes:
            return True
        head = self.window.peek()
        if head is None:
            return bool(len(self._splitter)) and self._has_room and self._may_send_next()
        is_sendable = head.data is not None and head.seq < self._peer.floor + WINDOW_SIZE
        return is_sendable and self._may_send(min(head.size, self._size))

    @property
    def _probe_time(self) -> float | None:
        """Return when the lack of progress becomes suspicious."""
        if not (self.window.in_flight or self._waits_for_answer):
            return None
        return self._timer.time

    @property
    def _waits_for_answer(self) -> bool:
        """Say whether a SYNC should get an answer: all is held, the floor moved, goodbye."""
        if self._goodbyes or self.window.floor > self._peer.floor:
            return True
        return bool(len(self.window)) and self.window.peek() is None

    @property
    def _expiry_time(self) -> float | None:
        if self._max_age is None:
            return None
        oldest = self.window.get(self.window.floor)
        return None if oldest is None else oldest.sealed + self._max_age

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        if self.state in (State.IDLE, State.CLOSED):
            return
        self._expire(now)
        if self.state is not State.OPEN:
            return
        self._detect_lost(now)
        probe_time = self._probe_time
        if probe_time is not None and probe_time <= now:
            self._on_probe_timeout(now)

    def _expire(self, now: float) -> None:
        while True:
            time = self._expiry_time
            oldest = self.window.get(self.window.floor)
            if time is None or time > now or oldest is None:
                return
            self._drop_numbered("expired", oldest.records)
            self.window.abandon(oldest)
            self._sync.soon(now)

    def _on_probe_timeout(self, now: float) -> None:
        self._timer.on_expired(now)
        if self._timer.is_silent(now):
            self._go_away(now)
            return
        if self._black_hole.is_suspected(now):
            self.suspected_size = BASE_SIZE
        if self._goodbyes >= GOODBYES:
            self.state = State.CLOSED
            return
        # a receiver without room would only drop two
        self._probes.extend(self.window.oldest_unheld(PROBED if self._peer.credit else 1))
        if not self._probes or self._timer.silent_expiries % 2 == 0:
            self._sync.soon(now)

    def _detect_lost(self, now: float) -> None:
        lost = self.window.detect_lost(now, self.rtt.loss_delay)
        if lost:
            for each in lost:
                each.was_lost = True
            self.congestion.on_lost(lost[-1].order, self.window.next_order)

    def _go_away(self, now: float) -> None:
        self.state = State.AWAY
        self.wants_new_socket = True
        self._probes.clear()
        self._blocked_until = float("-inf")
        self._sync.probe(now)

    # inputs

    def on_datagram_sent(self, now: float) -> None:
        """Note that the network took the datagram."""
        counters = self._counters
        counters.datagrams_sent += 1
        self._timer.on_sent(now)
        if self._outstanding_sync is not None:
            counters.bytes_sent += len(self._outstanding_sync)
            counters.syncs_sent += 1
            self._outstanding_sync = None
            self._previous = None
            self._on_sync_sent(now)
            return
        sent = self._outstanding
        assert sent is not None, "nothing was to be sent"
        self._outstanding = None
        self._previous = sent
        self._timer.restart(now)
        counters.bytes_sent += sent.size
        counters.retransmissions += sent.sent_count > 0
        self._black_hole.on_sent(sent.size, now)
        self.window.on_sent(sent, now)

    def _on_sync_sent(self, now: float) -> None:
        self._sync.on_sent(now)
        if self._is_unproven:
            self._is_unproven = False
            self._unproven_order = self.window.next_order
        if self._peer.is_new:
            self._introductions += 1
            self._introduced_at = now
        if self._is_saying_goodbye and self.state is State.OPEN:
            self._goodbyes += 1
            self._timer.restart(now)

    def on_send_failed(self, failure: SendFailure, now: float) -> None:
        """Note that the socket refused the datagram (TOO_BIG is `set_max_datagram_size`)."""
        self._counters.fail(failure.value)
        self._failures += 1
        was_sync = self._outstanding_sync is not None
        self._outstanding = self._outstanding_sync = None
        self._blocked_until = now + backoff(self._failures, self._random)
        if failure is SendFailure.REFUSED:
            self._on_refused(now)
        elif failure is SendFailure.UNREACHABLE and self._failures >= AWAY_AFTER_REFUSALS:
            self._go_away_once(now)
        if was_sync and self.state is not State.OPEN:
            # the error belonged to the SYNC before; the probes have a rhythm of their own
            self._sync.on_refused(now)
            self._blocked_until = float("-inf")

    def _on_refused(self, now: float) -> None:
        if self._previous is not None:
            self.window.requeue(self._previous)
            self._previous = None
        self._refusals.append(now)
        is_burst = len(self._refusals) == AWAY_AFTER_REFUSALS
        if is_burst and now - self._refusals[0] <= REFUSALS_WITHIN:
            self._go_away_once(now)

    def _go_away_once(self, now: float) -> None:
        self.wants_new_socket = True
        if self.state is State.OPEN:
            self._go_away(now)

    def on_new_socket(self, now: float) -> None:
        """Note that the name was looked up again."""
        self.wants_new_socket = False
        self._failures = 0
        self._previous = None
        self._blocked_until = float("-inf")
        if self._sync.is_probing():
            self._sync.soon(now)

    def receive_datagram(self, data: bytes, now: float) -> None:
        """Take an answer; count anything else."""
        try:
            counter, ack = self._stream.open_ack(data)
        except DecodeError as error:
            self._counters.ignore(error.reason)
            return
        if self.state in (State.IDLE, State.CLOSED):
            self._counters.ignore(Reason.STALE)
        elif ack.cookie is not None:
            self._on_challenge(ack, now)
        else:
            self._on_ack(counter, ack, now)

    def _on_challenge(self, ack: Ack, now: float) -> None:
        is_news = ack.cookie != self._peer.cookie
        verdict = self._peer.on_challenge(ack)
        if verdict is Verdict.STALE:
            self._counters.ignore(Reason.STALE)
            return
        self._on_heard()
        if verdict is Verdict.NEW_RECEIVER:
            # counted here and not at its first ACK, which it may not live to send
            self._count_resent()
            self._introductions = 0
        elif now - self._answered_at > FORGOTTEN_AFTER:
            # the same receiver may have forgotten the stream, and with it what was not acked
            self._answered_at = now
            self._count_resent()
        if ack.receiver_epoch != self._peer.epoch:
            self.state = State.SYNCING
            self._probes.clear()
            if not self._sync.is_probing() or verdict is Verdict.NEW_RECEIVER:
                self._sync.probe(now)
        elif is_news:
            # another address: nothing that was sent from it was taken, or will be before the SYNC
            self._is_unproven = True
        self._sync.soon(now)

    def _on_ack(self, counter: int, ack: Ack, now: float) -> None:
        verdict = self._peer.judge(counter, ack)
        if verdict in (Verdict.STALE, Verdict.REPLAYED):
            self._counters.ignore(verdict.value)
            return
        if max(ack.floor, ack.floor + ack.bitmap.bit_length()) > self.window.sent_end:
            self._counters.ignore(Reason.SHAPE)
            return
        self._counters.acks_received += 1
        self._answered_at = now
        self._on_heard()
        if verdict is Verdict.NEW_RECEIVER:
            if self._introductions == 1:  # Karn's rule; only the SYNC can have caused this answer
                self.rtt.add_sample(now - self._introduced_at)
            self._begin_with_receiver(ack)
        elif self._peer.has_forgotten(ack):
            self._count_resent()
            self._begin_with_receiver(ack)
        in_flight = self.window.bytes_in_flight
        self._unsettled_rejections += self._peer.update(counter, ack)
        outcome = self.window.on_ack(ack.floor, ack.bitmap)
        self._requeue_unproven()
        self._settle(outcome)
        self._learn(outcome, in_flight, now)
        self._black_hole.on_answer(ack.credit)
        self._detect_lost(now)
        self._after_ack(ack, now)

    def _count_resent(self) -> None:
        self._counters.resent_to_new_receiver += sum(
            each.records
            for each in self.window
            if each.sent_count and each.state is not DatagramState.ABANDONED
        )

    def _begin_with_receiver(self, ack: Ack) -> None:
        """Nothing that was heard holds any more; all of it is sent again, oldest first."""
        self._peer.adopt(ack.receiver_epoch)
        self._unsettled_rejections = 0
        self.window.requeue_all()
        self.congestion.reset()

    def _on_heard(self) -> None:
        self._timer.on_heard()
        self._failures = 0
        self._refusals.clear()

    def _requeue_unproven(self) -> None:
        """Send again what was on its way when the receiver asked for a proof of our address.

        Without this a path that changes its address often is never used: each probe would find
        the proof out of date.
        """
        if self._unproven_order:
            for each in self.window.in_flight_datagrams():
                if each.order < self._unproven_order:
                    self.window.requeue(each)
            self._unproven_order = 0

    def _settle(self, outcome: AckOutcome) -> None:
        """Share out the records that the floor passed.

        The count of rejections may run ahead of the floor; in the end both have seen the same.
        """
        rejected = min(self._unsettled_rejections, outcome.final_records)
        self._unsettled_rejections -= rejected
        self._counters.rejected_by_receiver += rejected
        self._counters.confirmed += outcome.final_records - rejected

    def _learn(self, outcome: AckOutcome, in_flight: int, now: float) -> None:
        """Take round-trip time and window from what was acked."""
        if outcome.newest is not None and self.state is State.OPEN:
            self._take_sample(outcome.newest, now)
            self._doubt(outcome.newest, now)
        if outcome.progress:
            self._timer.on_progress(now)
        for each in outcome.acked:
            self._black_hole.on_acked(each.size)
            if each.was_lost:
                self._judge_loss(each, now)
        self.congestion.on_acked(outcome.acked_bytes, in_flight)

    def _take_sample(self, newest: RetainedDatagram, now: float) -> None:
        elapsed = now - newest.last_sent
        if newest.sent_count > 1:
            if not self.rtt.is_answer_to_earlier(elapsed):
                self.rtt.add_lower_bound(elapsed)
        elif self._timer.is_backed_off:
            self.rtt.add_late_sample(elapsed)
        else:
            self.rtt.add_sample(elapsed)

    def _doubt(self, newest: RetainedDatagram, now: float) -> None:
        """Do not take the rest of the window for lost because a probe of its first was answered.

        If the path has become slower, what was answered is not the probe, and the answers to the
        rest are on their way.
        """
        is_doubtful = newest.sent_count > 1 and self._timer.is_backed_off
        self.rtt.doubt = now - newest.first_sent if is_doubtful else 0.0

    def _judge_loss(self, datagram: RetainedDatagram, now: float) -> None:
        is_unsent = datagram.sent_count < 2
        if is_unsent or self.rtt.is_answer_to_earlier(now - datagram.last_sent):
            self._counters.spurious += not is_unsent
            self.rtt.on_spurious_loss()
        else:
            self.rtt.on_true_loss()

    def _after_ack(self, ack: Ack, now: float) -> None:
        if ack.closing:
            # it finishes what it has and reads nothing more
            if self.state is State.OPEN:
                self._go_away(now)
        elif self.state is not State.OPEN:
            self._open(now)
        is_told = self.window.floor <= self._peer.floor
        if not is_told and self._sync.is_older_than(self.rtt.probe_timeout(), now):
            self._sync.soon(now)
        if self._goodbyes:
            self.state = State.CLOSED
        elif self._is_saying_goodbye:
            self._sync.soon(now)

    def _open(self, now: float) -> None:
        if self.state is State.AWAY:
            for each in self.window.in_flight_datagrams():
                self.window.requeue(each)
            self.congestion.reset()
            self.rtt.doubt = 0.0
        self.state = State.OPEN
        self.wants_new_socket = False
        self._timer.on_progress(now)
        self._blocked_until = float("-inf")
        self._sync.beat(now)

    # the spool

    def datagrams_to_store(self, now: float) -> list[StoredDatagram]:
        """Return the next datagrams for the spool."""
        return self._storage.to_store(now, is_open=self.state is State.OPEN)

    def on_stored(self, seqs: Iterable[int]) -> None:
        """Note what the spool has."""
        self._storage.on_stored(seqs)

    def on_store_failed(self, now: float) -> None:
        """Note that the spool takes nothing."""
        self._storage.on_store_failed(now)

    def datagrams_to_load(self) -> list[int]:
        """Return the numbers whose bytes are wanted back."""
        return self._storage.to_load() if self.state is State.OPEN else []

    def on_loaded(self, seq: int, data: bytes | None) -> None:
        """Take bytes back from the spool, or learn that they are lost."""
        datagram = self.window.get(seq)
        if datagram is None or datagram.data is not None:
            return
        if data is None:
            self._drop_group(datagram, "spool_corrupt")
        else:
            self.window.load(datagram, data)

    def on_spool_dropped(self, first_seq: int, last_seq: int) -> None:
        """Give up what the spool has deleted and memory has not."""
        for seq in range(max(first_seq, self.window.floor), last_seq + 1):
            datagram = self.window.get(seq)
            if datagram is not None and datagram.data is None:
                self._drop_group(datagram, "spool_full")

    def _drop_group(self, datagram: RetainedDatagram, cause: str) -> None:
        """Give up a datagram and, if it is a fragment, the rest of its record."""
        if datagram.state is DatagramState.ABANDONED:
            return
        for seq in self._numbers_of_group(datagram):
            part = self.window.get(seq)
            if part is not None and part.state is not DatagramState.ABANDONED:
                self._drop_numbered(cause, part.records)
                self.window.abandon(part)
        if self.state is State.OPEN:
            self._sync.by(float("-inf"))

    def _numbers_of_group(self, datagram: RetainedDatagram) -> range:
        """Return the numbers that carry the same records: neighbours with the same ordinal."""
        first = last = datagram.seq
        while self._has_end_rec(first - 1, datagram.end_rec):
            first -= 1
        while self._has_end_rec(last + 1, datagram.end_rec):
            last += 1
        return range(first, last + 1)

    def _has_end_rec(self, seq: int, end_rec: int) -> bool:
        datagram = self.window.get(seq)
        return datagram is not None and datagram.end_rec == end_rec

    def _drop_numbered(self, cause: str, records: int) -> None:
        self._counters.drop(cause, records)
        self._dropped_numbered += records

    # getters

    @property
    def _is_saying_goodbye(self) -> bool:
        return self._is_closing and self.is_idle

    @property
    def outstanding_size(self) -> int:
        """Bytes of the datagram whose fate is not known."""
        if self._outstanding_sync is not None:
            return len(self._outstanding_sync)
        return 0 if self._outstanding is None else self._outstanding.size

    @property
    def can_send(self) -> bool:
        """Say whether more records may come."""
        if self._is_closing or self.state is State.CLOSED:
            return False
        return len(self._splitter) < self._splitter.full_batch

    @property
    def is_idle(self) -> bool:
        """Say whether everything is settled."""
        return not len(self.window) and not len(self._splitter)

    @property
    def is_closed(self) -> bool:
        """Say whether nothing more is to be done."""
        return self.state is State.CLOSED

    @property
    def is_away(self) -> bool:
        """Say whether nobody has answered for a while."""
        return self.state is State.AWAY

    @property
    def pending_records(self) -> int:
        """Records that are not sealed yet."""
        return len(self._splitter)

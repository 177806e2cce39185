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

Records are settled where the floor passes them. What is given up in between (no room, cut again
for a smaller path, lost from the spool) keeps its number until the floor reaches it, and SYNC
tells the receiver not to wait.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.send.alternation import Alternation
from batchudp_handler.core.send.delivery import Delivery
from batchudp_handler.core.send.outbox import Outbox
from batchudp_handler.core.send.path import Path
from batchudp_handler.core.send.peer import Peer, Verdict
from batchudp_handler.core.send.retry import SendFailure, SocketTrouble
from batchudp_handler.core.send.storage import StoragePolicy
from batchudp_handler.core.send.sync_schedule import SyncSchedule
from batchudp_handler.core.send.window import DatagramState
from batchudp_handler.core.wire.constants import WINDOW_SIZE
from batchudp_handler.core.wire.datagram import Sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from batchudp_handler.core.send.counters import SenderCounters
    from batchudp_handler.core.send.delivery import DeliveryLimits
    from batchudp_handler.core.send.outgoing import OutgoingStream
    from batchudp_handler.core.send.splitter import Splitter
    from batchudp_handler.core.send.storage import StoredDatagram
    from batchudp_handler.core.send.window import AckOutcome, RetainedDatagram, SendWindow
    from batchudp_handler.core.wire.datagram import Ack, Header

__all__ = ["AcknowledgedDelivery", "State"]

PROBED = 2
"""Datagrams sent again when the probe timer expires (RFC 9002 section 6.2.4 allows two)."""

FORGOTTEN_AFTER = 50.0
"""Seconds: a receiver never forgets a stream that it has heard of within 60."""

GOODBYES = 3
PROMISE_MS = 12_500
"""The heartbeat, or the rarest probe with its jitter."""


class State(Enum):
    """Where the stream stands; see the head of this file."""

    IDLE = "idle"
    SYNCING = "syncing"
    OPEN = "open"
    AWAY = "away"
    CLOSED = "closed"


class AcknowledgedDelivery(Delivery):
    """Keeps each datagram until the receiver says that it is final."""

    def __init__(
        self,
        stream: OutgoingStream,
        splitter: Splitter,
        counters: SenderCounters,
        limits: DeliveryLimits,
        *,
        max_datagram_size: int,
        storage: StoragePolicy,
        random: Callable[[], float],
    ) -> None:
        super().__init__(splitter, counters, limits)
        self._outbox = Outbox(
            stream,
            splitter,
            counters,
            max_datagram_size=max_datagram_size,
            max_retained_bytes=limits.max_retained_bytes,
            storage=storage,
        )
        self.state = State.IDLE
        self._wants_new_socket = False
        self._stream = stream
        self._random = random
        self._peer = Peer()
        self._alternation = Alternation()
        self._sync = SyncSchedule(random)
        self._path = Path(counters, max_datagram_size)
        self._timer = self._path.timer
        self._trouble = SocketTrouble(random)

        self._outstanding: RetainedDatagram | None = None
        self._outstanding_sync: bytes | None = None
        self._previous: RetainedDatagram | None = None
        self._probes: deque[RetainedDatagram] = deque()

        # the SYNCs that answered a challenge, for a first sample of the round trip
        self._introductions = 0
        self._introduced_at = 0.0

        self._answered_at = float("inf")
        self._is_unproven = False
        self._unproven_order = 0
        self._unsettled_rejections = 0
        self._buffer_dropped = 0
        self._is_closing = False
        self._has_last_word = False
        """A last SYNC is to be sent, although the stream was given up."""
        self._goodbyes = 0

    @property
    def window(self) -> SendWindow:
        """What is sealed and not settled."""
        return self._outbox.window

    # commands

    def on_records(self, now: float) -> None:
        """Note that the splitter has got records."""
        if self.state is State.IDLE:
            self.state = State.SYNCING
            self._sync.probe(now)

    def look_for_receiver(self, now: float) -> None:
        """Ask whether a receiver is there, for records that are not wanted before it is."""
        self.on_records(now)

    def note_dropped(self, records: int, now: float) -> None:
        """Tell the receiver soon how many records were dropped so far."""
        if records != self._buffer_dropped and self.state is State.OPEN:
            self._sync.by(now + 1.0)
        self._buffer_dropped = records

    def reconfigure(self, limits: DeliveryLimits) -> None:
        """Use other limits from now on."""
        super().reconfigure(limits)
        self._outbox.storage.max_retained = limits.max_retained_bytes

    def drop_oldest(self, limit: int, cause: str) -> None:
        """Give up about so many records, datagram by datagram, oldest first.

        To be called while nobody answers: SYNC tells the next receiver where the rest begins.
        """
        self._outbox.drop_oldest(limit, cause)

    def set_max_datagram_size(self, size: int) -> None:
        """Use another size; what is sealed and too big is sealed again when its turn comes."""
        self._outbox.set_size(size)
        self._outstanding = None
        self.suspected_size = None
        self._path.set_datagram_size(size)

    def close(self) -> None:
        """Send what is left, and say goodbye when all of it is final."""
        self._is_closing = True
        if self.state is State.IDLE:
            self.state = State.CLOSED
        elif self.is_idle:
            self._sync.soon()

    def give_up(self) -> None:
        """Count what is not confirmed. What the spool has stays there for another process."""
        if self.state is State.CLOSED:
            return
        was_open = self.state is State.OPEN
        has_stored = bool(self.window.stored_records)
        self._outstanding = self._outstanding_sync = None
        self._outbox.give_up()
        self.state = State.CLOSED
        if was_open and not has_stored:
            # one last word, if the shell still sends: what is missing will not come
            self._has_last_word = True

    def resume(self, stored: Iterable[tuple[Header, int]], now: float) -> None:
        """Take up what another process left in the spool."""
        self._outbox.resume(stored, now)
        self.on_records(now)

    # outputs

    def datagram_to_send(self, now: float) -> bytes | None:
        """Return the datagram to send now; the same one until its fate is told."""
        if self._outstanding_sync is not None:
            return self._outstanding_sync
        if self._outstanding is not None and self._outstanding.data is not None:
            return self._outstanding.data
        if self._has_last_word:
            self._has_last_word = False
            self._outstanding_sync = self._seal_sync(now, closing=True)
            return self._outstanding_sync
        if self.state in (State.IDLE, State.CLOSED) or now < self._trouble.blocked_until:
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
        if head is None and self._may_send_next():
            self._outbox.seal_next(now)
            head = self._head(now)
        return head if head is not None and self._may_send(head.size) else None

    def _head(self, now: float) -> RetainedDatagram | None:
        floor = self.window.floor
        head = self._outbox.head(self._peer.floor + WINDOW_SIZE, now)
        if self.window.floor > floor:  # something was cut smaller
            self._sync.soon()
        return head

    def _may_send(self, size: int) -> bool:
        """Say whether the window has room; one datagram is always allowed, to ask for more."""
        in_flight = self.window.bytes_in_flight
        return not in_flight or in_flight + size <= min(
            self._path.congestion.window, self._peer.credit
        )

    def _may_send_next(self) -> bool:
        """Say whether a datagram that is sealed now could be sent now."""
        if not self._splitter.is_ready or not self._outbox.has_room:
            return False
        # one that waits already waits for the spool, or for the receiver's window
        return self.window.peek() is None and self._may_send(self._outbox.next_size)

    def _seal_ahead(self, now: float) -> None:
        if self._outbox.should_seal_ahead(is_open=self.state is State.OPEN):
            self._outbox.seal_next(now)

    def _seal_sync(self, now: float, *, closing: bool) -> bytes:
        window = self.window
        sync = Sync(
            next_seq=max(window.sent_end, window.floor),
            floor=window.floor,
            next_rec=window.sent_end_rec,
            acknowledged=True,
            closing=closing,
            resumed=self._outbox.is_resumed,
            max_datagram=self._outbox.size,
            dropped_records=self._buffer_dropped + self._splitter.dropped,
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
        times = [self._sync.at]
        if self.state is State.OPEN:
            times.append(self.window.loss_time(self._path.rtt.loss_delay))
            times.append(self._probe_time)
        is_open = self.state is State.OPEN
        if self._is_ready_to_send or self._outbox.should_seal_ahead(is_open=is_open):
            times.append(float("-inf"))
        first = min((time for time in times if time is not None), default=None)
        return None if first is None else max(first, self._trouble.blocked_until)

    @property
    def _is_ready_to_send(self) -> bool:
        """Say whether `datagram_to_send` would have DATA if it were called again."""
        if self.state is not State.OPEN:
            return False
        if self._probes:
            return True
        head = self.window.peek()
        if head is None:
            return self._may_send_next()
        is_sendable = head.data is not None and head.seq < self._peer.floor + WINDOW_SIZE
        return is_sendable and self._may_send(min(head.size, self._outbox.size))

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

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        if self.state is not State.OPEN:
            return
        self._path.detect_lost(self.window, now)
        probe_time = self._probe_time
        if probe_time is not None and probe_time <= now:
            self._on_probe_timeout(now)

    def _on_probe_timeout(self, now: float) -> None:
        self._timer.on_expired(now)
        if self._timer.is_silent(now):
            self._go_away(now)
            return
        self.suspected_size = self._path.black_hole.suspected_size(now)
        if self._goodbyes >= GOODBYES:
            self.state = State.CLOSED
            return
        # a receiver without room would only drop two
        self._probes.extend(self.window.oldest_unheld(PROBED if self._peer.credit else 1))
        if not self._probes or self._timer.silent_expiries % 2 == 0:
            self._sync.soon()

    def _go_away(self, now: float) -> None:
        self.state = State.AWAY
        self._wants_new_socket = True
        self._probes.clear()
        self._trouble.unblock()
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
        self._path.on_sent(sent, now)
        counters.bytes_sent += sent.size
        counters.retransmissions += sent.sent_count > 0
        self.window.on_sent(sent, now)

    def _on_sync_sent(self, now: float) -> None:
        self._sync.on_sent(now)
        if self._peer.unanswered_since is None:
            self._peer.unanswered_since = now
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
        was_sync = self._outstanding_sync is not None
        self._outstanding = self._outstanding_sync = None
        is_gone = self._trouble.on_failure(failure, now)
        if failure is SendFailure.REFUSED and self._previous is not None:
            self.window.requeue(self._previous)
            self._previous = None
        if is_gone:
            self._wants_new_socket = True
            if self.state is State.OPEN:
                self._go_away(now)
        if was_sync and self.state is not State.OPEN:
            # the error belonged to the SYNC before; the probes have a rhythm of their own
            self._sync.on_refused(now)
            self._trouble.unblock()

    def on_new_socket(self) -> None:
        """Note that the name was looked up again."""
        self._wants_new_socket = False
        self._previous = None
        self._trouble = SocketTrouble(self._random)
        if self._sync.is_probing():
            self._sync.soon()

    def receive_datagram(self, data: bytes, now: float) -> None:
        """Take an answer; count anything else."""
        try:
            counter, ack = self._stream.open_ack(data)
        except DecodeError as error:
            self._counters.ignore(error.reason)
            return
        self._alternation.on_answer(ack.receiver_epoch, now)
        if self._alternation.is_suspected:
            self._sync.by(now + 0.25)  # from it the receivers learn that they are several
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
        self._sync.soon()

    def _on_ack(self, counter: int, ack: Ack, now: float) -> None:
        verdict = self._peer.judge(counter, ack)
        if verdict in (Verdict.STALE, Verdict.REPLAYED):
            self._counters.ignore(verdict.value)
            return
        if self._outbox.is_resumed:
            ack = _within(ack, self.window.sent_end)
        if max(ack.floor, ack.floor + ack.bitmap.bit_length()) > self.window.sent_end:
            self._counters.ignore(Reason.SHAPE)
            return
        self._counters.acks_received += 1
        self._answered_at = now
        self._on_heard()
        if verdict is Verdict.NEW_RECEIVER:
            if self._introductions == 1:  # Karn's rule; only the SYNC can have caused this answer
                self._path.rtt.add_sample(now - self._introduced_at)
            self._begin_with_receiver(ack)
        elif self._peer.has_forgotten(ack):
            self._count_resent()
            self._begin_with_receiver(ack)
        in_flight = self.window.bytes_in_flight
        self._unsettled_rejections += self._peer.update(counter, ack)
        outcome = self.window.on_ack(ack.floor, ack.bitmap)
        self._requeue_unproven()
        self._settle(outcome)
        is_open = self.state is State.OPEN
        self._path.on_acked(outcome, in_flight, now, is_open=is_open)
        self._path.black_hole.on_answer(ack.credit)
        self._path.detect_lost(self.window, now)
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
        self._path.restart()

    def _on_heard(self) -> None:
        self._peer.unanswered_since = None
        self._timer.on_heard()
        self._trouble.on_heard()

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

    def _after_ack(self, ack: Ack, now: float) -> None:
        if ack.closing:
            # it finishes what it has and reads nothing more, or has no place for one more stream
            if self.state is State.OPEN:
                self._go_away(now)
        elif self.state is not State.OPEN:
            self._open(now)
        is_told = self.window.floor <= self._peer.floor
        if not is_told and self._sync.is_older_than(self._path.rtt.probe_timeout(), now):
            self._sync.soon()
        if self._goodbyes:
            self.state = State.CLOSED
        elif self._is_saying_goodbye:
            self._sync.soon()

    def _open(self, now: float) -> None:
        if self.state is State.AWAY:
            for each in self.window.in_flight_datagrams():
                self.window.requeue(each)
            self._path.restart()
        self.state = State.OPEN
        self._wants_new_socket = False
        self._timer.on_progress(now)
        self._trouble.unblock()
        self._sync.beat(now)

    # the spool

    def datagrams_to_store(self, now: float) -> list[StoredDatagram]:
        """Return the next datagrams for the spool, sealed for it if need be."""
        is_open = self.state is State.OPEN
        return self._outbox.to_store(now, is_open=is_open)

    def store_everything(self) -> None:
        """Have all that is not confirmed stored: this process is about to end."""
        self._outbox.storage.take_all()

    def on_stored(self, seqs: Iterable[int]) -> None:
        """Note what the spool has."""
        self._outbox.storage.on_stored(seqs)

    def on_store_failed(self, now: float) -> None:
        """Note that the spool takes nothing."""
        self._outbox.storage.on_store_failed(now)

    def datagrams_to_load(self) -> list[int]:
        """Return the numbers whose bytes are wanted back."""
        return self._outbox.storage.to_load() if self.state is State.OPEN else []

    def on_loaded(self, seq: int, data: bytes | None) -> None:
        """Take bytes back from the spool, or learn that they are lost."""
        self._outbox.on_loaded(seq, data)
        self._tell_floor()

    def store_again(self) -> None:
        """Offer again what memory has: somebody has removed the spool."""
        self._outbox.storage.start_over()

    def on_spool_dropped(self, first_seq: int, last_seq: int, cause: str) -> None:
        """Give up what the spool has deleted and memory has not."""
        self._outbox.on_spool_dropped(first_seq, last_seq, cause)
        self._tell_floor()

    def _tell_floor(self) -> None:
        if self.state is State.OPEN and self.window.floor > self._peer.floor:
            self._sync.soon()

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
    def wanted_records(self) -> int:
        """How many more records are of use now.

        None while nobody answers and no spool takes them: where they wait they can be dropped
        one by one.
        """
        has_spool = self._outbox.storage.policy is not StoragePolicy.OFF
        if not self.can_send or not (self.state is State.OPEN or has_spool):
            return 0
        return self._splitter.appetite

    @property
    def is_stuck(self) -> bool:
        """Say whether what is held cannot be sent just now."""
        return self.state in (State.SYNCING, State.AWAY)

    @property
    def is_idle(self) -> bool:
        """Say whether everything is settled."""
        return not len(self.window) and not len(self._splitter)

    @property
    def is_closed(self) -> bool:
        """Say whether nothing more is to be done."""
        return self.state is State.CLOSED

    @property
    def wants_new_socket(self) -> bool:
        """Whether the receiver's name should be looked up again."""
        return self._wants_new_socket

    @property
    def is_away(self) -> bool:
        """Say whether nobody has answered for a while."""
        return self.state is State.AWAY

    @property
    def pending_records(self) -> int:
        """Records that are not sealed yet."""
        return len(self._splitter)

    @property
    def floor(self) -> int:
        """The number below which every datagram is settled."""
        return self.window.floor

    @property
    def retained_records(self) -> int:
        """The number of records that are sealed and not settled, in memory."""
        return self.window.retained_records

    @property
    def retained_bytes(self) -> int:
        """The size of the sealed datagrams in memory."""
        return self.window.retained_bytes

    @property
    def spooled_records(self) -> int:
        """The number of records that are sealed and not settled, in the spool."""
        return self.window.stored_records

    @property
    def bytes_in_flight(self) -> int:
        """The bytes that were sent and are neither acked nor lost."""
        return self.window.bytes_in_flight

    @property
    def unanswered_since(self) -> float | None:
        """When the receiver was asked for the first time since it was last heard."""
        return self._peer.unanswered_since

    @property
    def finds_no_place(self) -> bool:
        """Whether the receiver answers that it follows as many streams as it can."""
        return self._peer.has_no_place

    @property
    def meets_two_receivers(self) -> bool:
        """Whether two receivers share what is sent to one address."""
        return self._alternation.is_suspected

    @property
    def alternations(self) -> int:
        """How often a receiver answered after another one had, although that one lives."""
        return self._alternation.count

    @property
    def rtt(self) -> float | None:
        """The smoothed round-trip time in seconds; None until measured."""
        return self._path.rtt.smoothed

    @property
    def congestion_window(self) -> int:
        """The bytes that may be in flight, the receiver's credit left aside."""
        return self._path.congestion.window


def _within(ack: Ack, end: int) -> Ack:
    """Leave out datagrams that a dead process sent from memory and the spool never had."""
    floor = min(ack.floor, end)
    bitmap = ack.bitmap & ((1 << (end - floor)) - 1) if floor == ack.floor else 0
    return replace(ack, floor=floor, bitmap=bitmap)

"""Acknowledged delivery: datagrams are sent until the receiver's handlers have had them.

A SYNC is the probe in every state in which something waits for an answer (see `states`), so the
side that is blocked is never the only one with a timer. Three timers run while the stream is open:
the loss timer (a datagram that was overtaken becomes overdue), the probe timer (no progress for a
while) and the heartbeat.

Records are settled where the floor passes them. What is given up in between (no room, cut again
for a smaller path, lost from the spool) keeps its number until the floor reaches it, and SYNC
tells the receiver not to wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchudp_handler.core.send.answers import Answers
from batchudp_handler.core.send.connection import Connection
from batchudp_handler.core.send.delivery import Delivery
from batchudp_handler.core.send.outbox import Outbox
from batchudp_handler.core.send.retry import SendFailure, SocketTrouble
from batchudp_handler.core.send.states import Event, State
from batchudp_handler.core.send.storage import StoragePolicy
from batchudp_handler.core.send.sync_sender import GOODBYES, SyncSender
from batchudp_handler.core.send.transmitter import Transmitter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from batchudp_handler.core.send.counters import SenderCounters
    from batchudp_handler.core.send.outgoing import OutgoingStream
    from batchudp_handler.core.send.settings import SenderSettings
    from batchudp_handler.core.send.storage import StoredDatagram
    from batchudp_handler.core.send.window import SendWindow
    from batchudp_handler.core.wire.datagram import Header

__all__ = ["AcknowledgedDelivery"]

DROPS_ARE_TOLD_WITHIN = 1.0
"""Seconds until the receiver is told of records that were dropped."""


class AcknowledgedDelivery(Delivery):
    """Keeps each datagram until the receiver says that it is final."""

    def __init__(
        self,
        settings: SenderSettings,
        stream_id: int,
        stream: OutgoingStream,
        counters: SenderCounters,
        random: Callable[[], float],
    ) -> None:
        super().__init__(settings, stream_id, stream, counters)
        self._random = random
        self._outbox = Outbox(
            stream,
            self._splitter,
            counters,
            max_datagram_size=settings.max_datagram_size,
            max_retained_bytes=settings.max_retained_bytes,
            storage=settings.storage,
        )
        self._connection = Connection(stream, self._outbox, counters, random, self._trace)
        self._state = self._connection.state
        self._sync_sender = SyncSender(self._connection)
        self._transmitter = Transmitter(self._connection)
        self._answers = Answers(self._connection)
        self._now = 0.0
        """The time that was told last."""

    @property
    def window(self) -> SendWindow:
        """What is sealed and not settled."""
        return self._outbox.window

    # commands

    def _on_records(self, now: float) -> None:
        if self._state.on(Event.RECORDS, now):
            self._connection.syncs.probe(now)

    def look_for_receiver(self, now: float, wall: float) -> None:
        """Ask whether a receiver is there, for records that are not wanted before it is."""
        super().look_for_receiver(now, wall)
        self._on_records(now)

    def note_dropped(self, records: int, now: float) -> None:
        """Tell the receiver soon how many records were dropped before they came here."""
        if records != self._sync_sender.buffer_dropped and self._state.is_open:
            self._connection.syncs.by(now + DROPS_ARE_TOLD_WITHIN)
        self._sync_sender.buffer_dropped = records

    def reconfigure(self, settings: SenderSettings) -> None:
        """Use other settings from the next datagram on; nothing that waits is lost."""
        super().reconfigure(settings)
        self._outbox.storage.max_retained = settings.max_retained_bytes

    def drop_oldest(self, limit: int, cause: str) -> None:
        """Drop about `limit` records, datagram by datagram, oldest first.

        To be called while nobody answers: SYNC tells the next receiver where the rest begins.
        """
        self._outbox.drop_oldest(limit, cause)

    def _cut_again(self, size: int) -> None:
        self._outbox.set_size(size)
        self._transmitter.outstanding = None
        self._connection.path.set_datagram_size(size)

    def resume(self, stored: Iterable[tuple[Header, int]], now: float, wall: float) -> None:
        """Take up what another process left in the spool."""
        self._stream.clock_offset = wall - now
        self._outbox.resume(stored, now)
        self._on_records(now)

    def close(self) -> None:
        """Send what is left, and say goodbye when all of it is final."""
        self._connection.is_closing = True
        self._state.on(Event.CLOSE, self._now)
        if self._state.is_running and self.is_idle:
            self._connection.syncs.soon()

    def give_up(self) -> None:
        """Count what is not confirmed. What the spool has stays there for another process."""
        if self.is_closed:
            return
        # one last word, if the shell still sends: what is missing will not come
        self._sync_sender.has_last_word = self._state.is_open and not self.window.stored_records
        self._transmitter.outstanding = self._sync_sender.outstanding = None
        self._outbox.give_up()
        self._state.on(Event.GIVE_UP, self._now)

    # outputs

    def datagram_to_send(self, now: float) -> bytes | None:
        """Return the datagram to send now; the same one until its fate is told."""
        self._now = now
        outstanding = self._sync_sender.outstanding or self._transmitter.outstanding_data
        if outstanding is not None:
            return outstanding
        if self._sync_sender.has_last_word:
            return self._sync_sender.next(now)
        if not self._state.is_running or now < self._connection.trouble.blocked_until:
            return None
        return self._sync_sender.next(now) or self._transmitter.next(now)

    # timers

    def next_timeout(self) -> float | None:
        """Return when something is to be done; the past means now."""
        if not self._state.is_running:
            return None
        connection = self._connection
        times = [connection.syncs.at]
        if self._state.is_open:
            times.append(self.window.loss_time(connection.path.rtt.loss_delay))
            times.append(self._probe_time)
        if self._transmitter.is_ready:
            times.append(float("-inf"))
        first = min((time for time in times if time is not None), default=None)
        return None if first is None else max(first, connection.trouble.blocked_until)

    @property
    def _probe_time(self) -> float | None:
        """When the lack of progress becomes suspicious."""
        if not (self.window.in_flight or self._waits_for_answer):
            return None
        return self._connection.path.timer.time

    @property
    def _waits_for_answer(self) -> bool:
        """Whether a SYNC should get an answer: all is held, the floor moved, goodbye."""
        if self._connection.goodbyes or self._connection.has_untold_floor:
            return True
        return bool(len(self.window)) and self.window.peek() is None

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        self._now = now
        if not self._state.is_open:
            return
        self._connection.detect_lost(now)
        probe_time = self._probe_time
        if probe_time is not None and probe_time <= now:
            self._on_probe_timeout(now)

    def _on_probe_timeout(self, now: float) -> None:
        connection, timer = self._connection, self._connection.path.timer
        timer.on_expired(now)
        if connection.trace is not None:
            connection.trace(now, "probe_timeout", expiries=timer.silent_expiries)
        if timer.is_silent(now):
            connection.leave(Event.SILENCE, now)
            return
        size = connection.path.black_hole.suspected_size(now)
        if connection.goodbyes >= GOODBYES:
            self._state.on(Event.FAREWELL, now)
            return
        if not self._transmitter.probe() or timer.silent_expiries % 2 == 0:
            connection.syncs.soon()
        if size is not None and size < self.max_datagram_size:
            self._use_size(size)  # large datagrams do not arrive

    # inputs

    def on_datagram_sent(self, now: float) -> None:
        """Note that the network took the datagram."""
        self.counters.datagrams_sent += 1
        self._connection.path.timer.on_sent(now)
        if self._sync_sender.outstanding is None:
            self._transmitter.on_sent(now)
        else:
            self._transmitter.forget_previous()
            self._sync_sender.on_sent(now)

    def _on_refused(self, failure: SendFailure, now: float) -> None:
        connection = self._connection
        was_sync = self._sync_sender.outstanding is not None
        self._transmitter.outstanding = self._sync_sender.outstanding = None
        is_gone = connection.trouble.on_failure(failure, now)
        if failure is SendFailure.REFUSED:
            self._transmitter.send_previous_again()
        if is_gone:
            connection.wants_new_socket = True
            connection.leave(Event.UNREACHABLE, now)
        if was_sync and not self._state.is_open:
            # the error belonged to the SYNC before; the probes have a rhythm of their own
            connection.syncs.on_refused(now)
            connection.trouble.unblock()
        if connection.trace is not None:
            connection.trace(now, "send_failed", failure=failure.value)

    def on_new_socket(self) -> None:
        """Note that the name was looked up again."""
        connection = self._connection
        connection.wants_new_socket = False
        self._transmitter.forget_previous()
        connection.trouble = SocketTrouble(self._random)
        if connection.syncs.is_probing():
            connection.syncs.soon()

    def receive_datagram(self, data: bytes, now: float, /) -> None:
        """Take an answer; count anything else."""
        self._answers.receive(data, now)

    # the spool

    def datagrams_to_store(self, now: float, /) -> list[StoredDatagram]:
        """Return the next datagrams for the spool, sealed for it if need be."""
        return self._outbox.to_store(now, is_open=self._state.is_open)

    def store_everything(self) -> None:
        """Have all that is not confirmed stored: this process is about to end."""
        self._outbox.storage.take_all()

    def on_stored(self, seqs: Iterable[int]) -> None:
        """Note what the spool has."""
        self._outbox.storage.on_stored(seqs)

    def on_store_failed(self, now: float) -> None:
        """Note that the spool takes nothing for the moment."""
        self._outbox.storage.on_store_failed(now)

    def datagrams_to_load(self) -> list[int]:
        """Return the numbers whose bytes are wanted back."""
        return self._outbox.storage.to_load() if self._state.is_open else []

    def on_loaded(self, seq: int, data: bytes | None) -> None:
        """Take bytes back from the spool, or learn that they are lost."""
        self._outbox.on_loaded(seq, data)
        self._tell_floor()

    def store_again(self) -> None:
        """Offer again what memory has: somebody has removed the spool."""
        self._outbox.storage.start_over()

    def on_spool_dropped(self, first_seq: int, last_seq: int, cause: str = "spool_full") -> None:
        """Drop what the spool has deleted and memory has not."""
        self._outbox.on_spool_dropped(first_seq, last_seq, cause)
        self._tell_floor()

    def _tell_floor(self) -> None:
        if self._state.is_open and self._connection.has_untold_floor:
            self._connection.syncs.soon()

    # what is wanted and held

    @property
    def _outstanding_size(self) -> int:
        if self._sync_sender.outstanding is not None:
            return len(self._sync_sender.outstanding)
        outstanding = self._transmitter.outstanding
        return 0 if outstanding is None else outstanding.size

    @property
    def pending_records(self) -> int:
        """The number of records that are not sealed yet."""
        return len(self._splitter)

    @property
    def can_send(self) -> bool:
        """Whether more records may come."""
        if self._connection.is_closing or self.is_closed:
            return False
        return len(self._splitter) < self._splitter.full_batch

    @property
    def _appetite(self) -> int:
        # none while nobody answers and no spool takes them: where they wait they can be dropped
        # one by one
        has_spool = self._outbox.storage.policy is not StoragePolicy.OFF
        if not self.can_send or not (self._state.is_open or has_spool):
            return 0
        return self._splitter.appetite

    @property
    def is_stuck(self) -> bool:
        """Whether what is held cannot be sent just now."""
        return self._state.is_running and not self._state.is_open

    @property
    def is_idle(self) -> bool:
        """Whether everything is settled."""
        return self._connection.is_idle

    @property
    def is_closed(self) -> bool:
        """Whether nothing more is to be done."""
        return self._state.state is State.CLOSED

    @property
    def is_away(self) -> bool:
        """Whether nobody has answered for a while."""
        return self._state.state is State.AWAY

    @property
    def wants_new_socket(self) -> bool:
        """Whether the receiver's name should be looked up again."""
        return self._connection.wants_new_socket

    # what is known of the receiver

    @property
    def unanswered_since(self) -> float | None:
        """When the receiver was asked for the first time since it was last heard."""
        return self._connection.peer.unanswered_since

    @property
    def finds_no_place(self) -> bool:
        """Whether the receiver answers that it follows as many streams as it can."""
        return self._connection.peer.has_no_place

    @property
    def meets_two_receivers(self) -> bool:
        """Whether two receivers share what is sent to one address."""
        return self._connection.alternation.is_suspected

    @property
    def alternations(self) -> int:
        """How often a receiver answered after another one had, although that one lives."""
        return self._connection.alternation.count

    @property
    def rtt(self) -> float | None:
        """The smoothed round-trip time in seconds; None until measured."""
        return self._connection.path.rtt.smoothed

    @property
    def congestion_window(self) -> int:
        """The bytes that may be in flight, the receiver's credit left aside."""
        return self._connection.path.congestion.window

"""What happens in one turn of the sending side?

Records go from the buffer into the sending machine, datagrams from the machine to the socket, and
answers back. A turn never waits; `sleep` is the one place that does, and it has a deadline unless
nothing at all is to come. A pump belongs to one thread at a time: the flusher's, or that of a
caller where no thread can run.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from batchudp_handler.core.samples import Samples
from batchudp_handler.core.send.retry import SendFailure
from batchudp_handler.core.send.schedule import Schedule, Trigger
from batchudp_handler.core.wire.spool_frame import header_fields
from batchudp_handler.flusher.buffer import NEVER
from batchudp_handler.transport import SendError

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchudp_handler.core.send.sender import SenderProtocol
    from batchudp_handler.flusher.books import Books
    from batchudp_handler.flusher.buffer import Buffer
    from batchudp_handler.flusher.spooling import Spooling
    from batchudp_handler.transport import UDPTransport

__all__ = ["Pump"]

BLOCKED_PATIENCE = 1.0
"""Seconds that a full socket may take to become writable before that counts as a failure."""

TWO_RECEIVERS = (
    "two receivers answer at this address in turn, so nothing can be confirmed: run only one on "
    "the port (for more processes: batchudp-receive --workers), or configure the balancer to "
    "keep each sender with one receiver"
)
NO_PLACE = (
    "the receiver already has the largest number of senders (max_streams) and refuses this one"
)
SILENCE = 1.0
"""Seconds after which it is worth a word that a receiver has not answered."""


UNKNOWN_PATH_SIZE = 1432
"""Bytes that a path is trusted with where the system does not tell its size."""


class Pump:
    """Moves records from a buffer through a sending machine to a socket.

    Args:
        buffer: What other threads append to.
        schedule: Says when a flush is due.
        sender: The machine; replaced by nobody, closed by `begin_close`.
        transport: The socket; opened at the first turn.
        acknowledged: Whether datagrams come back.
        fit_path: Whether the machine follows the path's datagram size.
        clock: Monotonic seconds.
        wall: Seconds since the epoch.
        on_step: Called after each step, when every record that was drained is with a machine
            or counted.
        spooling: The disk, if there is one.
    """

    def __init__(
        self,
        buffer: Buffer[Books],
        schedule: Schedule,
        sender: SenderProtocol,
        transport: UDPTransport,
        *,
        acknowledged: bool,
        fit_path: bool,
        clock: Callable[[], float],
        wall: Callable[[], float],
        on_step: Callable[[Pump], None],
        spooling: Spooling | None = None,
    ) -> None:
        self.buffer = buffer
        self.schedule = schedule
        self.sender = sender
        self.transport = transport
        self.spooling = spooling
        self.flushes: dict[str, int] = dict.fromkeys(Trigger, 0)
        self.batch_size = Samples()
        self.send_time = Samples()
        self.dropped: dict[str, int] = {}
        """Records drained and lost without the machine's knowledge, by cause."""
        self.work = 0
        """Grows with every batch taken and every datagram sent or received."""
        self.is_written_off = False
        """What the machines still have is counted as dropped already."""
        self._acknowledged = acknowledged
        self._fit_path = fit_path
        self._clock = clock
        self._wall = wall
        self._on_step = on_step
        self._owed = 0
        self._last_trouble = ""
        self._was_settled = True
        self._owed_since: float | None = None
        self._lost_before = 0
        self._pending_bytes = 0
        self._is_open = False
        self._is_held = False
        self._is_closing = False
        self._blocked_since: float | None = None
        self._path_size = 0
        self._reconnects = transport.reconnects

    # --- commands ------------------------------------------------------------------------------

    def begin_flush(self, trigger: Trigger, now: float) -> None:
        """Send all that waits now, for `trigger`."""
        waiting = len(self.buffer)
        if not waiting:
            return
        self.flushes[trigger] += 1
        self.schedule.on_flush(now)
        self._owed = waiting
        self._owed_since = None

    def hold(self) -> None:
        """Begin no new flush until `release`: what is on its way gets a chance to settle."""
        self._is_held = True

    def release(self) -> None:
        """Begin flushes when they are due."""
        self._is_held = False

    def begin_close(self, now: float) -> None:
        """Send what waits at the first call, then say goodbye."""
        if self._is_closing:
            return
        self._is_closing = True
        self.hold()
        self.begin_flush(Trigger.CLOSE, now)

    def give_up(self, now: float) -> None:
        """Count as dropped what waits, and what has neither been sent nor stored."""
        self._owed = len(self.buffer)
        if self.spooling is not None and self.spooling.is_open:
            self.spooling.begin_leaving()
            self._use_disk(self.spooling, now)
        self.cut_short(now)

    def cut_short(self, now: float) -> None:
        """Count as dropped what was to be flushed and has not been sent."""
        self._last_trouble = self.trouble(now)  # as it was: silence after the end means nothing
        while self._owed and (batch := self.buffer.drain(self._owed)):
            self.count_dropped("closed", len(batch))
            self._owed -= len(batch)
        self._owed = 0
        for sender in self._senders:
            sender.give_up()
        self._on_step(self)

    def count_dropped(self, cause: str, records: int) -> None:
        """Count drained records that will not be sent."""
        if records:
            self.dropped[cause] = self.dropped.get(cause, 0) + records

    def use_path(self, *, fit: bool) -> None:
        """Follow the path's datagram size, or keep to the one that was configured."""
        self._fit_path = fit
        self._path_size = 0

    def take_books_of(self, other: Pump) -> None:
        """Go on counting where another pump of the same buffer stopped."""
        self.flushes = other.flushes
        self.batch_size = other.batch_size
        self.send_time = other.send_time
        self.dropped = other.dropped
        self.spooling = other.spooling

    def close(self) -> None:
        """Close the socket and the files."""
        self.transport.close()
        if self.spooling is not None:
            self.spooling.close()

    def abandon(self) -> None:
        """In the child of a fork: close the descriptors, and leave everything to the parent."""
        self.transport.close()
        if self.spooling is not None:
            self.spooling.abandon()

    # --- one turn ------------------------------------------------------------------------------

    def turn(self, now: float) -> None:
        """Do everything that can be done now."""
        try:
            self._do_everything(now)
        finally:
            self._was_settled = self.is_settled
            self._on_step(self)

    def _do_everything(self, now: float) -> None:
        self.buffer.muted_thread = threading.get_ident()
        try:
            self._is_open = self.transport.open(now)
        finally:
            self.buffer.muted_thread = 0
        if self._acknowledged:
            self._receive(now)
        for sender in self._senders:
            sender.handle_timeout(now)
        if self._is_open:
            self._follow_path(now)
        self._follow_drops(now)
        if self._takes_records:
            self._begin_due_flush(now)
            self._transmit(now)
            self._feed(now)
        if self.spooling is not None and self.spooling.is_open:
            self._use_disk(self.spooling, now)
        if self._is_closing and self.is_settled:
            self._say_goodbye(now)

    @property
    def _takes_records(self) -> bool:
        """Whether there is somewhere to go for records: the network, or the disk."""
        return self._is_open or (self.spooling is not None and self.spooling.is_open)

    @property
    def _senders(self) -> list[SenderProtocol]:
        """The machine, and those of streams that were adopted."""
        return [self.sender, *(self.spooling.adopted if self.spooling is not None else ())]

    def _use_disk(self, spooling: Spooling, now: float) -> None:
        """Store and load, until neither makes room for more records or something to send."""
        while self._blocked_since is None:
            if spooling.turn(now) and self._is_open:
                self.work += 1
                self._transmit(now)
            elif self._owed and self._wanted_records:
                self._feed(now)
            else:
                return

    def _say_goodbye(self, now: float) -> None:
        if self._is_open:
            self.sender.close()
            self._transmit(now)
        else:
            self.sender.give_up()  # nothing is left, and nobody can be told

    def _begin_due_flush(self, now: float) -> None:
        if self._owed or self._is_held:
            return
        buffer = self.buffer
        urgent, buffer.urgent = buffer.urgent, False
        waiting = NEVER if buffer.is_crowded else len(buffer)
        trigger = self.schedule.due(now, waiting, urgent=urgent)
        if trigger is not None:
            self.begin_flush(trigger, now)

    def _feed(self, now: float) -> None:
        sender = self.sender
        if self._owed:
            sender.look_for_receiver(now, self._wall())
        while self._owed and self._blocked_since is None and (wanted := self._wanted_records):
            if self._owed_since is None:
                self._owed_since = self._clock()
                self.batch_size.add(self._owed)
            count = min(self._owed, wanted)
            batch = self.buffer.drain(count, self.buffer.bytes_at_once)
            self._pending_bytes += self.buffer.drained_bytes
            # callers may have dropped what was owed
            self._owed = self._owed - len(batch) if batch else 0
            self.work += 1
            # long texts leave before more of them are taken
            is_long = self._pending_bytes >= self.buffer.bytes_at_once
            is_part = bool(self._owed) and len(batch) == count
            waits = is_part and not is_long and not sender.is_stuck
            try:
                sender.send_batch(batch, now, self._wall(), has_more_to_come=waits)
            except Exception:
                self.count_dropped("internal_error", len(batch))
                raise
            self._transmit(now)
            if not self._owed:
                self.send_time.add(self._clock() - self._owed_since)
            self._on_step(self)

    def _follow_drops(self, now: float) -> None:
        """Tell of drops, and drop what is here and cannot be sent rather than what is newer."""
        lost, before = self.buffer.lost, self._lost_before
        self._lost_before = lost
        if lost != before:
            self.sender.note_dropped(lost, now)
        if self._is_open and not self.sender.is_stuck:
            return
        wanted = self.buffer.wanted_room
        if lost > before and self.buffer.drops_oldest:
            wanted = NEVER  # younger ones went already: nothing older is to stay
        if wanted:
            self.sender.drop_oldest(wanted, self.buffer.scarce)

    @property
    def _wanted_records(self) -> int:
        """How many records the machine gets: none while it still has long texts to encode."""
        if not self.sender.pending_records:
            self._pending_bytes = 0
        if self._pending_bytes >= self.buffer.bytes_at_once:
            return 0
        return self.sender.wanted_records

    @property
    def held(self) -> tuple[int, int]:
        """Records that were drained and are neither settled nor on disk, and bytes of them."""
        if self.is_written_off:
            return 0, 0
        records = sum(each.pending_records + each.retained_records for each in self._senders)
        pending = self._pending_bytes if self.sender.pending_records else 0
        return records, pending + sum(each.retained_bytes for each in self._senders)

    def _transmit(self, now: float) -> None:
        for sender in self._senders:
            if self._is_open:
                self._transmit_of(sender, now)

    def _transmit_of(self, sender: SenderProtocol, now: float) -> None:
        while (datagram := sender.datagram_to_send(now)) is not None:
            self.buffer.muted_thread = threading.get_ident()
            self.work += 1
            try:
                self.transport.send(datagram)
            except SendError as error:
                if self._is_to_wait_for_room(error, now):
                    return
                self._blocked_since = None
                size = self.transport.path_datagram_size() if self._fit_path else None
                sender.on_send_failed(error.failure, now, size)
                if not self.transport.open(now):
                    return
            except Exception:
                sender.on_send_failed(SendFailure.UNREACHABLE, now)
                raise
            else:
                self._blocked_since = None
                sender.on_datagram_sent(now)
                if self._acknowledged:
                    self.transport.expect_answer(now)
            finally:
                self.buffer.muted_thread = 0

    def _is_to_wait_for_room(self, error: SendError, now: float) -> bool:
        """Whether the same datagram is offered again as soon as the socket is writable."""
        if error.failure is not SendFailure.WOULD_BLOCK or not error.is_until_writable:
            return False
        if self._blocked_since is None:
            self._blocked_since = now
        return now - self._blocked_since < BLOCKED_PATIENCE

    def _receive(self, now: float) -> None:
        while (datagram := self.transport.receive()) is not None:
            self.work += 1
            self._sender_for(datagram).receive_datagram(datagram, now)

    def _sender_for(self, datagram: bytes) -> SenderProtocol:
        """Whose answer this is, as far as its header says; the machine itself trusts nothing."""
        senders = self._senders
        if len(senders) > 1:
            fields = header_fields(datagram)
            for sender in senders[1:]:
                if fields is not None and fields[0] == sender.stream_id:
                    return sender
        return self.sender

    def _follow_path(self, now: float) -> None:
        if self.sender.wants_new_socket:
            self.transport.look_up_again(now)
        if self.transport.reconnects != self._reconnects:
            self._reconnects = self.transport.reconnects
            for sender in self._senders:
                sender.on_new_socket()
        if self._fit_path:
            size = self.transport.path_datagram_size() or UNKNOWN_PATH_SIZE
            if size != self._path_size:
                self._path_size = size
                for sender in self._senders:
                    sender.set_max_datagram_size(size)

    # --- between turns -------------------------------------------------------------------------

    @property
    def is_settled(self) -> bool:
        """Whether all that was to be flushed is sent, confirmed or counted."""
        return not self._owed and self.sender.is_idle

    @property
    def is_closed(self) -> bool:
        """Whether `begin_close` has come to its end."""
        is_done = self.spooling is None or self.spooling.is_done
        return self._is_closing and not self._owed and self.sender.is_closed and is_done

    def trouble(self, now: float) -> str:
        """What keeps records from their receiver, in words; empty: nothing that is known.

        Any thread may ask, so this looks at nothing that changes in more than one step.
        """
        if self._last_trouble:
            return self._last_trouble
        words = self.transport.trouble
        if words:
            return words
        if self.sender.finds_no_place:
            return NO_PLACE
        if self.sender.meets_two_receivers:
            return TWO_RECEIVERS
        since = self.sender.unanswered_since
        if since is None or now - since < SILENCE or self._was_settled:
            return ""
        return f"no answer from the receiver within {now - since:.0f} s"

    def sleep(self, now: float, limit: float | None) -> None:
        """Wait until there is something to do, until woken, or until the time `limit`."""
        buffer = self.buffer
        is_stuck = bool(self._owed) or self._is_held or not self._takes_records
        buffer.wake_at = self._crowd_at if is_stuck else self.schedule.wake_at(now)
        # armed: who appends from here on wakes us, who appended before is seen by this
        if is_stuck or not (buffer.urgent or len(buffer) >= buffer.wake_at):
            times = [limit, self._deadline(now)]
            ends = [time for time in times if time is not None]
            timeout = max(min(ends) - self._clock(), 0.0) if ends else None
            self.transport.wait(
                timeout,
                readable=self._acknowledged,
                writable=self._blocked_since is not None,
            )
        buffer.wake_at = NEVER

    @property
    def _crowd_at(self) -> int:
        """How many waiting records want something of a pump that cannot send."""
        is_way_to_give = not self._is_open or self.sender.is_stuck
        return self.buffer.crowd_at if is_way_to_give and self.held[0] else NEVER

    def _deadline(self, now: float) -> float | None:
        if not self._is_open:
            has_work = self._is_closing or len(self.buffer) or not self.is_settled
            times: list[float | None] = [self.transport.retry_at if has_work else None]
            if self._takes_records and not (self._owed or self._is_held):
                times.append(self.schedule.deadline(now))
            times.append(self._disk_deadline)
            return min((time for time in times if time is not None), default=None)
        times = [sender.next_timeout() for sender in self._senders]
        if self._blocked_since is not None:
            times = [self._blocked_since + BLOCKED_PATIENCE]
        if not (self._owed or self._is_held):
            times.append(self.schedule.deadline(now))
        times.append(self._disk_deadline)
        ends = [time for time in times if time is not None]
        return min(ends, default=None)

    @property
    def _disk_deadline(self) -> float | None:
        return None if self.spooling is None else self.spooling.deadline

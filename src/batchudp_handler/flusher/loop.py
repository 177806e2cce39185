"""The input and output of one session: take, feed, send while there is something, store, wait.

A turn never waits; `sleep` is the one place that does, and it has a deadline unless nothing at all
is to come. What is done when is the session's decision. A loop belongs to one thread at a time:
the flusher's, or that of a caller where no thread can run.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from batchudp_handler.core.send.retry import SendFailure
from batchudp_handler.flusher.buffer import NEVER
from batchudp_handler.transport import SendError

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchudp_handler.core.send.session import Session
    from batchudp_handler.flusher.books import Books
    from batchudp_handler.flusher.buffer import Buffer
    from batchudp_handler.flusher.spooling import Spooling
    from batchudp_handler.transport import UDPTransport

__all__ = ["Loop"]

LOOK_UP_PATIENCE = 0.05
"""Seconds that a record after the close may wait for the host's address."""


class Loop:
    """Carries records, datagrams and files between one session and the world.

    Args:
        buffer: What other threads append to.
        session: Decides what is done.
        transport: The socket; opened at the first turn.
        disk: The spool, if there is one.
        clock: Monotonic seconds.
        wall: Seconds since the epoch.
        on_step: Called after each step, when every record that was taken is with the session or
            counted.
    """

    def __init__(
        self,
        buffer: Buffer[Books],
        session: Session,
        transport: UDPTransport,
        disk: Spooling | None,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        on_step: Callable[[], None],
    ) -> None:
        self.buffer = buffer
        self.session = session
        self.transport = transport
        self.disk = disk
        self.work = 0
        """Grows with every batch taken and every datagram sent or received."""
        self._clock = clock
        self._wall = wall
        self._on_step = on_step
        self._last_trouble = ""

    # --- one turn ------------------------------------------------------------------------------

    def turn(self, now: float) -> None:
        """Do everything that can be done now."""
        session = self.session
        try:
            self._open(now)
            self._receive(now)
            session.handle_timeout(now, self._wall())
            self._follow_path(now)
            self._make_room(now)
            self._begin_due_flush(now)
            self._send(now)
            self._take()
            self._store(now)
            if session.is_closing:
                session.finish_close()
                self._send(now)
        finally:
            session.end_turn()
            self._on_step()

    def _open(self, now: float) -> None:
        self.buffer.mute(threading.get_ident())
        try:
            self.session.is_open = self.transport.open(now)
        finally:
            self.buffer.mute(0)

    def _receive(self, now: float) -> None:
        if self.session.expects_answers:
            while (datagram := self.transport.receive()) is not None:
                self.work += 1
                self.session.receive_datagram(datagram, now)

    def _follow_path(self, now: float) -> None:
        session, transport = self.session, self.transport
        if session.is_open:
            if session.wants_new_socket:
                transport.look_up_again(now)
            size = transport.path_datagram_size() if session.fits_path else None
            session.on_path(transport.reconnects, size)

    def _make_room(self, now: float) -> None:
        session, buffer = self.session, self.buffer
        session.on_lost(buffer.lost, now)
        if session.may_give_up and buffer.drops_oldest:
            session.make_room(buffer.wanted_room, buffer.scarce)

    def _begin_due_flush(self, now: float) -> None:
        buffer = self.buffer
        if self.session.awaits_records:
            is_urgent = buffer.take_urgency()
            waiting = NEVER if buffer.is_crowded else len(buffer)
            self.session.begin_due_flush(waiting, now, is_urgent=is_urgent)

    def _take(self) -> bool:
        """Hand over the records that are wanted, and send; return whether there were any."""
        session, buffer, work = self.session, self.buffer, self.work
        while count := session.records_to_take(now := self._clock()):
            batch = buffer.drain(count, session.bytes_at_once)
            session.receive_records(batch, buffer.drained_bytes, now)
            self.work += 1
            self._send(now)
            self._on_step()
        return self.work != work

    def _send(self, now: float) -> None:
        while (datagram := self.session.datagram_to_send(now)) is not None:
            self.work += 1
            self.buffer.mute(threading.get_ident())
            try:
                self._transmit(datagram, now)
            finally:
                self.buffer.mute(0)

    def _transmit(self, datagram: bytes, now: float) -> None:
        session, transport = self.session, self.transport
        try:
            transport.send(datagram)
        except SendError as error:
            self._on_send_error(error, now)
        except Exception:
            session.on_send_failed(SendFailure.UNREACHABLE, now)
            raise
        else:
            session.on_datagram_sent(now)
            if session.expects_answers:
                transport.expect_answer(now)

    def _on_send_error(self, error: SendError, now: float) -> None:
        session, transport = self.session, self.transport
        size = transport.path_datagram_size() if session.fits_path else None
        session.on_send_failed(error.failure, now, size, is_until_writable=error.is_until_writable)
        session.is_open = transport.open(now)

    def _store(self, now: float) -> None:
        """Store and load, until neither makes room for more records or something to send."""
        disk, session = self.disk, self.session
        while disk is not None and disk.is_open and not session.is_blocked:
            if disk.turn(now) and session.is_open:
                self.work += 1
                self._send(now)
            elif not self._take():
                return

    # --- between turns -------------------------------------------------------------------------

    def sleep(self, now: float, limit: float | None) -> None:
        """Wait until there is something to do, until woken, or until the time `limit`."""
        session, buffer = self.session, self.buffer
        awaits_records = session.awaits_records
        buffer.arm(session.taking.wake_at(now) if awaits_records else self._crowd_at)
        # armed: who appends from here on wakes us, who appended before is seen by this
        if not awaits_records or not buffer.is_due:
            times = (limit, session.next_timeout(now), self._next_retry)
            ends = [time for time in times if time is not None]
            self.transport.wait(
                max(min(ends) - self._clock(), 0.0) if ends else None,
                readable=session.expects_answers,
                writable=session.is_blocked,
            )
        buffer.disarm()

    @property
    def _crowd_at(self) -> int:
        """How many waiting records want something of a session that cannot take them."""
        can_make_room = self.session.may_give_up and self.session.held[0]
        return self.buffer.crowd_at if can_make_room else NEVER

    @property
    def _next_retry(self) -> float | None:
        """When the socket or the disk may work again."""
        session, disk = self.session, self.disk
        retry_at = None if disk is None else disk.paused_until
        is_quiet = session.is_settled and not (session.is_closing or len(self.buffer))
        if session.is_open or is_quiet:
            return retry_at
        times = [time for time in (retry_at, self.transport.retry_at) if time is not None]
        return min(times, default=None)

    def trouble(self, now: float) -> str:
        """Return what keeps records from their receiver, in words; empty: nothing is known.

        Any thread may ask, so this looks at nothing that changes in more than one step.
        """
        return self._last_trouble or self.transport.trouble or self.session.trouble(now)

    # --- the end -------------------------------------------------------------------------------

    def give_up(self, now: float) -> None:
        """Store what can be stored; count as dropped what waits and what was not sent."""
        self.session.begin_leaving(len(self.buffer))
        if self.disk is not None and self.disk.is_open:
            self.disk.try_again()
            self._store(now)
        self.cut_short(now)

    def cut_short(self, now: float) -> None:
        """Count as dropped what was to be flushed and has not been sent."""
        self._last_trouble = self.trouble(now)  # as it was: silence after the end means nothing
        while (owed := self.session.taking.owed) and (batch := self.buffer.drain(owed)):
            self.session.drop_waiting(len(batch))
        self.session.give_up()
        self._on_step()

    def send_late(self, stream_id: int) -> None:
        """Send what came after the end in a stream of its own, once and without waiting."""
        self._last_trouble = ""
        self.session.reopen(stream_id)
        transport = self.transport
        try:
            if not transport.open_known() and not transport.open(self._clock()):
                transport.wait(LOOK_UP_PATIENCE, readable=False, writable=False)
            self.session.begin_close(len(self.buffer), self._clock())
            self.turn(self._clock())
        finally:
            self.cut_short(self._clock())
            transport.close()

    def close(self) -> None:
        """Close the socket and the files."""
        self.transport.close()
        if self.disk is not None:
            self.disk.close()

    def abandon(self) -> None:
        """In the child of a fork: close the descriptors, and leave everything to the parent."""
        self.transport.close()
        if self.disk is not None:
            self.disk.abandon()

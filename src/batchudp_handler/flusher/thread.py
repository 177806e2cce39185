"""The thread that sends: its start, its end, and who sends where it cannot run.

One daemon thread per handler, started at the first record. It owns the loop for as long as it
lives. Where no thread can run (at interpreter shutdown, in an isolated subinterpreter, under uWSGI
without threads) and after the close, a caller owns the loop for a moment and sends by itself.
Whoever finds it taken leaves the records in the buffer, for the owner to find.

Everything that a log call may reach uses raw locks, without waiting for them, and deques: it may
be interrupted at any point by a signal handler that logs. Each wait has a deadline.
"""

from __future__ import annotations

import _thread
import os
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING

from batchudp_handler.core.causes import TWO_RECEIVERS
from batchudp_handler.core.places import place_text
from batchudp_handler.core.send.counters import Trigger
from batchudp_handler.core.send.session import Session
from batchudp_handler.flusher.books import EMPTY, Books
from batchudp_handler.flusher.buffer import Buffer
from batchudp_handler.flusher.faults import Faults
from batchudp_handler.flusher.ledger import Ledger
from batchudp_handler.flusher.loop import Loop
from batchudp_handler.flusher.note import LossNote, write_note
from batchudp_handler.flusher.requests import Request, Requests, WaitingRoom
from batchudp_handler.transport import UDPTransport, is_out_of_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchudp_handler.core.send.stats import SenderStats
    from batchudp_handler.flusher.settings import FlusherSettings
    from batchudp_handler.flusher.spooling import Spooling

__all__ = ["Flusher"]

GRACE = 0.25
"""Seconds for the thread to answer after the deadline that it was given."""
PAUSE_CHECK = 0.05
"""Seconds between two looks, in a pause after a fault, for somebody who asks for something."""
NO_MORE_PATIENCE = 1.0
"""Seconds after a flush in vain within which a close does not wait as well."""
CLOSE_CHECK = 1.0
"""Seconds between two looks of a flush without end whether the handler was closed meanwhile."""
OWNER_CHECK = 0.01
"""Seconds between two attempts to become the owner, where no thread runs."""
LATE_PASSES = 100
"""How often one late caller may send what others leave to it."""
FIRST_START_DELAY, LAST_START_DELAY = 0.1, 2.0
"""Seconds between attempts to start the thread when the system has none left: doubled."""
CHANGE_PATIENCE = 1.0
"""Seconds that `reconfigure` waits for the thread to use the new settings."""


class Flusher:
    """Owns the buffer, the machine, the socket and the thread of one handler.

    Args:
        settings: See `FlusherSettings`.
        on_start: Called at the first record.
        clock: Monotonic seconds, for all deadlines.
    """

    def __init__(
        self,
        settings: FlusherSettings,
        *,
        on_start: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        if settings.spool_directory is not None:
            _load_spooling()  # not at the first record, which may be a forked child's
        limits = settings.session.taking
        self.buffer: Buffer[Books] = Buffer(
            limits.capacity,
            settings.overflow,
            books=EMPTY,
            capacity_bytes=limits.capacity_bytes,
            flush_level=settings.flush_level,
            protect_level=settings.protect_level,
            wait_for_room=self._wait_for_room,
        )
        self.is_closed = False
        self._on_start: Callable[[], None] | None = on_start
        self._clock = clock
        self._loops: dict[str, Loop] = {}  # the only one; a dict, because setdefault is atomic
        self._ledger = Ledger(clock())
        self._faults = Faults(self._ledger.count_fault)
        self._sleep = time.sleep
        self._note = LossNote(lambda: (self.settings.host, self.settings.port), self._trouble)
        self._room = WaitingRoom(clock)
        # locks that nobody waits for, but the thread for its ownership at its start. Made by what
        # `threading` offers at that moment, which gevent may have replaced
        self._owner = threading.Lock()
        self._starting = threading.Lock()
        self._make_lock: Callable[[], threading.Lock] = threading.Lock
        self._start_aside: Callable[..., object] = _thread.start_new_thread
        self._requests = Requests()
        self._is_running = False
        self._start_at = float("-inf")
        self._start_delay = FIRST_START_DELAY
        self._is_abandoned = False
        self._thread_ident = 0
        self._out_of_patience_at = float("-inf")
        self._owner_gone: object = None
        self._has_told_two = False

    def close_after(self, user: object) -> None:
        """Send what waits and end the thread when `user` is collected without having closed."""

        def on_collected(_: object) -> None:
            self.begin_close()

        # kept here: a weak reference that dies with its object never calls back
        self._owner_gone = weakref.ref(user, on_collected)

    # --- called by log calls ---------------------------------------------------------------------

    def wake(self) -> None:
        """Have the waiting records looked at; to be called when `Buffer.append` says so."""
        if self._wake_thread():
            return
        if self.is_closed:
            self._send_late()
        else:
            self._start()

    def _wake_thread(self) -> bool:
        """Wake the thread; return whether there is one."""
        loop = self._loop
        if not self._is_running or loop is None:
            return False
        loop.transport.wakeup.send()
        return True

    def _start(self) -> None:
        if not self._starting.acquire(blocking=False):
            return  # whoever starts will find what waits
        try:
            self._notice_first_record()
            self._get_loop()
            # between two attempts records wait: the next one sends them, or a flush, or the close
            if self._clock() >= self._start_at and not self._start_thread():
                self._send_now()
        finally:
            self._starting.release()
            if not self._is_running:
                self.buffer.arm(1)  # who interrupted this was turned away above

    def _notice_first_record(self) -> None:
        on_start, self._on_start = self._on_start, None
        if on_start is None:
            return
        try:
            on_start()
        except Exception as error:  # noqa: BLE001  # of the program's process pool; records leave
            self._ledger.count_fault(error)

    def _start_thread(self) -> bool:
        if not threads_can_run():
            return False
        # as of now: gevent or eventlet may replace them while the thread lives
        self._make_lock = self._room.make_lock = threading.Lock
        self._start_aside = _thread.start_new_thread
        self._sleep = time.sleep
        self._get_loop().transport.use_present_primitives()
        try:
            thread = threading.Thread(target=self._run, name="batchudp-flusher", daemon=True)
            self._is_running = True
            thread.start()
        except RuntimeError as error:
            self._is_running = False
            if is_out_of_threads(error):
                self._postpone_start(error)
        else:
            self._start_delay = FIRST_START_DELAY
        return self._is_running

    def _postpone_start(self, error: RuntimeError) -> None:
        errors = self._get_loop().transport.errors
        if "thread_not_started" not in errors:
            write_note(f"cannot start the sending thread, trying again: {error}")
        errors["thread_not_started"] = errors.get("thread_not_started", 0) + 1
        self._start_at = self._clock() + self._start_delay
        self._start_delay = min(self._start_delay * 2, LAST_START_DELAY)

    def _run_aside(self, function: Callable[[], None]) -> None:
        if not threads_can_run():
            raise RuntimeError("threads do not run here")
        self._start_aside(function, ())

    def _wait_for_room(self, has_room: Callable[[], bool]) -> bool:
        if threading.get_ident() == self._thread_ident:
            return has_room()  # the thread that makes room cannot wait for it
        return self._room.wait(has_room, self.wake, self.settings.overflow_timeout)

    # --- called by anyone else -------------------------------------------------------------------

    def flush(self, timeout: float | None) -> bool:
        """Send all that waits; True when all of it is sent, or confirmed, or counted.

        None as timeout stands for the shutdown timeout: `logging` flushes without an argument,
        with its lock held, and must get it back.
        """
        if threading.get_ident() == self._thread_ident:
            return False
        if self.is_closed or (self._loop is None and not len(self.buffer)):
            return not len(self.buffer)
        patience = self.settings.shutdown_timeout if timeout is None else timeout
        request = self._request(patience)
        self._requests.flushes.append(request)
        self._await(request)
        if timeout is None and not request.is_granted:
            self._out_of_patience_at = self._clock()
        return request.is_granted

    def _await(self, request: Request) -> None:
        """Have a flush done, by the thread or on this one."""
        while not (request.is_granted or self.is_closed):
            left = request.deadline - self._clock()
            if self._wake_thread():
                request.wait(min(left, CLOSE_CHECK))
            elif not self._drive(request.deadline, lambda: request.is_granted):
                # somebody else is the owner, for a moment
                request.wait(min(left, OWNER_CHECK))
            if left <= 0:
                return

    def close(self) -> None:
        """Send what waits, say goodbye, end the thread; returns after the shutdown timeout."""
        patience = self.settings.shutdown_timeout
        if self._clock() < self._out_of_patience_at + NO_MORE_PATIENCE:
            patience = 0.0  # a flush has just waited as long as that, in vain
        request = self.begin_close(patience)
        if self._is_running:
            if threading.get_ident() == self._thread_ident:
                return
            request.wait(patience + GRACE)
            self._is_abandoned = not request.is_granted
        elif self._loop is not None or len(self.buffer):
            self._close_here(request.deadline)
        self.is_closed = True
        self._finish_late(request.deadline + GRACE)
        self._attempt(self._tell_at_end)

    def _close_here(self, deadline: float) -> None:
        if self.is_closed:
            return
        was_owner = self._drive(deadline, lambda: self.is_closed)
        if was_owner and not self.is_closed:
            self._leave(self._get_loop())  # a fault kept it from ending

    def _tell_at_end(self) -> None:
        self._note.tell_last(self._ledger.lost(self.buffer), self._clock())
        left = self.stats().waiting + self.stats().retained
        if self._is_abandoned and left:
            write_note(f"{left} records were not sent: the sending thread did not stop in time")

    def _finish_late(self, deadline: float) -> None:
        """Send what waits, or let whoever owns the loop by then do it."""
        self._wait_for_owner(deadline)
        self._send_late()
        # left to an owner who came in between: a thread that was started just before the close
        while len(self.buffer) and not self._is_abandoned and self._clock() < deadline:
            self._request(0.0).wait(OWNER_CHECK)
            self._wait_for_owner(deadline)
            self._send_late()

    def _wait_for_owner(self, deadline: float) -> None:
        """Let whoever is sending finish, so that nothing is on its way when `close` returns."""
        while self._owner.locked() and not self._is_abandoned and self._clock() < deadline:
            self._request(0.0).wait(OWNER_CHECK)

    def begin_close(self, patience: float | None = None) -> Request:
        """Ask for the close and do not wait for it."""
        if patience is None:
            patience = self.settings.shutdown_timeout
        request = self._requests.ask_to_close(self._request(patience))
        self._wake_thread()
        return request

    def reconfigure(self, settings: FlusherSettings) -> bool:
        """Use other settings; what waits stays. True if they are used by now."""
        request = self._request(CHANGE_PATIENCE)
        self._requests.changes.append((settings, request))
        if self._wake_thread():
            if threading.get_ident() != self._thread_ident:
                request.wait(CHANGE_PATIENCE)
        elif self._owner.acquire(timeout=CHANGE_PATIENCE):
            try:
                self._apply_changes()
            finally:
                self._owner.release()
        return request.is_granted

    def _request(self, patience: float) -> Request:
        return Request(self._clock() + patience, self._make_lock)

    def stats(self) -> SenderStats:
        """The counters, from any thread; they add up at any moment."""
        return self._ledger.stats(self.buffer, self._loop, self._clock())

    def _trouble(self) -> str:
        return "" if self._loop is None else self._loop.trouble(self._clock())

    def abandon_in_child(self) -> None:
        """After a fork: leave everything to the parent, and close the child's descriptors."""
        self._is_abandoned = True
        if self._loop is not None:
            self._loop.abandon()

    # --- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        with self._owner:
            self._thread_ident = threading.get_ident()
            try:
                self._repeat()
            finally:
                self._thread_ident = 0
                self._is_running = False
                self.buffer.arm(1)
        self._finish_close()
        # `threading` forgets a thread by its identity, which gevent's patch may have changed
        # since the start: this makes it known under the present one
        threading.current_thread()

    def _repeat(self) -> None:
        loop = self._get_loop()
        while not self._is_abandoned:
            try:
                self._turn(loop)
                if self._is_over(loop):
                    return
                loop.sleep(self._clock(), self._requests.next_deadline())
                self._faults.watch(loop.work, self._clock())
            except Exception as error:  # noqa: BLE001  # the root of the loop: nothing may end it
                self._on_fault(error)
                request = self._requests.close
                if request is not None and self._clock() >= request.deadline:
                    break
        self._leave(loop)

    def _on_fault(self, error: Exception, deadline: float = float("inf")) -> None:
        """Count it, tell it, and pause; not beyond the deadline, nor when somebody asks anew."""
        now = self._clock()
        end = min(now + self._faults.handle(error, now), deadline)
        if self._requests.close is not None:
            end = min(end, self._requests.close.deadline)
        asked = len(self._requests)
        while (left := end - self._clock()) > 0 and len(self._requests) <= asked:
            # neither the socket's wait nor a lock: they may be what fails
            self._sleep(min(left, PAUSE_CHECK))

    def _leave(self, loop: Loop) -> None:
        """End without the session's help: what it still has is counted, and so is what waits."""
        self._attempt(lambda: loop.give_up(self._clock()))
        self._attempt(self.buffer.drain)
        self._attempt(lambda: self._ledger.write_off(self.buffer, loop.session))
        self._attempt(loop.close)
        self.is_closed = True

    def _attempt(self, step: Callable[[], object]) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001  # as at the root of the loop
            self._ledger.count_fault(error)

    # --- what the owner does, on whatever thread -------------------------------------------------

    def _turn(self, loop: Loop) -> None:
        now = self._clock()
        self._apply_changes()
        self._requests.begin(loop.session, len(self.buffer), now)
        loop.turn(now)
        loop.work += self._requests.finish(loop.session, self._clock())
        self._tell_two_receivers(loop.session)
        lost = self._ledger.lost(self.buffer)
        # `is_alive` last: gevent's patch makes it take locks, which is no good on this thread
        if (
            self._requests.close is None
            and self._note.is_due(lost, now)
            and threading.main_thread().is_alive()
        ):
            self._note.tell(lost, now)  # otherwise `close` tells, once, what all was lost

    def _tell_two_receivers(self, session: Session) -> None:
        """At once, and once: nothing is lost yet, and nothing will be confirmed."""
        if (
            session.own.meets_two_receivers
            and not self._has_told_two
            and threading.main_thread().is_alive()
        ):
            self._has_told_two = True
            write_note(f"{place_text(self.settings.host, self.settings.port)}: {TWO_RECEIVERS}")

    def _is_over(self, loop: Loop) -> bool:
        request = self._requests.close
        if request is None:
            return False
        now = self._clock()
        if not loop.session.is_closed and now < request.deadline:
            return False
        if not loop.session.is_closed:
            loop.give_up(now)
        loop.close()
        self.is_closed = True
        return True

    def _finish_close(self) -> None:
        self._requests.end()
        if self.is_closed:
            self._send_late()  # what came while the last owner was leaving

    def _apply_changes(self) -> None:
        while self._requests.changes:
            settings, request = self._requests.changes.popleft()
            old, self.settings = self.settings, settings
            self.buffer.configure(
                settings.session.taking.capacity,
                settings.overflow,
                capacity_bytes=settings.session.taking.capacity_bytes,
                flush_level=settings.flush_level,
                protect_level=settings.protect_level,
            )
            if self._loop is not None:
                self._loop.session.reconfigure(settings.session)
                if old.target != settings.target:
                    host, port, fit_path, resolve_interval = settings.target
                    self._loop.transport.retarget(
                        host, port, fit_path=fit_path, resolve_interval=resolve_interval
                    )
            request.finish(is_granted=True)

    # --- where no thread runs --------------------------------------------------------------------

    def _send_now(self) -> None:
        """Send what waits on this thread, without waiting for anything."""
        for _ in range(2):  # twice, for what came in while this thread was the owner
            self.buffer.arm(1)
            if len(self.buffer):
                self._drive(self._clock(), lambda: True, flush_first=True)

    def _drive(
        self, deadline: float, is_done: Callable[[], bool], *, flush_first: bool = False
    ) -> bool:
        """Do the thread's work on this one until it is done, or until the deadline.

        Returns:
            False if somebody else is at it.
        """
        if not self._owner.acquire(blocking=False):
            return False
        try:
            self._drive_owned(deadline, is_done, flush_first=flush_first)
        except Exception as error:  # noqa: BLE001  # as at the root of the loop
            self._on_fault(error, deadline)
        finally:
            self.buffer.arm(1)
            self._owner.release()
            if self.is_closed:
                self._finish_close()
        return True

    def _drive_owned(
        self, deadline: float, is_done: Callable[[], bool], *, flush_first: bool
    ) -> None:
        loop = self._get_loop()
        if flush_first:
            loop.session.begin_flush(Trigger.FIRST, len(self.buffer), self._clock())
        while True:
            self._turn(loop)
            if self._is_over(loop) or is_done() or self._clock() >= deadline:
                return
            loop.sleep(self._clock(), deadline)
            self._faults.watch(loop.work, self._clock())

    def _send_late(self) -> None:
        """After the close: send what waits in a stream of its own, once and without waiting."""
        for _ in range(LATE_PASSES):
            self.buffer.arm(1)  # first: who appends after the look calls by itself
            if not len(self.buffer) or not self._owner.acquire(blocking=False):
                return
            try:
                self._get_loop().send_late(_new_stream_id())
            except Exception as error:  # noqa: BLE001  # as at the root of the loop
                self._faults.handle(error, self._clock())
                self._leave(self._get_loop())
                self._is_abandoned = True  # nobody tries again
                return
            finally:
                self._owner.release()

    # --- making parts ----------------------------------------------------------------------------

    @property
    def _loop(self) -> Loop | None:
        return self._loops.get("loop")

    def _get_loop(self) -> Loop:
        loop = self._loop
        if loop is not None:
            return loop
        made = self._make_loop()
        # the first record and a flush may get here on two threads at once: one loop wins
        loop = self._loops.setdefault("loop", made)
        if loop is not made:
            made.transport.close()
        return loop

    def _make_loop(self) -> Loop:
        host, port, fit_path, resolve_interval = self.settings.target
        session = Session(self.settings.session, stream_id=_new_stream_id(), random=_random)
        transport = UDPTransport(
            host,
            port,
            fit_path=fit_path,
            resolve_interval=resolve_interval,
            run_aside=self._run_aside,
            random=_random,
        )

        def on_step() -> None:
            self._ledger.settle(self.buffer, session)
            self._room.open()

        return Loop(
            self.buffer,
            session,
            transport,
            self._make_disk(session),
            clock=self._clock,
            wall=time.time,
            on_step=on_step,
        )

    def _make_disk(self, session: Session) -> Spooling | None:
        settings = self.settings
        if settings.spool_directory is None or session.adoption is None:
            return None
        return _load_spooling().open(
            settings.spool_directory,
            session,
            session.adoption,
            max_bytes=settings.spool_size_bytes,
            max_age=settings.spool_age_seconds,
            fsync=settings.spool_fsync,
        )


def _new_stream_id() -> int:
    return int.from_bytes(os.urandom(8))


def threads_can_run() -> bool:
    """Whether a thread that is started gets to run.

    Under uWSGI before 2.0.30 without ``enable-threads`` it does not, or only while a request is
    handled. uWSGI says itself whether it lets threads run.
    """
    uwsgi = sys.modules.get("uwsgi")
    return uwsgi is None or bool(getattr(uwsgi, "has_threads", True))


def _load_spooling() -> type[Spooling]:
    from batchudp_handler.flusher.spooling import Spooling  # few programs need it

    return Spooling


def _random() -> float:
    # instead of `random`, whose import takes longer than that of this package
    return int.from_bytes(os.urandom(4), "big") / 2**32

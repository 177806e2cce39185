"""What callers ask of the flusher, and how they wait for it: with a deadline, stuck on no lock.

A request is a raw lock that its maker cannot get until the flusher lets go of it. There is
nothing in between that a signal handler could interrupt and find locked.

The lock is of the kind that the flusher's thread was started with. gevent and eventlet replace
locks, threads and waiting all at once; when that happens after the start, the thread is a real one
for as long as it lives, and only a real lock is sure to be let go of from there.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from batchudp_handler.core.send.counters import Trigger
from batchudp_handler.waits import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Lock

    from batchudp_handler.core.send.session import Session
    from batchudp_handler.flusher.settings import FlusherSettings

__all__ = ["Request", "Requests", "WaitingRoom"]

ROOM_CHECK = 0.1
"""Seconds between two looks of a caller who waits for room, for the case that nobody calls."""


class Request:
    """Something that callers wait for and the flusher finishes, before a deadline."""

    __slots__ = ("_claim", "_gate", "deadline", "is_granted")

    def __init__(self, deadline: float, make_lock: Callable[[], Lock] = threading.Lock) -> None:
        self.deadline = deadline
        self.is_granted = False
        self._claim = make_lock()  # held by the first who finishes, for ever
        self._gate = make_lock()
        self._gate.acquire()

    def finish(self, *, is_granted: bool) -> None:
        """Let the callers go on; only the first call counts, whichever threads make them."""
        if self._claim.acquire(blocking=False):
            self.is_granted = is_granted
            self._gate.release()

    def wait(self, seconds: float) -> bool:
        """Wait until it is finished; True if it was granted. Any number of callers may."""
        if until(lambda piece: self._gate.acquire(timeout=piece), seconds):
            self._gate.release()
        return self.is_granted


class Requests:
    """What other threads want of the owner of a session: flushes, the close, other settings.

    Anyone may append, and the owner alone looks at it.
    """

    __slots__ = ("_close", "_current", "changes", "flushes")

    def __init__(self) -> None:
        self.flushes: deque[Request] = deque()
        """Those that have not begun."""
        self.changes: deque[tuple[FlusherSettings, Request]] = deque()
        self._current: list[Request] = []
        self._close: dict[str, Request] = {}  # one at most

    @property
    def close(self) -> Request | None:
        """The request to close, if there is one."""
        return self._close.get("close")

    def ask_to_close(self, request: Request) -> Request:
        """Return the request that counts: the first one."""
        return self._close.setdefault("close", request)

    def __len__(self) -> int:
        """Return how many requests wait to be looked at."""
        return len(self.flushes) + len(self.changes) + len(self._close)

    def begin(self, session: Session, waiting: int, now: float) -> None:
        """Have the session do what is asked for."""
        if self.close is not None:
            session.begin_close(waiting, now)
        elif self.flushes and not self._current:
            # all that waits is flushed and nothing more is begun until it has settled: so the
            # caller learns about the records that were there, however many follow
            while self.flushes:
                self._current.append(self.flushes.popleft())
            session.hold()
            session.begin_flush(Trigger.FLUSH, waiting, now)

    def finish(self, session: Session, now: float) -> int:
        """Let the callers go on whose flush is done; return how many they were."""
        done = self._current if session.is_settled else []
        for request in done:
            request.finish(is_granted=True)
        self._current = [] if done else [each for each in self._current if now < each.deadline]
        if not self._current and self.close is None:
            session.release()
        return len(done)

    def next_deadline(self) -> float | None:
        """Return when somebody loses patience."""
        waiting = [*self._current] if self.close is None else [*self._current, self.close]
        return min((request.deadline for request in waiting), default=None)

    def end(self) -> None:
        """Let everybody go on: nothing more is done."""
        for request in (*self._current, *self.flushes):
            request.finish(is_granted=False)
        if self.close is not None:
            self.close.finish(is_granted=True)


class WaitingRoom:
    """Where callers wait until a full buffer has room again."""

    __slots__ = ("_clock", "_gates", "make_lock")

    def __init__(self, clock: Callable[[], float]) -> None:
        self.make_lock: Callable[[], Lock] = threading.Lock
        self._clock = clock
        self._gates: deque[tuple[Callable[[], bool], Request]] = deque()

    def wait(
        self, has_room: Callable[[], bool], wake: Callable[[], None], timeout: float | None
    ) -> bool:
        """Wait until there is room or the time is over; True if there is room."""
        end = float("inf") if timeout is None else self._clock() + timeout
        gate: Request | None = None
        while not has_room():
            now = self._clock()
            if now >= end:
                return False
            if gate is None or gate.is_granted:
                gate = Request(end, self.make_lock)
                self._gates.append((has_room, gate))
            wake()
            if not has_room():
                gate.wait(min(end - now, ROOM_CHECK))
        return True

    def open(self) -> None:
        """Let those go on who have room now.

        The others are left to wait: who looks in vain wakes the flusher, and it would come here
        again at once.
        """
        with suppress(IndexError):  # several threads may open at once
            for _ in range(len(self._gates)):
                has_room, gate = self._gates.popleft()
                if has_room() or self._clock() >= gate.deadline:
                    gate.finish(is_granted=True)
                else:
                    self._gates.append((has_room, gate))

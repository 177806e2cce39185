"""Where do records wait, which of them is dropped when too many do, and who must be woken?

Any thread appends, one drains. There is no lock, and that is the plan: a lock would deadlock
when a signal handler or a destructor logs in the middle of an append. Every step is one
operation that the interpreter carries out whole (`deque.append`, `deque.popleft`, the next
value of an `itertools.count`, a store to an attribute), and the order of the steps keeps the
numbers right: each record that came in was drained, was dropped, or waits.

Two or more callers that find the last free place at the same moment may all take it, so the
buffer can hold a record more per thread than its capacity, for a moment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from batchudp_handler.core.batch import Captured

__all__ = ["NEVER", "Buffer", "Tally"]

NEVER = 2**63 - 1
"""As a number of records: never reached. As a level: above all."""
LEVELNO = 1
"""Where what is captured of a record holds its level number, an exact int."""
CAUSES = ("buffer_full", "self_log", "relay", "record_error")
"""Why a record that came in is not queued; see `docs/reference/counters.md`."""
RESERVE = 5
"""With a protected level, one fifth of the capacity is kept for the records that have it."""

WaitForRoom: TypeAlias = Callable[[Callable[[], bool]], bool]


class Tally:
    """A counter that threads, signal handlers and destructors may advance at any time.

    ``total += 1`` is three steps, and a count is lost when a signal handler comes between
    them. Advancing an `itertools.count` is one; its text form is how it can be read.
    """

    __slots__ = ("_count", "add")

    def __init__(self) -> None:
        self._count = count()
        self.add: Callable[[], int] = self._count.__next__

    @property
    def value(self) -> int:
        """How often `add` was called."""
        return int(repr(self._count)[6:-1])


def _refuse_to_wait(has_room: Callable[[], bool]) -> bool:
    return has_room()


class Buffer:
    """A bounded queue of snapshots with one reader.

    Args:
        capacity: How many records may wait.
        overflow: What happens beyond that: ``"drop_oldest"``, ``"drop_newest"`` or ``"block"``.
        flush_level: A record at or above it asks for an immediate flush.
        protect_level: Records below it leave one fifth of the capacity free, and never push
            out a record at or above it.
        wait_for_room: For ``"block"``: gets a question "is there room?", waits until the answer
            is yes or its patience ends, and returns the last answer.
    """

    __slots__ = (
        "_capacity",
        "_items",
        "_make_room",
        "_protect_level",
        "_tallies",
        "_unreserved",
        "_wait_for_room",
        "drained",
        "flush_level",
        "muted_thread",
        "urgent",
        "wake_at",
    )

    def __init__(
        self,
        capacity: int,
        overflow: str = "drop_oldest",
        *,
        flush_level: int | None = None,
        protect_level: int | None = None,
        wait_for_room: WaitForRoom = _refuse_to_wait,
    ) -> None:
        self._items: deque[Captured] = deque()
        self._tallies = {cause: Tally() for cause in CAUSES}
        self._wait_for_room = wait_for_room
        self.drained = 0
        """Records that the reader took; only the reader writes it."""
        self.wake_at = 1
        """So many waiting records wake the reader, who sets it before it sleeps."""
        self.urgent = False
        """A record at or above the flush level came in; the reader clears it."""
        self.muted_thread = 0
        """The thread that sends, while it does: what is logged there is about the sending."""
        self.configure(capacity, overflow, flush_level=flush_level, protect_level=protect_level)

    def configure(
        self,
        capacity: int,
        overflow: str,
        *,
        flush_level: int | None = None,
        protect_level: int | None = None,
    ) -> None:
        """Change the limits; records that wait beyond a smaller capacity stay until drained."""
        policies = {
            "drop_oldest": self._drop_oldest,
            "drop_newest": self._drop_newest,
            "block": self._block,
        }
        self._make_room = policies[overflow]
        self._capacity = capacity
        self._protect_level = NEVER if protect_level is None else protect_level
        self._unreserved = capacity if protect_level is None else capacity - capacity // RESERVE
        self.flush_level = NEVER if flush_level is None else flush_level

    def __len__(self) -> int:
        return len(self._items)

    @property
    def dropped(self) -> dict[str, int]:
        """Records dropped before they were drained, by cause."""
        return {cause: tally.value for cause, tally in self._tallies.items()}

    @property
    def lost(self) -> int:
        """Records dropped because there was no room."""
        return self._tallies["buffer_full"].value

    @property
    def accepted(self) -> int:
        """Records that ever came in; exact while nobody appends."""
        return self.drained + sum(self.dropped.values()) + len(self._items)

    def drop(self, cause: str) -> None:
        """Count a record that came in and will not be queued."""
        self._tallies[cause].add()

    def append(self, snapshot: Captured, levelno: int) -> bool:
        """Queue a snapshot; True when the caller is the one who must wake the reader."""
        items = self._items
        if len(items) >= self._unreserved and not self._has_room(levelno):
            return False
        items.append(snapshot)
        if levelno >= self.flush_level:
            self.urgent = True
        elif len(items) < self.wake_at:
            return False
        # the first to get here wakes the reader for all: disarm before telling it
        was_asleep = self.wake_at != NEVER
        self.wake_at = NEVER
        return was_asleep

    def drain(self, limit: int | None = None) -> list[Captured]:
        """Take up to `limit` of the oldest snapshots; for the one reader only."""
        take = self._items.popleft
        waiting = len(self._items)
        taken: list[Captured] = []
        try:
            for _ in range(waiting if limit is None else min(limit, waiting)):
                taken.append(take())  # noqa: PERF401  # what was taken must survive an IndexError
        except IndexError:
            pass  # a caller who found the buffer full was faster
        self.drained += len(taken)
        return taken

    def _has_room(self, levelno: int) -> bool:
        is_protected = levelno >= self._protect_level
        if len(self._items) < (self._capacity if is_protected else self._unreserved):
            return True
        return self._make_room(is_protected)

    def _drop_oldest(self, is_protected: bool) -> bool:
        try:
            if not is_protected and self._items[0][LEVELNO] >= self._protect_level:
                return self._drop_this()
            self._items.popleft()
        except IndexError:
            return True  # the reader has just emptied it
        self.drop("buffer_full")
        return True

    def _drop_newest(self, _is_protected: bool) -> bool:
        return self._drop_this()

    def _drop_this(self) -> bool:
        self.drop("buffer_full")
        return False

    def _block(self, is_protected: bool) -> bool:
        def has_room() -> bool:
            limit = self._capacity if is_protected else self._unreserved
            return len(self._items) < limit

        return self._wait_for_room(has_room) or self._drop_this()

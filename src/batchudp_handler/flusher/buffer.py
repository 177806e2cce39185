"""Where records wait: which of them is dropped when too many do, and who must be woken.

Any thread appends, one at a time drains: the owner. Nobody waits for a lock, and that is the plan:
a lock would deadlock when a signal handler or a destructor logs in the middle of an append. Every
step is one that Python's documentation calls thread-safe (`deque.append`, `deque.popleft`, a
store to an attribute), and the order of the steps keeps the numbers right.

The limits hold for all records that the handler answers for: those that wait here and those that
the owner has taken and not settled, which it reports with `settle`. The limit of the deque is
what they leave. Two callers that find the last free place at the same moment may both take it, so
for a moment there can be a record more for each thread.

How the numbers add up: a record came in when it was drained, was dropped, or waits. The owner
marks the time while it moves records by an odd version, and a reader that finds another version
afterwards looks again. Callers that drop the oldest count it first, then remove it, then append
their own. Read in the order deque, tallies, the sum has every log call that had returned, and none
that had not begun. That needs one record to come for each that goes; a caller for whom several go
says when it begins and ends, and the reader looks again as well.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeAlias, TypeVar

from batchudp_handler.core.records.snapshot import LEVELNO
from batchudp_handler.core.records.weight import LIGHT, text_bytes
from batchudp_handler.flusher.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchudp_handler.core.records.batch import Captured

__all__ = ["FLAT_SIZE", "NEVER", "Buffer", "View"]

NEVER = 2**63 - 1
"""As a number of records: never reached. As a level: above all."""
CAUSES = ("buffer_full", "capacity_bytes", "self_log", "relay", "record_error")
"""Why a record that came in is not queued; see `docs/reference/counters.md`."""
RESERVE = 5
"""With a protected level, one fifth of the capacity is kept for the records that have it."""
FLAT_SIZE = LIGHT
"""Bytes that a record without a long text is charged. Nobody need weigh it: the number of records
bounds what it really takes."""
CROWDED = 4
"""Long texts that take a quarter of the bytes leave without waiting for company."""
HEADROOM = 16
"""A machine that cannot send gives up its oldest records when less than this part is free."""

Books = TypeVar("Books")
WaitForRoom: TypeAlias = "Callable[[Callable[[], bool]], bool]"


class Heavy(NamedTuple):
    """A snapshot whose texts are charged by their size."""

    snapshot: Captured
    size: int


class View(NamedTuple, Generic[Books]):
    """What was true at one moment."""

    books: Books
    """As the owner last settled them."""
    accepted: int
    """Records that ever came in."""
    dropped: dict[str, int]
    """Of these: dropped before they were drained, by cause."""


def _levelno(waiting: Captured | Heavy) -> int:
    taken = waiting.snapshot if isinstance(waiting, Heavy) else waiting
    levelno: int = taken[LEVELNO]
    return levelno


def _refuse_to_wait(has_room: Callable[[], bool]) -> bool:
    return has_room()


class Buffer(Generic[Books]):
    """A bounded queue of snapshots with one reader.

    Args:
        capacity: How many records may wait here and with the owner.
        overflow: What happens beyond that: ``"drop_oldest"``, ``"drop_newest"`` or ``"block"``.
        books: What `view` shows before the first `settle`.
        capacity_bytes: How many bytes they may take.
        flush_level: A record at or above it asks for an immediate flush.
        protect_level: Records below it leave one fifth of the capacity free, and never push
            out a record at or above it.
        wait_for_room: For ``"block"``: gets a question "is there room?", waits until the answer
            is yes or its patience ends, and returns the last answer.
    """

    __slots__ = (
        "_books",
        "_bytes",
        "_capacity",
        "_capacity_bytes",
        "_held",
        "_held_bytes",
        "_items",
        "_make_room",
        "_overflow",
        "_protect_level",
        "_reserve",
        "_sweeps_begun",
        "_sweeps_ended",
        "_tallies",
        "_unreserved",
        "_urgent",
        "_version",
        "_wait_for_room",
        "_wake_at",
        "drained",
        "drained_bytes",
        "flush_level",
        "muted_thread",
    )

    def __init__(
        self,
        capacity: int,
        overflow: str = "drop_oldest",
        *,
        books: Books,
        capacity_bytes: int = NEVER,
        flush_level: int | None = None,
        protect_level: int | None = None,
        wait_for_room: WaitForRoom = _refuse_to_wait,
    ) -> None:
        self._items: deque[Captured | Heavy] = deque()
        self._tallies = {cause: Tally() for cause in CAUSES}
        self._bytes = Tally()  # of the heavy ones that wait
        self._sweeps_begun = Tally()
        self._sweeps_ended = Tally()
        self._wait_for_room = wait_for_room
        self._books = books
        self._version = 0
        self._held = 0
        self._held_bytes = 0
        self.drained = 0
        """Records that the owner took; only the owner writes it."""
        self.drained_bytes = 0
        """Of long texts, in what it took last."""
        self._wake_at = 1  # so many waiting records wake the owner
        self._urgent = False  # a record at or above the flush level came in
        self.muted_thread = 0
        """The thread that sends, while it does: what is logged there is about the sending."""
        self.configure(
            capacity,
            overflow,
            capacity_bytes=capacity_bytes,
            flush_level=flush_level,
            protect_level=protect_level,
        )

    def configure(
        self,
        capacity: int,
        overflow: str,
        *,
        capacity_bytes: int = NEVER,
        flush_level: int | None = None,
        protect_level: int | None = None,
    ) -> None:
        """Change the limits; records that wait beyond a smaller capacity stay until drained."""
        policies = {
            "drop_oldest": self._drop_oldest,
            "drop_newest": self._drop_newest,
            "block": self._block,
        }
        self._overflow = overflow
        self._make_room = policies[overflow]
        self._capacity = capacity
        self._capacity_bytes = capacity_bytes
        self._protect_level = NEVER if protect_level is None else protect_level
        self._reserve = 0 if protect_level is None else capacity // RESERVE
        self.flush_level = NEVER if flush_level is None else flush_level
        self._set_limit()

    def __len__(self) -> int:
        return len(self._items)

    # --- for those who log ----------------------------------------------------------------------

    def append(self, snapshot: Captured, levelno: int) -> bool:
        """Queue a snapshot; True when the caller is the one who must wake the owner."""
        items = self._items
        if type(snapshot) is not tuple and (size := text_bytes(snapshot)):
            return self._append_heavy(Heavy(snapshot, size), levelno)
        if len(items) >= self._unreserved and not self._has_room(levelno, FLAT_SIZE):
            return False
        items.append(snapshot)
        if levelno >= self.flush_level:
            self._urgent = True
        elif len(items) < self._wake_at:
            return False
        # the first to get here wakes the owner for all: disarm before telling it
        was_asleep = self._wake_at != NEVER
        self._wake_at = NEVER
        return was_asleep

    def _append_heavy(self, heavy: Heavy, levelno: int) -> bool:
        if not self._has_room(levelno, heavy.size):
            return False
        self._bytes.add(heavy.size)
        self._unreserved = 0  # whoever comes next looks closely, until the owner sets the limit
        self._items.append(heavy)
        if levelno >= self.flush_level:
            self._urgent = True
        elif len(self._items) < self._wake_at and not self.is_crowded:
            return False
        was_asleep = self._wake_at != NEVER
        self._wake_at = NEVER
        return was_asleep

    def drop(self, cause: str) -> None:
        """Count a record that came in and will not be queued."""
        self._tallies[cause].add()

    # --- for the owner --------------------------------------------------------------------------

    def drain(self, limit: int | None = None, limit_bytes: int = NEVER) -> list[Captured]:
        """Take up to `limit` of the oldest snapshots, one at least; the owner holds them now.

        Heavy ones that take more than `limit_bytes` together are left for the next time.
        """
        items = self._items
        count = len(items) if limit is None else min(limit, len(items))
        taken: list[Captured] = []
        weight = 0
        self._version += 1
        self._hold(self._held + count, self._held_bytes)  # before there is more room here
        try:
            while len(taken) < count and weight < limit_bytes:
                each = items.popleft()
                if type(each) is Heavy:
                    weight += each.size
                    taken.append(each.snapshot)
                else:
                    taken.append(each)
        except IndexError:
            pass  # a caller who found the buffer full was faster
        finally:
            self.drained += len(taken)
            self.drained_bytes = weight
            if weight:
                self._bytes.add(-weight)
            self._hold(self._held - count + len(taken), self._held_bytes + weight)
            self._version += 1
        return taken

    def settle(self, books: Books, held: int, held_bytes: int) -> None:
        """Say what became of the records that were drained, and how many of them are left."""
        self._version += 1
        self._books = books
        self._version += 1
        self._hold(held, held_bytes)  # last: those for whom this makes room came later

    def arm(self, waiting: int) -> None:
        """Have `append` wake the owner when so many records wait: before each sleep."""
        self._wake_at = waiting

    def disarm(self) -> None:
        """Have `append` wake nobody: the owner is awake."""
        self._wake_at = NEVER

    @property
    def is_due(self) -> bool:
        """Whether `append` would have woken the owner, had it slept already."""
        return self._urgent or len(self._items) >= self._wake_at

    def take_urgency(self) -> bool:
        """Return whether a record at or above the flush level came since the last call."""
        urgent, self._urgent = self._urgent, False
        return urgent

    def mute(self, thread: int) -> None:
        """Note which thread sends now, by its identity (0: none): it logs about the sending."""
        self.muted_thread = thread

    @property
    def is_crowded(self) -> bool:
        """Whether the waiting texts should leave for their size."""
        return self._bytes.estimate() * CROWDED >= self._capacity_bytes

    @property
    def lost(self) -> int:
        """Records dropped because there was no room."""
        return self._tallies["buffer_full"].value + self._tallies["capacity_bytes"].value

    @property
    def headroom(self) -> int:
        """How many records should find room without pushing another one out."""
        return min(self._capacity, self._capacity_bytes // FLAT_SIZE) // HEADROOM

    @property
    def drops_oldest(self) -> bool:
        """Whether the oldest go when there is no room."""
        return self._overflow == "drop_oldest"

    @property
    def wanted_room(self) -> int:
        """How many of its records the owner should give up, if it cannot send them.

        They are older than those that wait here, and with ``"drop_oldest"`` they should go first.
        """
        if not self.drops_oldest:
            return 0
        self._set_limit()
        return max(0, self.headroom - (self._unreserved - len(self._items)))

    @property
    def scarce(self) -> str:
        """Which limit is nearer: the cause under which records are dropped for room."""
        free = self._capacity_bytes - self._held_bytes - self._bytes.estimate()
        is_full = self._capacity - self._held - self._reserve <= free // FLAT_SIZE
        return "buffer_full" if is_full else "capacity_bytes"

    @property
    def crowd_at(self) -> int:
        """The number of waiting records at which there is a `wanted_room`."""
        self._set_limit()
        return max(1, self._unreserved - self.headroom + 1)

    # --- for anyone -----------------------------------------------------------------------------

    def view(self) -> View[Books] | None:
        """What is true at this moment; None while the owner moves records."""
        version, sweeps = self._version, self._sweeps_ended.value
        books, found = self._books, self.drained + len(self._items)
        dropped = self._dropped()
        if version & 1 or version != self._version or sweeps != self._sweeps_begun.value:
            return None
        return View(books, found + sum(dropped.values()), dropped)

    def rough_view(self) -> View[Books]:
        """The same at once, without the records that are just being moved or dropped."""
        dropped, books = self._dropped(), self._books
        found = self.drained + len(self._items)
        return View(books, found + sum(dropped.values()), dropped)

    def _dropped(self) -> dict[str, int]:
        return {cause: tally.value for cause, tally in self._tallies.items()}

    # --- room -----------------------------------------------------------------------------------

    def _hold(self, records: int, size: int) -> None:
        self._held = records
        self._held_bytes = size
        self._set_limit()

    def _set_limit(self) -> None:
        """Note up to how many waiting records nobody need look closely; for the owner only."""
        free = self._capacity_bytes - self._held_bytes - self._bytes.estimate()
        self._unreserved = min(self._capacity - self._held - self._reserve, free // FLAT_SIZE)

    @property
    def _most(self) -> int:
        """Records that may wait here, the reserve included."""
        return self._capacity - self._held

    def _lack(self, size: int, *, is_protected: bool) -> str | None:
        """What there is not enough of for one more record of this size; None: it fits."""
        limit = self._most - (0 if is_protected else self._reserve)
        waiting = len(self._items)
        if waiting >= limit:
            return "buffer_full"
        free = self._capacity_bytes - self._held_bytes - self._bytes.estimate()
        return "capacity_bytes" if waiting * FLAT_SIZE + size > free else None

    def _has_room(self, levelno: int, size: int) -> bool:
        is_protected = levelno >= self._protect_level
        lack = self._lack(size, is_protected=is_protected)
        if lack is None:
            return True
        if size > self._capacity_bytes:
            return self._drop_this(lack)  # however many others went
        return self._make_room(lack, size, is_protected)

    def _drop_oldest(self, lack: str, size: int, is_protected: bool) -> bool:
        if not self._drop_one(lack, size, is_protected):
            return False
        if lack == "buffer_full" and size == FLAT_SIZE and len(self._items) < self._most:
            return True  # no smaller one went
        # one comes for one that went: into the reserve, if that is in use
        wanted = self._lack(size, is_protected=True)
        return wanted is None or self._sweep(wanted, size, is_protected)

    def _sweep(self, lack: str, size: int, is_protected: bool) -> bool:
        """Drop more than one for the one that comes; `view` waits until that is over."""
        wanted: str | None = lack
        self._sweeps_begun.add()
        try:
            while wanted is not None:
                if not self._drop_one(wanted, size, is_protected):
                    return False
                wanted = self._lack(size, is_protected=True)
        finally:
            self._sweeps_ended.add()
        return True

    def _drop_one(self, lack: str, size: int, is_protected: bool) -> bool:
        """Count and drop the oldest; False: it is the one that comes."""
        self._tallies[lack].add()
        try:
            if self._is_to_stay(is_protected):
                return False
            oldest = self._items.popleft()
        except IndexError:
            return self._find_room(lack, size, is_protected)
        if type(oldest) is Heavy:
            self._bytes.add(-oldest.size)
        return True

    def _is_to_stay(self, is_protected: bool) -> bool:
        """Whether the oldest must not give way to one that is not protected."""
        if is_protected or self._protect_level == NEVER:
            return False
        return _levelno(self._items[0]) >= self._protect_level

    def _find_room(self, counted: str, size: int, is_protected: bool) -> bool:
        """Nothing waits any more: either the owner has just taken it, or it holds too much."""
        if self._lack(size, is_protected=is_protected) is not None:
            return False  # what was counted is this record
        self._tallies[counted].add(-1)
        return True

    def _drop_newest(self, lack: str, _size: int, _is_protected: bool) -> bool:
        return self._drop_this(lack)

    def _drop_this(self, lack: str) -> bool:
        self.drop(lack)
        return False

    def _block(self, lack: str, size: int, is_protected: bool) -> bool:
        def has_room() -> bool:
            return self._lack(size, is_protected=is_protected) is None

        return self._wait_for_room(has_room) or self._drop_this(lack)

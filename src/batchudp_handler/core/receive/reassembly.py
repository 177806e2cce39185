"""Fragments that become a batch again, in bounded memory.

A group is admitted as a whole or not at all: its first fragment to arrive reserves room for all of
them. So a fragment that completes a group is never refused, and a full table empties by
completion and not only by time. Budgets are in bytes, with a charge for each fragment's own
overhead, because a thousand fragments of one byte are not a thousand bytes.

A group belongs to a stream and is known by its first sequence number, which nobody else can use.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from batchudp_handler.core.errors import DecodeError, Reason

if TYPE_CHECKING:
    from batchudp_handler.core.wire.datagram import Header

__all__ = ["Budget", "Group", "ReassemblyLimits", "SharedBudgets", "StreamReassembly"]

GROUP_OVERHEAD = 512
FRAGMENT_OVERHEAD = 64
"""Charged on top of the bytes: dict entry and bytes object."""


@dataclass(frozen=True, slots=True)
class ReassemblyLimits:
    """How many bytes of unfinished batches a receiver keeps, and for how long."""

    group_bytes: int = 1 << 20
    """One batch; a sender seals no larger one."""
    stream_bytes: int = 2 << 20
    """All unfinished batches of one sender, reserved when the first fragment of each comes."""
    total_bytes: int = 16 << 20
    """All unfinished batches of all senders."""
    one_way_seconds: float = 5.0
    """A one-way group that is not complete by then never will be."""


class Budget:
    """An amount that is reserved out of a limit."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def fits(self, amount: int) -> bool:
        """Return whether so much more can be reserved."""
        return self.used + amount <= self.limit


@dataclass(frozen=True, slots=True)
class SharedBudgets:
    """Budgets that all streams of a receiver draw from."""

    limits: ReassemblyLimits
    reassembly: Budget
    gaps: Budget


@dataclass(slots=True)
class Group:
    """The fragments of one batch so far."""

    first: Header
    """Of the fragment that came first."""
    key: int
    started: float
    fragment_size: int | None = None
    """Of all fragments but the last; None while only the last is here."""
    last_size: int | None = None
    reserved: int = 0
    parts: dict[int, bytes] = field(default_factory=dict)

    @property
    def end(self) -> int:
        """One past the group's last sequence number."""
        return self.key + self.first.frag_count

    @property
    def is_complete(self) -> bool:
        """Whether every fragment is here."""
        return len(self.parts) == self.first.frag_count

    def join(self) -> bytes:
        """Return the encoded batch."""
        return b"".join(self.parts[index] for index in range(self.first.frag_count))


class StreamReassembly:
    """The unfinished groups of one stream."""

    __slots__ = ("_limits", "_own", "_total", "groups")

    def __init__(self, limits: ReassemblyLimits, total: Budget) -> None:
        self._limits = limits
        self._own = Budget(limits.stream_bytes)
        self._total = total
        self.groups: dict[int, Group] = {}

    @property
    def reserved(self) -> int:
        """Bytes reserved by this stream."""
        return self._own.used

    def add(self, header: Header, body: bytes, now: float, max_datagram: int = 0) -> Group:
        """Take a fragment that is not a duplicate.

        Args:
            header: its header, checked.
            body: its part of the batch.
            now: when it came.
            max_datagram: as the sender's last SYNC says, 0 if there was none.

        Returns:
            The group, which the caller removes when it is complete.

        Raises:
            DecodeError: `REASSEMBLY_REFUSED`, nothing has changed and it may be tried again;
                `INFLATE_LIMIT`, the group can never fit; `GROUP_MISMATCH`, it
                contradicts its group, which the caller must remove.
        """
        key = header.seq - header.frag_index
        group = self.groups.get(key)
        if group is None:
            group = Group(header, key, now)
        _check_same(group.first, header)
        fragment_size, last_size = _sizes(group, header, len(body))
        if fragment_size and fragment_size * (header.frag_count - 1) >= self._limits.group_bytes:
            raise DecodeError(Reason.INFLATE_LIMIT, "group can not fit")
        guess = min(max_datagram * header.frag_count, self._limits.group_bytes)
        self._reserve(group, _cost(header.frag_count, fragment_size, last_size, guess))
        group.fragment_size, group.last_size = fragment_size, last_size
        group.parts[header.frag_index] = body
        self.groups[key] = group
        return group

    def remove(self, key: int) -> Group | None:
        """Forget a group and give its room back."""
        group = self.groups.pop(key, None)
        if group is not None:
            self._own.used -= group.reserved
            self._total.used -= group.reserved
        return group

    def expired(self, now: float) -> list[Group]:
        """Return the groups that have waited too long, oldest first."""
        limit = now - self._limits.one_way_seconds
        return [group for group in self.groups.values() if group.started <= limit]

    def expiry_time(self) -> float | None:
        """Return when the oldest group will have waited too long; the order is by age."""
        for group in self.groups.values():
            return group.started + self._limits.one_way_seconds
        return None

    def _reserve(self, group: Group, cost: int) -> None:
        """Change what a group has reserved. A smaller reservation always fits."""
        more = cost - group.reserved
        if more > 0 and not (self._own.fits(more) and self._total.fits(more)):
            raise DecodeError(Reason.REASSEMBLY_REFUSED)
        self._own.used += more
        self._total.used += more
        group.reserved = cost


def _check_same(first: Header, header: Header) -> None:
    """Check that a fragment agrees with its group in what describes the batch."""
    same = (
        first.rec == header.rec
        and first.n_rec == header.n_rec
        and first.codec == header.codec
        and first.frag_count == header.frag_count
        and first.key_id == header.key_id
        and first.type == header.type
    )
    if not same:
        raise DecodeError(Reason.GROUP_MISMATCH)


def _sizes(group: Group, header: Header, size: int) -> tuple[int | None, int | None]:
    """Return the size of the fragments, and that of the last one, as far as they are known."""
    fragment_size, last_size = group.fragment_size, group.last_size
    if header.frag_index == header.frag_count - 1:
        last_size = size
    elif fragment_size is not None and fragment_size != size:
        raise DecodeError(Reason.GROUP_MISMATCH, "length")
    else:
        fragment_size = size
    empty = fragment_size == 0 or last_size == 0
    if empty or (
        fragment_size is not None and last_size is not None and last_size > fragment_size
    ):
        raise DecodeError(Reason.GROUP_MISMATCH, "length")
    return fragment_size, last_size


def _cost(count: int, fragment_size: int | None, last_size: int | None, guess: int) -> int:
    """Return what a group is charged: exactly, once the size of its fragments is known."""
    size = fragment_size * count if fragment_size else max(last_size or 0, guess)
    return GROUP_OVERHEAD + FRAGMENT_OVERHEAD * count + size

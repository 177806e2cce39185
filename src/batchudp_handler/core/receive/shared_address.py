"""Signs that another receiver gets a share of the datagrams sent to this one.

An acknowledged sender says which receiver it knows, and repeats the cookie of whoever challenged
it last. One that comes again and again with those of somebody else, although it is answered here
each time, is answered by another receiver in between. A one-way stream of which exactly every
second datagram is missing, or every third, is shared out by turns: loss on the way is never so
even.

Only signs, in bounded memory: whoever is counted here is not proven yet, and the only consequence
is a warning. It is wrong where a receiver died before its first answer and nothing gets through
that its successor says; the sender, which hears both, is sure (`alternation`).
"""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

__all__ = ["LEFT_FOR_ANOTHER", "SharedAddress"]

MIN_FOREIGN = 16
LEFT_FOR_ANOTHER = 8
"""What a SYNC counts whose sender was with this receiver and names another one now."""
MIN_TIME = 3.0
"""Seconds: a sender whose receiver was restarted has found the new one by then."""
EVEN_GAPS = 12
"""At 50 % loss one run in sixteen millions of so many datagrams has a gap of one before each."""
REMEMBERED_STREAMS = 64

V = TypeVar("V")


class _Recent(Generic[V]):
    """A value for each of the streams that were noted last."""

    def __init__(self) -> None:
        self._values: dict[int, V] = {}

    def take(self, stream_id: int) -> V | None:
        return self._values.pop(stream_id, None)

    def __contains__(self, stream_id: int) -> bool:
        return stream_id in self._values

    def put(self, stream_id: int, value: V) -> None:
        if len(self._values) == REMEMBERED_STREAMS:
            del self._values[next(iter(self._values))]
        self._values[stream_id] = value


class _Foreign(NamedTuple):
    signs: int
    since: float


class _Gaps(NamedTuple):
    datagrams: int
    missed: int
    seq: int


class SharedAddress:
    """Signs of a shared address by stream; when there are enough, the count begins anew."""

    def __init__(self) -> None:
        self._foreign: _Recent[_Foreign] = _Recent()
        self._own: _Recent[bool] = _Recent()
        self._gaps: _Recent[_Gaps] = _Recent()

    def on_foreign(self, stream_id: int, now: float, weight: int = 1) -> bool:
        """Note a datagram meant for another receiver; return whether there are enough of them."""
        count, since = self._foreign.take(stream_id) or (0, now)
        if count + weight >= MIN_FOREIGN and now - since >= MIN_TIME:
            return True
        self._foreign.put(stream_id, _Foreign(count + weight, since))
        return False

    def on_own(self, stream_id: int) -> None:
        """Note that the sender knows this receiver and no other."""
        self._foreign.take(stream_id)
        self._own.take(stream_id)
        self._own.put(stream_id, True)

    def was_own(self, stream_id: int) -> bool:
        """Return whether the sender has named this receiver, lately."""
        return stream_id in self._own

    def on_gap(self, stream_id: int, seq: int, expected: int) -> bool:
        """Note a datagram that is not the next one; return whether the gaps are even."""
        last = self._gaps.take(stream_id)
        missed = seq - expected
        if missed < 1:
            return False
        is_even = last is not None and (last.missed, last.seq) == (missed, expected - 1)
        count = last.datagrams + 1 if last is not None and is_even else 1
        if count >= EVEN_GAPS:
            return True
        self._gaps.put(stream_id, _Gaps(count, missed, seq))
        return False

"""Fragments become batches again, within the budgets and whatever their order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.receive.reassembly import (
    FRAGMENT_OVERHEAD,
    GROUP_OVERHEAD,
    Budget,
    Group,
    ReassemblyLimits,
    StreamReassembly,
)
from batchudp_handler.core.wire.datagram import Header

LIMITS = ReassemblyLimits()


def fragment(index: int, count: int, *, key: int = 100, **changes: Any) -> Header:
    fields: dict[str, Any] = {
        "type": 1,
        "key_id": 0,
        "codec": 1,
        "stream_id": 1,
        "seq": key + index,
        "rec": 7,
        "sealed_at": 0,
        "n_rec": 1,
        "frag_index": index,
        "frag_count": count,
    }
    return Header(**fields | changes)


def cut(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


def reassembly(limits: ReassemblyLimits = LIMITS) -> StreamReassembly:
    return StreamReassembly(limits, Budget(limits.total_bytes))


def cost(count: int, size: int) -> int:
    return GROUP_OVERHEAD + count * (FRAGMENT_OVERHEAD + size)


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]])
def test_fragments_join_in_any_order(order: list[int]) -> None:
    """The body is whole when the last one missing has come, and not before."""
    parts = cut(bytes(range(35)), 10)
    pieces = reassembly()
    for number, index in enumerate(order, 1):
        group = pieces.add(fragment(index, 4), parts[index], 0.0)
        assert group.is_complete == (number == 4)
    assert group.join() == bytes(range(35))
    assert (group.key, group.end) == (100, 104)
    pieces.remove(100)
    assert (pieces.reserved, pieces.groups) == (0, {})


def test_the_first_fragment_reserves_for_all() -> None:
    """Completing a group needs no more room than its beginning."""
    limits = ReassemblyLimits(stream_bytes=cost(4, 1000), total_bytes=cost(4, 1000))
    pieces = reassembly(limits)
    pieces.add(fragment(1, 4), bytes(1000), 0.0)
    assert pieces.reserved == cost(4, 1000)
    with pytest.raises(DecodeError) as caught:
        pieces.add(fragment(0, 2, key=200), bytes(1), 0.0)
    assert caught.value.reason is Reason.REASSEMBLY_REFUSED
    for index in (0, 2):
        pieces.add(fragment(index, 4), bytes(1000), 0.0)
    assert pieces.add(fragment(3, 4), bytes(10), 0.0).is_complete
    pieces.remove(100)
    pieces.add(fragment(0, 2, key=200), bytes(1), 0.0)


@pytest.mark.parametrize(("room", "is_taken"), [(0, True), (-1, False)])
def test_a_budget_is_exact(room: int, is_taken: bool) -> None:
    """At the limit a group is admitted, one byte below it is not."""
    limits = ReassemblyLimits(stream_bytes=cost(3, 100) + room)
    pieces = reassembly(limits)
    if is_taken:
        pieces.add(fragment(0, 3), bytes(100), 0.0)
    else:
        with pytest.raises(DecodeError):
            pieces.add(fragment(0, 3), bytes(100), 0.0)
        assert (pieces.reserved, pieces.groups) == (0, {})


def test_streams_share_one_total() -> None:
    """What one stream holds, another one cannot have."""
    limits = ReassemblyLimits(total_bytes=cost(2, 100) * 3)
    total = Budget(limits.total_bytes)
    one, other = StreamReassembly(limits, total), StreamReassembly(limits, total)
    for key in (100, 200):
        one.add(fragment(0, 2, key=key), bytes(100), 0.0)
    other.add(fragment(0, 2), bytes(100), 0.0)
    with pytest.raises(DecodeError):
        other.add(fragment(0, 2, key=200), bytes(100), 0.0)
    one.remove(100)
    other.add(fragment(0, 2, key=200), bytes(100), 0.0)
    assert total.used == one.reserved + other.reserved


def test_the_last_fragment_first_reserves_a_guess() -> None:
    """Its own length tells nothing, the sender's datagram size does."""
    pieces = reassembly()
    pieces.add(fragment(9, 10), bytes(5), 0.0, max_datagram=1472)
    assert pieces.reserved == cost(10, 1472)
    pieces.add(fragment(0, 10), bytes(1400), 0.0, max_datagram=1472)
    assert pieces.reserved == cost(10, 1400)


def test_without_a_sync_only_the_last_fragment_itself_is_held() -> None:
    """The reservation follows when another fragment tells the length."""
    pieces = reassembly()
    pieces.add(fragment(9, 10), bytes(5), 0.0)
    assert pieces.reserved == GROUP_OVERHEAD + 10 * FRAGMENT_OVERHEAD + 5
    pieces.add(fragment(3, 10), bytes(1400), 0.0)
    assert pieces.reserved == cost(10, 1400)


@pytest.mark.parametrize(
    ("second", "size"),
    [
        (fragment(1, 4, rec=8), 100),
        (fragment(1, 4, n_rec=2), 100),
        (fragment(1, 4, codec=0), 100),
        (fragment(1, 5), 100),
        (fragment(1, 4, key_id=3), 100),
        (fragment(1, 4, type=2), 100),
        (fragment(1, 4), 99),
        (fragment(1, 4), 0),
        (fragment(3, 4), 101),
        (fragment(3, 4), 0),
    ],
    ids=["rec", "n_rec", "codec", "count", "key", "type", "length", "empty", "last", "empty-last"],
)
def test_a_fragment_that_disagrees_is_refused(second: Header, size: int) -> None:
    """All describe the same batch, all but the last have one length."""
    pieces = reassembly()
    pieces.add(fragment(0, 4), bytes(100), 0.0)
    with pytest.raises(DecodeError) as caught:
        pieces.add(second, bytes(size), 0.0)
    assert caught.value.reason is Reason.GROUP_MISMATCH
    assert pieces.reserved == cost(4, 100)


def test_a_group_that_can_never_fit_is_told_apart() -> None:
    """It need not be tried again: even with one byte at the end it is above the limit."""
    pieces = reassembly(ReassemblyLimits(group_bytes=4 * 1024))
    pieces.add(fragment(0, 5), bytes(1023), 0.0)
    with pytest.raises(DecodeError) as caught:
        pieces.add(fragment(0, 5, key=200), bytes(1024), 0.0)
    assert caught.value.reason is Reason.INFLATE_LIMIT


def test_groups_expire_by_age() -> None:
    """Five seconds after their first fragment, whatever came since."""
    pieces = reassembly()
    pieces.add(fragment(0, 3, key=100), b"a", 1.0)
    pieces.add(fragment(0, 3, key=200), b"a", 2.0)
    pieces.add(fragment(1, 3, key=100), b"a", 5.9)
    assert pieces.expiry_time() == 6.0
    assert pieces.expired(5.9) == []
    assert [group.key for group in pieces.expired(6.0)] == [100]
    assert [group.key for group in pieces.expired(7.0)] == [100, 200]
    assert reassembly().expiry_time() is None


class ReassemblyMachine(RuleBasedStateMachine):
    """Groups of several streams in any order, beside a model that holds everything."""

    limits = ReassemblyLimits(group_bytes=3000, stream_bytes=9000, total_bytes=14_000)

    def __init__(self) -> None:
        super().__init__()
        self.total = Budget(self.limits.total_bytes)
        self.streams = [StreamReassembly(self.limits, self.total) for _ in range(3)]
        self.bodies: dict[tuple[int, int], list[bytes]] = {}
        self.seen: dict[tuple[int, int], set[int]] = {}
        self.next_key = 0

    @rule(
        stream=st.integers(0, 2),
        size=st.integers(1, 900),
        count=st.integers(2, 6),
        rest=st.integers(1, 900),
    )
    def begin(self, stream: int, size: int, count: int, rest: int) -> None:
        body = bytes(size * (count - 1) + min(rest, size))
        self.bodies[stream, self.next_key] = cut(body, size)
        self.next_key += count

    @precondition(lambda self: self.bodies)
    @rule(data=st.data(), told=st.sampled_from([0, 900]))
    def arrive(self, data: st.DataObject, told: int) -> None:
        stream, key = data.draw(st.sampled_from(sorted(self.bodies)))
        parts = self.bodies[stream, key]
        seen = self.seen.get((stream, key), set())
        index = data.draw(st.sampled_from(sorted(set(range(len(parts))) - seen)))
        header = fragment(index, len(parts), key=key)
        # the exact reservation is made as soon as a fragment that is not the last has come
        is_reserved = bool(seen - {len(parts) - 1})
        group = self.add(stream, header, parts[index], told)
        if group is None:
            assert not is_reserved, "a fragment of an admitted group was refused"
            return
        seen.add(index)
        self.seen[stream, key] = seen
        assert group.is_complete == (len(seen) == len(parts))
        if group.is_complete:
            assert group.join() == b"".join(parts)
            self.remove(stream, key)

    def add(self, stream: int, header: Header, body: bytes, told: int) -> Group | None:
        try:
            return self.streams[stream].add(header, body, 0.0, told)
        except DecodeError as error:
            if error.reason in (Reason.REASSEMBLY_REFUSED, Reason.INFLATE_LIMIT):
                return None
            raise

    @precondition(lambda self: self.seen)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        self.remove(*data.draw(st.sampled_from(sorted(self.seen))))

    def remove(self, stream: int, key: int) -> None:
        assert self.streams[stream].remove(key) is not None
        del self.seen[stream, key], self.bodies[stream, key]

    @invariant()
    def budgets_hold(self) -> None:
        assert self.total.used == sum(stream.reserved for stream in self.streams)
        assert self.total.used <= self.limits.total_bytes
        for number, stream in enumerate(self.streams):
            held = [
                sum(len(self.bodies[at][index]) for index in seen)
                for at, seen in self.seen.items()
                if at[0] == number
            ]
            assert sum(held) <= stream.reserved <= self.limits.stream_bytes
            assert len(stream.groups) == len(held)


TestReassembly = ReassemblyMachine.TestCase
TestReassembly.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


def test_a_group_that_is_not_there_cannot_be_removed() -> None:
    """Nothing changes."""
    store = StreamReassembly(ReassemblyLimits(), Budget(1_000))
    assert store.remove(5) is None
    assert store.reserved == 0

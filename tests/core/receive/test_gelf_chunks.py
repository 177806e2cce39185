"""Chunks of GELF become messages, whatever order they come in, and never without bound."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.receive.gelf_chunks import (
    CHUNK_SECONDS,
    REMEMBERED,
    MessageRefused,
    MessageStore,
)
from batchudp_handler.core.receive.reassembly import Budget, ReassemblyLimits
from batchudp_handler.core.wire.gelf import Chunk, parse_chunk

ADDRESS = ("192.0.2.1", 5000)
LIMITS = ReassemblyLimits(group_bytes=10_000, stream_bytes=30_000, total_bytes=50_000)


def store(limits: ReassemblyLimits = LIMITS) -> tuple[MessageStore, Budget]:
    total = Budget(limits.total_bytes)
    return MessageStore(limits, total), total


def chunks(message: bytes, size: int, identity: bytes = b"12345678") -> list[Chunk]:
    parts = [message[at : at + size] for at in range(0, len(message), size)]
    return [Chunk(identity, number, len(parts), part) for number, part in enumerate(parts)]


def refused(made: MessageStore, chunk: Chunk, now: float = 0.0) -> tuple[Reason, int]:
    with pytest.raises(MessageRefused) as caught:
        made.add(chunk, ADDRESS, now)
    return caught.value.reason, caught.value.datagrams


@given(st.binary(min_size=2, max_size=500), st.integers(1, 100), st.integers())
def test_any_order_makes_the_message(message: bytes, size: int, seed: int) -> None:
    """Every order of chunks gives the message once, and its room is given back."""
    made, total = store()
    parts = chunks(message, max(size, len(message) // 128 + 1))
    random.Random(seed).shuffle(parts)
    found = [made.add(part, ADDRESS, 0.0) for part in parts]
    assert found[-1] == message
    assert set(found[:-1]) <= {None}
    assert total.used == 0
    assert made.expiry_time() is None


def test_senders_and_ids_are_told_apart() -> None:
    """Two messages with one id of two senders, and two of one sender, do not mix."""
    made, _ = store()
    first, second = chunks(b"aabb", 2), chunks(b"ccdd", 2)
    other = chunks(b"eeff", 2, b"87654321")
    assert made.add(first[0], ADDRESS, 0.0) is None
    assert made.add(second[1], ("192.0.2.2", 5000), 0.0) is None
    assert made.add(other[1], ADDRESS, 0.0) is None
    assert made.add(first[1], ADDRESS, 0.0) == b"aabb"
    assert made.add(second[0], ("192.0.2.2", 5000), 0.0) == b"ccdd"
    assert made.add(other[0], ADDRESS, 0.0) == b"eeff"


def test_copies_complete_nothing() -> None:
    """A chunk that comes twice counts once, also after its message was complete."""
    made, total = store()
    first, second = chunks(b"aabb", 2)
    made.add(first, ADDRESS, 0.0)
    assert refused(made, first) == (Reason.REPLAYED, 1)
    assert made.add(second, ADDRESS, 0.0) == b"aabb"
    assert refused(made, second) == (Reason.REPLAYED, 1)
    assert total.used == 0
    later = CHUNK_SECONDS + 0.1
    assert made.add(first, ADDRESS, later) is None, "an id may be used again after that"


@pytest.mark.parametrize(
    "chunk", [Chunk(b"12345678", 0, 2, b"xx"), Chunk(b"12345678", 1, 3, b"b")]
)
def test_a_contradiction_ends_the_message(chunk: Chunk) -> None:
    """Another text for the same place, or another count: the message is given up and counted."""
    made, total = store()
    made.add(Chunk(b"12345678", 0, 2, b"aa"), ADDRESS, 0.0)
    assert refused(made, chunk) == (Reason.GROUP_MISMATCH, 2)
    assert total.used == 0


def test_what_never_completes_expires() -> None:
    """After five seconds the room is free again, and the chunks are told for the counters."""
    made, total = store()
    made.add(chunks(b"aabbcc", 2)[0], ADDRESS, 10.0)
    made.add(chunks(b"aabbcc", 2)[2], ADDRESS, 12.0)
    made.add(chunks(b"ddee", 2, b"87654321")[0], ADDRESS, 14.0)
    assert made.expiry_time() == 10.0 + CHUNK_SECONDS
    assert made.expired(14.9) == []
    (gone,) = made.expired(15.0)
    assert (len(gone.parts), gone.address) == (2, ADDRESS)
    assert made.expiry_time() == 14.0 + CHUNK_SECONDS
    assert len(made.expired(99.0)) == 1
    assert total.used == 0


def test_a_message_is_bounded() -> None:
    """Chunks that add up to more than a batch may have end the message."""
    made, total = store()
    for number in range(2):
        made.add(Chunk(b"12345678", number, 3, b"x" * 5_000), ADDRESS, 0.0)
    assert refused(made, Chunk(b"12345678", 2, 3, b"x")) == (Reason.INFLATE_LIMIT, 3)
    assert total.used == 0


def test_one_source_cannot_take_all_room() -> None:
    """A source that begins messages and ends none is refused, and others are not."""
    made, total = store()
    reasons = []
    for number in range(1_000):
        try:
            made.add(Chunk(number.to_bytes(8), 0, 128, b"x"), ADDRESS, 0.0)
        except DecodeError as error:
            reasons.append(error.reason)
    assert set(reasons) == {Reason.REASSEMBLY_REFUSED}
    assert total.used <= LIMITS.stream_bytes
    assert made.add(Chunk(b"12345678", 0, 1, b"x"), ("192.0.2.2", 1), 0.0) == b"x"
    assert len(made.expired(99.0)) + len(reasons) == 1_000


def test_a_source_has_one_budget_for_all_ports() -> None:
    """Ports are the sender's to choose."""
    made, total = store()
    for port in range(1_000):
        try:
            made.add(Chunk(b"12345678", 0, 128, b"x"), ("192.0.2.1", port), 0.0)
        except DecodeError:
            continue
    assert total.used <= LIMITS.stream_bytes


def test_a_growing_chunk_is_charged() -> None:
    """A last chunk of one byte that comes first reserves no room for large ones."""
    made, total = store(
        ReassemblyLimits(group_bytes=10_000, stream_bytes=1_000, total_bytes=9_000)
    )
    made.add(Chunk(b"12345678", 1, 2, b"x"), ADDRESS, 0.0)
    assert refused(made, Chunk(b"12345678", 0, 2, b"x" * 900)) == (Reason.REASSEMBLY_REFUSED, 2)
    assert total.used == 0


def test_what_is_remembered_is_bounded() -> None:
    """Complete messages are recognised by the thousand, and no more."""
    made, _ = store()
    for number in range(REMEMBERED + 10):
        made.add(Chunk(number.to_bytes(8), 0, 1, b"x"), ADDRESS, 0.0)
    assert len(made._complete) == REMEMBERED


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(1, 5), st.binary(max_size=9)),
        max_size=60,
    )
)
def test_room_is_always_given_back(given_chunks: list[tuple[int, int, int, bytes]]) -> None:
    """Whatever comes, nothing but a refusal is raised, and all room is free in the end."""
    made, total = store()
    for now, (identity, number, count, body) in enumerate(given_chunks):
        data = b"\x1e\x0f" + identity.to_bytes(8) + bytes([number, count]) + body
        try:
            made.add(parse_chunk(data), ADDRESS, now / 10)
        except DecodeError:
            continue
        assert 0 <= total.used <= LIMITS.stream_bytes
    made.expired(1e9)
    assert total.used == 0
    assert not made._sources

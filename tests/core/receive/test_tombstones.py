"""The memory of forgotten streams is exact, bounded and small."""

from __future__ import annotations

import random
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchudp_handler.core.receive.tombstones import Tombstone, Tombstones
from batchudp_handler.core.wire.sync import Sync

SECRET = b"s" * 32


def stone(number: int) -> Tombstone:
    """A tombstone that can be told from others."""
    return Tombstone(number, number + 1, number + 2, number + 3, number + 4)


def test_what_is_put_is_found() -> None:
    """Thousands of ids, through every growth of the table, and nothing else is."""
    memory = Tombstones(20_000, SECRET, 0.0)
    chance = random.Random(1)
    ids = [chance.getrandbits(64) for _ in range(5_000)]
    for number, stream_id in enumerate(ids):
        memory.put(stream_id, stone(number), 0.0)
    assert [memory.get(stream_id) for stream_id in ids] == [stone(n) for n in range(5_000)]
    assert memory.get(max(ids) ^ 1) is None
    assert len(memory) == 5_000


def test_a_stream_that_ends_again_has_its_latest_numbers() -> None:
    """It takes no second entry."""
    memory = Tombstones(100, SECRET, 0.0)
    memory.put(7, stone(1), 0.0)
    memory.put(7, stone(2), 1.0)
    assert (memory.get(7), len(memory)) == (stone(2), 1)


def test_the_oldest_half_goes_first() -> None:
    """Never more than the limit, always the latest half of it, and since when none is missing."""
    memory = Tombstones(100, SECRET, 0.0)
    for number in range(151):
        memory.put(number, stone(number), float(number))
        assert len(memory) <= 100
    known = [number for number in range(151) if memory.get(number) is not None]
    assert known == [*range(100, 151)]
    assert memory.complete_since <= 100.0
    assert memory.complete_since >= 49.0


@settings(max_examples=50, deadline=None)
@given(
    ids=st.lists(st.integers(0, 40), max_size=200),
    limit=st.integers(2, 30),
)
def test_complete_since_is_true(ids: list[int], limit: int) -> None:
    """Every stream that was put since then is found with its latest numbers."""
    memory = Tombstones(limit, SECRET, 0.0)
    latest: dict[int, int] = {}
    for time, stream_id in enumerate(ids, start=1):
        memory.put(stream_id, stone(time), float(time))
        latest[stream_id] = time
        for each, when in latest.items():
            found = memory.get(each)
            assert found in (None, stone(when))
            assert found is not None or when <= memory.complete_since


def test_numbers_wrap_as_on_the_wire() -> None:
    """Counts modulo 2^32; a sequence number may be the last there is."""
    memory = Tombstones(10, SECRET, 0.0)
    memory.put(1, Tombstone(1 << 64, (1 << 32) + 5, -1, 0, 1 << 33), 0.0)
    assert memory.get(1) == Tombstone((1 << 64) - 1, 5, (1 << 32) - 1, 0, 0)


def test_a_tombstone_takes_tens_of_bytes() -> None:
    """A hundred thousand of them fit into five megabytes."""
    chance = random.Random(2)
    ids = [chance.getrandbits(64) for _ in range(100_000)]
    numbers = Tombstone(1, 1, 1, 0, 0)
    tracemalloc.start()
    try:
        memory = Tombstones(200_000, SECRET, 0.0)
        before = tracemalloc.get_traced_memory()[0]
        for stream_id in ids:
            memory.put(stream_id, numbers, 0.0)
        each = (tracemalloc.get_traced_memory()[0] - before) / len(ids)
    finally:
        tracemalloc.stop()
    assert 32 <= each <= 64


@pytest.mark.parametrize(
    ("sync", "is_news", "is_answer"),
    [
        ({"next_seq": 5, "closing": True}, False, True),
        ({"next_seq": 5}, False, False),
        ({"next_seq": 4}, False, True),
        ({"next_seq": 6, "closing": True}, True, False),
        ({"next_seq": 5, "closing": True, "dropped_records": 10}, True, True),
        ({"next_seq": 5, "closing": True, "dropped_records": 8}, False, True),
    ],
)
def test_what_a_sync_says_to_a_tombstone(
    sync: dict[str, Any], is_news: bool, is_answer: bool
) -> None:
    """One-way: more datagrams or drops than known. Acknowledged: nothing beyond what is final."""
    found = Tombstone(5, 50, 50, 0, 9)
    said = Sync(**{"floor": 0, "next_rec": 0, "dropped_records": 9, **sync})
    assert (found.is_news(said), found.answers(said)) == (is_news, is_answer)

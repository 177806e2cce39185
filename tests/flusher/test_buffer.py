"""Each record that came into the buffer was drained, was dropped, or waits, whatever happens."""

from __future__ import annotations

import gc
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler.core.records.snapshot import PLAIN_LENGTH
from batchudp_handler.core.records.weight import Long
from batchudp_handler.flusher.buffer import FLAT_SIZE, Buffer
from batchudp_handler.flusher.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable

INFO, WARNING, ERROR = 20, 30, 40


def item(number: int, levelno: int = INFO) -> tuple[Any, ...]:
    """What the buffer looks at of a plain record: the length, and the level in second place."""
    return (number, levelno, *[None] * (PLAIN_LENGTH - 2))


def fill(buffer: Buffer[None], *numbers: int, levelno: int = INFO) -> list[bool]:
    return [buffer.append(item(number, levelno), levelno) for number in numbers]


def take(buffer: Buffer[None], limit: int | None = None) -> list[Any]:
    """Drain, and settle what was drained at once."""
    taken: list[Any] = buffer.drain(limit)
    buffer.settle(None, 0, 0)
    return taken


def numbers(buffer: Buffer[None]) -> list[int]:
    return [each[0] for each in take(buffer)]


def make(capacity: int, overflow: str = "drop_oldest", **more: Any) -> Buffer[None]:
    return Buffer(capacity, overflow, books=None, **more)


def dropped(buffer: Buffer[None]) -> dict[str, int]:
    return buffer.rough_view().dropped


def is_balanced(buffer: Buffer[None], accepted: int) -> bool:
    view = buffer.view()
    assert view is not None
    parts = buffer.drained + sum(view.dropped.values()) + len(buffer)
    return view.accepted == accepted == parts


def test_records_come_out_in_the_order_they_came_in() -> None:
    """A drain takes the oldest first, up to its limit, and the rest stays."""
    buffer = make(10)
    fill(buffer, 1, 2, 3)
    assert [each[0] for each in take(buffer, 2)] == [1, 2]
    assert numbers(buffer) == [3]
    assert is_balanced(buffer, 3)


def test_drop_oldest_keeps_the_newest() -> None:
    """Beyond the capacity the oldest record goes, one for each that comes."""
    buffer = make(3, "drop_oldest")
    fill(buffer, 1, 2, 3, 4, 5)
    assert dropped(buffer)["buffer_full"] == 2
    assert is_balanced(buffer, 5)
    assert numbers(buffer) == [3, 4, 5]


def test_drop_newest_keeps_the_oldest() -> None:
    """Beyond the capacity a record that comes is not taken."""
    buffer = make(3, "drop_newest")
    fill(buffer, 1, 2, 3, 4, 5)
    assert dropped(buffer)["buffer_full"] == 2
    assert is_balanced(buffer, 5)
    assert numbers(buffer) == [1, 2, 3]


def test_block_waits_for_room() -> None:
    """With room made in time, a blocked record is taken and none is dropped."""

    def make_room(has_room: Callable[[], bool]) -> bool:
        assert not has_room()
        taken.extend(take(buffer, 1))
        return has_room()

    taken: list[object] = []
    buffer = make(2, "block", wait_for_room=make_room)
    fill(buffer, 1, 2, 3)
    assert taken == [item(1)]
    assert sum(dropped(buffer).values()) == 0
    assert numbers(buffer) == [2, 3]


def test_block_drops_when_the_patience_ends() -> None:
    """Without room in time, the record that waited is dropped and counted."""
    buffer = make(2, "block", wait_for_room=lambda has_room: has_room())
    fill(buffer, 1, 2, 3)
    assert dropped(buffer)["buffer_full"] == 1
    assert numbers(buffer) == [1, 2]


def test_a_reserve_is_kept_for_protected_levels() -> None:
    """Records below the protected level leave a fifth of the capacity to those above it."""
    buffer = make(10, "drop_newest", protect_level=WARNING)
    fill(buffer, *range(20))
    assert len(buffer) == 8
    fill(buffer, *range(100, 105), levelno=WARNING)
    assert len(buffer) == 10
    assert dropped(buffer)["buffer_full"] == 12 + 3
    assert is_balanced(buffer, 25)


def test_a_protected_record_is_not_pushed_out_by_another() -> None:
    """With `drop_oldest`, a record below the protected level gives way itself."""
    buffer = make(5, "drop_oldest", protect_level=WARNING)
    fill(buffer, 0, levelno=WARNING)
    fill(buffer, *range(1, 20))
    kept = numbers(buffer)
    assert kept[0] == 0
    fill(buffer, 1, 2)
    fill(buffer, 3, 4, levelno=WARNING)
    fill(buffer, *range(5, 20))
    assert {3, 4} <= set(numbers(buffer))
    assert is_balanced(buffer, 20 + 19)


def test_the_reader_is_woken_once_at_the_threshold() -> None:
    """The append that reaches the number says so, later ones do not until it is armed again."""
    buffer = make(100)
    buffer.arm(3)
    assert fill(buffer, 1, 2, 3, 4, 5) == [False, False, True, False, False]
    buffer.disarm()
    assert not any(fill(buffer, *range(50)))


def test_an_urgent_record_wakes_a_sleeping_reader() -> None:
    """At the flush level the reader is woken, if it sleeps, and finds the mark if it does not."""
    buffer = make(100, flush_level=ERROR)
    buffer.arm(10)
    assert fill(buffer, 1, levelno=ERROR) == [True]
    assert buffer.take_urgency()
    assert not buffer.take_urgency(), "it is told once"
    assert fill(buffer, 2, levelno=ERROR) == [False]


def test_a_smaller_capacity_drops_nothing_by_itself() -> None:
    """What waits when the capacity shrinks stays until it is drained."""
    buffer = make(10)
    fill(buffer, *range(10))
    buffer.configure(3, "drop_newest")
    assert len(buffer) == 10
    assert sum(dropped(buffer).values()) == 0


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
def test_the_numbers_add_up_under_threads(overflow: str) -> None:
    """Eight threads append while one drains: every record is drained, dropped, or waits."""
    buffer = make(50, overflow)
    start = threading.Barrier(9)
    each, threads = 5_000, 8
    most = 0

    def log() -> None:
        start.wait()
        for number in range(each):
            buffer.append(item(number), INFO)

    workers = [threading.Thread(target=log) for _ in range(threads)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for worker in workers:
            worker.start()
        start.wait()
        while any(worker.is_alive() for worker in workers):
            most = max(most, len(buffer))
            take(buffer, 20)
    finally:
        sys.setswitchinterval(interval)
    assert most <= 50 + threads
    assert is_balanced(buffer, threads * each)


def test_the_numbers_add_up_when_destructors_append() -> None:
    """A destructor that runs in the middle of an append, and appends, costs no count."""
    buffer = make(10, "drop_oldest")
    made = 0

    class Loud:
        def __del__(self) -> None:
            buffer.append(item(0), INFO)

    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for number in range(2_000):
            circle: list[object] = [Loud()]
            circle.append(circle)
            made += 1
            del circle
            buffer.append(item(number), INFO)
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    assert is_balanced(buffer, 2_000 + made)


def heavy(number: int, size: int = 10_000, levelno: int = INFO) -> tuple[Any, ...]:
    """A snapshot with a long message."""
    return Long((number, levelno, *[None] * 18, "x" * size, *[None] * 5))


def fill_heavy(buffer: Buffer[None], *numbers: int, **more: int) -> list[bool]:
    return [buffer.append(heavy(number, **more), INFO) for number in numbers]


@pytest.mark.parametrize(
    ("overflow", "kept"), [("drop_oldest", [7, 8, 9]), ("drop_newest", [0, 1, 2])]
)
def test_long_texts_are_bounded_in_bytes(overflow: str, kept: list[int]) -> None:
    """By the same policies as the number of records, and counted under a cause of its own."""
    buffer = make(1_000, overflow, capacity_bytes=35_000)
    fill_heavy(buffer, *range(10))
    assert dropped(buffer)["capacity_bytes"] == 7
    assert buffer.lost == 7
    assert is_balanced(buffer, 10)
    assert numbers(buffer) == kept
    fill_heavy(buffer, *range(3))
    assert dropped(buffer)["capacity_bytes"] == 7


def test_short_texts_take_a_flat_size() -> None:
    """A record of short texts is charged as one, whatever they are."""
    buffer = make(1_000, "drop_newest", capacity_bytes=100 * FLAT_SIZE)
    fill(buffer, *range(150))
    assert len(buffer) == 100
    assert dropped(buffer)["capacity_bytes"] == 50


def test_a_short_record_gives_way_to_no_bytes_that_are_free() -> None:
    """Long and short ones share the room."""
    buffer = make(1_000, "drop_oldest", capacity_bytes=35_000)
    fill_heavy(buffer, 0, 1, 2)
    fill(buffer, *range(3, 40))
    assert dropped(buffer)["capacity_bytes"] == 1
    assert numbers(buffer) == list(range(1, 40))


def test_what_is_larger_than_all_goes_alone() -> None:
    """It does not push out what waits."""
    buffer = make(1_000, "drop_oldest", capacity_bytes=35_000)
    fill_heavy(buffer, 0, 1)
    fill_heavy(buffer, 2, size=50_000)
    assert dropped(buffer)["capacity_bytes"] == 1
    assert numbers(buffer) == [0, 1]


def test_bytes_are_held_until_they_are_settled() -> None:
    """What the owner has taken takes room as what waits does."""
    buffer = make(1_000, "drop_newest", capacity_bytes=35_000)
    fill_heavy(buffer, 0, 1, 2)
    assert len(buffer.drain()) == 3
    fill_heavy(buffer, 3)
    assert dropped(buffer)["capacity_bytes"] == 1
    buffer.settle(None, 3, 5_000)
    fill_heavy(buffer, 4, 5)
    assert len(buffer) == 2


def test_a_drain_takes_a_few_long_texts_at_a_time() -> None:
    """One at least, and the rest at the next call."""
    buffer = make(1_000)
    fill_heavy(buffer, *range(5))
    assert [len(buffer.drain(10, 15_000)) for _ in range(4)] == [2, 2, 1, 0]


def test_long_texts_wake_the_owner_before_there_are_many() -> None:
    """A quarter of the bytes is a reason to flush, as a full batch is."""
    buffer = make(1_000, capacity_bytes=100_000)
    buffer.arm(500)
    assert fill_heavy(buffer, *range(3)) == [False, False, True]
    assert buffer.is_crowded
    take(buffer)
    assert not buffer.is_crowded


def test_bytes_add_up_under_threads() -> None:
    """Eight threads append long texts while one drains; in the end nothing is charged."""
    buffer = make(1_000, capacity_bytes=200_000)
    threads, each = 8, 500

    def log() -> None:
        fill_heavy(buffer, *range(each))

    workers = [threading.Thread(target=log) for _ in range(threads)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    most = 0
    try:
        for worker in workers:
            worker.start()
        while any(worker.is_alive() for worker in workers):
            most = max(most, len(buffer))
            take(buffer, 3)
    finally:
        sys.setswitchinterval(interval)
    take(buffer)
    assert most <= 200_000 // 10_000 + threads
    assert is_balanced(buffer, threads * each)
    assert buffer._bytes.value == 0


def test_a_tally_counts() -> None:
    """Its value is the number of calls of `add`."""
    tally = Tally()
    for _ in range(1_234):
        tally.add()
    assert tally.value == 1_234

"""The decisions about the spool: what is stored, and what is read back."""

from __future__ import annotations

import pytest

from batchudp_handler.core.send.storage import BATCH, RETRY_DELAY, Storage, StoragePolicy
from batchudp_handler.core.send.window import RetainedDatagram, SendWindow

SIZE = 10
ALWAYS, WHEN_NEEDED, OFF = StoragePolicy.ALWAYS, StoragePolicy.WHEN_NEEDED, StoragePolicy.OFF


def window_with(count: int) -> SendWindow:
    window = SendWindow()
    for seq in range(count):
        window.append(
            RetainedDatagram(
                seq, records=1, n_rec=1, end_rec=seq + 1, data=bytes(SIZE), size=SIZE, sealed=0.0
            )
        )
    return window


def storage_of(
    count: int, policy: StoragePolicy = ALWAYS, max_retained: int = 1 << 20
) -> tuple[Storage, SendWindow]:
    window = window_with(count)
    return Storage(window, policy, max_retained), window


def offered(storage: Storage, now: float = 0.0, *, is_open: bool = True) -> list[int]:
    return [each.seq for each in storage.to_store(now, is_open=is_open)]


@pytest.mark.parametrize(
    ("policy", "is_open", "max_retained", "needed"),
    [
        (ALWAYS, True, 1 << 20, True),
        (WHEN_NEEDED, True, 1 << 20, False),
        (WHEN_NEEDED, False, 1 << 20, True),
        (WHEN_NEEDED, True, 2 * SIZE, True),
        (OFF, False, 1, False),
    ],
)
def test_when_datagrams_are_stored(
    policy: StoragePolicy, is_open: bool, max_retained: int, needed: bool
) -> None:
    """While nobody answers, or when memory is half full."""
    storage, _ = storage_of(2, policy, max_retained)
    assert storage.is_needed(is_open=is_open) is needed
    assert bool(offered(storage, is_open=is_open)) is needed


def test_datagrams_are_offered_once_oldest_first() -> None:
    """A few at a time; those that were given up are left out."""
    storage, window = storage_of(BATCH + 2)
    window.abandon(next(iter(window)))
    assert offered(storage) == list(range(1, BATCH + 1))
    storage.on_stored(range(1, BATCH + 1))
    assert offered(storage) == [BATCH + 1]
    storage.on_stored([BATCH + 1])
    assert offered(storage) == []


def test_a_disk_that_fails_is_left_alone_for_a_while() -> None:
    """Unless the process ends: then it is asked once more."""
    storage, _ = storage_of(1, WHEN_NEEDED)
    storage.on_store_failed(10.0)
    assert offered(storage, 10.0 + RETRY_DELAY / 2, is_open=False) == []
    assert offered(storage, 10.0 + RETRY_DELAY, is_open=False) == [0]
    storage.on_store_failed(20.0)
    storage.take_all()
    assert offered(storage, 20.0) == [0]


def test_without_a_spool_the_end_of_the_process_stores_nothing() -> None:
    """There is nowhere to go."""
    storage, _ = storage_of(1, OFF)
    storage.take_all()
    assert offered(storage, is_open=False) == []


def test_what_was_removed_is_offered_again() -> None:
    """As far as memory has it, and the spool has not."""
    storage, window = storage_of(3)
    storage.on_stored([0, 1, 2])
    for each in list(window)[:2]:
        window.unstore(each)
    storage.start_over()
    assert offered(storage) == [0, 1]


def test_bytes_leave_memory_when_it_is_half_full() -> None:
    """Not those on their way: they are needed if they are lost."""
    storage, window = storage_of(4, max_retained=4 * SIZE)
    first = window.peek()
    assert first is not None
    window.on_sent(first, 0.0)
    storage.on_stored([0, 1, 2, 3, 99])
    assert [each.data is None for each in window] == [False, True, True, False]


def test_what_is_sent_next_is_read_back() -> None:
    """What waits and is not at hand."""
    storage, window = storage_of(3, max_retained=2 * SIZE)
    storage.on_stored([0, 1, 2])
    assert storage.to_load() == [seq for seq in range(3) if window.get(seq).data is None]  # type: ignore[union-attr]  # they are there
    assert storage.to_load() != []


@pytest.mark.parametrize(("count", "policy"), [(0, ALWAYS), (1, OFF)])
def test_nothing_is_read_back_where_nothing_waits(count: int, policy: StoragePolicy) -> None:
    """Or where there is no spool."""
    storage, _ = storage_of(count, policy)
    assert storage.to_load() == []


def test_full_memory_lets_go_of_what_the_receiver_holds() -> None:
    """It will hardly be sent again; only what the spool has can go."""
    storage, window = storage_of(3, max_retained=3 * SIZE)
    for _ in range(2):
        head = window.peek()
        assert head is not None
        window.on_sent(head, 0.0)
    window.on_ack(0, 0b11)
    for each in window:
        window.store(each)
    assert storage.to_load() == []
    assert [each.data is None for each in window] == [True, True, False]


def test_another_window_has_the_same_limits() -> None:
    """A stream that is taken up begins at its own number."""
    storage, _ = storage_of(1, WHEN_NEEDED, 123)
    other = storage.for_window(window_with(2))
    assert (other.policy, other.max_retained) == (WHEN_NEEDED, 123)
    assert offered(other, is_open=False) == [0, 1]

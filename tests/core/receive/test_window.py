"""Datagrams are told apart, once each, whatever their order."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from batchudp_handler.core.receive.window import Place, ReceiveWindow
from batchudp_handler.core.wire.constants import WINDOW_SIZE

NEW, DUPLICATE, BEYOND = Place.NEW, Place.DUPLICATE, Place.BEYOND

LIMIT = 2**64 - 1
STEPS = [
    # the questions that RFC 6479 implementations have got wrong: edges, jumps, the largest number
    (0, NEW),
    (1, NEW),
    (1, DUPLICATE),
    (9, NEW),
    (8, NEW),
    (7, NEW),
    (7, DUPLICATE),
    (0, DUPLICATE),
    (4096, NEW),
    (4095, NEW),
    (4095, DUPLICATE),
    (4096, DUPLICATE),
    (2, NEW),
    (4097, NEW),
    (4098, NEW),
    (2, DUPLICATE),
    (3 + WINDOW_SIZE, BEYOND),
    (2 + WINDOW_SIZE, DUPLICATE),
    (3, NEW),
    (3 + WINDOW_SIZE, NEW),
    (LIMIT, BEYOND),
]


@pytest.mark.parametrize("start", [0, 1, 2**32 - 5, 2**63, LIMIT - 2 * WINDOW_SIZE])
def test_numbers_are_accepted_once_within_the_window(start: int) -> None:
    """A table of steps at several starts: new, seen before, or too far ahead."""
    window = ReceiveWindow(start)
    for number, expected in STEPS:
        seq = LIMIT if number == LIMIT else start + number
        assert window.place(seq) is expected, number
        if expected is NEW:
            window.mark_final(seq)


@pytest.mark.parametrize("order", ["up", "down", "odd first"])
def test_a_whole_window_is_accepted_once_in_any_order(order: str) -> None:
    """4,096 numbers, each once; then the floor has passed them all."""
    numbers = list(range(WINDOW_SIZE))
    if order == "down":
        numbers.reverse()
    elif order == "odd first":
        numbers.sort(key=lambda number: number % 2 == 0)
    window = ReceiveWindow()
    for seq in numbers:
        assert window.place(seq) is NEW
        window.mark_final(seq)
    assert window.floor == WINDOW_SIZE
    assert window.held == 0
    assert all(window.place(seq) is DUPLICATE for seq in numbers)


def test_received_is_not_final() -> None:
    """The floor waits for what the handlers have, and the bitmap shows it."""
    window = ReceiveWindow(10)
    for seq in (10, 11, 13):
        window.mark(seq)
    assert (window.floor, window.bitmap) == (10, 0b1011)
    window.finish(11, 1)
    assert (window.floor, window.bitmap) == (10, 0b1011)
    window.finish(10, 1)
    assert (window.floor, window.bitmap) == (12, 0b10)
    window.finish(13, 1)
    window.mark(12)
    window.finish(12, 1)
    assert (window.floor, window.bitmap) == (14, 0)


def test_the_bitmap_never_exceeds_512_bytes() -> None:
    """A group of fragments may reach beyond the window; an ACK may not."""
    window = ReceiveWindow()
    window.finish(WINDOW_SIZE - 1, 1024)
    assert window.bitmap.bit_length() == WINDOW_SIZE


def test_giving_up_lets_the_floor_pass_what_is_missing() -> None:
    """What is missing is final, what the handlers have is waited for."""
    window = ReceiveWindow()
    window.mark(2)
    window.give_up_below(5)
    assert window.floor == 2
    assert window.place(3) is DUPLICATE
    window.finish(2, 1)
    assert window.floor == 5
    assert window.place(5) is NEW


def test_giving_up_far_ahead_costs_nothing_and_loses_nothing() -> None:
    """A jump over 2^60 numbers, with and without something waiting."""
    window = ReceiveWindow()
    window.give_up_below(2**60)
    assert window.floor == 2**60
    window.mark(2**60 + 1)
    window.give_up_below(2**61)
    assert window.floor == 2**60 + 1
    assert window.held.bit_length() <= WINDOW_SIZE
    window.finish(2**60 + 1, 1)
    assert window.floor == 2**61


def test_giving_up_never_moves_back() -> None:
    """An older floor than the known one changes nothing."""
    window = ReceiveWindow(100)
    window.give_up_below(50)
    assert window.floor == 100
    assert window.place(100) is NEW


def test_sliding_forgets_what_is_below() -> None:
    """One-way: the window follows the newest datagram."""
    window = ReceiveWindow()
    window.mark_final(3)
    window.slide_to(3)
    assert window.floor == 4
    window.slide_to(2)
    assert window.floor == 4
    window.slide_to(2**60)
    assert (window.floor, window.held) == (2**60, 0)


class WindowMachine(RuleBasedStateMachine):
    """The window beside plain sets of numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.window = ReceiveWindow(1000)
        self.floor = 1000
        self.held: set[int] = set()
        self.final: set[int] = set()

    def settle(self) -> None:
        while self.floor in self.final:
            self.floor += 1

    @rule(ahead=st.one_of(st.integers(-3, 20), st.integers(WINDOW_SIZE - 3, WINDOW_SIZE + 3)))
    def receive(self, ahead: int) -> None:
        seq = self.floor + ahead
        place = self.window.place(seq)
        if ahead >= WINDOW_SIZE:
            assert place is BEYOND
        elif ahead < 0 or seq in self.held:
            assert place is DUPLICATE
        else:
            assert place is NEW
            self.window.mark(seq)
            self.held.add(seq)

    @precondition(lambda self: self.held - self.final)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        seq = data.draw(st.sampled_from(sorted(self.held - self.final)))
        self.window.finish(seq, 1)
        self.final.add(seq)
        self.settle()

    @rule(ahead=st.integers(-5, 40), count=st.integers(1, 30))
    def finish_range(self, ahead: int, count: int) -> None:
        start = self.floor + ahead
        self.window.finish(start, count)
        numbers = set(range(start, start + count))
        self.held |= numbers
        self.final |= numbers
        self.settle()

    @rule(ahead=st.integers(-5, 60))
    def give_up(self, ahead: int) -> None:
        limit = self.floor + ahead
        self.window.give_up_below(limit)
        numbers = set(range(self.floor, limit)) - self.held
        self.held |= numbers
        self.final |= numbers
        self.settle()

    @invariant()
    def same_as_the_sets(self) -> None:
        assert self.window.floor == self.floor
        expected = sum(
            1 << seq - self.floor for seq in self.held if 0 <= seq - self.floor < WINDOW_SIZE
        )
        assert self.window.bitmap == expected


TestWindow = WindowMachine.TestCase
TestWindow.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)

"""Datagrams are told apart, and the records of the missing ones are counted right."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from batchudp_handler.core.errors import DecodeError
from batchudp_handler.core.receive.ledger import LOSS_DELAY, RecordLedger
from batchudp_handler.core.receive.window import Place, ReceiveWindow
from batchudp_handler.core.wire.constants import WINDOW_SIZE

NEW, DUPLICATE, BEYOND = Place.NEW, Place.DUPLICATE, Place.BEYOND

# --- the window ---------------------------------------------------------------------------------

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


# --- the ledger ---------------------------------------------------------------------------------


def ledger(next_seq: int = 0, next_rec: int = 0, *, lead: int = 0) -> RecordLedger:
    return RecordLedger(next_seq, next_rec, lead=lead, now=0.0)


def numbers(book: RecordLedger) -> tuple[int, int, int]:
    return book.next_rec - book.first_rec, book.missing, book.lost


def test_in_order_nothing_is_missing() -> None:
    """Each datagram follows the one before it."""
    book = ledger()
    for seq in range(5):
        assert book.claim(seq, seq + 1, 10 * seq, 10, now=0.0) == 0
    assert numbers(book) == (50, 0, 0)
    assert book.gaps == []


def test_a_gap_counts_records_not_datagrams() -> None:
    """The numbers on both sides of a gap say how many records it has."""
    book = ledger()
    book.claim(0, 1, 0, 10, now=0.0)
    book.claim(3, 4, 17, 5, now=0.0)
    assert numbers(book) == (22, 7, 0)
    book.claim(2, 3, 11, 6, now=0.0)
    assert numbers(book) == (22, 1, 0)
    book.claim(1, 2, 10, 1, now=0.0)
    assert numbers(book) == (22, 0, 0)


def test_missing_becomes_lost_after_two_seconds_and_late_when_it_comes() -> None:
    """Lost records are found again one datagram at a time."""
    book = ledger()
    book.claim(2, 3, 20, 10, now=1.0)
    assert book.declare_time() == 1.0 + LOSS_DELAY
    assert book.declare(2.9) == 0
    assert book.declare(3.0) == 20
    assert book.declare_time() is None
    assert numbers(book) == (30, 0, 20)
    assert book.claim(0, 1, 0, 9, now=9.0) == 9
    assert numbers(book) == (30, 0, 11)


def test_news_of_the_end_shows_the_tail() -> None:
    """A SYNC that names more than has come makes the rest missing."""
    book = ledger()
    book.claim(0, 1, 0, 10, now=0.0)
    assert book.extend(3, 25, now=1.0)
    assert not book.extend(3, 25, now=1.0)
    assert not book.extend(1, 10, now=1.0)
    assert numbers(book) == (25, 15, 0)
    book.claim(2, 3, 18, 7, now=1.5)
    assert numbers(book) == (25, 8, 0)


def test_record_numbers_wrap() -> None:
    """Everything works across 2^32, the endless scale goes on."""
    start = 2**32 - 15
    book = ledger(7, start)
    book.claim(7, 8, start, 10, now=0.0)
    book.claim(10, 11, 20, 5, now=0.0)
    assert numbers(book) == (40, 25, 0)
    book.claim(8, 9, 2**32 - 5, 10, now=0.0)
    assert numbers(book) == (40, 15, 0)
    assert book.next_rec == 2**32 + 25


def test_a_datagram_before_the_first_moves_the_beginning() -> None:
    """A stream whose first datagrams were overtaken begins with the earliest that comes."""
    book = ledger(5, 50, lead=5)
    book.claim(5, 6, 50, 10, now=0.0)
    assert numbers(book) == (10, 0, 0)
    book.claim(3, 4, 30, 10, now=0.0)
    assert book.first_rec == 30
    assert numbers(book) == (30, 10, 0)
    book.claim(4, 5, 40, 10, now=0.0)
    assert numbers(book) == (30, 0, 0)
    lead = book.drop_lead()
    assert lead is not None
    assert (lead.start, lead.end) == (0, 3)
    with pytest.raises(DecodeError):
        book.claim(2, 3, 20, 10, now=0.0)


def test_a_group_whose_start_was_told_of_crosses_the_known_end() -> None:
    """A SYNC in the middle of a group of fragments, with either record number."""
    for told in (10, 11):
        book = ledger()
        book.claim(0, 1, 0, 10, now=0.0)
        book.extend(3, told, now=0.0)
        book.claim(1, 5, 10, 1, now=0.0)
        assert numbers(book) == (11, 0, 0)
        assert book.next_seq == 5
        book.claim(5, 6, 11, 1, now=0.0)
        assert numbers(book) == (12, 0, 0)


def test_a_group_may_fill_two_gaps() -> None:
    """One part of it was declared lost before the other was missed."""
    book = ledger()
    book.extend(2, 20, now=0.0)
    book.declare(5.0)
    book.claim(6, 7, 30, 1, now=6.0)
    assert numbers(book) == (31, 10, 20)
    assert book.claim(1, 5, 19, 1, now=6.0) == 1
    assert numbers(book) == (31, 10, 19)
    assert [(gap.start, gap.end, gap.records) for gap in book.gaps] == [(0, 1, 19), (5, 6, 10)]


def test_losing_and_abandoning_forget_whole_gaps() -> None:
    """One-way gaps are lost for good, acknowledged ones are abandoned by the sender."""
    book = ledger()
    book.claim(2, 3, 20, 10, now=0.0)
    book.claim(6, 7, 60, 10, now=0.0)
    assert book.lose_below(4) == 20
    assert numbers(book) == (70, 30, 20)
    assert book.abandon_below(5) == 0
    assert book.abandon_below(6) == 30
    assert numbers(book) == (70, 0, 20)
    with pytest.raises(DecodeError):
        book.claim(0, 1, 0, 10, now=0.0)


CONTRADICTIONS = {
    "does not follow": (5, 6, 51, 1),
    "more records than fit": (6, 7, 50 + 65_536, 1),
    "goes back": (6, 7, 49, 1),
    "taken already": (4, 5, 45, 1),
    "before the gap's records": (2, 3, 9, 1),
    "after the gap's records": (2, 3, 40, 1),
    "longer than the gap": (2, 3, 35, 6),
    "first datagram leaves a rest before it": (1, 2, 11, 5),
    "last datagram leaves a rest after it": (3, 4, 30, 9),
    "group reaches into another": (3, 5, 30, 10),
    "before everything": (-1, 0, -5 % 2**32, 1),
}


@pytest.mark.parametrize("claim", CONTRADICTIONS.values(), ids=list(CONTRADICTIONS))
def test_a_contradiction_is_refused_and_changes_nothing(claim: tuple[int, int, int, int]) -> None:
    """Numbers that no honest sender can send leave the accounts as they were."""
    book = ledger()
    book.claim(0, 1, 0, 10, now=0.0)
    book.claim(4, 5, 40, 10, now=0.0)
    before = (numbers(book), book.next_seq, list(book.gaps))
    with pytest.raises(DecodeError):
        book.claim(*claim, now=0.0)
    assert (numbers(book), book.next_seq, list(book.gaps)) == before


@dataclass
class Unit:
    """A datagram or a group that the model's sender has numbered."""

    start: int
    end: int
    rec: int
    n_rec: int
    is_told_ahead: bool
    """Whether a SYNC in the middle of this group counts its records already."""
    state: str = "away"


class LedgerMachine(RuleBasedStateMachine):
    """The ledger beside a list of everything that was sent, delivered in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.base = 2**32 - 40
        self.book = RecordLedger(0, self.base, lead=0, now=0.0)
        self.sent: list[Unit] = []
        self.next_seq = 0
        self.next_rec = self.base
        self.claimed = 0
        self.abandoned = 0
        self.now = 0.0

    @rule(n_rec=st.integers(1, 20), count=st.sampled_from([1, 1, 1, 2, 5]), ahead=st.booleans())
    def send(self, n_rec: int, count: int, ahead: bool) -> None:
        end = self.next_seq + count
        self.sent.append(Unit(self.next_seq, end, self.next_rec, n_rec, ahead))
        self.next_seq += count
        self.next_rec += n_rec

    def away(self) -> list[Unit]:
        return [unit for unit in self.sent if unit.state == "away"]

    @precondition(lambda self: self.away())
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        unit = data.draw(st.sampled_from(self.away()))
        lost = self.book.lost
        late = self.book.claim(unit.start, unit.end, unit.rec % 2**32, unit.n_rec, self.now)
        assert late == lost - self.book.lost
        assert late in (0, unit.n_rec)
        unit.state = "here"
        self.claimed += unit.n_rec

    @rule()
    def sync(self) -> None:
        self.book.extend(self.next_seq, self.next_rec % 2**32, self.now)

    @precondition(lambda self: self.away())
    @rule(data=st.data())
    def sync_inside(self, data: st.DataObject) -> None:
        unit = data.draw(st.sampled_from(self.away()))
        seq = data.draw(st.integers(unit.start, unit.end))
        rec = unit.rec + unit.n_rec * (
            seq == unit.end or (unit.is_told_ahead and seq > unit.start)
        )
        self.book.extend(seq, rec % 2**32, self.now)

    @rule(seconds=st.floats(0.0, 3.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.book.declare(self.now)

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        unit = data.draw(st.sampled_from(self.sent))
        self.abandoned += self.book.abandon_below(unit.start)
        self.forget(unit.start)

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        unit = data.draw(st.sampled_from(self.sent))
        self.book.lose_below(unit.start)
        self.forget(unit.start)

    def forget(self, seq: int) -> None:
        # what lies in a gap that reaches above stays known to the ledger; either way it is below
        # the floor of the window, and nothing of it is handed to the ledger again
        for unit in self.away():
            if unit.start < seq:
                unit.state = "gone"

    @invariant()
    def every_record_is_in_one_place(self) -> None:
        book = self.book
        total = book.next_rec - book.first_rec
        assert total == self.claimed + book.missing + book.lost + self.abandoned
        assert min(book.missing, book.lost) >= 0

    @invariant()
    def gaps_are_in_order_and_add_up(self) -> None:
        gaps = self.book.gaps
        assert all(a.end <= b.start and a.since <= b.since for a, b in pairwise(gaps))
        assert all(not (b.is_lost and not a.is_lost) for a, b in pairwise(gaps))
        assert self.book.missing == sum(gap.records for gap in gaps if not gap.is_lost)

    @invariant()
    def what_is_missing_is_really_away(self) -> None:
        if any(unit.state == "gone" for unit in self.sent):
            return
        known = self.book.next_seq
        away = sum(unit.n_rec for unit in self.away() if unit.end <= known)
        partly = sum(unit.n_rec for unit in self.away() if unit.start < known < unit.end)
        assert away <= self.book.missing + self.book.lost <= away + partly


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


def test_a_ledger_survives_any_numbers() -> None:
    """Random claims raise nothing but `DecodeError` and keep the accounts exact."""
    for seed in range(300):
        chance = random.Random(seed)
        book = ledger(10, chance.choice([0, 2**32 - 3]), lead=chance.choice([0, 10]))
        claimed = 0
        for _ in range(60):
            start = chance.randrange(0, 30)
            n_rec = chance.randrange(1, 9)
            end = start + chance.randrange(1, 4)
            rec = (book.next_rec + chance.randrange(-30, 30)) % 2**32
            try:
                book.claim(start, end, rec, n_rec, now=0.0)
            except DecodeError:
                continue
            claimed += n_rec
            assert book.next_rec - book.first_rec == claimed + book.missing + book.lost

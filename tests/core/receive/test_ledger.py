"""The records of missing datagrams are counted right, whatever comes late, twice or never."""

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


def test_only_a_claim_inside_a_gap_makes_another_one() -> None:
    """At its edges it makes the gap smaller, and in order there is none."""
    book = ledger()
    book.claim(10, 11, 50, 5, now=0.0)
    assert [book.adds_gap(*each) for each in ((11, 12), (12, 13))] == [False, True]
    assert [book.adds_gap(*each) for each in ((0, 1), (9, 10), (4, 5))] == [False, False, True]
    assert not ledger(5).adds_gap(3, 4)


def test_a_lead_alone_has_nothing_to_declare() -> None:
    """It is no gap of which records are known."""
    book = ledger(100, lead=50)
    assert book.declare_time() is None
    assert book.drop_lead() is not None
    assert book.drop_lead() is None


def test_a_group_across_the_known_end_cannot_end_before_it() -> None:
    """Its records would be those of later datagrams."""
    book = ledger()
    book.extend(2, 50, now=0.0)
    with pytest.raises(DecodeError, match="later datagrams"):
        book.claim(0, 3, 0, 4, now=0.0)


def test_lost_neighbours_are_one_gap() -> None:
    """They were missed at different times, and are lost by then."""
    book = ledger()
    book.extend(2, 20, now=0.0)
    book.declare(LOSS_DELAY)
    book.extend(5, 30, now=3.0)
    assert book.declare(3.0 + LOSS_DELAY) == 10
    assert [(gap.start, gap.end, gap.records) for gap in book.gaps] == [(0, 5, 30)]

"""Every record of a stream has one fate, and gaps have a budget."""

from __future__ import annotations

import pytest

from batchudp_handler.core.receive.ledger import RecordLedger
from batchudp_handler.core.receive.reassembly import Budget
from batchudp_handler.core.receive.record_account import NEVER_SEEN, RecordAccount
from batchudp_handler.core.receive.tombstones import Tombstone
from batchudp_handler.core.wire.datagram import Header
from tests.core.receive.bench import HOME, WALL, Bench, Source, connected


def test_gaps_have_a_budget() -> None:
    """Streams that consist of holes do not grow the memory without bound."""
    bench = Bench()
    for number in range(40):
        source = Source(number)
        for _ in range(2048):
            source.data()
            bench.protocol.receive_datagram(source.data(), HOME, bench.now, WALL)
            bench.collect()
        bench.handle()
    gaps = sum(len(stream.ledger.gaps) for stream in bench.streams)
    assert 65_536 <= gaps <= 65_536 + 40 * 64
    stats = bench.stats()
    assert stats.delivered == 40 * 2048 * 10
    assert stats.lost + stats.missing + stats.unseen_before_start >= 40 * 2047 * 10


def test_an_acknowledged_stream_beyond_the_budget_of_gaps_waits() -> None:
    """What would make another gap is refused unmarked; what fills one never is."""
    bench, source = connected()
    bench.budgets.gaps.limit = 10
    datagrams = source.datas(200, n_rec=1)
    bench.feed(*datagrams[1::2])
    assert bench.stats().refused["no_room"] == 36
    bench.feed(*datagrams[0::2])
    bench.feed(*datagrams)
    bench.handle()
    assert bench.stream().delivered == 200


def test_rejected_records_are_told() -> None:
    """Poison is final too, and both ends count it."""
    bench, source = connected()
    bench.feed(source.data())
    bench.handle(rejected={"json": 4})
    ack = bench.replies()[-1]
    assert (ack.floor, ack.rejected_records, ack.delivered_records) == (1, 4, 6)
    assert bench.stream().rejected == {"json": 4}


def test_records_that_nobody_accounts_for_are_rejected() -> None:
    """The header promised more than the batch had."""
    bench, source = connected()
    bench.feed(source.data(10))
    bench.protocol.on_batch_handled(bench.waiting[0], 7, {}, bench.now)
    assert bench.stream().rejected == {"record_count": 3}


def test_accounting_for_too_much_is_our_mistake() -> None:
    """It raises and changes nothing; so does a batch that was not waiting."""
    bench, source = connected()
    bench.feed(source.data(10))
    (batch,) = bench.waiting
    for delivered, rejected in ((11, {}), (10, {"json": 1}), (-1, {}), (11, {"json": -1})):
        with pytest.raises(ValueError, match="10 records"):
            bench.protocol.on_batch_handled(batch, delivered, rejected, bench.now)
    bench.handle()
    with pytest.raises(ValueError, match="not waiting"):
        bench.protocol.on_batch_handled(batch, 10, {}, bench.now)
    assert bench.stream().delivered == 10


def test_counts_of_a_stream_that_was_forgotten_go_on() -> None:
    """The sender takes differences; they must not run backwards."""
    bench, source = connected(max_streams=1)
    bench.feed(source.data(10))
    bench.handle(rejected={"json": 3})
    bench.wait(61.0)
    bench.connect(Source(2, acknowledged=True))
    bench.wait(61.0)
    source.floor = source.seq
    ack = bench.connect(source)
    assert (ack.rejected_records, ack.delivered_records) == (3, 7)
    assert bench.stats().delivered == 7


def test_retained_datagrams_of_an_earlier_life_have_a_place() -> None:
    """A new receiver begins at the sender's floor and learns the size of each gap as it fills."""
    bench = Bench()
    source = Source(acknowledged=True, seq=100, rec=2**32 - 15)
    datagrams = source.datas(5)
    source.epoch = 12345
    bench.connect(source)
    assert bench.stream().missing == 0
    bench.feed(datagrams[3])
    assert bench.stream().missing == 10
    bench.feed(datagrams[1])
    assert bench.stream().missing == 20
    bench.feed(datagrams[0], datagrams[2], datagrams[4])
    bench.handle()
    stream = bench.stream()
    assert (stream.delivered, stream.missing, stream.possibly_duplicate) == (50, 0, 50)
    bench.feed(source.data())
    bench.handle()
    assert bench.stream().possibly_duplicate == 50
    assert bench.replies()[-1].floor == 106


def test_a_first_meeting_duplicates_nothing() -> None:
    """Only a SYNC that names another epoch speaks of an earlier receiver."""
    bench, source = Bench(), Source(acknowledged=True)
    datagrams = source.datas(2)
    bench.connect(source)
    bench.feed(*datagrams)
    assert bench.stream().possibly_duplicate == 0


def account(*, gaps: int = 100, before: Tombstone | None = None) -> RecordAccount:
    """An account of which nothing is known, or of a stream that was forgotten."""
    ledger = RecordLedger(0, 0, lead=0, now=0.0)
    return RecordAccount(ledger, Budget(gaps), before or NEVER_SEEN)


def header(seq: int, rec: int, n_rec: int) -> Header:
    return Header(1, 0, 1, 7, seq, rec, 0, n_rec, 0, 1)


def test_claimed_records_have_one_fate() -> None:
    """Whatever it is, they are not pending any more."""
    book = account()
    book.claim(0, 1, header(0, 0, 20), 0.0)
    book.reject("json", 5)
    book.lose_claimed(4)
    book.miss_claimed(3)
    book.abandon_claimed(2)
    assert (book.pending, book.counters.rejected, book.counters.abandoned) == (6, {"json": 5}, 2)
    assert (book.ledger.lost, book.ledger.missing, book.unreported_lost) == (4, 3, 4)


def test_missing_records_are_lost_or_abandoned() -> None:
    """What is lost is told of once."""
    book = account()
    book.claim(5, 6, header(5, 50, 1), 0.0)
    book.charge_gaps()
    assert book.gap_budget.used == 1
    book.declare_lost(1.0)
    assert book.unreported_lost == 0
    book.declare_lost(2.0)
    assert book.unreported_lost == 50
    book.claim(9, 10, header(9, 60, 1), 2.0)
    book.abandon_below(9)
    book.claim(20, 21, header(20, 70, 1), 2.0)
    book.lose_below(20)
    assert (book.counters.abandoned, book.unreported_lost) == (9, 59)
    book.free_gaps()
    assert book.gap_budget.used == 0


def test_a_settled_batch_is_settled_once() -> None:
    """Reasons without records leave no trace."""
    book = account(before=Tombstone(0, 0, 100, 10, 0))
    book.claim(0, 3, header(0, 0, 10), 0.0)
    book.hand_out(0, 3, 10)
    assert book.settle(0, 7, {"json": 2, "codec": 0}) == 3
    assert book.counters.rejected == {"json": 2, "record_count": 1}
    assert (book.total_delivered, book.total_rejected) == (107, 13)
    with pytest.raises(KeyError):
        book.settle(0, 7, {})

"""Every record of a stream has one fate, and gaps have a budget."""

from __future__ import annotations

import pytest

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
    gaps = sum(len(stream.ledger.gaps) for stream in bench.protocol._state.streams)
    assert 65_536 <= gaps <= 65_536 + 40 * 64
    stats = bench.stats()
    assert stats.delivered == 40 * 2048 * 10
    assert stats.lost + stats.missing + stats.unseen_before_start >= 40 * 2047 * 10


def test_an_acknowledged_stream_beyond_the_budget_of_gaps_waits() -> None:
    """What would make another gap is refused unmarked; what fills one never is."""
    bench, source = connected()
    bench.protocol._state.budgets.gaps.limit = 10
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

"""A one-way stream counts what is missing as lost, and moves on."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from batchudp_handler.core.receive.events import (
    BatchReceived,
    RecordsLost,
    StreamStarted,
)
from batchudp_handler.core.wire.datagram import Header, parse
from tests.core.receive.bench import HOME, WALL, Bench, Source


def test_a_datagram_becomes_a_batch() -> None:
    """Everything that the shell needs is in the event, once."""
    bench, source = Bench(), Source(stream_id=0xABCDEF)
    bench.feed(source.data(10, b"the batch"))
    assert bench.events == [
        StreamStarted(0xABCDEF, HOME, 0, acknowledged=False),
        BatchReceived(0xABCDEF, 0, 10, 1, b"the batch", HOME, 0, WALL),
    ]
    assert bench.stream(0xABCDEF).pending == 10
    bench.handle()
    assert bench.stream(0xABCDEF).delivered == 10
    assert bench.stats().delivered == 10


def test_a_duplicate_is_counted_and_not_delivered() -> None:
    """In order, late, and after the handlers returned."""
    bench, source = Bench(), Source()
    datagrams = source.datas(3)
    bench.feed(*datagrams, *datagrams)
    bench.handle()
    bench.feed(datagrams[1])
    assert len(bench.of(BatchReceived)) == 3
    stream = bench.stream()
    assert (stream.delivered, stream.duplicates, stream.duplicate_datagrams) == (30, 40, 4)


def test_order_does_not_matter() -> None:
    """Every permutation of arrival delivers all and loses nothing."""
    for seed in range(50):
        bench, source = Bench(), Source()
        datagrams = [source.sync(), *source.datas(20)]
        random.Random(seed).shuffle(datagrams)
        bench.feed(*datagrams)
        bench.handle()
        bench.wait(10.0)
        stream = bench.stream()
        assert (stream.delivered, stream.lost, stream.missing) == (200, 0, 0)
        assert stream.first_rec == 0


def test_missing_records_are_lost_after_two_seconds() -> None:
    """Missing at once, lost after 2 s, with one event for the warning."""
    bench, source = Bench(), Source()
    first, _, _, fourth = source.datas(4)
    bench.feed(first, fourth)
    bench.handle()
    assert (bench.stream().missing, bench.stream().lost) == (20, 0)
    bench.wait(1.9)
    assert (bench.stream().missing, bench.stream().lost) == (20, 0)
    bench.wait(0.2)
    assert (bench.stream().missing, bench.stream().lost) == (0, 20)
    assert bench.of(RecordsLost) == [RecordsLost(1, HOME, 20)]
    assert bench.stats().lost == 20


def test_a_late_datagram_is_found_again() -> None:
    """Its records move from lost to delivered and count as late."""
    bench, source = Bench(), Source()
    first, second, third = source.datas(3)
    bench.feed(first, third)
    bench.wait(5.0)
    assert bench.stream().lost == 10
    bench.feed(second)
    bench.handle()
    stream = bench.stream()
    assert (stream.delivered, stream.lost, stream.late) == (30, 0, 10)


def test_a_sync_shows_the_loss_of_the_tail() -> None:
    """Nothing comes after the lost datagrams but the sender's word."""
    bench, source = Bench(), Source()
    bench.feed(source.data())
    source.datas(4)
    bench.wait(60.0)
    assert (bench.stream().lost, bench.stream().missing) == (0, 0)
    bench.feed(source.sync())
    assert bench.stream().missing == 40
    bench.wait(2.1)
    assert bench.stream().lost == 40


def test_what_falls_out_of_the_window_is_lost_at_once() -> None:
    """The window follows the newest datagram, and a gap is lost when it is out of it whole."""
    bench, source = Bench(), Source()
    datagrams = source.datas(10_000)
    bench.feed(datagrams[0], datagrams[4999])
    assert (bench.stream().lost, bench.stream().missing) == (0, 49_980)
    bench.feed(datagrams[1])
    bench.feed(datagrams[4900])
    bench.feed(*datagrams[5000:])
    assert bench.stream().missing == 0
    bench.handle()
    stream = bench.stream()
    assert (stream.delivered, stream.duplicate_datagrams) == (50_030, 1)
    assert stream.lost == 100_000 - 50_030


def test_the_window_slides_one_by_one_past_a_hole() -> None:
    """One missing datagram is lost when 4,096 newer numbers have come, and not before."""
    bench, source = Bench(), Source()
    datagrams = source.datas(4100)
    bench.feed(datagrams[0], *datagrams[2:4097], drained=False)
    assert (bench.stream().missing, bench.stream().lost) == (10, 0)
    bench.feed(datagrams[4097])
    assert (bench.stream().missing, bench.stream().lost) == (0, 10)


def test_the_window_is_exactly_as_wide_as_it_says() -> None:
    """Of two missing neighbours, the one 4,096 behind is out and the next one is still taken."""
    bench, source = Bench(), Source()
    datagrams = source.datas(4098)
    bench.feed(datagrams[0], *datagrams[3:4098], drained=False)
    bench.feed(datagrams[1])
    assert bench.stream().duplicate_datagrams == 1
    bench.feed(datagrams[2])
    bench.handle()
    assert bench.stream().delivered == 40_970
    bench.wait(3.0)
    assert bench.stream().lost == 10


def test_the_first_datagram_defines_the_start() -> None:
    """A receiver that came later does not claim to have lost what was before."""
    bench, source = Bench(), Source(seq=5000, rec=80_000)
    bench.feed(source.data())
    bench.handle()
    bench.wait(10.0)
    stream = bench.stream()
    assert (stream.first_rec, stream.next_rec) == (80_000, 80_010)
    assert (stream.unseen_before_start, stream.lost) == (80_000, 0)


def test_what_was_overtaken_at_the_start_still_counts() -> None:
    """Within two seconds the start may move back, but only for what really comes."""
    bench, source = Bench(), Source(seq=5000, rec=80_000)
    datagrams = source.datas(10)
    bench.feed(datagrams[9], datagrams[5])
    assert (bench.stream().first_rec, bench.stream().missing) == (80_050, 30)
    bench.wait(2.1)
    bench.feed(datagrams[2])
    assert bench.stream().first_rec == 80_050
    assert bench.stream().duplicate_datagrams == 1
    bench.feed(datagrams[7])
    assert bench.stream().late == 10


def test_an_initial_sync_fixes_the_start() -> None:
    """After it the first datagrams can be missed like any other."""
    bench, source = Bench(), Source()
    bench.feed(source.sync())
    source.datas(3)
    bench.feed(source.data())
    bench.wait(3.0)
    assert bench.stream().lost == 30


def test_numbers_wrap_without_a_trace() -> None:
    """Records across 2^32, datagrams up to 2^64."""
    bench, source = Bench(), Source(seq=2**64 - 2**20, rec=2**32 - 1000)
    datagrams = source.datas(300)
    bench.feed(source.sync(), *datagrams[:150], *datagrams[200:])
    bench.wait(3.0)
    bench.handle()
    stream = bench.stream()
    assert (stream.delivered, stream.lost) == (2500, 500)
    assert stream.next_rec - stream.first_rec == 3000


@pytest.mark.parametrize("seed", range(40))
def test_every_sent_record_is_delivered_or_lost(seed: int) -> None:
    """Identity O under loss, duplicates and reordering, with fragments, after the goodbye."""
    chance = random.Random(seed)
    bench, source = Bench(), Source(rec=chance.choice([0, 2**32 - 77]))
    start = source.rec
    bench.feed(source.sync())
    flight: list[tuple[float, bytes]] = []
    delivered: Counter[bytes] = Counter()
    arrived: set[bytes] = set()
    loss = chance.choice([0.0, 0.1, 0.5])
    for step in range(150):
        made = (
            source.fragments(chance.randbytes(chance.randrange(11, 60)), 10)
            if chance.random() < 0.1
            else [source.data(chance.randrange(1, 30), chance.randbytes(8))]
        )
        if chance.random() < 0.05:
            made.append(source.sync())
        for datagram in made:
            copies = 1 + (chance.random() < 0.1)
            flight += [
                (step + chance.random() * chance.choice([1, 20]), datagram)
                for _ in range(copies)
                if chance.random() >= loss
            ]
    flight.sort(key=lambda each: each[0])
    for _, datagram in flight:
        bench.feed(datagram, drained=False)
        bench.wait(0.02)
        arrived.add(datagram)
        if chance.random() < 0.5:
            bench.handle(1)
    bench.feed(source.sync(closing=True))
    bench.wait(20.0)
    bench.handle()
    for batch in bench.of(BatchReceived):
        delivered[batch.seq] += 1
    assert set(delivered.values()) <= {1}
    stream = bench.stream()
    assert stream.next_rec - stream.first_rec == source.rec - start
    assert stream.delivered + stream.lost == source.rec - start
    assert stream.delivered == sum(batch.n_rec for batch in bench.of(BatchReceived))
    whole = [parse(each) for each in arrived]
    expected = {
        h.seq for h in whole if isinstance(h, Header) and h.type == 1 and h.frag_count == 1
    }
    assert expected <= {batch.seq for batch in bench.of(BatchReceived)}
    assert stream.ended == "closed"


def test_an_unfinished_group_is_lost_after_five_seconds() -> None:
    """Pending until then; a fragment that comes later opens nothing again."""
    bench, source = Bench(), Source()
    bench.feed(source.sync())
    group = source.fragments(bytes(300), 100, n_rec=4)
    bench.feed(group[0], group[2])
    assert bench.stream().pending == 4
    bench.wait(4.9)
    assert bench.stream().lost == 0
    bench.wait(0.2)
    assert (bench.stream().pending, bench.stream().lost) == (0, 4)
    bench.feed(group[1])
    assert bench.of(BatchReceived) == []
    assert bench.stats().reassembly_bytes == 0
    bench.feed(source.data())
    bench.handle()
    assert bench.stream().delivered == 10


def test_an_expired_group_at_the_edge_of_the_window_moves_it() -> None:
    """The window never holds more than 4,096 numbers, also for what was never received."""
    bench, source = Bench(), Source()
    bench.feed(source.sync())
    source.data()
    for datagram in source.datas(4000):
        bench.feed(datagram, drained=False)
    group = source.fragments(bytes(1000 * 10), 10)
    bench.feed(group[0])
    bench.wait(6.0)
    bench.handle()
    assert bench.stream().lost == 11
    bench.feed(*group[1:], source.data())
    assert len(bench.waiting) == 1


def test_a_late_first_datagram_closes_the_beginning_once() -> None:
    """The lead is dropped after two seconds, and what is missing later is looked for as before."""
    bench, source = Bench(), Source(seq=5)
    first, _, third = source.datas(3)
    bench.feed(first)
    bench.wait(3.0)
    bench.feed(third)
    bench.wait(3.0)
    assert (bench.stream().lost, bench.stream().unseen_before_start) == (10, 0)


def test_a_stream_of_holes_gives_up_its_oldest() -> None:
    """When the budget of all streams is used up, beyond the gaps that each may have."""
    bench, source = Bench(), Source()
    bench.budgets.gaps.limit = 10
    bench.feed(source.sync(), *source.datas(200, 1)[1::2])
    assert len(bench.streams.get(1).ledger.gaps) == 64  # type: ignore[union-attr]  # it is there
    assert (bench.stream().lost, bench.stream().missing) == (36, 64)


def test_a_forgotten_stream_knows_where_it_was() -> None:
    """Unfinished groups and gaps are lost then; its numbers go on when it comes back."""
    bench, source = Bench(), Source()
    bench.feed(source.sync(), source.data(), *source.fragments(bytes(300), 100, n_rec=3)[:1])
    source.data()
    bench.feed(source.data())
    bench.handle()
    stream = bench.streams.get(1)
    assert stream is not None
    assert not stream.is_complete
    stream.release()
    assert (stream.ledger.lost, stream.records.unreported_lost) == (13, 13)
    assert stream.is_complete is False
    assert stream.tombstone().next_seq == source.seq
    bench.wait(700.0)
    bench.feed(source.data())
    assert bench.stream().unseen_before_start == 0


def test_the_beginning_stays_open_for_two_seconds() -> None:
    """Whatever else wakes the stream up before."""
    bench, source = Bench(), Source(seq=5)
    early, first = source.datas(2)
    bench.feed(first, source.sync(promise_ms=100))
    bench.wait(1.0)
    assert bench.stream().ended == "vanished"
    bench.feed(early)
    bench.handle()
    assert (bench.stream().delivered, bench.stream().late) == (20, 0)

"""An acknowledged stream waits for what is missing, until the sender gives it up."""

from __future__ import annotations

from math import inf

from batchudp_handler.core.receive.acknowledged_stream import AcknowledgedStream, AckState
from batchudp_handler.core.receive.reassembly import ReassemblyLimits
from tests.core.receive.bench import AWAY, connected


def test_a_missing_datagram_is_not_lost_but_waited_for() -> None:
    """Acknowledged: it will come again, however long that takes."""
    bench, source = connected()
    first, second, third = source.datas(3)
    bench.feed(first, third)
    for _ in range(30):
        bench.wait(10.0)
        bench.feed(source.sync(promise_ms=10_000))
    assert (bench.stream().missing, bench.stream().lost) == (10, 0)
    bench.feed(second)
    bench.handle()
    assert (bench.stream().delivered, bench.stream().missing) == (30, 0)


def test_beyond_the_window_nothing_is_taken() -> None:
    """The bitmap could not tell of it; the sender will try again."""
    bench, source = connected()
    datagrams = source.datas(4097, n_rec=1)
    bench.feed(datagrams[4096])
    assert bench.stats().refused == {"beyond_window": 1}
    bench.feed(datagrams[4095])
    assert bench.replies()[-1].bitmap == 1 << 4095
    bench.feed(datagrams[0])
    bench.handle()
    bench.feed(datagrams[4096])
    assert len(bench.waiting) == 1


def test_what_the_sender_gives_up_is_abandoned() -> None:
    """The floor passes it; what comes of it later is a duplicate."""
    bench, source = connected()
    datagrams = source.datas(6)
    bench.feed(datagrams[0], datagrams[3], datagrams[5])
    bench.handle()
    source.floor = 3
    bench.feed(source.sync())
    ack = bench.replies()[-1]
    assert (ack.floor, ack.bitmap) == (4, 0b10)
    assert (bench.stream().abandoned, bench.stream().missing) == (20, 10)
    bench.feed(datagrams[1])
    assert bench.stream().duplicate_datagrams == 1
    source.floor = 5
    bench.feed(source.sync())
    assert bench.replies()[-1].floor == 6
    assert bench.stream().abandoned == 30


def test_the_floor_waits_for_the_handlers_when_the_sender_gives_up() -> None:
    """What was received is still handled and reported."""
    bench, source = connected()
    datagrams = source.datas(3)
    bench.feed(datagrams[1])
    source.floor = 3
    bench.feed(source.sync())
    assert bench.replies()[-1].floor == 1
    bench.handle()
    assert bench.replies()[-1].floor == 3
    assert (bench.stream().delivered, bench.stream().abandoned) == (10, 20)


def test_acknowledged_fragments_are_final_together() -> None:
    """Held one by one, final when the batch is handled; they do not expire."""
    bench, source = connected()
    group = source.fragments(bytes(300), 100)
    bench.feed(group[0], group[2])
    assert bench.replies()[-1].bitmap == 0b101
    for _ in range(6):
        bench.wait(10.0)
        bench.feed(source.sync())
    bench.feed(group[1])
    ack = bench.replies()[-1]
    assert (ack.floor, ack.bitmap) == (0, 0b111)
    bench.handle()
    ack = bench.replies()[-1]
    assert (ack.floor, ack.bitmap, ack.delivered_records) == (3, 0, 1)


def test_a_group_without_room_is_not_marked() -> None:
    """The sender tries again, and then it fits."""
    bench, source = connected(reassembly=ReassemblyLimits(stream_bytes=1100))
    first = source.fragments(bytes(300), 100)
    second = source.fragments(bytes(300), 100)
    bench.feed(first[0], second[0])
    assert bench.stats().refused["reassembly_refused"] == 1
    assert bench.replies()[-1].bitmap == 0b1
    bench.feed(first[1], first[2], *second)
    bench.handle()
    assert bench.replies()[-1].floor == 6


def test_a_completed_group_is_taken_even_when_the_queue_is_full() -> None:
    """Its room was reserved long ago."""
    bench, source = connected(work_queue_bytes=3000)
    group = source.fragments(bytes(3000), 1000)
    bench.feed(*group[:2], source.data(1, bytes(2000)))
    bench.feed(source.data(1, bytes(2000)))
    assert bench.stats().refused["no_room"] == 1
    bench.feed(group[2])
    assert [len(batch.body) for batch in bench.waiting] == [2000, 3000]


def test_a_group_that_the_sender_gives_up_is_abandoned() -> None:
    """Whole: its other fragments are of no use to anybody."""
    bench, source = connected()
    group = source.fragments(bytes(300), 100, n_rec=3)
    bench.feed(group[0], group[2])
    source.floor = 3
    bench.feed(source.sync())
    assert bench.replies()[-1].floor == 3
    assert (bench.stream().abandoned, bench.stream().pending) == (3, 0)
    assert bench.stats().reassembly_bytes == 0


def test_a_group_given_up_in_part_is_abandoned_when_the_rest_comes() -> None:
    """Its first fragments will never come."""
    bench, source = connected()
    group = source.fragments(bytes(300), 100, n_rec=3)
    after = source.data()
    source.floor = 1
    bench.feed(source.sync(), group[1], group[2], after)
    bench.handle()
    assert bench.replies()[-1].floor == 4
    assert (bench.stream().abandoned, bench.stream().delivered) == (3, 10)


def test_a_stream_of_holes_takes_no_more_of_them() -> None:
    """What would make another gap is refused, and comes again when there is room."""
    bench, source = connected()
    bench.budgets.gaps.limit = 10
    bench.feed(*source.datas(200, 1)[1::2])
    assert bench.stats().refused == {"no_room": 36}


def test_a_forgotten_stream_misses_what_was_unfinished() -> None:
    """And what a tombstone remembers is where its floor was."""
    bench, source = connected()
    bench.feed(source.data(), source.fragments(bytes(300), 100, n_rec=3)[0])
    bench.handle()
    stream = bench.streams.get(1)
    assert stream is not None
    assert not stream.is_complete
    assert stream.next_timeout() == inf
    stream.handle_timeout(bench.now + 100)
    stream.release()
    assert (stream.ledger.missing, stream.records.pending) == (3, 0)
    assert stream.tombstone().next_seq == stream.window.floor == 4
    assert stream.is_complete


def test_an_address_pays_for_its_own_answers() -> None:
    """What another one has paid does not count, and no more is saved than a megabyte."""
    acks = AckState()
    acks.add_allowance(10)
    assert acks.allowance == 256
    assert acks.spend(256)
    assert not acks.spend(1)
    acks.add_allowance(1 << 30)
    assert acks.allowance == 1 << 20
    bench, source = connected()
    stream = bench.streams.get(1)
    assert isinstance(stream, AcknowledgedStream)
    bench.feed(source.data())
    assert stream.acks.allowance > 0
    stream.move_to(AWAY)
    assert (stream.acks.allowance, stream.address) == (0, AWAY)


def test_a_stream_from_a_spool_may_count_from_an_earlier_clock() -> None:
    """Its next SYNC is taken, and no earlier one."""
    bench, source = connected()
    stream = bench.streams.get(1)
    assert isinstance(stream, AcknowledgedStream)
    source.counter = 100
    bench.feed(source.sync())
    stream.accept_earlier_counter(50)
    stream.report.check_new(50)
    assert stream.report.counter == 49

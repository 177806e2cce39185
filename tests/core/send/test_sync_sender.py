"""The SYNCs of an acknowledged stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchudp_handler.core.trace import TraceEvent

from tests.core.send.bench import (
    EPOCH,
    Link,
    acknowledged,
    header,
    seqs,
    store_all,
    syncs,
    with_spool,
)


def test_probes_before_an_answer_grow_rarer() -> None:
    """Every fraction of a second at first, six times a minute, three in a row, after a while."""
    bench = acknowledged()
    bench.log(1)
    assert 30 <= len(bench.until(10.0)) <= 50
    bench.until(600.0)
    assert 15 <= len(bench.until(660.0)) <= 21


def test_dropped_records_are_told_within_a_second() -> None:
    """As in one-way delivery."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    bench.send()
    bench.ack(floor=1)
    bench.sender.note_dropped(12, bench.now)
    assert syncs(bench.until(bench.now + 1.1))[0].dropped_records == 12


def test_heartbeat_while_idle() -> None:
    """Every ten seconds, so that the receiver knows that we live."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    bench.send()
    bench.ack(floor=1)
    assert 5 <= len(syncs(bench.until(bench.now + 60.0))) <= 7


def test_close_waits_for_the_floor_and_says_goodbye() -> None:
    """Closed when all is final and the goodbye was answered."""
    bench = acknowledged()
    bench.log(*range(10))
    bench.open()
    bench.sender.close()
    count = len(seqs(bench.send()))
    assert not bench.sender.is_closed
    bench.until(bench.now + 0.06)
    bench.ack(floor=count)
    goodbye = syncs(bench.until(bench.now + 0.06))[0]
    assert goodbye.closing
    assert (goodbye.next_seq, goodbye.floor, goodbye.next_rec) == (count, count, 10)
    bench.ack(floor=count)
    assert bench.sender.is_closed


def test_a_goodbye_without_an_answer_is_repeated_and_then_enough() -> None:
    """The records are confirmed; a lost goodbye does not hold the process up for long."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    bench.send()
    bench.ack(floor=1)
    bench.sender.close()
    start = bench.now
    assert len(syncs(bench.until(bench.now + 10.0))) == 3
    assert bench.sender.is_closed
    assert bench.sender.next_timeout() is None
    assert start < 1.0


def test_a_resumed_stream_tells_the_time_of_day() -> None:
    """Its SYNC counter begins there: it is above every one of the dead process's, on any clock."""
    bench = with_spool()
    spool: dict[int, bytes] = {}
    bench.log(*range(50))
    bench.until(1.0)
    store_all(bench, spool)

    heir = with_spool()
    wall = 1_800_000_000.0
    heir.sender.resume([(header(data), len(data)) for data in spool.values()], heir.now, wall)
    (first, *_) = heir.send()
    assert header(first).sealed_at == wall
    assert header(first).seq == (int(wall) << 20) + 1


def test_sync_names_the_receiver_that_was_last_heard() -> None:
    """From that a new receiver knows which datagrams the old one may have delivered."""
    link = Link()
    assert [sync.receiver_epoch for sync in link.syncs] == [0, 0]
    link.wait(11.0)
    assert link.syncs[-1].receiver_epoch == EPOCH


def test_what_has_a_number_is_not_told_as_dropped_before_numbering() -> None:
    """The receiver sees the missing numbers itself; told as well, they would count twice."""
    link = Link()
    link.log(2_000)  # more than may be on the way: the rest is sealed ahead, and not sent
    link.wait(60.0)
    assert link.sender.is_away
    link.sender.drop_oldest(10_000, "buffer_full")
    counters = link.sender.counters
    assert counters.dropped["buffer_full"] > 0
    assert counters.unconfirmed + counters.dropped["buffer_full"] == 2_001
    link.wait(20.0)
    assert link.syncs[-1].floor == link.syncs[-1].next_seq > 1_000
    assert {sync.dropped_records for sync in link.syncs} == {0}


def test_a_stream_that_is_given_up_has_a_last_word() -> None:
    """From it the receiver knows that what is missing will not come; a trace shows it."""
    events: list[TraceEvent] = []
    bench = acknowledged(trace=events.append)
    bench.log(1)
    bench.open()
    bench.send()
    events.clear()
    bench.sender.give_up()
    last = bench.send()
    assert [sync.closing for sync in syncs(last)] == [True]
    assert bench.send() == []
    assert [event.name for event in events] == ["state_changed", "sync_sent"]

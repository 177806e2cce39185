"""One-way delivery, in virtual time."""

from __future__ import annotations

import json

from batchudp_handler.core.send.retry import SendFailure
from batchudp_handler.core.wire.datagram import CHECKSUM
from tests.core.send.bench import Bench, header, is_data, records, seqs, syncs


def test_records_leave_in_order_and_count_as_sent() -> None:
    """Numbers have no gaps, records come in order, nothing is kept."""
    bench = Bench()
    bench.log(*range(500))
    sent = bench.send()
    assert records(sent) == list(range(500))
    assert seqs(sent) == list(range(len(seqs(sent))))
    assert bench.sender.is_idle
    assert bench.sender.counters.sent == 500
    bench.check_identity(500)


def test_record_ordinals_add_up() -> None:
    """Each datagram says how many records came before it."""
    bench = Bench()
    bench.log(*range(300))
    expected = 0
    for data in bench.send():
        if is_data(data):
            assert header(data).rec == expected
            expected += header(data).n_rec
    assert expected == 300


def test_sync_schedule() -> None:
    """At the start, a second after the last DATA, 10 s later, then every minute."""
    bench = Bench()
    bench.log(1)
    first = bench.send()
    assert [is_data(data) for data in first] == [False, True]
    times = []
    while bench.now < 200:
        at = bench.sender.next_timeout()
        assert at is not None
        bench.now = at
        assert len(syncs(bench.send())) == 1
        times.append(at)
    assert times == [1.0, 11.0, 71.0, 131.0, 191.0, 251.0]


def test_sync_promises_the_next_one() -> None:
    """Each SYNC comes within the time that the one before it promised."""
    bench = Bench()
    bench.log(1)
    promises = syncs(bench.send() + bench.until(200.0))
    assert [sync.promise_ms for sync in promises] == [
        10_000,
        10_000,
        60_000,
        60_000,
        60_000,
        60_000,
    ]


def test_sync_comes_also_while_data_flows() -> None:
    """A stream that is never idle says where it stands every ten seconds."""
    bench = Bench()
    found = 0
    for tick in range(300):
        bench.now = tick * 0.1
        bench.log(tick)
        found += len(syncs(bench.send()))
    assert found == 3


def test_sync_says_how_far_the_stream_has_come() -> None:
    """The tail of a stream shows at the receiver although no DATA follows it."""
    bench = Bench()
    bench.log(*range(100))
    sent = seqs(bench.send())
    sync = syncs(bench.until(1.0))[0]
    assert (sync.next_seq, sync.next_rec) == (len(sent), 100)
    assert not sync.acknowledged


def test_drops_before_numbering_are_told() -> None:
    """Records lost in the buffer, and records that cannot be encoded, are in SYNC."""
    bench = Bench()
    bench.log(1, ..., 2)
    bench.sender.note_dropped(40, 0.0)
    sent = bench.send() + bench.until(1.0)
    assert syncs(sent)[-1].dropped_records == 41
    assert bench.dropped == {"encode_error": 1}


def test_a_new_drop_is_told_within_a_second() -> None:
    """A minute between SYNCs is too long for bad news."""
    bench = Bench()
    bench.log(1)
    bench.send()
    bench.until(30.0)
    bench.sender.note_dropped(5, bench.now)
    assert syncs(bench.until(31.0))[0].dropped_records == 5


def test_close_says_goodbye_twice() -> None:
    """Everything is sent, then two SYNCs 50 ms apart, then it is over."""
    bench = Bench()
    bench.log(*range(10))
    bench.sender.close()
    assert not bench.sender.can_send
    sent = bench.send()
    assert records(sent) == list(range(10))
    assert [sync.closing for sync in syncs(sent)] == [False, True]
    later = bench.until(0.05)
    assert [sync.closing for sync in syncs(later)] == [True]
    assert bench.sender.is_closed
    assert bench.sender.next_timeout() is None


def test_close_without_a_record_is_silent() -> None:
    """A sender that never sent anything has nobody to take leave of."""
    bench = Bench()
    bench.sender.close()
    assert bench.send() == []
    assert bench.sender.is_closed


def test_baseline_datagrams_have_no_header_and_no_sync() -> None:
    """`encoding="json"` sends what any JSON reader takes, and nothing else."""
    bench = Bench(encoding="json", max_datagram_size=1000)
    bench.log(1, 2)
    bench.sender.close()
    assert bench.send() == [b"[1, 2]"]
    assert bench.sender.is_closed


def test_a_record_too_large_is_sent_in_fragments() -> None:
    """The fragments follow each other and count as one record when the last is out."""
    bench = Bench()
    big = list(range(200))
    bench.log(0, big, 1)
    sent = [data for data in bench.send() if is_data(data)]
    group = [data for data in sent if header(data).frag_count > 1]
    assert [header(data).frag_index for data in group] == list(range(len(group)))
    assert {header(data).rec for data in group} == {1}
    assert json.loads(b"".join(CHECKSUM.open(data) for data in group)) == [big]
    assert bench.sender.counters.sent == 3
    assert header(sent[-1]).rec == 2


def test_backoff_grows_and_gives_up() -> None:
    """0.1 s, doubled; after max_retries the records are dropped by cause."""
    bench = Bench(max_retries=3)
    bench.log(7)
    waits = []
    for _ in range(4):
        data = bench.sender.datagram_to_send(bench.now)
        if data is not None and not is_data(data):
            bench.sender.on_datagram_sent(bench.now)
        bench.fail(SendFailure.UNREACHABLE)
        at = bench.sender.next_timeout()
        assert at is not None
        waits.append(round(at - bench.now, 3))
        assert bench.sender.datagram_to_send(at - 0.01) is None
        bench.now = at
    assert waits[:3] == [0.1, 0.2, 0.4]
    assert bench.dropped == {"send_failed": 1}
    assert bench.sender.counters.retries == 3
    bench.check_identity(1)


def test_numbers_of_a_datagram_never_sent_are_used_again() -> None:
    """What was dropped before it left is told as dropped, and not found missing as well."""
    bench = Bench(max_retries=0)
    bench.log(1)
    bench.send()
    bench.log(2)
    bench.fail(SendFailure.UNREACHABLE)
    bench.now = 0.5
    bench.log(3)
    sent = [data for data in bench.send() if is_data(data)]
    assert [(header(data).seq, header(data).rec) for data in sent] == [(1, 1)]
    assert records(sent) == [3]
    assert syncs(bench.until(1.5))[-1].dropped_records == 1


def test_refused_sends_the_previous_and_the_current_again() -> None:
    """Connection refused: the datagram before was lost, this one was not sent."""
    bench = Bench()
    bench.log(*range(100))
    bench.sender.datagram_to_send(0.0)
    bench.sender.on_datagram_sent(0.0)  # SYNC
    first = bench.sender.datagram_to_send(0.0)
    bench.sender.on_datagram_sent(0.0)
    second = bench.fail(SendFailure.REFUSED)
    bench.check_identity(100)
    bench.now = 0.2
    assert [data for data in bench.send() if is_data(data)][:2] == [first, second]
    assert bench.sender.counters.sent == 100
    bench.check_identity(100)


def test_refused_at_the_next_sync_saves_the_last_datagram() -> None:
    """The tail of a burst is sent again when the SYNC after it is refused."""
    bench = Bench()
    bench.log(1)
    bench.send()
    bench.now = 1.0
    bench.fail(SendFailure.REFUSED)
    assert not bench.sender.is_idle
    assert records(bench.until(2.0)) == [1]
    assert bench.sender.counters.sent == 1


def test_refused_told_by_the_socket_between_two_sends() -> None:
    """A shell that reads the error instead of sending into it may say so too."""
    bench = Bench()
    bench.log(1)
    bench.send()
    bench.sender.on_send_failed(SendFailure.REFUSED, bench.now)
    assert records(bench.until(0.5)) == [1]


def test_nobody_there_at_all_drops_everything_by_cause() -> None:
    """Refused for ever: each record ends as send_failed, none as sent."""
    bench = Bench(max_retries=2)
    bench.log(*range(200))
    is_refused = False
    for _ in range(1_000):
        data = bench.sender.datagram_to_send(bench.now)
        if data is None:
            at = bench.sender.next_timeout()
            assert at is not None
            if bench.sender.is_idle:
                break
            bench.now = max(at, bench.now)
        elif is_refused:
            bench.sender.on_send_failed(SendFailure.REFUSED, bench.now)
            is_refused = False
        else:
            bench.sender.on_datagram_sent(bench.now)
            is_refused = True
        bench.check_identity(200)
    assert bench.sender.wants_new_socket or bench.sender.is_idle
    assert bench.dropped["send_failed"] >= 150


def test_give_up_counts_what_was_not_sent() -> None:
    """One-way: sealed or not, what the deadline leaves is dropped as closed."""
    bench = Bench()
    bench.log(*range(500))
    for _ in range(3):
        bench.sender.datagram_to_send(0.0)
        bench.sender.on_datagram_sent(0.0)
    bench.sender.datagram_to_send(0.0)
    bench.sender.close()
    bench.sender.give_up()
    sent = bench.sender.counters.sent
    assert 0 < sent < 500
    assert bench.dropped == {"closed": 500 - sent}
    assert bench.sender.is_closed
    assert bench.send() == []


def test_one_way_ignores_whatever_arrives() -> None:
    """Nobody answers one-way datagrams; what comes is counted and has no effect."""
    bench = Bench()
    bench.log(1)
    bench.ack(floor=5)
    bench.sender.receive_datagram(b"garbage", 0.0)
    assert sum(bench.sender.counters.ignored.values()) == 2
    assert records(bench.send()) == [1]


def test_another_socket_clears_the_backoff() -> None:
    """After a new look-up the next datagram leaves at once."""
    bench = Bench()
    bench.log(1)
    for _ in range(3):
        bench.fail(SendFailure.UNREACHABLE)
        at = bench.sender.next_timeout()
        assert at is not None
        bench.now = at
    assert bench.sender.wants_new_socket
    bench.sender.on_new_socket()
    assert not bench.sender.wants_new_socket
    assert records(bench.send()) == [1]


def test_one_way_the_oldest_go_while_they_are_refused() -> None:
    """Cut batches first, then what is not cut; the numbers are given to others."""
    bench = Bench(max_retries=50)
    bench.log(*range(100))
    assert not bench.sender.is_stuck
    bench.fail(SendFailure.REFUSED)
    assert bench.sender.is_stuck
    assert not bench.sender.wanted_records
    bench.sender.drop_oldest(1, "buffer_full")
    first = bench.dropped["buffer_full"]
    bench.sender.drop_oldest(50 - first, "buffer_full")
    assert bench.dropped == {"buffer_full": 50}
    bench.check_identity(100)
    bench.now += 5.0
    sent = [data for data in bench.send() if is_data(data)]
    assert records(sent) == list(range(50, 100))
    assert seqs(sent)[0] == 0
    bench.check_identity(100)


def test_one_way_one_record_is_taken_to_find_out_whether_it_is_refused() -> None:
    """The others stay where each can be dropped alone."""
    bench = Bench(max_retries=0)
    bench.log(0)
    bench.send()
    bench.log(1)
    bench.fail(SendFailure.REFUSED)
    assert bench.dropped == {"send_failed": 2}
    assert bench.sender.is_stuck
    assert bench.sender.wanted_records == 1
    bench.log(2)
    assert bench.sender.wanted_records == 0
    bench.now += 5.0
    bench.send()
    assert not bench.sender.is_stuck
    assert bench.sender.wanted_records > 1

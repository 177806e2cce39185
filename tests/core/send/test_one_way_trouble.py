"""One-way delivery where datagrams do not leave, are too large, or are dropped half sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchudp_handler.core.send.retry import SendFailure
from tests.core.send.bench import Bench, header, is_data, records, seqs, syncs

if TYPE_CHECKING:
    from batchudp_handler.core.trace import TraceEvent


def sending(bench: Bench) -> bytes:
    """Have the SYNC leave that comes first, and return the DATA after it, whose fate is open."""
    first = bench.sender.datagram_to_send(bench.now)
    assert first is not None
    assert not is_data(first)
    bench.sender.on_datagram_sent(bench.now)
    data = bench.sender.datagram_to_send(bench.now)
    assert data is not None
    return data


def test_a_smaller_path_cuts_what_waits_under_the_same_numbers() -> None:
    """Nothing of it was on the wire; every record leaves once, in order."""
    bench = Bench(max_datagram_size=1_000)
    bench.log(*range(300))
    large = sending(bench)
    assert len(large) > 150
    bench.sender.set_max_datagram_size(150)
    sent = bench.send()
    assert large not in sent
    assert max(map(len, sent)) <= 150
    assert records(sent) == list(range(300))
    assert seqs(sent) == list(range(len(seqs(sent))))
    bench.check_identity(300)


def test_a_smaller_path_leaves_alone_what_fits_it() -> None:
    """The datagram that is to be sent now is not encoded again."""
    bench = Bench()
    bench.log(1)
    waiting = sending(bench)
    bench.sender.set_max_datagram_size(150)
    assert bench.sender.datagram_to_send(bench.now) is waiting


def test_a_record_half_sent_starts_again_when_the_path_is_smaller() -> None:
    """Its other fragments cannot follow; the numbers of those that left are gone."""
    bench = Bench(max_datagram_size=300)
    big = list(range(200))
    bench.log(big)
    sending(bench)
    bench.sender.on_datagram_sent(bench.now)
    bench.sender.datagram_to_send(bench.now)
    bench.sender.set_max_datagram_size(200)
    sent = [data for data in bench.send() if is_data(data)]
    assert {header(data).frag_count for data in sent} == {len(sent)}
    assert header(sent[0]).frag_index == 0
    assert header(sent[0]).seq > 1
    assert bench.sender.counters.sent == 1
    bench.check_identity(1)


def test_the_same_number_of_drops_is_no_news() -> None:
    """A SYNC is sent for what the receiver does not know yet."""
    bench = Bench()
    bench.log(1)
    bench.send()
    bench.until(30.0)
    bench.sender.note_dropped(5, bench.now)
    bench.until(31.0)
    at = bench.sender.next_timeout()
    bench.sender.note_dropped(5, bench.now)
    assert bench.sender.next_timeout() == at


def test_what_is_cut_goes_first_and_no_more_than_is_needed() -> None:
    """Batch by batch, oldest first; the one behind it stays and takes its numbers."""
    bench = Bench(max_datagram_size=300)
    bench.log(list(range(200)), *range(100))
    sending(bench)
    bench.sender.drop_oldest(1, "buffer_full")
    assert bench.dropped == {"buffer_full": 1}
    bench.check_identity(101)
    sent = bench.send()
    assert records(sent) == list(range(100))
    assert seqs(sent)[0] == 0
    bench.check_identity(101)


def test_one_batch_goes_and_the_next_one_stays() -> None:
    """Where two are cut because the socket refused both, room for one costs one."""
    bench = Bench()
    bench.log(*range(100))
    first = sending(bench)
    bench.sender.on_datagram_sent(bench.now)
    second = bench.fail(SendFailure.REFUSED)
    bench.sender.drop_oldest(header(first).n_rec, "buffer_full")
    assert bench.dropped == {"buffer_full": header(first).n_rec}
    bench.check_identity(100)
    bench.now += 1.0
    assert next(data for data in bench.send() if is_data(data)) == second
    bench.check_identity(100)


def test_what_was_dropped_half_sent_is_not_sent_again() -> None:
    """A refusal tells of the datagram before; its record is counted as dropped already."""
    bench = Bench()
    bench.log(list(range(200)), 7)
    sending(bench)
    bench.sender.on_datagram_sent(bench.now)
    bench.sender.datagram_to_send(bench.now)
    bench.sender.drop_oldest(1, "buffer_full")
    bench.fail(SendFailure.REFUSED)
    assert bench.sender.counters.retries == 1
    bench.now += 1.0
    assert records(bench.send()) == [7]
    assert bench.dropped == {"buffer_full": 1}
    assert syncs(bench.until(3.0))[-1].dropped_records == 0, "its numbers are missing anyway"
    bench.check_identity(2)


def test_a_record_that_cannot_be_encoded_leaves_nothing_to_send() -> None:
    """It is counted and told, and the stream goes on."""
    bench = Bench()
    bench.log(...)
    assert seqs(bench.send()) == []
    assert bench.dropped == {"encode_error": 1}
    assert bench.sender.is_idle
    bench.log(1)
    assert seqs(bench.send()) == [0]


def test_what_is_cut_is_sent_before_more_is_taken() -> None:
    """More records would only wait behind it, where they cannot be dropped one by one."""
    bench = Bench()
    assert bench.sender.wanted_records > 0
    bench.log(list(range(200)))
    sending(bench)
    assert (bench.sender.wanted_records, bench.sender.can_send) == (0, True)
    bench.send()
    assert bench.sender.wanted_records > 0


def test_each_transmission_and_each_refusal_is_told() -> None:
    """With the number and size of a datagram; its records only where all of them have left."""
    events: list[TraceEvent] = []
    bench = Bench(trace=events.append)
    bench.log(list(range(100)))
    sending(bench)
    bench.fail(SendFailure.WOULD_BLOCK)
    bench.now += 1.0
    sizes = [len(data) for data in bench.send() if is_data(data)]
    assert len(sizes) == 3
    assert [event.name for event in events if event.name != "sync_sent"] == [
        "send_failed",
        "datagram_retransmitted",
        "datagram_sent",
        "datagram_sent",
    ]
    told = [event.values for event in events if event.name.startswith("datagram_")]
    assert [(each["seq"], each["records"]) for each in told] == [(0, 0), (1, 0), (2, 1)]
    assert [each["size"] for each in told] == sizes
    assert events[1].values == {"failure": "would_block"}

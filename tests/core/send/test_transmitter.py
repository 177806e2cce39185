"""Which DATA is sent, and when none is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchudp_handler.core.trace import TraceEvent

from batchudp_handler.core.send.retry import SendFailure
from batchudp_handler.core.send.storage import StoragePolicy
from batchudp_handler.core.wire.constants import WINDOW_SIZE
from tests.core.send.bench import COOKIE, Link, acknowledged, is_data, records, seqs, syncs


def test_no_data_before_the_receiver_has_answered() -> None:
    """Only SYNCs leave until the handshake is done; then the records."""
    bench = acknowledged()
    bench.log(1, 2, 3)
    first = bench.send()
    assert len(first) == 1
    assert syncs(first)[0].cookie == bytes(16)
    bench.ack(cookie=COOKIE)
    second = bench.until(0.1)
    assert [sync.cookie for sync in syncs(second)] == [COOKIE]
    assert seqs(second) == []
    bench.ack()
    assert records(bench.send()) == [1, 2, 3]


def test_retransmissions_are_the_same_bytes() -> None:
    """A sealed datagram never changes."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    (first,) = bench.send()
    again = [data for data in bench.until(1.0) if is_data(data)]
    assert again
    assert set(again) == {first}
    assert bench.sender.counters.retransmissions == len(again)


def test_credit_limits_what_is_in_flight() -> None:
    """With little credit there is one datagram at a time, but always one."""
    bench = acknowledged()
    bench.log(*range(500))
    bench.send()
    bench.ack(cookie=COOKIE)
    bench.until(0.1)
    bench.ack(credit=0)
    assert len(seqs(bench.send())) == 1
    bench.ack(credit=450, floor=1)
    assert len(seqs(bench.send())) == 2


def test_the_congestion_window_limits_what_is_in_flight() -> None:
    """Ten datagrams at the start, however much credit there is."""
    bench = acknowledged()
    bench.log(*range(2_000))
    bench.open()
    sent = seqs(bench.send())
    assert 8 <= len(sent) <= 11


def test_full_datagrams_are_sealed_while_the_receiver_is_away() -> None:
    """What waits for an answer is packed well: only full datagrams are sealed ahead."""
    bench = acknowledged()
    for number in range(300):
        bench.log(number)
        bench.send()
    bench.open()
    sizes = [len(data) for data in bench.send() if is_data(data)]
    assert sum(sizes) / len(sizes) > 140


def test_refused_queues_the_previous_datagram_again() -> None:
    """It was lost, and nobody has to wait for a timer to know."""
    bench = acknowledged()
    bench.log(*range(60))
    bench.open()
    first = bench.sender.datagram_to_send(bench.now)
    bench.sender.on_datagram_sent(bench.now)
    second = bench.fail(SendFailure.REFUSED)
    bench.now += 0.2
    assert bench.send()[:2] == [first, second]


def test_refused_after_the_previous_datagram_was_confirmed() -> None:
    """An error that comes late, of a receiver that has gone since, finds nothing to send again."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    bench.send()
    bench.ack(floor=1)
    bench.log(2)
    bench.fail(SendFailure.REFUSED)
    assert records(bench.until(bench.now + 0.2))[:1] == [2]
    bench.check_identity(2)


def test_memory_is_bounded_and_the_caller_is_told() -> None:
    """Above max_retained_bytes nothing more is sealed, and can_send turns false."""
    bench = acknowledged(max_retained_bytes=2_000)
    while bench.sender.can_send:
        bench.log(*range(30))
        bench.until(bench.now)
    assert 2_000 <= bench.sender.retained_bytes <= 2_200


def test_nothing_is_sent_beyond_what_the_receiver_can_tell_apart() -> None:
    """With the floor at 0 and everything held, the last number sent is one below the window."""
    link = Link(storage=StoragePolicy.ALWAYS)
    link.log(WINDOW_SIZE + 100)
    rounds = 0
    while len(set(link.seqs)) < WINDOW_SIZE and rounds < 1_000:
        link.send()
        link.now += 0.001
        link.answer(bitmap=sum(1 << seq for seq in set(link.seqs)))
        rounds += 1
    link.wait(0.1)
    assert max(link.seqs) == WINDOW_SIZE - 1
    link.answer(floor=1)
    link.wait(0.1)
    assert max(link.seqs) == WINDOW_SIZE


def test_a_probe_that_was_acked_meanwhile_is_not_sent() -> None:
    """Of those chosen when nothing was heard, only what is still on its way."""
    events: list[TraceEvent] = []
    bench = acknowledged(trace=events.append)
    bench.log(*range(60))
    bench.open()
    sent = seqs(bench.send())
    assert len(sent) > 1
    while not any(event.name == "probe_timeout" for event in events):
        at = bench.sender.next_timeout()
        assert at is not None
        bench.now = max(bench.now, at)
        bench.sender.handle_timeout(bench.now)
    bench.ack(floor=1, bitmap=0)
    assert seqs(bench.send())[0] == 1
    names = [event.name for event in events]
    assert names.count("datagram_sent") == len(sent)
    assert "datagram_retransmitted" in names


def test_a_datagram_cut_smaller_is_told_before_its_parts_are_sent() -> None:
    """The receiver would wait for a number that nobody sends any more."""
    bench = acknowledged(max_datagram_size=1_000)
    bench.log(*range(200))
    bench.open()
    bench.fail(SendFailure.WOULD_BLOCK)
    bench.now += 0.2
    bench.sender.set_max_datagram_size(300)
    sent = bench.until(bench.now + 0.02)
    assert [sync.floor for sync in syncs(sent)] == [1]
    assert seqs(sent) == [1, 2, 3, 4]


def test_a_refusal_is_about_one_datagram_at_most() -> None:
    """The one before the refused one is sent again, and not again at the next refusal."""
    bench = acknowledged()
    bench.log(*range(200))
    bench.open()
    first = bench.sender.datagram_to_send(bench.now)
    bench.sender.on_datagram_sent(bench.now)
    for _ in range(2):
        refused = bench.fail(SendFailure.REFUSED)
        bench.now += 2.0
    assert refused == first
    sent = bench.send()
    assert len(seqs(sent)) == len(set(seqs(sent)))
    assert seqs(sent)[0] == 0


def test_a_probe_is_to_be_sent_at_once_whatever_is_in_flight() -> None:
    """The full window is the reason why nothing else leaves."""
    bench = acknowledged()
    bench.log(*range(2_000))
    bench.open()
    bench.send()
    at = bench.sender.next_timeout()
    assert at is not None
    assert at > bench.now
    bench.now = at
    bench.sender.handle_timeout(at)
    probing_at = bench.sender.next_timeout()
    assert probing_at is not None
    assert probing_at < at
    assert seqs(bench.send()) == [0, 1]


def test_a_full_datagram_that_cannot_be_sent_is_sealed_at_once() -> None:
    """Compressed it takes less memory; a small one waits for company."""
    bench = acknowledged()
    bench.log(1)
    bench.send()
    assert bench.sender.pending_records == 1
    bench.log(*range(200))
    at = bench.sender.next_timeout()
    assert at is not None
    assert at < bench.now
    bench.send()
    assert 0 < bench.sender.pending_records < 201
    assert bench.sender.retained_records == 201 - bench.sender.pending_records

"""Acknowledged delivery as a whole, in virtual time."""

from __future__ import annotations

from itertools import pairwise

from batchudp_handler.core.send.retry import SendFailure
from batchudp_handler.core.send.settings import SenderSettings
from tests.core.send.bench import (
    WALL,
    Link,
    acknowledged,
    answer_all,
    encode,
    records,
    seqs,
    syncs,
    with_spool,
)


def test_the_probe_timer_backs_off() -> None:
    """Without progress each probe waits longer, up to half a second on a fast path."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    bench.send()
    bench.now += 0.001
    bench.ack(floor=1, delivered_records=1)  # a sample of one millisecond
    bench.log(2)
    bench.send()
    times: list[float] = []
    while len(times) < 10:
        at = bench.sender.next_timeout()
        assert at is not None
        bench.now = at
        if seqs(bench.send()):
            times.append(at)
    gaps = [round(b - a, 3) for a, b in pairwise(times)]
    assert gaps == sorted(gaps)
    assert gaps[-1] == 0.5


def test_a_lost_datagram_is_sent_again_when_overtaken_and_overdue() -> None:
    """Nine eighths of a round trip after it was sent, once a later one was acked."""
    bench = acknowledged()
    bench.log(*range(200))
    bench.open()
    bench.send()
    bench.now += 0.010
    bench.ack(bitmap=0b10)
    assert 0 not in seqs(bench.until(bench.now + 0.001))
    assert seqs(bench.until(bench.now + 0.001))[:1] == [0]


def test_silence_leads_away_and_no_data_is_sent_there() -> None:
    """Five probes and five seconds without an answer: probes only, and a new look-up."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    bench.until(bench.now + 4.9)
    assert not bench.sender.is_away
    bench.until(bench.now + 2.0)
    assert bench.sender.is_away
    assert bench.sender.wants_new_socket
    assert seqs(bench.until(bench.now + 60.0)) == []
    bench.ack()
    assert not bench.sender.is_away
    assert records(bench.send()) == [1]


def test_refusals_lead_away_at_once() -> None:
    """Three refusals within a second: nobody listens."""
    bench = acknowledged()
    bench.log(*range(100))
    bench.open()
    while not bench.sender.is_away:
        at = bench.sender.next_timeout()
        assert at is not None
        bench.now = max(bench.now, at)
        if bench.sender.datagram_to_send(bench.now) is None:
            bench.sender.handle_timeout(bench.now)
        else:
            bench.fail(SendFailure.REFUSED)
    assert bench.now < 1.0
    bench.check_identity(100)


def test_no_way_to_the_receiver_leads_away_too() -> None:
    """Three times without a route: probes only, and a new look-up."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    for _ in range(3):
        bench.fail(SendFailure.UNREACHABLE)
        bench.now += 1.0
    assert bench.sender.is_away
    assert bench.sender.wants_new_socket
    bench.sender.on_new_socket()
    assert not bench.sender.wants_new_socket
    assert len(syncs(bench.until(bench.now + 0.1))) == 1


def test_a_full_socket_is_no_sign_of_absence() -> None:
    """Without buffer space the sender waits, longer each time, and stays."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    for _ in range(5):
        bench.fail(SendFailure.WOULD_BLOCK)
        at = bench.sender.next_timeout()
        assert at is not None
        bench.now = at
    assert not bench.sender.is_away
    assert records(bench.send()) == [1]


def test_a_refused_probe_keeps_the_rhythm_of_the_probes() -> None:
    """While nobody is there the socket refuses every second one; the backoff does not add up."""
    bench = acknowledged()
    bench.log(1)
    sent = 0
    is_refused = False
    while bench.now < 10.0:
        if bench.sender.datagram_to_send(bench.now) is None:
            at = bench.sender.next_timeout()
            assert at is not None
            bench.now = max(bench.now, at)
        elif is_refused:
            bench.sender.on_send_failed(SendFailure.REFUSED, bench.now)
            is_refused = False
        else:
            bench.sender.on_datagram_sent(bench.now)
            is_refused = True
            sent += 1
    assert sent >= 8


def test_reconfigure_changes_the_bounds_of_a_stream() -> None:
    """What it may hold can be changed while it runs."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    bench.send()
    assert bench.sender.wanted_records > 1
    changed = SenderSettings(
        encoder=encode, max_datagram_size=200, acknowledged=True, max_held_records=2
    )
    bench.sender.reconfigure(changed)
    assert bench.sender.wanted_records == 1


def test_give_up_counts_sealed_records_as_unconfirmed() -> None:
    """Perhaps delivered, perhaps not; what was never sealed is dropped as closed."""
    bench = acknowledged()
    bench.log(*range(2_000))
    bench.open()
    bench.send()
    bench.sender.close()
    bench.sender.give_up()
    counters = bench.sender.counters
    assert counters.unconfirmed > 0
    assert counters.unconfirmed + bench.dropped.get("closed", 0) == 2_000
    assert bench.sender.is_closed
    (last,) = syncs(bench.send())
    assert last.closing
    assert last.floor == last.next_seq
    bench.check_identity(2_000)


def test_while_nobody_answers_no_record_is_taken() -> None:
    """They wait where each can be dropped; that they do is a reason to look for a receiver."""
    bench = acknowledged()
    assert bench.sender.wanted_records == 0
    assert bench.sender.next_timeout() is None
    bench.sender.look_for_receiver(bench.now, WALL)
    assert (bench.sender.wanted_records, bench.sender.is_stuck) == (0, True)
    bench.open()
    bench.send()
    assert bench.sender.wanted_records > 1
    assert not bench.sender.is_stuck


def test_with_a_spool_records_are_taken_while_nobody_answers() -> None:
    """They are sealed for it."""
    bench = with_spool()
    bench.log(0)
    assert bench.sender.wanted_records > 1


def test_a_black_hole_is_found() -> None:
    """Small datagrams are answered, large ones never: the size falls to 1,200 within 5 s."""
    bench = acknowledged(max_datagram_size=1_432)
    bench.log(*range(10_000, 11_000))
    bench.open()
    start = bench.now
    while bench.sender.max_datagram_size > 1_200 and bench.now < start + 10:
        at = bench.sender.next_timeout()
        assert at is not None
        bench.now = max(bench.now, at)
        if syncs(bench.send()):
            bench.ack()
    assert bench.sender.max_datagram_size == 1_200
    assert bench.now - start <= 5.0


def test_a_receiver_without_room_is_no_black_hole() -> None:
    """Datagrams that are refused for want of credit say nothing about the path."""
    bench = acknowledged(max_datagram_size=1_432)
    bench.log(*range(300), list(range(200)))
    bench.open()
    bench.ack(credit=0)
    while bench.now < 20.0:
        at = bench.sender.next_timeout()
        assert at is not None
        bench.now = max(bench.now, at)
        bench.send()
        bench.ack(credit=0)
    assert bench.sender.max_datagram_size == 1_432


def test_a_slow_receiver_is_not_probed_in_a_hurry() -> None:
    """While it answers and has no room, probes stay rare: at most about two per second."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    bench.send()
    bench.now += 0.001
    bench.ack(credit=0)
    sent = 0
    while bench.now < 20.0:
        at = bench.sender.next_timeout()
        assert at is not None
        bench.now = max(bench.now, at)
        sent += len(bench.send())
        bench.ack(credit=0)
    assert sent <= 60


def test_an_idle_sender_with_an_answered_close_takes_no_more() -> None:
    """Closed: late answers are stale, nothing is to be sent."""
    bench = acknowledged()
    bench.sender.close()
    assert bench.sender.is_closed
    bench.ack()
    assert bench.sender.counters.ignored == {"stale": 1}
    assert bench.send() == []


def test_a_datagram_that_was_sent_twice_gives_no_sample() -> None:
    """Nobody knows which transmission was answered: the estimate must not shrink (Karn)."""
    link = Link()
    for _ in range(20):
        link.log(1)
        link.send()
        answer_all(link, 0.1)
    before = link.sender.rtt
    link.log(1)
    link.send()
    sent = len(link.seqs)
    while len(link.seqs) == sent:
        link.wait(0.01)
    answer_all(link, 0.001)
    assert before is not None
    assert link.sender.rtt is not None
    assert link.sender.rtt >= before


def test_a_loss_halves_the_congestion_window() -> None:
    """What was overtaken and is overdue says that the path is full."""
    link = Link()
    link.log(3_000)
    while link.sender.congestion_window < 60_000:
        link.send()
        answer_all(link, 0.1)
    link.send()
    floor = link.sender.floor
    link.now += 0.1
    link.answer(floor=floor, bitmap=(1 << (max(link.seqs) + 1 - floor)) - 2)  # not the oldest
    before = link.sender.congestion_window
    link.wait(0.2)
    assert link.sender.congestion_window == before // 2

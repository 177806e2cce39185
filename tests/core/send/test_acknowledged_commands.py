"""What the shell tells an acknowledged stream, and what it may ask of it at any time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchudp_handler.core.send.retry import SendFailure
from batchudp_handler.core.send.sync_schedule import HEARTBEAT
from batchudp_handler.core.send.sync_sender import GOODBYES
from tests.core.send.bench import (
    COOKIE,
    EPOCH,
    Bench,
    acknowledged,
    away_with,
    records,
    seqs,
    syncs,
)

if TYPE_CHECKING:
    from batchudp_handler.core.trace import TraceEvent


def confirmed() -> Bench:
    """Return an open stream of which all is settled."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    bench.send()
    bench.ack(floor=1)
    return bench


# --- drops ---------------------------------------------------------------------------------------


def test_drops_of_the_buffer_are_told_within_a_second_and_once() -> None:
    """The heartbeat would be too late for bad news; the same number is no news."""
    bench = confirmed()
    bench.sender.note_dropped(7, bench.now)
    (told,) = syncs(bench.until(bench.now + 1.0))
    assert told.dropped_records == 7
    bench.sender.note_dropped(7, bench.now)
    assert bench.until(bench.now + HEARTBEAT - 1.0) == []


def test_drops_are_told_to_the_receiver_that_answers_next() -> None:
    """Before there is one, they are no reason to send anything."""
    bench = acknowledged()
    bench.sender.note_dropped(7, bench.now)
    assert (bench.sender.next_timeout(), bench.send()) == (None, [])
    bench.log(1)
    assert [sync.dropped_records for sync in syncs(bench.send())] == [7]


def test_records_that_wait_for_a_receiver_can_be_dropped() -> None:
    """Oldest first, as many as are to make room; the rest arrives."""
    bench = acknowledged()
    bench.log(*range(5))
    bench.send()
    bench.sender.drop_oldest(2, "buffer_full")
    assert bench.dropped == {"buffer_full": 2}
    bench.check_identity(5)
    bench.open()
    assert records(bench.send()) == [2, 3, 4]


# --- the close -----------------------------------------------------------------------------------


def test_a_close_with_nothing_left_says_goodbye_at_once() -> None:
    """Not at the next heartbeat; no more records are taken from then on."""
    bench = confirmed()
    assert bench.sender.can_send
    bench.sender.close()
    assert not bench.sender.can_send
    assert bench.sender.wanted_records == 0
    (goodbye,) = syncs(bench.until(bench.now + 0.06))
    assert (goodbye.closing, goodbye.promise_ms) == (True, 0)
    assert not bench.sender.is_closed
    bench.ack(floor=1)
    assert bench.sender.is_closed
    assert bench.sender.next_timeout() is None


def test_a_goodbye_that_nobody_answers_is_said_a_few_times() -> None:
    """Everything was confirmed: nothing is lost if the answer is."""
    bench = confirmed()
    bench.sender.close()
    goodbyes = syncs(bench.until(bench.now + 30.0))
    assert [sync.closing for sync in goodbyes] == [True] * GOODBYES
    assert bench.sender.is_closed
    bench.check_identity(1)


def test_a_close_waits_for_what_is_not_confirmed() -> None:
    """It is sent again as before, and only then is goodbye said."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    sent = bench.send()
    bench.sender.close()
    later = bench.until(bench.now + 1.0)
    assert not any(sync.closing for sync in syncs(later))
    assert sent[0] in later
    bench.ack(floor=1)
    assert [sync.closing for sync in syncs(bench.until(bench.now + 0.06))][:1] == [True]


def test_what_was_given_up_stays_given_up() -> None:
    """The end comes once, with one last word, and its counts do not change."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    bench.send()
    bench.sender.give_up()
    bench.sender.give_up()
    assert bench.sender.counters.unconfirmed == 1
    assert [sync.closing for sync in syncs(bench.send())] == [True]
    bench.sender.give_up()
    assert bench.send() == []
    assert not bench.sender.can_send
    bench.check_identity(1)


# --- the socket ----------------------------------------------------------------------------------


def test_another_socket_asks_at_once_only_where_an_answer_is_missing() -> None:
    """An open stream goes on with what it has to send, and forgets the old one's troubles."""
    bench = confirmed()
    bench.log(2)
    bench.fail(SendFailure.UNREACHABLE)
    bench.now += 0.08  # as far from the last SYNC as another one has to be
    assert bench.send() == []
    bench.sender.on_new_socket()
    again = bench.send()
    assert records(again) == [2]
    assert syncs(again) == []

    asking = acknowledged()
    asking.log(1)
    asking.send()
    asking.now = 0.06
    assert asking.send() == []
    asking.sender.on_new_socket()
    assert len(syncs(asking.send())) == 1


def test_probes_and_refusals_are_told() -> None:
    """Each with its number in a row, or what the socket said."""
    events: list[TraceEvent] = []
    bench = acknowledged(trace=events.append)
    bench.log(1)
    bench.open()
    bench.send()
    events.clear()
    while [event.name for event in events].count("probe_timeout") < 2:
        assert bench.now < 60.0
        bench.now = bench.sender.next_timeout() or 0.0
        bench.sender.handle_timeout(bench.now)
        if bench.sender.datagram_to_send(bench.now) is not None:
            bench.fail(SendFailure.WOULD_BLOCK)
    assert [event.values for event in events if event.name == "probe_timeout"] == [
        {"expiries": 1},
        {"expiries": 2},
    ]
    assert {"failure": "would_block"} in [event.values for event in events]


# --- the receiver --------------------------------------------------------------------------------


def test_a_question_without_an_answer_is_known_with_its_time() -> None:
    """Until an answer comes; the first question counts and not the last."""
    bench = acknowledged()
    bench.log(1)
    assert bench.sender.unanswered_since is None
    bench.until(5.0)
    assert bench.sender.unanswered_since == 0.0
    bench.ack(cookie=COOKIE)
    assert bench.sender.unanswered_since is None


def test_a_receiver_without_a_place_and_two_receivers_are_told_apart() -> None:
    """Both answer, and neither takes anything."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    sender = bench.sender
    bench.ack(closing=True)
    assert not sender.finds_no_place, "it is about to end"
    bench.ack(closing=True, credit=0)
    assert sender.finds_no_place
    assert (sender.meets_two_receivers, sender.alternations) == (False, 0)
    for number in range(12):
        bench.until(bench.now + 0.5)
        bench.ack(receiver_epoch=EPOCH + number % 2, cookie=bytes([number]) * 16)
    assert sender.meets_two_receivers
    assert sender.alternations >= 4


def test_what_is_on_its_way_is_stuck_while_nobody_is_there() -> None:
    """Nothing of it is idle, and none of it is lost."""
    bench = acknowledged()
    away_with(bench, 1, 2, 3)
    assert (bench.sender.is_stuck, bench.sender.is_idle) == (True, False)
    assert seqs(bench.until(bench.now + 30.0)) == []
    assert bench.sender.retained_records == 3

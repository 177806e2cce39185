"""What an answer changes beside the window: the state, the next SYNC, and what a trace tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.core.send.bench import (
    COOKIE,
    EPOCH,
    Bench,
    acknowledged,
    away_with,
    is_data,
    seqs,
    syncs,
)

if TYPE_CHECKING:
    from batchudp_handler.core.trace import TraceEvent


def opened(*records: object, **settings: object) -> tuple[Bench, list[int]]:
    """Return a bench whose records were sent to a receiver, and their datagrams' numbers."""
    bench = acknowledged(**settings)
    bench.log(*records)
    bench.open()
    return bench, seqs(bench.send())


def test_an_answer_to_nothing_is_stale() -> None:
    """Before the first record nobody was asked; after the end nobody listens."""
    bench = acknowledged()
    bench.ack(cookie=COOKIE)
    bench.ack()
    assert bench.sender.counters.ignored == {"stale": 2}
    assert (bench.sender.next_timeout(), bench.send()) == (None, [])
    bench.log(1)
    bench.open()
    bench.send()
    bench.sender.give_up()
    bench.send()
    bench.ack(floor=1)
    assert bench.sender.counters.ignored == {"stale": 3}
    assert (bench.sender.counters.confirmed, bench.sender.counters.unconfirmed) == (0, 1)


def test_after_an_outage_all_that_was_in_flight_is_sent_again_at_once() -> None:
    """It was lost with the receiver or on the way; no timer has to tell."""
    bench, sent = opened(*range(100))
    assert len(sent) > 2
    bench.until(bench.now + 60.0)
    assert bench.sender.is_away
    assert bench.sender.bytes_in_flight > 0
    bench.ack()
    assert not bench.sender.is_away
    assert bench.sender.bytes_in_flight == 0
    assert seqs(bench.send()) == sent


def test_after_an_outage_no_more_is_in_flight_than_at_the_beginning() -> None:
    """The path may be another one; the window that it had says nothing."""
    bench, _ = opened(*range(5_000))
    start = bench.sender.congestion_window
    floor = 0
    while bench.sender.congestion_window < 4 * start:
        floor += len(seqs(bench.send()))
        bench.now += 0.01
        bench.ack(floor=bench.sender.window.sent_end)
    bench.until(bench.now + 60.0)
    assert bench.sender.is_away
    bench.ack(floor=bench.sender.floor)
    assert bench.sender.congestion_window == start


def test_data_sent_after_the_proof_of_an_address_is_not_sent_again() -> None:
    """Only what went out before it was thrown away."""
    bench, first = opened(1)
    bench.ack(cookie=b"d" * 16)
    assert len(syncs(bench.until(bench.now + 0.06))) == 1
    bench.log(2)
    second = seqs(bench.send())
    assert second == [1]
    bench.ack()
    assert seqs(bench.send()) == first


def test_a_floor_that_moved_is_told_with_the_next_answer_and_not_with_each() -> None:
    """An answer that is older than the last SYNC cannot know; a SYNC may be lost."""
    bench = acknowledged()
    away_with(bench, *range(1, 101))
    bench.sender.drop_oldest(1_000, "buffer_full")
    floor = bench.sender.floor
    bench.ack(floor=1)
    (told,) = syncs(bench.send())
    assert told.floor == floor
    bench.now += 0.001
    bench.ack(floor=1)
    bench.now += 5.0
    assert bench.sender.datagram_to_send(bench.now) is None, "the answer was on its way"
    bench.ack(floor=1)
    again = bench.sender.datagram_to_send(bench.now)
    assert again is not None
    assert [sync.floor for sync in syncs([again])] == [floor]
    bench.sender.on_datagram_sent(bench.now)
    bench.ack(floor=floor)
    assert syncs(bench.until(bench.now + 5.0)) == []


def test_the_goodbye_follows_the_last_confirmation_and_its_answer_is_the_end() -> None:
    """Before that the receiver could not tell a pause from the end."""
    bench, sent = opened(*range(100))
    bench.sender.close()
    bench.ack(floor=1)
    assert [sync for sync in syncs(bench.until(bench.now + 0.01)) if sync.closing] == []
    bench.now += 0.1
    bench.ack(floor=len(sent))
    (goodbye,) = bench.send()
    assert [sync.closing for sync in syncs([goodbye])] == [True]
    assert not bench.sender.is_closed
    bench.ack(floor=len(sent))
    assert bench.sender.is_closed
    assert bench.send() == []


def test_two_receivers_of_one_address_are_asked_so_that_they_learn_of_each_other() -> None:
    """By a SYNC within a quarter of a second after each answer, instead of the heartbeat."""
    bench, _ = opened(1)
    bench.ack(floor=1)
    while not bench.sender.meets_two_receivers:
        assert bench.now < 60.0
        bench.until(bench.now + 0.5)
        bench.ack(receiver_epoch=EPOCH + 1, cookie=b"e" * 16)
        bench.until(bench.now + 0.5)
        bench.ack(floor=1)
    assert bench.sender.alternations >= 4
    bench.until(bench.now + 0.5)
    bench.ack(floor=1)
    at = bench.sender.next_timeout()
    assert at is not None
    assert at <= bench.now + 0.25


def test_each_answer_is_told_with_what_it_says() -> None:
    """Challenges by the receiver, ACKs by floor, what they acked, and what was not used, why."""
    events: list[TraceEvent] = []
    bench = acknowledged(trace=events.append)
    bench.log(1)
    bench.send()
    bench.ack(cookie=COOKIE)
    bench.until(0.06)
    bench.ack()
    bench.send()
    bench.ack(floor=1, credit=9)
    bench.ack(receiver_epoch=99)
    told = [(event.name, event.values) for event in events]
    assert [each for each in told if "_sent" not in each[0] and each[0] != "state_changed"] == [
        ("challenge_received", {"receiver": f"{EPOCH:016x}"}),
        ("ack_received", {"floor": 0, "credit": 1 << 20}),
        ("ack_received", {"floor": 1, "credit": 9}),
        ("datagram_acked", {"seq": 0}),
        ("answer_ignored", {"reason": "stale"}),
    ]
    assert [event.values["new"] for event in events if event.name == "state_changed"] == [
        "syncing",
        "open",
    ]
    assert not any(is_data(each) for each in bench.send())

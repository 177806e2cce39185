"""What the sender knows of each sealed datagram."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from batchudp_handler.core.send.window import DatagramState, RetainedDatagram, SendWindow

SIZE = 100


def datagram(seq: int, records: int = 1) -> RetainedDatagram:
    return RetainedDatagram(
        seq,
        records=records,
        n_rec=records,
        end_rec=seq + records,
        data=bytes(SIZE),
        size=SIZE,
        sealed=0.0,
    )


def window_with(count: int, sent: int = 0) -> SendWindow:
    """A window of `count` datagrams of which the first `sent` were sent at 0, 1, 2 ..."""
    window = SendWindow()
    for seq in range(count):
        window.append(datagram(seq))
    for now in range(sent):
        send_next(window, float(now))
    return window


def send_next(window: SendWindow, now: float) -> int:
    head = window.peek()
    assert head is not None
    window.on_sent(head, now)
    return head.seq


def queued(window: SendWindow) -> list[int]:
    return [each.seq for each in window if each.state is DatagramState.QUEUED]


def test_numbers_have_no_gaps() -> None:
    """A datagram that does not follow the last one is a mistake of ours."""
    window = window_with(2)
    with pytest.raises(ValueError, match="does not follow"):
        window.append(datagram(3))


def test_the_oldest_is_sent_first() -> None:
    """What waits comes out by number, a lost datagram before a new one."""
    window = window_with(4, sent=3)
    window.requeue(window.get(1))  # type: ignore[arg-type]  # it is there
    assert [send_next(window, 3.0), send_next(window, 3.0)] == [1, 3]
    assert window.peek() is None


def test_the_bitmap_frees_the_flight_and_the_floor_frees_the_bytes() -> None:
    """A held datagram is out of flight but kept; below the floor it is gone."""
    window = window_with(3, sent=3)
    outcome = window.on_ack(0, 0b010)
    assert (outcome.acked_bytes, outcome.final_records) == (SIZE, 0)
    assert (window.bytes_in_flight, window.retained_bytes) == (2 * SIZE, 3 * SIZE)
    outcome = window.on_ack(2, 0)
    assert (outcome.acked_bytes, outcome.final_records) == (SIZE, 2)
    assert (window.bytes_in_flight, window.retained_bytes) == (SIZE, SIZE)
    assert window.floor == 2


def test_an_ack_that_says_nothing_new_is_no_progress() -> None:
    """Only the first news of a datagram counts."""
    window = window_with(2, sent=2)
    assert window.on_ack(0, 0b10).progress
    assert not window.on_ack(0, 0b10).progress


def test_a_held_datagram_that_becomes_final_is_progress() -> None:
    """The floor moving is progress although nothing new was received."""
    window = window_with(1, sent=1)
    window.on_ack(0, 0b1)
    assert window.on_ack(1, 0).progress


def test_the_newest_is_the_one_sent_last() -> None:
    """For the round trip, the order of transmissions counts and not the number."""
    window = window_with(3, sent=3)
    window.requeue(window.get(0))  # type: ignore[arg-type]  # it is there
    send_next(window, 9.0)
    newest = window.on_ack(3, 0).newest
    assert newest is not None
    assert (newest.seq, newest.last_sent) == (0, 9.0)


def test_loss_needs_an_ack_of_something_sent_later() -> None:
    """Age alone is no loss: the last datagram of a burst is never declared lost by time."""
    window = window_with(3, sent=3)
    window.on_ack(0, 0b010)
    assert [each.seq for each in window.detect_lost(100.0, loss_delay=1.0)] == [0]
    assert queued(window) == [0]
    assert window.in_flight == 1


def test_loss_waits_for_the_delay() -> None:
    """An overtaken datagram is lost when it is overdue, not before."""
    window = window_with(2, sent=2)
    window.on_ack(0, 0b10)
    assert window.loss_time(2.5) == 2.5
    assert window.detect_lost(2.4, loss_delay=2.5) == []
    assert [each.seq for each in window.detect_lost(2.5, loss_delay=2.5)] == [0]
    assert window.loss_time(2.5) is None


def test_an_ack_for_a_datagram_that_was_declared_lost() -> None:
    """The queued copy is not sent any more."""
    window = window_with(2, sent=2)
    window.on_ack(0, 0b10)
    window.detect_lost(9.0, loss_delay=1.0)
    outcome = window.on_ack(0, 0b11)
    assert [each.seq for each in outcome.acked] == [0]
    assert outcome.acked_bytes == 0
    assert window.peek() is None


def test_a_new_receiver_gets_everything_again() -> None:
    """Held and in flight alike wait again, oldest first; nothing is in flight."""
    window = window_with(4, sent=3)
    window.on_ack(1, 0b1)
    window.requeue_all()
    assert queued(window) == [1, 2, 3]
    assert window.bytes_in_flight == 0
    assert [send_next(window, 5.0) for _ in range(3)] == [1, 2, 3]


def test_a_datagram_that_is_not_held_any_more_waits_again() -> None:
    """A later bitmap is complete: what it leaves out, the receiver has forgotten."""
    window = window_with(3, sent=3)
    window.on_ack(0, 0b110)
    outcome = window.on_ack(0, 0b100)
    assert [each.seq for each in outcome.forgotten] == [1]
    assert queued(window) == [1]


def test_a_final_datagram_cannot_be_queued_again() -> None:
    """Who still has it in hand (the last one sent, a probe) finds out that it is settled."""
    window = window_with(2, sent=2)
    first = window.get(0)
    assert first is not None
    window.on_ack(1, 0)
    assert first.state is DatagramState.FINAL
    window.requeue(first)
    window.on_sent(first, 9.0)
    assert window.peek() is None
    assert window.in_flight == 1


def test_abandoned_numbers_wait_for_the_floor() -> None:
    """A hole moves the floor only when everything below it is settled."""
    window = window_with(3, sent=3)
    window.abandon(window.get(1))  # type: ignore[arg-type]  # it is there
    assert window.floor == 0
    assert window.retained_records == 2
    assert window.on_ack(1, 0).final_records == 1
    assert window.floor == 2


def test_abandoned_records_are_not_final() -> None:
    """The receiver's floor passes a hole without confirming its records."""
    window = window_with(2, sent=2)
    window.abandon(window.get(1))  # type: ignore[arg-type]  # it is there
    assert window.on_ack(2, 0).final_records == 1


def test_sent_end_follows_first_transmissions() -> None:
    """What SYNC may say was sent: neither what waits nor less after a retransmission."""
    window = window_with(3, sent=2)
    window.requeue(window.get(0))  # type: ignore[arg-type]  # it is there
    send_next(window, 5.0)
    assert (window.sent_end, window.sent_end_rec) == (2, 2)


def test_stored_bytes_leave_memory_and_come_back() -> None:
    """Storing moves the records' account; unloading frees the bytes."""
    window = window_with(2)
    first = window.get(0)
    assert first is not None
    data = first.data
    assert data is not None
    window.store(first)
    assert (window.retained_records, window.stored_records) == (1, 1)
    window.unload(first)
    assert window.retained_bytes == SIZE
    window.load(first, data)
    assert window.retained_bytes == 2 * SIZE


def test_bytes_that_only_memory_has_are_not_unloaded() -> None:
    """Unloading is for stored datagrams."""
    window = window_with(1)
    first = window.get(0)
    assert first is not None
    window.unload(first)
    assert first.data is not None


class WindowAgainstSets(RuleBasedStateMachine):
    """Any order of events leaves the window as a model of plain sets has it."""

    def __init__(self) -> None:
        super().__init__()
        self.window = SendWindow()
        self.now = 0.0
        self.floor = 0
        self.count = 0
        self.sent: set[int] = set()
        self.flying: set[int] = set()
        self.received: set[int] = set()
        self.waiting: set[int] = set()

    @rule()
    def append(self) -> None:
        self.window.append(datagram(self.count))
        self.waiting.add(self.count)
        self.count += 1

    @precondition(lambda self: self.waiting)
    @rule()
    def send(self) -> None:
        self.now += 1
        seq = send_next(self.window, self.now)
        assert seq == min(self.waiting)
        self.waiting.remove(seq)
        self.flying.add(seq)
        self.sent.add(seq)

    @rule(data=st.data())
    def ack(self, data: st.DataObject) -> None:
        end = max(self.sent, default=-1) + 1
        arrivals = sorted(seq for seq in self.sent if seq >= self.floor)
        self.received |= set(data.draw(st.lists(st.sampled_from(arrivals)))) if arrivals else set()
        final = self.floor
        while final in self.received and final < end:
            final += 1
        self.floor = data.draw(st.integers(self.floor, final))
        held = sum(1 << (seq - self.floor) for seq in self.received if seq >= self.floor)
        self.window.on_ack(self.floor, held)
        self.flying -= self.received
        self.waiting -= self.received

    @rule(delay=st.floats(0, 20))
    def lose(self, delay: float) -> None:
        for each in self.window.detect_lost(self.now, delay):
            self.flying.remove(each.seq)
            self.waiting.add(each.seq)

    @rule()
    def restart(self) -> None:
        self.window.requeue_all()
        self.received = {seq for seq in self.received if seq < self.floor}
        self.waiting |= {seq for seq in self.sent if seq >= self.floor}
        self.flying.clear()

    @invariant()
    def accounts_agree(self) -> None:
        window = self.window
        assert window.floor == self.floor
        assert queued(window) == sorted(self.waiting)
        assert window.bytes_in_flight == SIZE * len(self.flying)
        assert window.in_flight == len(self.flying)
        assert window.retained_records == self.count - self.floor
        assert window.retained_bytes == SIZE * (self.count - self.floor)


TestWindowAgainstSets = WindowAgainstSets.TestCase


def test_a_bitmap_above_an_older_floor_is_read_from_that_floor() -> None:
    """The receiver does not know yet that the first datagram was given up."""
    window = SendWindow()
    for seq in range(3):
        window.append(
            RetainedDatagram(
                seq, records=1, n_rec=1, end_rec=seq + 1, data=b"x", size=1, sealed=0.0
            )
        )
    for each in list(window):
        window.on_sent(each, 0.0)
    first, second, third = list(window)
    window.abandon(first)
    window.on_ack(0, 0b010)
    assert second.state is DatagramState.HELD
    assert third.state is DatagramState.IN_FLIGHT


def get(window: SendWindow, seq: int) -> RetainedDatagram:
    found = window.get(seq)
    assert found is not None
    return found


def test_the_transmission_of_what_was_settled_meanwhile_changes_nothing() -> None:
    """An ack came between the choice and the transmission."""
    window = window_with(2, sent=1)
    first = get(window, 0)
    window.on_ack(0, 0b1)
    window.on_sent(first, 5.0)
    assert first.state is DatagramState.HELD
    assert first.sent_count == 2
    assert window.bytes_in_flight == 0


def test_what_waits_already_is_not_queued_twice() -> None:
    """It is sent once."""
    window = window_with(1)
    window.requeue(get(window, 0))
    assert send_next(window, 0.0) == 0
    assert window.peek() is None


def test_what_waits_can_be_given_up_without_being_sent() -> None:
    """It is not sent any more, and giving it up again changes nothing."""
    window = window_with(2)
    second = get(window, 1)
    window.abandon(second)
    window.abandon(second)
    assert send_next(window, 0.0) == 0
    assert window.peek() is None
    assert (window.retained_bytes, window.retained_records) == (SIZE, 1)


def test_bytes_move_between_memory_and_spool() -> None:
    """Records count where their only copy or their safest is; bytes count in memory."""
    window = window_with(2)
    first = get(window, 0)
    window.unload(first)  # the spool has it not
    assert window.retained_bytes == 2 * SIZE
    window.store(first)
    window.store(first)
    assert (window.retained_records, window.stored_records) == (1, 1)
    window.unload(first)
    assert first.data is None
    assert window.retained_bytes == SIZE
    window.load(first, b"again")
    window.load(first, b"twice")
    assert first.data == b"again"
    window.unstore(first)
    window.unstore(first)
    assert (window.retained_records, window.stored_records) == (2, 0)


def test_what_was_given_up_is_neither_stored_nor_loaded() -> None:
    """Its bytes are gone for good."""
    window = window_with(2)
    second = get(window, 1)
    window.abandon(second)
    window.store(second)
    window.unstore(second)
    window.load(second, b"late")
    assert second.data is None
    assert not second.is_stored


def test_the_ack_of_what_was_given_up_settles_no_record() -> None:
    """It was counted when it was given up."""
    window = window_with(3, sent=3)
    window.abandon(get(window, 1))
    outcome = window.on_ack(0, 0b010)
    assert outcome.acked == []
    outcome = window.on_ack(3, 0)
    assert outcome.final_records == 2


def test_what_the_receiver_forgot_while_it_was_given_up_is_not_sent_again() -> None:
    """A receiver that lets go of a datagram it held has it sent again; not this one."""
    window = window_with(3, sent=3)
    window.on_ack(0, 0b110)
    window.abandon(get(window, 1))
    outcome = window.on_ack(0, 0b000)
    assert [each.seq for each in outcome.forgotten] == [2]
    assert queued(window) == [2]


def test_the_newest_of_several_is_the_one_sent_last() -> None:
    """From its transmission the round trip is measured."""
    window = window_with(3, sent=2)
    window.requeue(get(window, 0))
    send_next(window, 5.0)
    outcome = window.on_ack(0, 0b011)
    assert outcome.newest is get(window, 0)


def test_without_anything_overtaken_nothing_becomes_overdue() -> None:
    """Time alone declares no loss."""
    window = window_with(2, sent=2)
    assert window.loss_time(0.1) is None
    assert window.detect_lost(1e9, 0.1) == []
    window.on_ack(0, 0b10)
    assert window.loss_time(0.5) == 0.5
    assert window_with(1).loss_time(0.1) is None


def test_what_is_probed_is_the_oldest_in_flight() -> None:
    """Nothing, if nothing is on the way."""
    assert window_with(2).oldest_unheld(2) == []
    window = window_with(4, sent=3)
    window.on_ack(0, 0b001)
    assert [each.seq for each in window.oldest_unheld(5)] == [1, 2]
    assert [each.seq for each in window.oldest_unheld(1)] == [1]


def test_a_probe_keeps_the_order_of_transmissions() -> None:
    """What is sent again while in flight becomes the youngest."""
    window = window_with(2, sent=2)
    window.on_sent(get(window, 0), 5.0)
    assert [each.seq for each in window.in_flight_datagrams()] == [1, 0]
    assert window.bytes_in_flight == 2 * SIZE


def test_a_gap_is_a_number_and_nothing_else() -> None:
    """What the spool lost is appended as given up: it holds nothing and is not sent."""
    window = SendWindow()
    gap = RetainedDatagram(0, records=0, n_rec=0, end_rec=0, data=None, size=0, sealed=0.0)
    gap.state = DatagramState.ABANDONED
    window.append(gap)
    assert window.peek() is None
    assert window.retained_bytes == 0

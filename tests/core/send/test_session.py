"""The session of a handler, in virtual time: turns, flushes, closes, the spool and the end."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler.core.causes import NO_PLACE, TWO_RECEIVERS
from batchudp_handler.core.payload.encoded import Encoded
from batchudp_handler.core.send.counters import SenderCounters
from batchudp_handler.core.send.retry import SendFailure
from batchudp_handler.core.send.session import (
    BLOCKED_PATIENCE,
    UNKNOWN_PATH_SIZE,
    Session,
    SessionSettings,
)
from batchudp_handler.core.send.settings import SenderSettings
from batchudp_handler.core.send.storage import StoragePolicy
from batchudp_handler.core.send.taking import TakingLimits, Trigger
from batchudp_handler.core.wire.ack import Ack, encode_ack
from batchudp_handler.core.wire.datagram import CHECKSUM, DatagramType, Header, parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchudp_handler.core.records.batch import Snapshot

STREAM, OTHER = 7, 8
WALL = 1_700_000_000.0
SPOOLED: dict[str, Any] = {"acknowledged": True, "storage": StoragePolicy.WHEN_NEEDED}
_NO_TEXTS = (None,) * 23


def encode(batch: Sequence[Snapshot], /) -> Encoded:
    body = b",".join(b"%d" % each[0] for each in batch)
    return Encoded(0, body, len(body))


def header(datagram: bytes) -> Header:
    found = parse(datagram)
    assert isinstance(found, Header)
    return found


class World:
    """A session, with a buffer, a socket, a disk and a clock that the test sets."""

    def __init__(self, taking: TakingLimits | None = None, **sender: Any) -> None:
        settings = SessionSettings(
            SenderSettings(encoder=encode, **sender), taking or TakingLimits()
        )
        self.counters = SenderCounters()
        self.session = Session(
            settings, stream_id=STREAM, random=lambda: 0.5, counters=self.counters
        )
        self.now = 100.0
        self.waiting: deque[int] = deque()
        self.logged = 0
        self.sent: list[bytes] = []
        self.disk: dict[tuple[int, int], bytes] = {}
        self.is_open = True
        self.refuse: list[tuple[SendFailure, bool]] = []

    def log(self, count: int) -> None:
        self.waiting.extend(range(self.logged, self.logged + count))
        self.logged += count

    def turn(self, *, is_urgent: bool = False) -> list[bytes]:
        """What the shell's loop does; returns what was sent."""
        session, before = self.session, len(self.sent)
        session.is_open = self.is_open
        session.handle_timeout(self.now, WALL + self.now)
        if session.awaits_records:
            session.begin_due_flush(len(self.waiting), self.now, is_urgent=is_urgent)
        self.send()
        self.take()
        if session.adoption is not None:
            self.store()
        if session.is_closing:
            session.finish_close()
            self.send()
        session.end_turn()
        self.check()
        return self.sent[before:]

    def take(self) -> bool:
        before = len(self.waiting)
        while count := self.session.records_to_take(self.now):
            batch = [self.waiting.popleft() for _ in range(min(count, len(self.waiting)))]
            self.session.receive_records([(n, *_NO_TEXTS) for n in batch], 0, self.now)
            self.send()
        return len(self.waiting) < before

    def send(self) -> None:
        while (datagram := self.session.datagram_to_send(self.now)) is not None:
            if self.refuse:
                failure, is_until_writable = self.refuse.pop(0)
                self.session.on_send_failed(failure, self.now, is_until_writable=is_until_writable)
            else:
                self.sent.append(datagram)
                self.session.on_datagram_sent(self.now)

    def store(self) -> None:
        """Move to disk and back until nothing more is to be moved, or taken instead."""
        is_moving = True
        while is_moving:
            is_moving = False
            for stream in self.session.streams:
                while offered := stream.datagrams_to_store(self.now):
                    for each in offered:
                        self.disk[stream.stream_id, each.seq] = each.data
                        stream.on_stored([each.seq])
                for seq in stream.datagrams_to_load():
                    stream.on_loaded(seq, self.disk[stream.stream_id, seq])
                    is_moving = True
            self.send()
            is_moving |= self.take()

    def answer(self, ack: Ack, counter: int = 1, stream_id: int = STREAM) -> None:
        datagram = encode_ack(
            CHECKSUM, ack, stream_id=stream_id, counter=counter, sealed_at=int(WALL)
        )
        self.session.receive_datagram(datagram, self.now)

    def check(self) -> None:
        """Every record waits, is held, is on disk, or counted."""
        counters, session = self.counters, self.session
        settled = counters.sent + counters.confirmed + counters.unconfirmed
        held = session.held[0] + session.spooled_records
        total = settled + counters.total_dropped + held + len(self.waiting)
        assert total == self.logged + counters.adopted


def answered(world: World) -> None:
    """Go through the handshake with receiver 1, which has room."""
    world.turn()
    world.answer(Ack(receiver_epoch=1, cookie=b"c" * 16))
    world.now += 0.1
    world.turn()
    world.answer(Ack(receiver_epoch=1, credit=1 << 20))


# --- turns ---------------------------------------------------------------------------------------


def test_the_first_record_leaves_at_once_and_the_others_in_company() -> None:
    """Then a full batch, or the interval, or an urgent record makes a flush."""
    world = World()
    world.log(1)
    world.turn()
    assert world.counters.sent == 1
    world.now += 1.0
    world.log(9)
    world.turn()
    assert world.counters.sent == 1
    assert world.session.next_timeout(world.now) == 105.0, "an interval after the first"
    world.log(1)
    world.turn()
    assert world.counters.sent == 11
    world.log(1)
    world.turn(is_urgent=True)
    world.log(1)
    world.now += 5.0
    world.turn()
    assert {str(k): v for k, v in world.counters.flushes.items() if v} == {
        "first": 1,
        "size": 1,
        "level": 1,
        "time": 1,
    }
    assert world.counters.sent == 13


def test_without_a_socket_records_wait_where_they_are() -> None:
    """Nothing is taken that could only be held; there is nothing to wake for but the socket."""
    world = World()
    world.is_open = False
    world.log(50)
    world.turn()
    assert len(world.waiting) == 50
    assert not world.session.awaits_records
    assert world.session.next_timeout(world.now) is None
    world.is_open = True
    world.turn()
    assert world.counters.sent == 50


def test_a_full_socket_is_waited_for_and_then_counts_as_a_failure() -> None:
    """The same datagram is offered in each turn, and nothing more is taken meanwhile."""
    world = World()
    world.log(1)
    world.turn()
    world.log(500)
    world.refuse = [(SendFailure.WOULD_BLOCK, True)] * 3
    world.turn(is_urgent=True)
    assert world.session.is_blocked
    assert world.counters.sent == 1
    waiting = len(world.waiting)
    assert world.session.next_timeout(world.now) == world.now + BLOCKED_PATIENCE
    world.now += BLOCKED_PATIENCE / 2
    world.turn()
    assert (len(world.waiting), world.counters.retries) == (waiting, 0)
    world.now += BLOCKED_PATIENCE / 2
    world.turn()
    assert not world.session.is_blocked
    assert world.counters.retries == 1
    world.now += 1.0
    world.turn()
    assert world.counters.sent == 501


def test_an_acknowledged_stream_takes_nothing_while_the_socket_is_full() -> None:
    """What waits can still be dropped one by one."""
    world = World(acknowledged=True)
    world.log(1)
    answered(world)
    world.turn()
    world.log(500)
    world.refuse = [(SendFailure.WOULD_BLOCK, True)]
    world.turn(is_urgent=True)
    assert world.session.is_blocked
    assert world.session.own.wanted_records > 0
    assert len(world.waiting) > 0
    world.turn()
    assert not world.waiting


def test_the_size_of_datagrams_follows_the_path() -> None:
    """If it is to; where nobody knows it, a size that nearly all paths carry."""
    world = World(max_datagram_size=9_000)
    world.session.on_path(1, 600)
    assert world.session.own.max_datagram_size == 9_000
    fitted = SessionSettings(world.session._settings.sender, fit_path=True)
    world.session.reconfigure(fitted)
    world.session.on_path(1, 600)
    assert world.session.own.max_datagram_size == 600
    world.session.on_path(1, None)
    assert world.session.own.max_datagram_size == UNKNOWN_PATH_SIZE
    world.session.on_path(1, 65_507)
    assert world.session.own.max_datagram_size == 9_000


def test_a_new_socket_ends_the_wait_after_failures() -> None:
    """What was refused may be sent again at once."""
    world = World()
    world.session.on_path(1, None)
    world.log(1)
    world.refuse = [(SendFailure.UNREACHABLE, False)]
    world.turn()
    assert world.turn() == []
    world.session.on_path(2, None)
    world.turn()
    assert world.counters.sent == 1


def test_a_flush_that_loses_its_socket_waits_for_another() -> None:
    """The rest of the records stays where it is, and no turn takes any."""
    world = World()
    world.log(5)
    world.session.begin_flush(Trigger.FLUSH, len(world.waiting), world.now)
    world.is_open = False
    world.turn()
    assert world.session.records_to_take(world.now) == 0
    assert (len(world.waiting), world.session.is_settled) == (5, False)
    world.is_open = True
    world.turn()
    assert world.counters.sent == 5


def test_another_name_is_looked_up_after_failures_in_a_row() -> None:
    """The receiver may have moved."""
    world = World()
    world.log(1)
    for _ in range(3):
        assert not world.session.wants_new_socket
        world.refuse = [(SendFailure.UNREACHABLE, False)]
        world.turn()
        world.now += 3.0
    assert world.session.wants_new_socket
    world.session.on_path(1, None)
    assert not world.session.wants_new_socket


def test_another_delivery_begins_with_another_stream() -> None:
    """The present one keeps its settings, and what it holds."""
    world = World(max_datagram_size=1_000)
    sender = replace(world.session._settings.sender, acknowledged=True, max_datagram_size=500)
    world.session.reconfigure(SessionSettings(sender))
    assert not world.session.expects_answers
    assert world.session.own.max_datagram_size == 1_000
    sender = replace(sender, acknowledged=False)
    world.session.reconfigure(SessionSettings(sender))
    assert world.session.own.max_datagram_size == 500


def test_long_texts_leave_before_more_of_them_are_taken() -> None:
    """Which bounds what is in memory twice."""
    world = World(TakingLimits(capacity_bytes=80_000))
    session = world.session
    session.is_open = True
    session.begin_flush(Trigger.SIZE, 100, world.now)
    session.handle_timeout(world.now, WALL)
    assert session.records_to_take(world.now) > 1
    session.receive_records([(0, *_NO_TEXTS)], 10_000, world.now)
    assert session.records_to_take(world.now) == 0
    assert session.held == (1, 10_000)
    world.send()
    assert session.records_to_take(world.now)


def test_a_batch_that_cannot_be_taken_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever raises while the stream takes it, the records are not forgotten."""
    world = World()
    world.log(3)

    def fail(*args: object, **keywords: object) -> None:
        raise LookupError

    monkeypatch.setattr(world.session.own, "send_batch", fail)
    with pytest.raises(LookupError):
        world.turn()
    assert world.counters.dropped == {"internal_error": 3}


# --- no room -------------------------------------------------------------------------------------


def test_what_cannot_be_sent_makes_room_for_what_is_newer() -> None:
    """As much as is wanted; all of it when newer records were dropped already."""
    world = World(acknowledged=True)
    world.log(1)
    world.turn()
    session = world.session
    assert session.may_give_up, "nobody has answered"
    session.own.send_batch([(n, *_NO_TEXTS) for n in range(100)], world.now, WALL)
    world.logged += 100
    session.on_lost(0, world.now)
    session.make_room(10, "buffer_full")
    assert world.counters.dropped == {"buffer_full": 10}
    session.on_lost(5, world.now)
    session.make_room(10, "buffer_full")
    assert world.counters.dropped == {"buffer_full": 100}
    world.check()


def test_no_room_is_made_that_nobody_needs() -> None:
    """What is held waits for a receiver."""
    world = World(acknowledged=True)
    world.session.own.send_batch([(n, *_NO_TEXTS) for n in range(10)], world.now, WALL)
    world.logged = 10
    world.session.on_lost(0, world.now)
    world.session.make_room(0, "buffer_full")
    assert world.session.held[0] == 10
    world.check()


# --- flush and close -----------------------------------------------------------------------------


def test_a_flush_takes_all_that_waits_and_holds_the_next_one() -> None:
    """So it ends, however many records follow."""
    world = World()
    world.turn()
    world.log(5)
    world.session.hold()
    world.session.begin_flush(Trigger.FLUSH, len(world.waiting), world.now)
    assert not world.session.is_settled
    world.turn()
    assert world.session.is_settled
    world.log(50)
    world.turn()
    assert world.counters.sent == 5
    world.session.release()
    world.now += 0.01
    world.turn()
    assert world.counters.sent == 55


def test_a_close_sends_what_waits_and_says_goodbye() -> None:
    """Two SYNCs, the second after a moment; records that come later stay where they are."""
    world = World()
    world.log(5)
    world.session.begin_close(len(world.waiting), world.now)
    world.log(1)
    world.turn()
    world.session.begin_close(len(world.waiting), world.now)
    assert (world.counters.sent, world.counters.syncs_sent) == (5, 2)
    assert not world.session.is_closed
    world.now = world.session.next_timeout(world.now) or 0.0
    world.turn()
    assert world.session.is_closed
    assert world.counters.syncs_sent == 3
    assert len(world.waiting) == 1


def test_a_close_without_a_socket_has_nobody_to_tell() -> None:
    """With nothing left it is over at once."""
    world = World()
    world.is_open = False
    world.session.begin_close(0, world.now)
    world.turn()
    assert world.session.is_closed


def test_a_close_takes_all_that_waited_however_long_the_socket_refuses() -> None:
    """Goodbye is said after the last of it, and not when the close begins."""
    world = World()
    world.log(2_000)
    world.refuse = [(SendFailure.UNREACHABLE, False)]
    world.session.begin_close(len(world.waiting), world.now)
    world.turn()
    assert len(world.waiting) > 0
    world.now += 1.0
    world.turn()
    assert world.counters.sent == 2_000
    assert not world.waiting


def test_no_goodbye_is_said_before_everything_is_confirmed() -> None:
    """Until then the close goes on, and holds what was sent."""
    world = World(acknowledged=True)
    world.log(30)
    answered(world)
    world.turn()
    session = world.session
    assert (session.retained_records, session.held[0]) == (30, 30)
    session.begin_close(0, world.now)
    world.turn()
    assert not session.is_closed
    world.answer(Ack(receiver_epoch=1, floor=1, credit=1 << 20), 2)
    world.now += 0.1
    goodbye = world.turn()
    assert [header(each).type for each in goodbye] == [DatagramType.SYNC]
    assert (session.retained_records, world.counters.confirmed) == (0, 30)
    world.answer(Ack(receiver_epoch=1, floor=1, credit=1 << 20), 3)
    assert session.is_closed


def test_what_is_given_up_is_counted_by_cause() -> None:
    """What waited, and what was taken and not sent."""
    world = World()
    world.log(20)
    world.refuse = [(SendFailure.UNREACHABLE, False)]
    world.turn()
    world.session.begin_leaving(len(world.waiting))
    world.session.drop_waiting(len(world.waiting))
    world.waiting.clear()
    world.session.give_up()
    assert world.counters.dropped == {"closed": 20}
    world.check()


def test_after_a_fault_that_stays_what_is_left_is_written_off_once() -> None:
    """The session's own idea of what it holds counts no more."""
    world = World(acknowledged=True)
    world.log(1)
    world.turn()
    world.session.own.send_batch([(0, *_NO_TEXTS)], world.now, WALL)
    assert world.session.held[0] == 1
    world.session.write_off(1)
    assert (world.session.held, world.session.retained_records) == ((0, 0), 0)
    assert world.counters.dropped == {"closed": 1}


def test_a_record_after_the_end_has_a_one_way_stream_of_its_own() -> None:
    """It counts with the others, and what is on disk stays there."""
    world = World(**SPOOLED)
    world.log(30)
    world.turn()
    world.session.begin_close(0, world.now)
    world.session.begin_leaving(len(world.waiting))
    world.store()
    world.session.give_up()
    assert world.session.spooled_records == 30
    world.session.reopen(OTHER)
    world.log(1)
    world.session.begin_close(len(world.waiting), world.now)
    sent = world.turn()
    assert [header(each).stream_id for each in sent] == [OTHER] * len(sent)
    assert (world.counters.sent, world.session.spooled_records) == (1, 30)
    assert not world.session.expects_answers


# --- the disk ------------------------------------------------------------------------------------


def test_with_a_disk_records_are_taken_without_a_socket() -> None:
    """While the receiver is away they go there, in order, and nothing is asked of the network."""
    world = World(**SPOOLED)
    world.is_open = False
    world.log(300)
    world.turn()
    assert (len(world.waiting), world.session.spooled_records) == (0, 300)
    assert [seq for _, seq in world.disk] == sorted(seq for _, seq in world.disk)
    assert world.sent == []


def test_a_session_wakes_to_look_for_streams_of_dead_processes() -> None:
    """Also while it has nothing else to do."""
    world = World(**SPOOLED)
    adoption = world.session.adoption
    assert adoption is not None
    assert adoption.wanted(world.now) == 1
    assert world.session.next_timeout(world.now) == world.now + 60.0


def test_streams_of_dead_processes_are_wanted_a_few_at_a_time() -> None:
    """Each minute, or as soon as those that were found can be taken up, unless at the end."""
    world = World(**SPOOLED)
    adoption = world.session.adoption
    assert adoption is not None
    adoption.most = 2
    assert adoption.wanted(world.now) == 2
    assert adoption.wanted(world.now + 59.0) == 0
    assert adoption.next_timeout() == world.now + 60.0
    adoption.on_looked(world.now + 1.0)
    assert not adoption.is_done
    assert adoption.wanted(world.now + 1.0) == 2
    adoption.on_looked(None)
    assert adoption.is_done
    world.session.begin_leaving(0)
    assert adoption.wanted(world.now + 1_000.0) == 0
    assert adoption.next_timeout() is None


def test_an_adopted_stream_goes_on_under_its_own_number() -> None:
    """Its answers go to it; what the disk has lost of it is counted."""
    dead = World(**SPOOLED)
    dead.is_open = False
    dead.log(30)
    dead.turn()
    (data,) = dead.disk.values()

    heir = World(**SPOOLED)
    adoption = heir.session.adoption
    assert adoption is not None
    heir.session.own = heir.session._make_stream(heir.session._settings.sender, OTHER)
    heir.counters.adopted = 35
    stream = adoption.resume(STREAM, [(header(data), len(data))], 35, heir.now, WALL)
    heir.disk[STREAM, 0] = data
    assert heir.counters.dropped == {"spool_corrupt": 5}
    assert heir.session.spooled_records == 30
    (sync,) = heir.turn()
    assert header(sync).stream_id == STREAM
    heir.answer(Ack(receiver_epoch=1, cookie=b"c" * 16))
    heir.now += 0.1
    heir.turn()
    heir.answer(Ack(receiver_epoch=1, credit=1 << 20))
    sent = heir.turn()
    assert data in sent
    assert not stream.is_closed
    heir.answer(Ack(receiver_epoch=1, floor=1, credit=1 << 20), 2)
    assert heir.counters.confirmed == 30
    heir.answer(Ack(receiver_epoch=1, credit=1 << 20), 3, stream_id=99)
    assert heir.session.own.rtt is None, "an answer for somebody else"
    heir.check()


# --- words ---------------------------------------------------------------------------------------


def test_silence_is_worth_a_word_after_a_while() -> None:
    """Only while there is something to be confirmed."""
    world = World(acknowledged=True)
    world.log(1)
    world.turn()
    world.turn()
    assert world.session.trouble(world.now + 0.9) == ""
    assert "no answer from the receiver within 2 s" in world.session.trouble(world.now + 2.0)
    assert World().session.trouble(1e6) == ""


def test_a_receiver_without_a_place_is_named() -> None:
    """It answers, and takes nobody else."""
    world = World(acknowledged=True)
    world.log(1)
    world.turn()
    world.turn()
    world.answer(Ack(receiver_epoch=1, cookie=b"c" * 16))
    world.now += 0.1
    world.turn()
    world.answer(Ack(receiver_epoch=1, closing=True))
    assert world.session.trouble(world.now) == NO_PLACE


def test_two_receivers_behind_one_address_are_named() -> None:
    """They answer by turns, for longer than late answers take; no record can be confirmed so."""
    world = World(acknowledged=True)
    world.log(1)
    answered(world)
    words = []
    for counter in range(12):
        world.now += 0.5
        world.turn()
        words.append(world.session.trouble(world.now))
        epoch = 2 - counter % 2
        world.answer(Ack(receiver_epoch=epoch, cookie=bytes([epoch]) * 16), counter)
    assert TWO_RECEIVERS not in words[:5], "the first one may have been under way"
    assert words[-1] == TWO_RECEIVERS

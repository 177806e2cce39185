"""What the parts of an acknowledged stream share: goodbyes, floors, and the ways in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchudp_handler.core.send.connection import Connection
from batchudp_handler.core.send.counters import SenderCounters
from batchudp_handler.core.send.outbox import Outbox
from batchudp_handler.core.send.outgoing import OutgoingStream
from batchudp_handler.core.send.retry import SendFailure
from batchudp_handler.core.send.splitter import Splitter
from batchudp_handler.core.send.states import Event, State
from batchudp_handler.core.send.storage import StoragePolicy
from batchudp_handler.core.send.sync_schedule import HEARTBEAT
from batchudp_handler.core.send.window import DatagramState, RetainedDatagram
from batchudp_handler.core.trace import Trace, TraceEvent
from batchudp_handler.core.wire.datagram import CHECKSUM
from tests.core.send.bench import STREAM, encode

if TYPE_CHECKING:
    from collections.abc import Callable


def made(take: Callable[[TraceEvent], object] | None = None) -> Connection:
    """Return a connection of which nothing has happened yet."""
    counters = SenderCounters()
    stream = OutgoingStream(STREAM, CHECKSUM, acknowledged=True)
    splitter = Splitter(encode, counters, room=200 - stream.overhead, max_fragments=9)
    outbox = Outbox(
        stream,
        splitter,
        counters,
        max_datagram_size=200,
        max_retained_bytes=10_000,
        storage=StoragePolicy.OFF,
    )
    trace = None if take is None else Trace(take, STREAM)
    return Connection(stream, outbox, counters, lambda: 0.5, trace)


def sent(connection: Connection, record: int, now: float) -> RetainedDatagram:
    """Seal a record and note that its datagram was sent."""
    connection.outbox.splitter.append([(record,)])
    connection.outbox.seal_next(now)
    datagram = connection.window.peek()
    assert datagram is not None
    connection.window.on_sent(datagram, now)
    return datagram


def opened(take: Callable[[TraceEvent], object] | None = None) -> Connection:
    connection = made(take)
    connection.state.on(Event.RECORDS, 0.0)
    connection.state.on(Event.ANSWER, 0.0)
    connection.open(0.0)
    return connection


def test_a_connection_is_idle_when_nothing_waits_and_nothing_is_unsettled() -> None:
    """Records that are not sealed count, and sealed ones until the floor has passed them."""
    connection = made()
    assert connection.is_idle
    connection.outbox.splitter.append([(1,)])
    assert not connection.is_idle
    connection.outbox.seal_next(0.0)
    assert len(connection.window) == 1
    assert not connection.is_idle
    connection.window.on_ack(1, 0)
    assert connection.is_idle


def test_goodbye_is_said_when_no_more_comes_and_all_is_settled() -> None:
    """Neither of the two is enough."""
    connection = made()
    assert not connection.is_saying_goodbye
    connection.is_closing = True
    assert connection.is_saying_goodbye
    sent(connection, 1, 0.0)
    assert not connection.is_saying_goodbye


def test_a_floor_that_moved_by_itself_is_untold_until_the_receiver_has_it() -> None:
    """It waits for numbers that will not come."""
    connection = opened()
    datagram = sent(connection, 1, 0.0)
    assert not connection.has_untold_floor
    connection.window.abandon(datagram)
    assert connection.has_untold_floor
    connection.peer.floor = 1
    assert not connection.has_untold_floor


def test_who_leaves_asks_for_a_receiver_and_sends_no_data_again() -> None:
    """The name is looked up, at once and however long the socket was to be left alone."""
    connection = opened()
    connection.probes.append(sent(connection, 1, 0.0))
    connection.trouble.on_failure(SendFailure.UNREACHABLE, 5.0)
    connection.leave(Event.SILENCE, 5.0)
    assert connection.state.state is State.AWAY
    assert connection.wants_new_socket
    assert not connection.probes
    assert connection.trouble.blocked_until < 5.0
    assert connection.syncs.is_probing()
    assert connection.syncs.is_due(5.0)


def test_who_is_away_already_keeps_the_rhythm_of_its_probes() -> None:
    """Each refusal would otherwise have the receiver asked as often as at first."""
    connection = opened()
    connection.leave(Event.SILENCE, 5.0)
    connection.wants_new_socket = False
    connection.syncs.on_sent(5.0)
    at = connection.syncs.at
    connection.leave(Event.REFUSAL, 5.1)
    assert (connection.syncs.at, connection.wants_new_socket) == (at, False)


def test_who_is_open_beats_and_waits_for_no_socket() -> None:
    """An answer ends the probes, the wait after failures, and the wish for another name."""
    connection = made()
    connection.state.on(Event.RECORDS, 0.0)
    connection.syncs.probe(0.0)
    connection.syncs.on_sent(0.0)
    connection.wants_new_socket = True
    connection.trouble.on_failure(SendFailure.WOULD_BLOCK, 3.0)
    connection.open(3.0)
    assert not connection.wants_new_socket
    assert not connection.syncs.is_probing()
    assert connection.syncs.at == 3.0 + HEARTBEAT
    assert connection.trouble.blocked_until < 3.0
    assert connection.path.timer.time > 3.0


def test_what_was_overtaken_and_is_overdue_is_queued_and_told() -> None:
    """With a trace each of them is named; without one it is the same."""
    events: list[TraceEvent] = []
    for connection in (opened(events.append), opened()):
        first, second = sent(connection, 1, 0.0), sent(connection, 2, 0.0)
        connection.path.rtt.add_sample(0.1)
        connection.window.on_ack(0, 0b10)
        connection.detect_lost(0.05)
        assert first.state is DatagramState.IN_FLIGHT
        connection.detect_lost(10.0)
        assert (first.state, second.state) == (DatagramState.QUEUED, DatagramState.HELD)
    lost = [each.values for each in events if each.name == "datagram_lost"]
    assert lost == [{"seq": 0}]

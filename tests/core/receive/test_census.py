"""The counters of a receiver are one moment's, although its streams are copied in pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchudp_handler.core.receive.receiver import ReceiverProtocol, ReceiverSettings
from batchudp_handler.core.receive.streams import PROTECTED_SECONDS
from batchudp_handler.core.wire.datagram import CHECKSUM, encode_data

if TYPE_CHECKING:
    from batchudp_handler.core.receive.stats import ReceiverStats

HOME = ("192.0.2.1", 5000)
WALL = 1_700_000_000.0


def receiver(max_streams: int = 100) -> ReceiverProtocol:
    settings = ReceiverSettings(max_streams=max_streams)
    return ReceiverProtocol(settings, epoch=1, secret=bytes(32), now=0.0, wall=WALL)


def send(machine: ReceiverProtocol, stream_id: int, seq: int, now: float = 0.0) -> None:
    """One datagram with two records; the handlers take one of them at once."""
    datagram = encode_data(
        CHECKSUM, b"x", acknowledged=False, codec=0, stream_id=stream_id, seq=seq, rec=2 * seq,
        sealed_at=int(WALL), n_rec=2, frag_index=0, frag_count=1,
    )  # fmt: skip
    machine.receive_datagram(datagram, HOME, now, WALL + now)
    for event in machine.events_received():
        if type(event).__name__ == "BatchReceived":
            machine.on_batch_handled(event, 1, {"malformed": 1}, now)  # type: ignore[arg-type]  # asked for by name


def identity(stats: ReceiverStats) -> None:
    """Each stream adds up, and the totals are those of the streams that are shown."""
    for each in stats.streams.values():
        fate = each.delivered + sum(each.rejected.values()) + each.lost + each.missing
        assert each.next_rec - each.first_rec == fate + each.abandoned + each.pending
    for name in ("delivered", "lost", "missing", "pending"):
        assert getattr(stats, name) == sum(getattr(s, name) for s in stats.streams.values())


def test_pieces_make_the_same_as_one_copy() -> None:
    """However few streams are copied at a time, the numbers are the same."""
    machine = receiver()
    for stream_id in range(1, 8):
        for seq in (0, 1, 3):
            send(machine, stream_id, seq)
    census = machine.census(1.0)
    while not census.is_complete:
        census.copy_some(2)
    stats = census.stats()
    assert stats == machine.stats(1.0)
    assert (stats.delivered, stats.missing, stats.streams_live) == (21, 14, 7)
    assert list(stats.streams) == [f"{stream_id:016x}" for stream_id in range(1, 8)]
    identity(stats)


def test_a_stream_that_changes_between_the_pieces_stays_whole() -> None:
    """Each stream's numbers are of one moment of its own, and the totals follow them."""
    machine = receiver()
    for stream_id in (1, 2, 3):
        send(machine, stream_id, 0)
    census = machine.census(0.0)
    while not census.is_complete:
        census.copy_some(1)
        for stream_id in (1, 2, 3, 4):
            send(machine, stream_id, machine.stats(0.0).streams_seen + stream_id)
    stats = census.stats()
    identity(stats)
    assert len(stats.streams) == stats.streams_seen == 3


def test_a_stream_that_is_forgotten_between_the_pieces_counts_once() -> None:
    """It counts as the stream that it was when the question came."""
    machine = receiver(max_streams=2)
    send(machine, 1, 0)
    send(machine, 2, 0)
    census = machine.census(0.0)
    census.copy_some(1)
    send(machine, 3, 0, now=PROTECTED_SECONDS + 1)
    send(machine, 4, 0, now=PROTECTED_SECONDS + 1)
    census.copy_some(1)
    stats = census.stats()
    identity(stats)
    assert (stats.delivered, len(stats.streams)) == (2, 2)
    assert machine.stats(100.0).delivered == 4


def test_progress_has_the_two_numbers_that_are_asked_for_often() -> None:
    """They are those of the whole answer, forgotten streams included."""
    machine = receiver(max_streams=2)
    for stream_id in (1, 2, 3):
        send(machine, stream_id, 5, now=stream_id * (PROTECTED_SECONDS + 1))
    stats = machine.stats(200.0)
    assert machine.progress().sums() == (stats.delivered, stats.lost + stats.missing)
    assert stats.delivered == 3


def test_rejected_records_of_live_streams_are_in_the_sum() -> None:
    """Those without a rejection add nothing."""
    machine = receiver()
    send(machine, 1, 0)
    machine.receive_datagram(_whole(2), HOME, 0.0, WALL)
    assert machine.stats(0.0).rejected == {"malformed": 1}


def _whole(stream_id: int) -> bytes:
    return encode_data(
        CHECKSUM, b"x", acknowledged=False, codec=0, stream_id=stream_id, seq=0, rec=0,
        sealed_at=int(WALL), n_rec=2, frag_index=0, frag_count=1,
    )  # fmt: skip

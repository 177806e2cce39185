"""The reception of one-way datagrams: DATA and SYNC."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.receive.events import AddressShared
from batchudp_handler.core.receive.one_way_stream import OneWayStream
from batchudp_handler.core.wire.constants import SYNC_SIZE

if TYPE_CHECKING:
    from batchudp_handler.core.receive.lifecycle import Lifecycle
    from batchudp_handler.core.receive.state import ReceiverState
    from batchudp_handler.core.receive.stats import Address
    from batchudp_handler.core.receive.tombstones import Tombstone
    from batchudp_handler.core.wire.datagram import Header
    from batchudp_handler.core.wire.sync import Sync

__all__ = ["OneWayReception"]

START_TOLERANCE = 5
"""Seconds before our start that a datagram with a key may have been sealed."""


class OneWayReception:
    """Takes datagrams whose senders are never answered.

    Args:
        state: Shared with the other parts of the machine.
        lifecycle: Begins and ends the streams.
    """

    def __init__(self, state: ReceiverState, lifecycle: Lifecycle) -> None:
        self._state = state
        self._lifecycle = lifecycle

    def receive_data(self, header: Header, body: bytes, size: int, address: Address) -> None:
        """Take DATA that has passed the gates."""
        state, lifecycle = self._state, self._lifecycle
        stream = self._known(header, address)
        has_room = state.queue.has_room(body)
        if stream is None:
            stream = self._begin_by_data(header, address, has_room=has_room)
            if stream is None:
                return
        lifecycle.on_heard(stream, size)
        expected = stream.ledger.next_seq
        try:
            batch = stream.receive_data(header, body, state.clock.now, has_room=has_room)
        finally:
            # in order and whole, deadlines can only have moved away
            if header.seq != expected or header.frag_count > 1:
                lifecycle.reschedule(stream)
        if header.seq != expected and state.sharing.on_gap(header.stream_id, header.seq, expected):
            state.events.append(AddressShared(address))
        if batch is not None:
            state.hand_out(stream, header, batch, address)

    def receive_sync(self, header: Header, sync: Sync, address: Address) -> None:
        """Take a SYNC that has passed the gates."""
        stream = self._known(header, address)
        if stream is None:
            tombstone = self._remembered(header)
            if tombstone is not None and not tombstone.is_news(sync):
                return  # the second of two goodbyes
            stream = self._begin(header, address, tombstone, sync.next_seq, sync.next_rec)
        self._lifecycle.on_heard(stream, SYNC_SIZE)
        self._lifecycle.apply_sync(stream, header.seq, sync)

    def _known(self, header: Header, address: Address) -> OneWayStream | None:
        """Return the stream of a datagram, moved to where the datagram came from."""
        stream = self._state.streams.get(header.stream_id)
        if stream is None:
            return None
        if not isinstance(stream, OneWayStream):
            raise DecodeError(Reason.MALFORMED, "another delivery mode")
        stream.check_key(header)
        if address != stream.address:
            stream.move_to(address)
        return stream

    def _remembered(self, header: Header) -> Tombstone | None:
        return self._state.streams.tombstone(header.stream_id, header.key_id, acknowledged=False)

    def _begin_by_data(
        self, header: Header, address: Address, *, has_room: bool
    ) -> OneWayStream | None:
        """Begin a stream by a datagram; None: it is a copy of what was received before."""
        first = header.seq - header.frag_index
        records = header.n_rec if header.frag_index == 0 else 0
        tombstone = self._remembered(header)
        if tombstone is not None and first < tombstone.next_seq:
            self._state.streams.count_duplicate(records)
            return None
        try:
            if not has_room:
                raise DecodeError(Reason.NO_ROOM)
            return self._begin(header, address, tombstone, first, header.rec)
        except DecodeError as error:
            self._state.counters.refused_records[error.reason] += records
            raise

    def _begin(
        self,
        header: Header,
        address: Address,
        tombstone: Tombstone | None,
        next_seq: int,
        next_rec: int,
    ) -> OneWayStream:
        if tombstone is None:
            self._check_fresh(header)
        self._lifecycle.make_room()
        stream = OneWayStream.begin(
            header,
            address,
            next_seq=next_seq,
            next_rec=next_rec,
            budgets=self._state.budgets,
            now=self._state.clock.now,
            before=tombstone,
        )
        self._lifecycle.add(stream)
        return stream

    def _check_fresh(self, header: Header) -> None:
        """Keep recordings from an earlier life of the receiver from being played to this one.

        Only a new one-way stream with a key is asked. Copies of streams that this life has met are
        recognised by their numbers, whatever any clock says; acknowledged ones need a cookie.
        What was sealed before our start is refused; where so many streams were forgotten that
        tombstones had to go, before the time since when none has. That time is ours: no sealing
        time of one sender has a part in whether another one is heard.
        """
        if not header.key_id:
            return
        state = self._state
        begins = state.clock.earliest_wall(state.streams.complete_since)
        if header.sealed_at < begins - START_TOLERANCE:
            raise DecodeError(Reason.STALE)

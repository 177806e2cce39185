"""The reception of acknowledged datagrams: handshake, DATA, SYNC.

A stream begins, and follows its sender to another address, only by a SYNC with a cookie that was
sent to that address. Everything else from an address that is not proven is answered by a
challenge, which carries such a cookie.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.receive.acknowledged_stream import AcknowledgedStream
from batchudp_handler.core.receive.events import AddressShared
from batchudp_handler.core.receive.shared_address import LEFT_FOR_ANOTHER
from batchudp_handler.core.wire.constants import NO_COOKIE, SYNC_SIZE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batchudp_handler.core.receive.lifecycle import Lifecycle
    from batchudp_handler.core.receive.replies import Replies
    from batchudp_handler.core.receive.state import ReceiverState
    from batchudp_handler.core.receive.stats import Address
    from batchudp_handler.core.wire.datagram import Header, Seal
    from batchudp_handler.core.wire.sync import Sync

__all__ = ["AcknowledgedReception"]


class AcknowledgedReception:
    """Takes datagrams whose senders wait for acks.

    Args:
        state: Shared with the other parts of the machine.
        lifecycle: Begins and ends the streams.
        replies: Answers the senders.
    """

    def __init__(self, state: ReceiverState, lifecycle: Lifecycle, replies: Replies) -> None:
        self._state = state
        self._lifecycle = lifecycle
        self._replies = replies

    def receive_data(
        self, header: Header, body: bytes, size: int, address: Address, seal: Seal
    ) -> None:
        """Take DATA that has passed the gates."""
        state, replies = self._state, self._replies
        stream = self._known(header)
        if stream is None or stream.address != address:
            replies.challenge(header.stream_id, size, address, seal)
            return
        self._on_heard(stream, size)
        stream.acks.received += 1
        expected = stream.ledger.next_seq
        has_room = state.queue.has_room(body)
        try:
            batch = stream.receive_data(header, body, state.clock.now, has_room=has_room)
        finally:
            # whatever is out of order is news that the sender waits for
            if header.seq != expected or stream.acks.is_due:
                replies.answer_now(stream)
        if batch is not None:
            state.hand_out(stream, header, batch, address)

    def receive_sync(self, header: Header, sync: Sync, address: Address, seal: Seal) -> None:
        """Take a SYNC that has passed the gates."""
        stream = self._known(header)
        is_old = stream is not None and header.seq <= stream.report.counter
        if is_old and not sync.resumed:
            raise DecodeError(Reason.REPLAYED, "SYNC")
        self._look_for_sharing(header.stream_id, sync, address, is_known=stream is not None)
        if stream is None or is_old or stream.address != address:
            if not self._replies.is_proof(sync.cookie, address, header.stream_id):
                self._replies.challenge(header.stream_id, SYNC_SIZE, address, seal)
                return
            self._replies.on_proof(address)
            stream = self._on_proof(stream, header, sync, address, seal)
            if stream is None:
                return
        self._on_heard(stream, SYNC_SIZE)
        self._replies.answer_now(stream)
        self._lifecycle.apply_sync(stream, header.seq, sync)

    def on_handled(
        self, stream: AcknowledgedStream, seq: int, delivered: int, rejected: Mapping[str, int]
    ) -> None:
        """Settle a batch of a stream, and tell its sender soon."""
        stream.on_handled(seq, delivered, rejected)
        self._replies.on_heard(stream)
        if stream.wants_ack_of_handled:
            self._replies.answer_now(stream)

    def _known(self, header: Header) -> AcknowledgedStream | None:
        stream = self._state.streams.get(header.stream_id)
        if stream is None:
            return None
        if not isinstance(stream, AcknowledgedStream):
            raise DecodeError(Reason.MALFORMED, "another delivery mode")
        stream.check_key(header)
        return stream

    def _on_heard(self, stream: AcknowledgedStream, size: int) -> None:
        self._lifecycle.on_heard(stream, size)
        stream.acks.add_allowance(size)
        self._replies.on_heard(stream)

    def _look_for_sharing(
        self, stream_id: int, sync: Sync, address: Address, *, is_known: bool
    ) -> None:
        """Notice a sender that speaks with another receiver, too.

        One that names another receiver may just not have heard our answers yet. So that counts
        for much only if it has named this one before, and for nothing before it was answered.
        """
        state = self._state
        named = sync.receiver_epoch
        weight = 0
        if named == state.epoch:
            state.sharing.on_own(stream_id)
        elif is_known and named:
            weight = LEFT_FOR_ANOTHER if state.sharing.was_own(stream_id) else 1
        elif not (is_known or named or sync.cookie == NO_COOKIE):
            weight = not self._replies.is_proof(sync.cookie, address, stream_id)
        if weight and state.sharing.on_foreign(stream_id, state.clock.now, weight):
            state.events.append(AddressShared(address))

    def _on_proof(
        self,
        stream: AcknowledgedStream | None,
        header: Header,
        sync: Sync,
        address: Address,
        seal: Seal,
    ) -> AcknowledgedStream | None:
        """Begin a stream at a proven address, or let it move there; None: it needs neither."""
        if stream is None:
            return self._begin(header, sync, address, seal)
        if stream.address != address:
            stream.move_to(address)
        stream.accept_earlier_counter(header.seq)
        return stream

    def _begin(
        self, header: Header, sync: Sync, address: Address, seal: Seal
    ) -> AcknowledgedStream | None:
        """Begin a stream; None: it was forgotten, and all of it is final."""
        state, stream_id = self._state, header.stream_id
        tombstone = state.streams.tombstone(stream_id, header.key_id, acknowledged=True)
        if tombstone is not None and tombstone.answers(sync):
            self._replies.tell_all_final(tombstone, stream_id, address, seal)
            return None
        try:
            self._lifecycle.make_room()
        except DecodeError:
            self._replies.tell_no_room(sync, tombstone, stream_id, address, seal)
            raise
        is_from_another = sync.receiver_epoch not in (0, state.epoch)
        stream = AcknowledgedStream.begin(
            header,
            address,
            sync,
            budgets=state.budgets,
            now=state.clock.now,
            before=tombstone,
            sent_before=sync.next_seq if is_from_another else 0,
        )
        self._lifecycle.add(stream)
        return stream

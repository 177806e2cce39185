"""The replies of a receiver: acks to streams that it knows, challenges to those that it does not.

Only acknowledged streams are ever answered, and only where the address is proven, apart from
challenges, which are smaller than what causes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.receive.cookies import ChallengeLimiter, CookieMaker
from batchudp_handler.core.wire.ack import Ack, encode_ack

if TYPE_CHECKING:
    from batchudp_handler.core.receive.acknowledged_stream import AcknowledgedStream
    from batchudp_handler.core.receive.state import ReceiverState
    from batchudp_handler.core.receive.stats import Address
    from batchudp_handler.core.receive.tombstones import Tombstone
    from batchudp_handler.core.wire.auth import KeyRing
    from batchudp_handler.core.wire.datagram import Seal
    from batchudp_handler.core.wire.sync import Sync

__all__ = ["Replies"]

CREDIT_SHARE = 4
"""A quarter of the kernel's buffer is promised: what the kernel charges for a datagram is up to
four times its size."""
MAX_CREDIT = 0xFFFF_FFFF


class Replies:
    """The replies that wait to be sent, and the streams that are to be answered.

    Args:
        state: Shared with the other parts of the machine.
        ring: The keys that acks are sealed with.
        secret: Random bytes for cookies, new at each start.
    """

    def __init__(self, state: ReceiverState, ring: KeyRing, secret: bytes) -> None:
        self._state = state
        self._ring = ring
        self._cookies = CookieMaker(secret)
        self._limiter = ChallengeLimiter(state.settings.challenge_limits, state.clock.now)
        self._counter = 0
        self._waiting: list[tuple[bytes, Address]] = []
        self._heard: dict[int, AcknowledgedStream] = {}
        """Streams to answer when the socket has been read empty."""
        self._due: dict[int, AcknowledgedStream] = {}
        """Streams to answer now."""

    # which streams are answered

    def on_heard(self, stream: AcknowledgedStream) -> None:
        """Answer this stream when the socket has been read empty."""
        self._heard[stream.stream_id] = stream

    def answer_now(self, stream: AcknowledgedStream) -> None:
        """Answer this stream with the next datagrams that are sent."""
        self._due[stream.stream_id] = stream

    def on_socket_drained(self) -> None:
        """Answer every stream that was heard."""
        self._due.update(self._heard)

    def on_complete(self, stream_id: int) -> None:
        """Answer this stream no more but for what is due."""
        self._heard.pop(stream_id, None)

    def forget(self, stream_id: int) -> None:
        """Answer this stream no more."""
        self._heard.pop(stream_id, None)
        self._due.pop(stream_id, None)

    # challenges

    def is_proof(self, cookie: bytes, address: Address, stream_id: int) -> bool:
        """Return whether a cookie proves the address of a stream."""
        return self._cookies.is_good(cookie, address, stream_id, self._state.clock.now)

    def on_proof(self, address: Address) -> None:
        """Permit one more challenge to a source that has answered one."""
        self._limiter.on_proof(address)

    def challenge(self, stream_id: int, size: int, address: Address, seal: Seal) -> None:
        """Ask a sender to prove its address.

        Raises:
            DecodeError: The datagram is too small for it, or there are too many challenges.
        """
        now = self._state.clock.now
        if not self._limiter.permits(address, size, now):
            raise DecodeError(Reason.UNPROVEN_ADDRESS)
        self._state.counters.challenges += 1
        if self._state.trace is not None:
            self._state.trace(now, "challenge_sent", of_stream=stream_id)
        cookie = self._cookies.make(address, stream_id, now)
        self._send(Ack(receiver_epoch=self._state.epoch, cookie=cookie), stream_id, address, seal)

    # acks to streams that are not in the table

    def tell_all_final(
        self, tombstone: Tombstone, stream_id: int, address: Address, seal: Seal
    ) -> None:
        """Answer as a stream would that was forgotten because all of it is final."""
        ack = Ack(
            receiver_epoch=self._state.epoch,
            floor=tombstone.next_seq,
            credit=self._credit(),
            rejected_records=tombstone.rejected,
            delivered_records=tombstone.delivered,
            closing=self._state.is_closing,
        )
        self._send(ack, stream_id, address, seal)

    def tell_no_room(
        self,
        sync: Sync,
        tombstone: Tombstone | None,
        stream_id: int,
        address: Address,
        seal: Seal,
    ) -> None:
        """Answer a stream that finds the table full: come back later.

        To any sender this is a receiver that takes nothing at present; a receiver that closes
        never offers a credit of 0, so that a sender can tell the two apart.
        """
        ack = Ack(
            receiver_epoch=self._state.epoch,
            floor=sync.floor,
            rejected_records=tombstone.rejected if tombstone else 0,
            delivered_records=tombstone.delivered if tombstone else 0,
            closing=True,
        )
        self._send(ack, stream_id, address, seal)

    def _send(self, ack: Ack, stream_id: int, address: Address, seal: Seal) -> None:
        self._waiting.append((self._sealed(ack, stream_id, seal), address))

    # acks to streams in the table

    def take(self) -> list[tuple[bytes, Address]]:
        """Return what is to be sent. Acks are made here, so that they tell the latest."""
        replies, self._waiting = self._waiting, []
        due, self._due = self._due, {}
        for stream in due.values():
            ack = self._ack(stream)
            if stream.acks.spend(len(ack)):
                self._heard.pop(stream.stream_id, None)
                replies.append((ack, stream.address))
        counters = self._state.counters
        counters.replies += len(replies)
        counters.reply_bytes += sum(len(data) for data, _ in replies)
        return replies

    def _ack(self, stream: AcknowledgedStream) -> bytes:
        is_closing = self._state.is_closing
        ack = Ack(
            receiver_epoch=self._state.epoch,
            floor=stream.window.floor,
            credit=max(self._credit(), is_closing),
            rejected_records=stream.records.total_rejected,
            delivered_records=stream.records.total_delivered,
            bitmap=stream.window.bitmap,
            closing=is_closing,
        )
        if self._state.trace is not None:
            self._state.trace(
                self._state.clock.now,
                "ack_sent",
                of_stream=stream.stream_id,
                floor=ack.floor,
                credit=ack.credit,
            )
        return self._sealed(ack, stream.stream_id, self._ring.seal(stream.key_id))

    def _sealed(self, ack: Ack, stream_id: int, seal: Seal) -> bytes:
        self._counter += 1
        sealed_at = int(self._state.clock.wall)
        return encode_ack(
            seal, ack, stream_id=stream_id, counter=self._counter, sealed_at=sealed_at
        )

    def _credit(self) -> int:
        """Return a stream's share of the kernel's buffer, less as the work queue fills."""
        state = self._state
        active = state.streams.active(state.clock.now)
        share = state.settings.receive_buffer // CREDIT_SHARE // active
        return min(MAX_CREDIT, state.queue.share(share))

"""Outgoing streams: the numbers that datagrams get, and the bytes.

One `OutgoingStream` per stream: it counts datagrams (`seq`) and records (`rec`), and seals. A
sealed datagram is immutable. `BaselineStream` has the same methods for datagrams without a header,
which have no numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.wire.ack import Ack, decode_ack
from batchudp_handler.core.wire.constants import HEADER_SIZE
from batchudp_handler.core.wire.datagram import DatagramType, Header, encode_data, parse
from batchudp_handler.core.wire.sync import encode_sync

if TYPE_CHECKING:
    from batchudp_handler.core.send.splitter import Group
    from batchudp_handler.core.wire.datagram import Seal
    from batchudp_handler.core.wire.sync import Sync

__all__ = ["BaselineStream", "OutgoingStream", "SealedGroup"]


@dataclass(slots=True, eq=False)
class SealedGroup:
    """The datagrams of one batch, the numbers that they took, and what became of them."""

    first_seq: int
    first_rec: int
    n_rec: int
    datagrams: tuple[bytes, ...]
    source: Group | None = None
    """The records to fall back on, if they may have to be cut again (one-way)."""
    is_touched: bool = False
    """Some of it was handed to the network (one-way)."""
    is_counted: bool = False
    """All of it was, and its records count as sent (one-way)."""
    is_gone: bool = False
    """Dropped, or cut again under other numbers (one-way)."""


class OutgoingStream:
    """Numbers and seals one stream's datagrams."""

    def __init__(
        self, stream_id: int, seal: Seal, own: Seal | None = None, *, acknowledged: bool
    ) -> None:
        self.stream_id = stream_id
        self.next_seq = 0
        self.next_rec = 0
        self.clock_offset = 0.0
        """Wall clock minus the clock of `now`, as last told."""
        self._seal = seal
        self._own = own or seal
        self._acknowledged = acknowledged
        self._sync_counter = 0

    @property
    def overhead(self) -> int:
        """Bytes of a datagram that are not body."""
        return HEADER_SIZE + self._seal.overhead

    def _wall(self, now: float) -> int:
        return max(int(now + self.clock_offset), 0) & 0xFFFF_FFFF

    def seal_group(
        self, codec: int, bodies: tuple[bytes, ...], n_rec: int, now: float
    ) -> SealedGroup:
        """Give the bodies of one batch the next numbers."""
        group = SealedGroup(
            self.next_seq,
            self.next_rec,
            n_rec,
            tuple(
                encode_data(
                    self._seal,
                    body,
                    acknowledged=self._acknowledged,
                    codec=codec,
                    stream_id=self.stream_id,
                    seq=self.next_seq + index,
                    rec=self.next_rec,
                    sealed_at=self._wall(now),
                    n_rec=n_rec,
                    frag_index=index,
                    frag_count=len(bodies),
                )
                for index, body in enumerate(bodies)
            ),
        )
        self.next_seq += len(bodies)
        self.next_rec += n_rec
        return group

    def retract(self, group: SealedGroup) -> bool:
        """Take numbers back, if no later ones were given. The datagrams were never on the wire."""
        if group.first_seq + len(group.datagrams) != self.next_seq:
            return False
        self.next_seq = group.first_seq
        self.next_rec = group.first_rec
        return True

    def seal_sync(self, sync: Sync, now: float) -> bytes:
        """Return the next SYNC. Its counter grows, so that none can be played back."""
        self._sync_counter += 1
        return encode_sync(
            self._seal,
            sync,
            stream_id=self.stream_id,
            counter=self._sync_counter,
            sealed_at=self._wall(now),
        )

    def continue_at(self, next_seq: int, now: float) -> None:
        """Take up the stream of another process, whose last SYNC counter nobody knows."""
        self.next_seq = next_seq
        self._sync_counter = self._wall(now) << 20

    def open_ack(self, datagram: bytes) -> tuple[int, Ack]:
        """Return counter and contents of an ACK for this stream; raise `DecodeError` otherwise."""
        header = parse(datagram)
        if not isinstance(header, Header) or header.type != DatagramType.ACK:
            raise DecodeError(Reason.UNSUPPORTED_TYPE, "not an ACK")
        if header.key_id != self._seal.key_id:
            raise DecodeError(Reason.UNKNOWN_KEY)
        body = self._seal.open(datagram)
        header.check()
        if header.stream_id != self.stream_id:
            raise DecodeError(Reason.NOT_ALLOWED, "another stream")
        return header.seq, decode_ack(body)

    def header_of(self, datagram: bytes) -> Header:
        """Return the header of a datagram that we have sealed."""
        header = parse(datagram)
        assert isinstance(header, Header)
        return header

    def open_own(self, datagram: bytes) -> bytes:
        """Return the body of a datagram that we have sealed."""
        return self._own.open(datagram)


class BaselineStream:
    """Datagrams that are nothing but a body: any JSON reader takes them."""

    overhead = 0

    def __init__(self) -> None:
        self.next_seq = 0
        self.next_rec = 0
        self.clock_offset = 0.0

    def seal_group(
        self, _codec: int, bodies: tuple[bytes, ...], n_rec: int, _now: float, /
    ) -> SealedGroup:
        """Return the bodies as they are."""
        group = SealedGroup(self.next_seq, self.next_rec, n_rec, bodies)
        self.next_seq += len(bodies)
        self.next_rec += n_rec
        return group

    def retract(self, _group: SealedGroup, /) -> bool:
        """Return True: nobody sees the numbers, so any may be taken back."""
        return True

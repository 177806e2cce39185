"""A bench for the receiving machine: senders that only number and seal, and what comes out.

Virtual time and hand-made datagrams only. `Source` numbers and seals as a sender does and decides
nothing; `Bench` feeds the machine and keeps what comes out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batchudp_handler.core.receive.events import (
    BatchReceived,
)
from batchudp_handler.core.receive.receiver import ReceiverProtocol, ReceiverSettings
from batchudp_handler.core.wire.ack import Ack, decode_ack
from batchudp_handler.core.wire.auth import HmacKey
from batchudp_handler.core.wire.constants import NO_COOKIE
from batchudp_handler.core.wire.datagram import CHECKSUM, Seal, encode_data
from batchudp_handler.core.wire.sync import Sync, encode_sync

if TYPE_CHECKING:
    from batchudp_handler.core.receive.reassembly import SharedBudgets
    from batchudp_handler.core.receive.stats import Address, ReceiverStats, StreamStats
    from batchudp_handler.core.receive.streams import StreamTable

EPOCH = 0x1122334455667788

WALL = 1_700_000_000.0

HOME = ("192.0.2.1", 5000)

AWAY = ("192.0.2.99", 6000)

KEY = HmacKey(7, bytes(range(32)))

OTHER_KEY = HmacKey(8, bytes(range(1, 33)))


class Source:
    """Numbers and seals the datagrams of one stream."""

    def __init__(
        self,
        stream_id: int = 1,
        *,
        acknowledged: bool = False,
        seal: Seal = CHECKSUM,
        seq: int = 0,
        rec: int = 0,
    ) -> None:
        self.stream_id = stream_id
        self.acknowledged = acknowledged
        self.seal = seal
        self.seq = seq
        self.rec = rec
        self.floor = seq
        self.counter = 0
        self.cookie = NO_COOKIE
        self.epoch = 0
        self.sealed_at = int(WALL)

    def data(self, n_rec: int = 10, body: bytes = b"batch", **changes: Any) -> bytes:
        """The next datagram."""
        fields: dict[str, Any] = {"seq": self.seq, "rec": self.rec, "n_rec": n_rec, **changes}
        fields = {"codec": 1, "sealed_at": self.sealed_at, "stream_id": self.stream_id, **fields}
        self.seq += 1
        self.rec += n_rec
        return encode_data(self.seal, body, acknowledged=self.acknowledged, **fields)

    def datas(self, count: int, n_rec: int = 10) -> list[bytes]:
        return [self.data(n_rec) for _ in range(count)]

    def fragments(self, body: bytes, size: int, n_rec: int = 1) -> list[bytes]:
        """The next group."""
        parts = [body[start : start + size] for start in range(0, len(body), size)]
        rec = self.rec
        made = []
        for index, part in enumerate(parts):
            made.append(self.data(n_rec, part, rec=rec, frag_index=index, frag_count=len(parts)))
        self.rec = rec + n_rec
        return made

    def sync(self, **changes: Any) -> bytes:
        """Where this sender stands now."""
        fields: dict[str, Any] = {
            "next_seq": self.seq,
            "floor": self.floor if self.acknowledged else self.seq,
            "next_rec": self.rec % 2**32,
            "acknowledged": self.acknowledged,
            "cookie": self.cookie,
            "receiver_epoch": self.epoch,
            **changes,
        }
        self.counter += 1
        return encode_sync(
            self.seal,
            Sync(**fields),
            stream_id=self.stream_id,
            counter=self.counter,
            sealed_at=self.sealed_at,
        )


class Bench:
    """A receiver and what came out of it."""

    def __init__(self, *, epoch: int = EPOCH, wall: float = WALL, **options: Any) -> None:
        self.now = 1000.0
        self.offset = wall - self.now
        self.protocol = ReceiverProtocol(
            ReceiverSettings(**options), epoch=epoch, secret=b"s" * 32, now=self.now, wall=wall
        )
        self.events: list[Any] = []
        self.waiting: list[BatchReceived] = []
        self.sent: list[tuple[bytes, Address]] = []

    def feed(self, *datagrams: bytes, address: Address = HOME, drained: bool = True) -> None:
        """Datagrams arrive; then the socket is empty unless told otherwise."""
        for datagram in datagrams:
            self.protocol.receive_datagram(datagram, address, self.now, self.now + self.offset)
            self.collect()
        if drained:
            self.protocol.on_socket_drained(self.now)
        self.collect()

    def collect(self) -> None:
        self.sent += self.protocol.datagrams_to_send()
        events = self.protocol.events_received()
        self.events += events
        self.waiting += [event for event in events if isinstance(event, BatchReceived)]

    def handle(self, count: int | None = None, rejected: dict[str, int] | None = None) -> None:
        """The handlers return from waiting batches, the oldest first."""
        batches, self.waiting = self.waiting[:count], self.waiting[len(self.waiting[:count]) :]
        for batch in batches:
            refused = sum((rejected or {}).values())
            self.protocol.on_batch_handled(batch, batch.n_rec - refused, rejected or {}, self.now)
            self.collect()

    def wait(self, seconds: float) -> None:
        """Time passes; timers fire when they are due."""
        end = self.now + seconds
        while True:
            due = self.protocol.next_timeout()
            if due is None or due > end:
                break
            self.now = max(self.now, due)
            self.protocol.handle_timeout(self.now)
            self.collect()
        self.now = end

    @property
    def streams(self) -> StreamTable:
        """The table of the machine's streams."""
        return self.protocol._state.streams

    @property
    def budgets(self) -> SharedBudgets:
        """What all streams draw from."""
        return self.protocol._state.budgets

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def stats(self) -> ReceiverStats:
        stats = self.protocol.stats(self.now)
        for stream in stats.streams.values():
            check_identity(stream)
        return stats

    def stream(self, stream_id: int = 1) -> StreamStats:
        return self.stats().streams[f"{stream_id:016x}"]

    def replies(self, seal: Seal = CHECKSUM) -> list[Ack]:
        """The replies since the last call, opened."""
        sent, self.sent = self.sent, []
        return [decode_ack(seal.open(data)) for data, _ in sent]

    def connect(self, source: Source, address: Address = HOME) -> Ack:
        """The whole handshake; return the first ack."""
        self.feed(source.sync(), address=address)
        challenge = self.replies(source.seal)[-1]
        assert challenge.cookie is not None
        source.cookie = challenge.cookie
        self.feed(source.sync(), address=address)
        ack = self.replies(source.seal)[-1]
        assert ack.cookie is None
        source.epoch = ack.receiver_epoch
        return ack


def check_identity(stream: StreamStats) -> None:
    """Identity R."""
    found = stream.delivered + sum(stream.rejected.values()) + stream.lost
    found += stream.missing + stream.abandoned + stream.pending
    assert stream.next_rec - stream.first_rec == found
    assert min(stream.delivered, stream.lost, stream.missing, stream.pending) >= 0


def connected(**options: Any) -> tuple[Bench, Source]:
    bench, source = Bench(**options), Source(acknowledged=True)
    bench.connect(source)
    bench.events.clear()
    return bench, source

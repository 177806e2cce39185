"""A sending machine on a bench: the test takes, loses, refuses and answers its datagrams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batchudp_handler.core.payload.encoded import Encoded
from batchudp_handler.core.send.deliveries import make_delivery
from batchudp_handler.core.send.settings import SenderSettings
from batchudp_handler.core.send.storage import StoragePolicy
from batchudp_handler.core.wire.ack import Ack, encode_ack
from batchudp_handler.core.wire.datagram import CHECKSUM, DatagramType, Header, parse
from batchudp_handler.core.wire.sync import Sync, decode_sync

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchudp_handler.core.records.batch import Snapshot
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchudp_handler.core.records.batch import Snapshot
    from batchudp_handler.core.send.retry import SendFailure


STREAM = 0x1122334455667788


EPOCH = 77


COOKIE = b"c" * 16


WALL = 1_700_000_000.0


def encode(snapshots: Sequence[Snapshot]) -> Encoded:
    """The numbers of the records as JSON."""
    payload = json.dumps([each[0] for each in snapshots]).encode()
    return Encoded(0, payload, len(payload))


class Bench:
    """A sender whose datagrams a test takes, loses, refuses and answers."""

    def __init__(self, **settings: object) -> None:
        settings = {"encoder": encode, "max_datagram_size": 200, **settings}
        self.now = 0.0
        self.settings = SenderSettings(**settings)  # type: ignore[arg-type]  # given by the test
        self.sender = make_delivery(self.settings, stream_id=STREAM, random=lambda: 0.5)
        self._acks = 0

    def log(self, *records: object) -> None:
        self.sender.send_batch([(each,) for each in records], self.now, WALL + self.now)

    def send(self) -> list[bytes]:
        """Everything that the sender has to send now."""
        self.sender.handle_timeout(self.now)
        sent = []
        while (data := self.sender.datagram_to_send(self.now)) is not None:
            sent.append(data)
            self.sender.on_datagram_sent(self.now)
        return sent

    def fail(self, failure: SendFailure, size: int | None = None) -> bytes:
        data = self.sender.datagram_to_send(self.now)
        assert data is not None
        self.sender.on_send_failed(failure, self.now, size)
        return data

    def until(self, time: float) -> list[bytes]:
        """Let time pass; return what was sent meanwhile."""
        sent: list[bytes] = []
        while (at := self.sender.next_timeout()) is not None and at <= time:
            assert at > self.now or not sent or self.sender.datagram_to_send(self.now) is None
            self.now = max(self.now, at)
            sent += self.send()
        self.now = time
        return sent

    def ack(self, **fields: object) -> None:
        self._acks += 1
        fields = {"receiver_epoch": EPOCH, "credit": 1 << 20, **fields}
        ack = Ack(**fields)  # type: ignore[arg-type]  # given by the test
        data = encode_ack(CHECKSUM, ack, stream_id=STREAM, counter=self._acks, sealed_at=0)
        self.sender.receive_datagram(data, self.now)

    def open(self, epoch: int = EPOCH) -> None:
        """Go through the handshake."""
        self.send()
        self.ack(cookie=COOKIE, receiver_epoch=epoch)
        self.until(self.now + 0.06)
        self.ack(receiver_epoch=epoch)

    @property
    def dropped(self) -> dict[str, int]:
        return self.sender.counters.dropped

    def check_identity(self, accepted: int) -> None:
        counters = self.sender.counters
        settled = counters.sent + counters.confirmed + counters.rejected_by_receiver
        settled += counters.unconfirmed + sum(counters.dropped.values())
        held = self.sender.pending_records + self.sender.retained_records
        assert accepted == settled + held + self.sender.spooled_records


def header(data: bytes) -> Header:
    found = parse(data)
    assert isinstance(found, Header)
    return found


def is_data(data: bytes) -> bool:
    return header(data).type <= DatagramType.DATA_ACKNOWLEDGED


def seqs(datagrams: list[bytes]) -> list[int]:
    return [header(data).seq for data in datagrams if is_data(data)]


def records(datagrams: list[bytes]) -> list[int]:
    """The records in datagrams of whole batches."""
    return [
        number for data in datagrams if is_data(data) for number in json.loads(CHECKSUM.open(data))
    ]


def syncs(datagrams: list[bytes]) -> list[Sync]:
    return [decode_sync(CHECKSUM.open(data)) for data in datagrams if not is_data(data)]


def acknowledged(**settings: object) -> Bench:
    return Bench(acknowledged=True, **settings)


def away_with(bench: Bench, *numbers: int) -> None:
    """Send records to a receiver that is not there any more."""
    bench.log(0)
    bench.open()
    bench.send()
    bench.ack(floor=1)
    bench.log(*numbers)
    bench.until(bench.now + 60.0)
    assert bench.sender.is_away


def store_all(bench: Bench, spool: dict[int, bytes]) -> None:
    while offered := bench.sender.datagrams_to_store(bench.now):
        spool.update({each.seq: each.data for each in offered})
        bench.sender.on_stored([each.seq for each in offered])


def with_spool(**settings: object) -> Bench:
    return acknowledged(storage=StoragePolicy.WHEN_NEEDED, **settings)


def one_per_datagram(snapshots: Sequence[Snapshot], /) -> Encoded:
    """A body of 80 bytes for each record, so that two never fit a datagram of 128."""
    return Encoded(0, b"x" * 80 * len(snapshots), 80 * len(snapshots))


class Link:
    """An acknowledged sender, opened, whose datagrams the test collects and answers."""

    def __init__(self, **settings: Any) -> None:
        self.now = 0.0
        given = SenderSettings(
            encoder=one_per_datagram, max_datagram_size=128, acknowledged=True, **settings
        )
        self.sender = make_delivery(given, stream_id=STREAM, random=lambda: 0.5)
        self.counter = 0
        self.syncs: list[Sync] = []
        self.seqs: list[int] = []
        self.log(1)
        self.send()
        self.answer(cookie=COOKIE)
        self.wait(0.06)
        self.answer()

    def log(self, count: int) -> None:
        self.sender.send_batch([(number,) for number in range(count)], self.now, self.now)

    def send(self) -> None:
        self.sender.handle_timeout(self.now)
        while (data := self.sender.datagram_to_send(self.now)) is not None:
            header = parse(data)
            assert isinstance(header, Header)
            if header.type == DatagramType.SYNC:
                self.syncs.append(decode_sync(CHECKSUM.open(data)))
            else:
                self.seqs.append(header.seq)
            self.sender.on_datagram_sent(self.now)

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := self.sender.next_timeout()) is not None and due <= end:
            self.now = max(self.now, due)
            self.send()
        self.now = end
        self.send()

    def answer(self, **fields: Any) -> None:
        self.counter += 1
        ack = Ack(**{"receiver_epoch": EPOCH, "credit": 1 << 24, **fields})
        data = encode_ack(CHECKSUM, ack, stream_id=STREAM, counter=self.counter, sealed_at=0)
        self.sender.receive_datagram(data, self.now)


def answer_all(link: Link, seconds: float) -> None:
    """Answer everything that was sent, after a round trip."""
    link.now += seconds
    link.answer(floor=max(link.seqs) + 1)

"""What no other test noticed when it was broken; see tests/mutants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batchudp_handler.core.payload.encoded import Encoded
from batchudp_handler.core.send.deliveries import make_delivery
from batchudp_handler.core.send.settings import SenderSettings
from batchudp_handler.core.send.storage import StoragePolicy
from batchudp_handler.core.wire.ack import Ack, encode_ack
from batchudp_handler.core.wire.constants import WINDOW_SIZE
from batchudp_handler.core.wire.datagram import CHECKSUM, DatagramType, Header, parse
from batchudp_handler.core.wire.sync import Sync, decode_sync

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchudp_handler.core.records.batch import Snapshot

STREAM, EPOCH, COOKIE = 11, 77, b"c" * 16


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


def test_nothing_is_sent_beyond_what_the_receiver_can_tell_apart() -> None:
    """With the floor at 0 and everything held, the last number sent is one below the window."""
    link = Link(storage=StoragePolicy.ALWAYS)
    link.log(WINDOW_SIZE + 100)
    rounds = 0
    while len(set(link.seqs)) < WINDOW_SIZE and rounds < 1_000:
        link.send()
        link.now += 0.001
        link.answer(bitmap=sum(1 << seq for seq in set(link.seqs)))
        rounds += 1
    link.wait(0.1)
    assert max(link.seqs) == WINDOW_SIZE - 1
    link.answer(floor=1)
    link.wait(0.1)
    assert max(link.seqs) == WINDOW_SIZE


def test_sync_names_the_receiver_that_was_last_heard() -> None:
    """From that a new receiver knows which datagrams the old one may have delivered."""
    link = Link()
    assert [sync.receiver_epoch for sync in link.syncs] == [0, 0]
    link.wait(11.0)
    assert link.syncs[-1].receiver_epoch == EPOCH


def test_what_has_a_number_is_not_told_as_dropped_before_numbering() -> None:
    """The receiver sees the missing numbers itself; told as well, they would count twice."""
    link = Link()
    link.log(2_000)  # more than may be on the way: the rest is sealed ahead, and not sent
    link.wait(60.0)
    assert link.sender.is_away
    link.sender.drop_oldest(10_000, "buffer_full")
    counters = link.sender.counters
    assert counters.dropped["buffer_full"] > 0
    assert counters.unconfirmed + counters.dropped["buffer_full"] == 2_001
    link.wait(20.0)
    assert link.syncs[-1].floor == link.syncs[-1].next_seq > 1_000
    assert {sync.dropped_records for sync in link.syncs} == {0}


def answer_all(link: Link, seconds: float) -> None:
    """Answer everything that was sent, after a round trip."""
    link.now += seconds
    link.answer(floor=max(link.seqs) + 1)


def test_a_datagram_that_was_sent_twice_gives_no_sample() -> None:
    """Nobody knows which transmission was answered: the estimate must not shrink (Karn)."""
    link = Link()
    for _ in range(20):
        link.log(1)
        link.send()
        answer_all(link, 0.1)
    before = link.sender.rtt
    link.log(1)
    link.send()
    sent = len(link.seqs)
    while len(link.seqs) == sent:
        link.wait(0.01)
    answer_all(link, 0.001)
    assert before is not None
    assert link.sender.rtt is not None
    assert link.sender.rtt >= before


def test_a_loss_halves_the_congestion_window() -> None:
    """What was overtaken and is overdue says that the path is full."""
    link = Link()
    link.log(3_000)
    while link.sender.congestion_window < 60_000:
        link.send()
        answer_all(link, 0.1)
    link.send()
    floor = link.sender.floor
    link.now += 0.1
    link.answer(floor=floor, bitmap=(1 << (max(link.seqs) + 1 - floor)) - 2)  # not the oldest
    before = link.sender.congestion_window
    link.wait(0.2)
    assert link.sender.congestion_window == before // 2


def test_a_floor_inside_a_group_costs_the_group_and_nothing_else() -> None:
    """A receiver that calls half a record final is wrong; the rest can be neither cut nor kept."""
    link = Link()
    link.log(1)
    link.send()
    answer_all(link, 0.1)
    link.sender.reconfigure(
        SenderSettings(encoder=a_large_record, max_datagram_size=200, acknowledged=True)
    )
    link.log(1)
    link.send()
    first = link.sender.floor
    assert max(link.seqs) >= first + 2
    link.now += 0.1
    link.answer(floor=first + 1)
    link.sender.set_max_datagram_size(128)
    link.log(1)
    link.wait(1.0)
    assert link.sender.counters.dropped == {"oversize": 1}
    assert link.sender.retained_records == 1


def a_large_record(snapshots: Sequence[Snapshot], /) -> Encoded:
    """A record of 500 bytes, alone in its fragments."""
    return Encoded(0, b"x" * 500 * len(snapshots), 500 * len(snapshots))

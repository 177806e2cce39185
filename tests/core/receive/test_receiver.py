"""The receiving machine takes, counts, answers and forgets as the protocol says.

Virtual time and hand-made datagrams only. `Source` numbers and seals as a sender does and decides
nothing; `Bench` feeds the machine and keeps what comes out.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchudp_handler.core.errors import ConfigError, Reason
from batchudp_handler.core.receive.admission import source_of
from batchudp_handler.core.receive.cookies import ChallengeLimits
from batchudp_handler.core.receive.events import (
    BatchReceived,
    DatagramsRefused,
    RecordsLost,
    SenderDropped,
    StreamEnded,
    StreamStarted,
)
from batchudp_handler.core.receive.reassembly import ReassemblyLimits
from batchudp_handler.core.receive.receiver import ReceiverProtocol, ReceiverSettings
from batchudp_handler.core.wire.ack import Ack, decode_ack, encode_ack
from batchudp_handler.core.wire.auth import HmacKey
from batchudp_handler.core.wire.constants import NO_COOKIE
from batchudp_handler.core.wire.datagram import (
    CHECKSUM,
    Baseline,
    Header,
    Seal,
    encode_baseline,
    encode_data,
    parse,
)
from batchudp_handler.core.wire.sync import Sync, encode_sync

if TYPE_CHECKING:
    from batchudp_handler.core.receive.stats import Address, ReceiverStats, StreamStats

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


# --- one-way: arrival ---------------------------------------------------------------------------


def test_a_datagram_becomes_a_batch() -> None:
    """Everything that the shell needs is in the event, once."""
    bench, source = Bench(), Source(stream_id=0xABCDEF)
    bench.feed(source.data(10, b"the batch"))
    assert bench.events == [
        StreamStarted(0xABCDEF, HOME, 0, acknowledged=False),
        BatchReceived(0xABCDEF, 0, 10, 1, b"the batch", HOME, 0, WALL),
    ]
    assert bench.stream(0xABCDEF).pending == 10
    bench.handle()
    assert bench.stream(0xABCDEF).delivered == 10
    assert bench.stats().delivered == 10


def test_one_way_is_never_answered() -> None:
    """No reply to DATA, SYNC, duplicates, gaps or closing."""
    bench, source = Bench(), Source()
    first, _, third = source.datas(3)
    bench.feed(source.sync(), first, first, third, source.sync(closing=True))
    bench.wait(1000.0)
    assert bench.sent == []
    assert bench.stats().replies == 0


def test_a_duplicate_is_counted_and_not_delivered() -> None:
    """In order, late, and after the handlers returned."""
    bench, source = Bench(), Source()
    datagrams = source.datas(3)
    bench.feed(*datagrams, *datagrams)
    bench.handle()
    bench.feed(datagrams[1])
    assert len(bench.of(BatchReceived)) == 3
    stream = bench.stream()
    assert (stream.delivered, stream.duplicates, stream.duplicate_datagrams) == (30, 40, 4)


def test_order_does_not_matter() -> None:
    """Every permutation of arrival delivers all and loses nothing."""
    for seed in range(50):
        bench, source = Bench(), Source()
        datagrams = [source.sync(), *source.datas(20)]
        random.Random(seed).shuffle(datagrams)
        bench.feed(*datagrams)
        bench.handle()
        bench.wait(10.0)
        stream = bench.stream()
        assert (stream.delivered, stream.lost, stream.missing) == (200, 0, 0)
        assert stream.first_rec == 0


# --- one-way: loss ------------------------------------------------------------------------------


def test_missing_records_are_lost_after_two_seconds() -> None:
    """Missing at once, lost after 2 s, with one event for the warning."""
    bench, source = Bench(), Source()
    first, _, _, fourth = source.datas(4)
    bench.feed(first, fourth)
    bench.handle()
    assert (bench.stream().missing, bench.stream().lost) == (20, 0)
    bench.wait(1.9)
    assert (bench.stream().missing, bench.stream().lost) == (20, 0)
    bench.wait(0.2)
    assert (bench.stream().missing, bench.stream().lost) == (0, 20)
    assert bench.of(RecordsLost) == [RecordsLost(1, HOME, 20)]
    assert bench.stats().lost == 20


def test_a_late_datagram_is_found_again() -> None:
    """Its records move from lost to delivered and count as late."""
    bench, source = Bench(), Source()
    first, second, third = source.datas(3)
    bench.feed(first, third)
    bench.wait(5.0)
    assert bench.stream().lost == 10
    bench.feed(second)
    bench.handle()
    stream = bench.stream()
    assert (stream.delivered, stream.lost, stream.late) == (30, 0, 10)


def test_a_sync_shows_the_loss_of_the_tail() -> None:
    """Nothing comes after the lost datagrams but the sender's word."""
    bench, source = Bench(), Source()
    bench.feed(source.data())
    source.datas(4)
    bench.wait(60.0)
    assert (bench.stream().lost, bench.stream().missing) == (0, 0)
    bench.feed(source.sync())
    assert bench.stream().missing == 40
    bench.wait(2.1)
    assert bench.stream().lost == 40


def test_what_falls_out_of_the_window_is_lost_at_once() -> None:
    """The window follows the newest datagram, and a gap is lost when it is out of it whole."""
    bench, source = Bench(), Source()
    datagrams = source.datas(10_000)
    bench.feed(datagrams[0], datagrams[4999])
    assert (bench.stream().lost, bench.stream().missing) == (0, 49_980)
    bench.feed(datagrams[1])
    bench.feed(datagrams[4900])
    bench.feed(*datagrams[5000:])
    assert bench.stream().missing == 0
    bench.handle()
    stream = bench.stream()
    assert (stream.delivered, stream.duplicate_datagrams) == (50_030, 1)
    assert stream.lost == 100_000 - 50_030


def test_the_window_slides_one_by_one_past_a_hole() -> None:
    """One missing datagram is lost when 4,096 newer numbers have come, and not before."""
    bench, source = Bench(), Source()
    datagrams = source.datas(4100)
    bench.feed(datagrams[0], *datagrams[2:4097], drained=False)
    assert (bench.stream().missing, bench.stream().lost) == (10, 0)
    bench.feed(datagrams[4097])
    assert (bench.stream().missing, bench.stream().lost) == (0, 10)


def test_the_window_is_exactly_as_wide_as_it_says() -> None:
    """Of two missing neighbours, the one 4,096 behind is out and the next one is still taken."""
    bench, source = Bench(), Source()
    datagrams = source.datas(4098)
    bench.feed(datagrams[0], *datagrams[3:4098], drained=False)
    bench.feed(datagrams[1])
    assert bench.stream().duplicate_datagrams == 1
    bench.feed(datagrams[2])
    bench.handle()
    assert bench.stream().delivered == 40_970
    bench.wait(3.0)
    assert bench.stream().lost == 10


def test_the_first_datagram_defines_the_start() -> None:
    """A receiver that came later does not claim to have lost what was before."""
    bench, source = Bench(), Source(seq=5000, rec=80_000)
    bench.feed(source.data())
    bench.handle()
    bench.wait(10.0)
    stream = bench.stream()
    assert (stream.first_rec, stream.next_rec) == (80_000, 80_010)
    assert (stream.unseen_before_start, stream.lost) == (80_000, 0)


def test_what_was_overtaken_at_the_start_still_counts() -> None:
    """Within two seconds the start may move back, but only for what really comes."""
    bench, source = Bench(), Source(seq=5000, rec=80_000)
    datagrams = source.datas(10)
    bench.feed(datagrams[9], datagrams[5])
    assert (bench.stream().first_rec, bench.stream().missing) == (80_050, 30)
    bench.wait(2.1)
    bench.feed(datagrams[2])
    assert bench.stream().first_rec == 80_050
    assert bench.stream().duplicate_datagrams == 1
    bench.feed(datagrams[7])
    assert bench.stream().late == 10


def test_an_initial_sync_fixes_the_start() -> None:
    """After it the first datagrams can be missed like any other."""
    bench, source = Bench(), Source()
    bench.feed(source.sync())
    source.datas(3)
    bench.feed(source.data())
    bench.wait(3.0)
    assert bench.stream().lost == 30


def test_numbers_wrap_without_a_trace() -> None:
    """Records across 2^32, datagrams up to 2^64."""
    bench, source = Bench(), Source(seq=2**64 - 2**20, rec=2**32 - 1000)
    datagrams = source.datas(300)
    bench.feed(source.sync(), *datagrams[:150], *datagrams[200:])
    bench.wait(3.0)
    bench.handle()
    stream = bench.stream()
    assert (stream.delivered, stream.lost) == (2500, 500)
    assert stream.next_rec - stream.first_rec == 3000


@pytest.mark.parametrize("seed", range(40))
def test_every_sent_record_is_delivered_or_lost(seed: int) -> None:
    """Identity O under loss, duplicates and reordering, with fragments, after the goodbye."""
    chance = random.Random(seed)
    bench, source = Bench(), Source(rec=chance.choice([0, 2**32 - 77]))
    start = source.rec
    bench.feed(source.sync())
    flight: list[tuple[float, bytes]] = []
    delivered: Counter[bytes] = Counter()
    arrived: set[bytes] = set()
    loss = chance.choice([0.0, 0.1, 0.5])
    for step in range(150):
        made = (
            source.fragments(chance.randbytes(chance.randrange(11, 60)), 10)
            if chance.random() < 0.1
            else [source.data(chance.randrange(1, 30), chance.randbytes(8))]
        )
        if chance.random() < 0.05:
            made.append(source.sync())
        for datagram in made:
            copies = 1 + (chance.random() < 0.1)
            flight += [
                (step + chance.random() * chance.choice([1, 20]), datagram)
                for _ in range(copies)
                if chance.random() >= loss
            ]
    flight.sort(key=lambda each: each[0])
    for _, datagram in flight:
        bench.feed(datagram, drained=False)
        bench.wait(0.02)
        arrived.add(datagram)
        if chance.random() < 0.5:
            bench.handle(1)
    bench.feed(source.sync(closing=True))
    bench.wait(20.0)
    bench.handle()
    for batch in bench.of(BatchReceived):
        delivered[batch.seq] += 1
    assert set(delivered.values()) <= {1}
    stream = bench.stream()
    assert stream.next_rec - stream.first_rec == source.rec - start
    assert stream.delivered + stream.lost == source.rec - start
    assert stream.delivered == sum(batch.n_rec for batch in bench.of(BatchReceived))
    whole = [parse(each) for each in arrived]
    expected = {
        h.seq for h in whole if isinstance(h, Header) and h.type == 1 and h.frag_count == 1
    }
    assert expected <= {batch.seq for batch in bench.of(BatchReceived)}
    assert stream.ended == "closed"


# --- one-way: fragments -------------------------------------------------------------------------


def test_fragments_are_one_batch() -> None:
    """Its records count once, and the datagram after it follows."""
    bench, source = Bench(), Source()
    body = bytes(range(256))
    group = source.fragments(body, 100)
    after = source.data()
    bench.feed(group[2], group[0], after, group[1])
    batches = bench.of(BatchReceived)
    assert [batch.seq for batch in batches] == [3, 0]
    assert batches[1].body == body
    assert batches[1].n_rec == 1
    bench.handle()
    assert bench.stream().delivered == 11
    assert bench.stats().reassembly_bytes == 0


def test_an_unfinished_group_is_lost_after_five_seconds() -> None:
    """Pending until then; a fragment that comes later opens nothing again."""
    bench, source = Bench(), Source()
    bench.feed(source.sync())
    group = source.fragments(bytes(300), 100, n_rec=4)
    bench.feed(group[0], group[2])
    assert bench.stream().pending == 4
    bench.wait(4.9)
    assert bench.stream().lost == 0
    bench.wait(0.2)
    assert (bench.stream().pending, bench.stream().lost) == (0, 4)
    bench.feed(group[1])
    assert bench.of(BatchReceived) == []
    assert bench.stats().reassembly_bytes == 0
    bench.feed(source.data())
    bench.handle()
    assert bench.stream().delivered == 10


def test_a_group_that_contradicts_itself_is_rejected() -> None:
    """Its records are rejected once; all its fragments are done with."""
    bench, source = Bench(), Source()
    group = source.fragments(bytes(300), 100, n_rec=4)
    liar = source.data(4, bytes(50), seq=1, rec=0, frag_index=1, frag_count=3)
    bench.feed(group[0], liar, group[1], group[2])
    assert bench.of(BatchReceived) == []
    assert bench.stream().rejected == {"group_mismatch": 4}
    assert bench.stats().reassembly_bytes == 0


def test_a_group_that_can_not_fit_is_rejected() -> None:
    """Final at its first fragment, and counted once."""
    bench = Bench(reassembly=ReassemblyLimits(group_bytes=250))
    source = Source()
    bench.feed(*source.fragments(bytes(301), 100, n_rec=2), source.data())
    assert bench.stream().rejected == {"inflate_limit": 2}
    assert [batch.seq for batch in bench.of(BatchReceived)] == [4]


def test_a_group_that_turns_out_too_large_is_rejected() -> None:
    """Its last fragment came first and told nothing of the others."""
    bench = Bench(reassembly=ReassemblyLimits(group_bytes=250))
    source = Source()
    group = source.fragments(bytes(350), 100, n_rec=2)
    bench.feed(group[3], group[0], *group, source.data())
    assert bench.stream().rejected == {"inflate_limit": 2}
    assert bench.stats().reassembly_bytes == 0
    assert [batch.seq for batch in bench.of(BatchReceived)] == [4]


def test_an_expired_group_at_the_edge_of_the_window_moves_it() -> None:
    """The window never holds more than 4,096 numbers, also for what was never received."""
    bench, source = Bench(), Source()
    bench.feed(source.sync())
    source.data()
    for datagram in source.datas(4000):
        bench.feed(datagram, drained=False)
    group = source.fragments(bytes(1000 * 10), 10)
    bench.feed(group[0])
    bench.wait(6.0)
    bench.handle()
    assert bench.stream().lost == 11
    bench.feed(*group[1:], source.data())
    assert len(bench.waiting) == 1


def test_a_group_that_contradicts_later_datagrams_is_refused() -> None:
    """Its records cannot end before those that a SYNC has told of."""
    bench, source = Bench(), Source()
    bench.feed(source.sync(), source.sync(next_seq=2, floor=2, next_rec=50))
    bench.feed(source.data(4, seq=1, rec=0, frag_index=1, frag_count=3))
    assert bench.stats().refused == {"malformed": 1}
    assert bench.stats().reassembly_bytes == 0
    assert bench.stream().missing == 50


def test_a_thousand_half_open_groups_stay_in_the_budget() -> None:
    """What does not fit is refused; what was admitted completes."""
    bench, source = Bench(), Source()
    bench.feed(source.sync())
    groups = [source.fragments(bytes(30_000), 10_000) for _ in range(1000)]
    for group in groups:
        bench.feed(group[0], drained=False)
    stats = bench.stats()
    assert stats.reassembly_bytes <= 2 << 20
    admitted = 1000 - stats.refused["reassembly_refused"]
    assert admitted > 60
    for group in groups[:admitted]:
        bench.feed(*group[1:], drained=False)
    assert len(bench.of(BatchReceived)) == admitted
    assert bench.stats().reassembly_bytes == 0


# --- one-way: the end ---------------------------------------------------------------------------


def test_a_closed_stream_ends_when_nothing_waits() -> None:
    """Handled, lost, and then its numbers in the event."""
    bench, source = Bench(), Source()
    first, _ = source.datas(2)
    bench.feed(first, source.sync(closing=True))
    bench.handle()
    assert bench.of(StreamEnded) == []
    bench.wait(2.1)
    (ended,) = bench.of(StreamEnded)
    assert ended.reason == "closed"
    assert (ended.stats.delivered, ended.stats.lost) == (10, 10)
    assert not ended.stats.tail_unknown


def test_a_silent_stream_vanishes_and_its_tail_is_unknown() -> None:
    """After three promised intervals, and not as `0 lost`."""
    bench, source = Bench(), Source()
    bench.feed(source.data(), source.sync(promise_ms=10_000))
    bench.handle()
    bench.wait(29.9)
    assert bench.of(StreamEnded) == []
    bench.wait(0.2)
    (ended,) = bench.of(StreamEnded)
    assert (ended.reason, ended.stats.tail_unknown) == ("vanished", True)
    assert bench.stats().streams_ended == {"vanished": 1}


def test_a_vanished_stream_may_come_back() -> None:
    """It was the network; the same numbers go on, and nothing is delivered twice."""
    bench, source = Bench(), Source()
    first, _, third = source.datas(3)
    bench.feed(first, source.sync(promise_ms=1000))
    bench.wait(10.0)
    bench.feed(first, third)
    bench.handle()
    stream = bench.stream()
    assert stream.ended is None
    assert not stream.tail_unknown
    assert (stream.delivered, stream.duplicates) == (20, 10)
    assert len(bench.of(StreamStarted)) == 2


def test_a_silent_stream_is_forgotten_and_stays_in_the_totals() -> None:
    """After 600 s; its last numbers can still be read."""
    bench, source = Bench(), Source()
    first, _, third = source.datas(3)
    bench.feed(first, third)
    bench.handle()
    bench.wait(601.0)
    stats = bench.stats()
    assert (stats.streams_live, stats.streams_seen, stats.streams_ended) == (0, 1, {"idle": 1})
    assert (stats.delivered, stats.lost) == (20, 10)
    assert bench.stream().ended == "idle"
    assert bench.protocol.next_timeout() is None


def test_a_stream_with_batches_at_the_handlers_is_not_forgotten() -> None:
    """However long they take."""
    bench, source = Bench(), Source()
    bench.feed(source.data())
    bench.wait(2000.0)
    bench.handle()
    assert bench.stats().delivered == 10


def test_the_list_of_forgotten_streams_is_bounded_and_the_totals_are_not() -> None:
    """Thousands of short streams: all counted, the latest 256 shown."""
    bench = Bench()
    for number in range(3000):
        bench.feed(Source(number).data(), drained=False)
        bench.handle()
        bench.wait(1.0)
    stats = bench.stats()
    assert stats.delivered == 30_000
    assert stats.streams_seen == 3000
    assert len(stats.streams) <= 1024 + 256


def test_records_dropped_by_the_sender_are_told() -> None:
    """The counter in SYNC is cumulative and wraps; each event tells the news."""
    bench, source = Bench(), Source()
    bench.feed(source.sync(dropped_records=5), source.sync(dropped_records=5))
    bench.feed(source.sync(dropped_records=12))
    assert [event.records for event in bench.of(SenderDropped)] == [5, 7]
    assert bench.stream().sender_dropped == 12
    bench.feed(source.sync(dropped_records=3))
    assert bench.stream().sender_dropped == 12


def test_an_old_sync_changes_nothing() -> None:
    """Its counter must grow."""
    bench, source = Bench(), Source()
    old = source.sync(dropped_records=1)
    bench.feed(source.sync(dropped_records=2), old)
    assert bench.stats().refused == {"replayed": 1}
    assert bench.stream().sender_dropped == 2


# --- tables and room ----------------------------------------------------------------------------


def test_a_flood_of_streams_evicts_nobody_young() -> None:
    """100,000 invented ids: the table stays full of those that were there."""
    bench = Bench()
    honest = [Source(number) for number in range(1024)]
    for source in honest:
        bench.feed(source.data(), drained=False)
    bench.handle()
    for number in range(100_000):
        bench.protocol.receive_datagram(Source(10**6 + number).data(), AWAY, bench.now, WALL)
    bench.collect()
    assert bench.of(StreamEnded) == []
    assert bench.stats().refused == {"stream_limit": 100_000}
    for source in honest:
        bench.feed(source.data(), drained=False)
    bench.handle()
    assert bench.stats().delivered == 20_480


def test_a_full_work_queue_refuses_unmarked() -> None:
    """The same datagram is taken later; in one-way mode it is missing until then."""
    bench = Bench(work_queue_bytes=5000)
    source = Source()
    datagrams = [source.data(10, bytes(1000)) for _ in range(5)]
    bench.feed(*datagrams)
    assert len(bench.waiting) == 3
    assert bench.stats().refused == {"no_room": 2}
    assert bench.stats().queued_bytes <= 5000
    bench.handle()
    bench.feed(*datagrams[3:])
    bench.handle()
    assert bench.stream().delivered == 50


def test_the_queue_counts_more_than_bytes() -> None:
    """A million batches of one byte are not a megabyte."""
    bench = Bench(work_queue_bytes=1 << 20)
    source = Source()
    for _ in range(5000):
        bench.feed(source.data(1, b"x"), drained=False)
    assert len(bench.waiting) < 2100


def test_a_full_queue_starts_no_stream() -> None:
    """Neither for a baseline datagram nor for a stranger's is there room."""
    bench = Bench(work_queue_bytes=1000)
    bench.feed(Source().data(1, bytes(600)))
    bench.feed(Source(2).data(), b"{}")
    assert bench.stats().refused == {"no_room": 2}
    assert bench.stats().streams_seen == 1


def test_an_empty_queue_takes_any_batch() -> None:
    """Or a small limit would stop everything for ever."""
    bench = Bench(work_queue_bytes=10)
    bench.feed(Source().data(1, bytes(1000)))
    assert len(bench.waiting) == 1


def test_gaps_have_a_budget() -> None:
    """Streams that consist of holes do not grow the memory without bound."""
    bench = Bench()
    for number in range(40):
        source = Source(number)
        for _ in range(2048):
            source.data()
            bench.protocol.receive_datagram(source.data(), HOME, bench.now, WALL)
            bench.collect()
        bench.handle()
    gaps = sum(len(stream.ledger.gaps) for stream in bench.protocol._state.streams)
    assert 65_536 <= gaps <= 65_536 + 40 * 64
    stats = bench.stats()
    assert stats.delivered == 40 * 2048 * 10
    assert stats.lost + stats.missing + stats.unseen_before_start >= 40 * 2047 * 10


def test_an_acknowledged_stream_beyond_the_budget_of_gaps_waits() -> None:
    """What would make another gap is refused unmarked; what fills one never is."""
    bench, source = connected()
    bench.protocol._state.budgets.gaps.limit = 10
    datagrams = source.datas(200, n_rec=1)
    bench.feed(*datagrams[1::2])
    assert bench.stats().refused["no_room"] == 36
    bench.feed(*datagrams[0::2])
    bench.feed(*datagrams)
    bench.handle()
    assert bench.stream().delivered == 200


def test_a_forgotten_acknowledged_stream_leaves_nothing_pending() -> None:
    """What had come of an unfinished group is missing again, and its room is free."""
    bench, source = connected()
    group = source.fragments(bytes(300), 100, n_rec=3)
    bench.feed(group[0])
    bench.wait(700.0)
    stream = bench.stream()
    assert (stream.ended, stream.pending, stream.missing) == ("idle", 0, 3)
    assert bench.stats().reassembly_bytes == 0


def test_a_timer_that_comes_early_does_nothing() -> None:
    """The shell may call whenever it wakes up."""
    bench, source = Bench(), Source()
    first, _, third = source.datas(3)
    bench.feed(first, third)
    due = bench.protocol.next_timeout()
    assert due == bench.now + 2.0
    bench.protocol.handle_timeout(bench.now + 1.0)
    assert bench.protocol.next_timeout() == due


# --- baseline, keys, sources --------------------------------------------------------------------


def test_baseline_datagrams_are_delivered_without_a_stream() -> None:
    """Raw JSON, and JSON behind three bytes; handled records count in the totals."""
    bench = Bench()
    bench.feed(b'{"message": "hi"}', encode_baseline(Baseline(0, b"[]")))
    assert [(event.stream_id, event.codec, event.body) for event in bench.waiting] == [
        (None, 0, b'{"message": "hi"}'),
        (None, 0, b"[]"),
    ]
    bench.protocol.on_batch_handled(bench.waiting[0], 1, {}, bench.now)
    bench.protocol.on_batch_handled(bench.waiting[1], 0, {Reason.JSON: 2}, bench.now)
    stats = bench.stats()
    assert (stats.delivered, stats.rejected, stats.queued_bytes) == (1, {"json": 2}, 0)
    assert stats.streams == {}


def test_a_keyed_receiver_refuses_everything_without_a_key() -> None:
    """Baseline forms, checksums, unknown keys, wrong secrets: no event, no reply."""
    bench = Bench(keys=[KEY])
    forged = HmacKey(7, bytes(32)).sender
    for datagram in (
        b'{"message": "hi"}',
        encode_baseline(Baseline(0, b"[]")),
        Source().data(),
        Source(acknowledged=True).sync(),
        Source(seal=OTHER_KEY.sender).data(),
        Source(seal=forged).data(10, bytes(200)),
        Source(acknowledged=True, seal=forged).sync(),
        Source(acknowledged=True, seal=forged).data(10, bytes(200)),
    ):
        bench.feed(datagram)
    assert bench.events == bench.of(DatagramsRefused)
    assert bench.sent == []
    stats = bench.stats()
    assert stats.refused == {"unauthenticated": 4, "unknown_key": 1, "auth_failed": 3}
    assert stats.auth_failed == {7: 3}
    assert stats.key_last_used == {}


def test_refusals_are_told_at_once_and_then_once_a_minute() -> None:
    """By reason and source; the time for the next word is a deadline of the machine."""
    bench = Bench(keys=[KEY])
    bench.feed(Source().data(), Source().data(), Source().data(), address=AWAY)
    bench.feed(Source(seal=OTHER_KEY.sender).data())
    assert [(event.report.reason, event.report.count) for event in bench.of(DatagramsRefused)] == [
        ("unauthenticated", 1),
        ("unknown_key", 1),
    ]
    bench.wait(59.9)
    assert len(bench.of(DatagramsRefused)) == 2
    bench.wait(0.2)
    third = bench.of(DatagramsRefused)[2].report
    assert (third.reason, third.sources) == ("unauthenticated", ((source_of(AWAY), 2),))
    assert bench.protocol.next_timeout() is None


def test_what_is_untold_is_told_at_the_end() -> None:
    """A receiver that closes within the minute keeps nothing to itself."""
    bench = Bench(longest_datagram=100)
    for _ in range(5):
        bench.feed(b"garbage")
    bench.feed(bytes(101))
    bench.protocol.close(bench.now)
    bench.collect()
    counts = [event.report.count for event in bench.of(DatagramsRefused)]
    assert counts == [1, 1, 4]
    assert bench.stats().refused == {"malformed": 5, "truncated_read": 1}


def test_a_keyed_receiver_accepts_its_keys() -> None:
    """Several at a time, so that keys can be changed without a gap."""
    bench = Bench(keys=[KEY, OTHER_KEY])
    bench.feed(Source(1, seal=KEY.sender).data(), Source(2, seal=OTHER_KEY.sender).data())
    assert [batch.key_id for batch in bench.waiting] == [7, 8]
    assert bench.stats().key_last_used == {7: WALL, 8: WALL}


def test_both_kinds_can_be_accepted_when_asked() -> None:
    """While a fleet moves to keys."""
    bench = Bench(keys=[KEY], accept_unauthenticated=True)
    bench.feed(Source(1, seal=KEY.sender).data(), Source(2).data(), b'{"message": "hi"}')
    assert [batch.key_id for batch in bench.waiting] == [7, 0, 0]


def test_a_key_cannot_speak_in_the_stream_of_another() -> None:
    """Whoever began a stream owns it; the checksum owns nothing of a key's."""
    bench = Bench(keys=[KEY, OTHER_KEY], accept_unauthenticated=True)
    source = Source(seal=KEY.sender)
    bench.feed(source.data())
    source.seal = OTHER_KEY.sender
    bench.feed(source.data())
    source.seal = CHECKSUM
    bench.feed(source.sync(closing=True))
    assert len(bench.waiting) == 1
    assert bench.stats().refused == {"auth_failed": 2}


def test_a_stream_has_one_delivery_mode() -> None:
    """An acknowledged datagram in a one-way stream contradicts it, and the other way round."""
    bench, source = connected()
    source.acknowledged = False
    bench.feed(source.data(), source.sync())
    one_way = Source(2)
    bench.feed(one_way.data())
    one_way.acknowledged = True
    bench.feed(one_way.data(), one_way.sync())
    assert bench.stats().refused["malformed"] == 4


def test_only_allowed_networks_are_heard() -> None:
    """Everybody else is counted and gets no answer."""
    bench = Bench(allow=["192.0.2.0/26"])
    bench.feed(Source(1).data(), address=HOME)
    bench.feed(Source(2).data(), Source(3, acknowledged=True).sync(), address=AWAY)
    assert [batch.address for batch in bench.waiting] == [HOME]
    assert bench.stats().refused == {"not_allowed": 2}
    assert bench.sent == []


def test_a_source_has_a_rate() -> None:
    """Ten at once and ten a second; another source is not held up."""
    bench = Bench(source_rate=10.0, source_burst=10.0)
    bench.feed(*Source(1).datas(15))
    bench.feed(*Source(2).datas(5), address=AWAY)
    assert bench.stats().refused == {"rate_limited": 5}
    bench.wait(0.5)
    bench.feed(*Source(3).datas(10))
    assert bench.stats().refused == {"rate_limited": 10}


@pytest.mark.parametrize(
    "options",
    [
        {"max_streams": 0},
        {"work_queue_bytes": 0},
        {"receive_buffer": 0},
        {"source_rate": 0.0},
        {"source_rate": 1.0, "source_burst": 0.5},
        {"keys": [KEY, HmacKey(7, bytes(32))]},
        {"allow": ["nowhere"]},
    ],
    ids=str,
)
def test_settings_that_can_not_work_are_refused(options: dict[str, Any]) -> None:
    """Each with a `ConfigError`."""
    with pytest.raises(ConfigError):
        Bench(**options)


# --- acknowledged: handshake --------------------------------------------------------------------


def test_the_handshake_takes_one_round_trip_and_no_state() -> None:
    """SYNC, CHALLENGE, SYNC with cookie, ACK; the stream exists from the third message on."""
    bench, source = Bench(), Source(acknowledged=True, seq=40, rec=400)
    bench.feed(source.sync())
    (challenge,) = bench.replies()
    assert challenge.receiver_epoch == EPOCH
    assert challenge.cookie is not None
    assert bench.events == []
    assert bench.stats().streams == {}
    source.cookie = challenge.cookie
    bench.feed(source.sync())
    (ack,) = bench.replies()
    assert (ack.cookie, ack.floor, ack.credit) == (None, 40, 212_992 // 4)
    assert bench.events == [StreamStarted(1, HOME, 0, acknowledged=True)]


def test_data_from_a_stranger_is_challenged_and_not_taken() -> None:
    """So that a receiver that has restarted is noticed at once; too small is too cheap."""
    bench, source = Bench(), Source(acknowledged=True)
    bench.feed(source.data(10, bytes(86)))
    (challenge,) = bench.replies()
    assert challenge.cookie is not None
    bench.feed(source.data(10, bytes(85)))
    assert bench.replies() == []
    assert bench.events == bench.of(DatagramsRefused)
    assert bench.stats().refused == {"unproven_address": 1}


@pytest.mark.parametrize(("age", "is_good"), [(0.0, True), (29.0, True), (61.0, False)])
def test_a_cookie_lives_30_to_60_seconds(age: float, is_good: bool) -> None:
    """The bucket it was made in, and the next one."""
    bench, source = Bench(), Source(acknowledged=True)
    bench.feed(source.sync())
    source.cookie = bench.replies()[0].cookie or NO_COOKIE
    bench.wait(age)
    bench.feed(source.sync())
    assert (bench.replies()[0].cookie is None) is is_good


@pytest.mark.parametrize("change", ["host", "port", "stream", "byte", "receiver"])
def test_a_cookie_is_good_for_one_thing_only(change: str) -> None:
    """One host, port, stream and receiver; anything else is challenged again."""
    bench, source = Bench(), Source(acknowledged=True)
    bench.feed(source.sync())
    source.cookie = bench.replies()[0].cookie or NO_COOKIE
    address: Address = HOME
    if change == "host":
        address = (AWAY[0], HOME[1])
    elif change == "port":
        address = (HOME[0], 5001)
    elif change == "stream":
        source.stream_id = 2
    elif change == "byte":
        source.cookie = bytes([source.cookie[0] ^ 1]) + source.cookie[1:]
    else:
        bench.protocol = ReceiverProtocol(
            ReceiverSettings(), epoch=5, secret=b"t" * 32, now=bench.now, wall=WALL
        )
    bench.feed(source.sync(), address=address)
    assert bench.replies()[0].cookie is not None
    assert bench.of(StreamStarted) == []


def test_a_lost_ack_is_repeated_on_the_next_sync() -> None:
    """The address is proven, no cookie is asked for any more."""
    bench, source = connected()
    source.cookie = NO_COOKIE
    bench.feed(source.sync())
    assert bench.replies()[0].cookie is None


def test_challenges_are_limited_per_source_and_in_total() -> None:
    """Five at once and 20 a second for one source; a thousand a second for all."""
    bench = Bench()
    for _ in range(100):
        bench.feed(Source(acknowledged=True).sync())
    assert bench.stats().challenges == 5
    bench.wait(1.0)
    for _ in range(100):
        bench.feed(Source(acknowledged=True).sync())
    assert bench.stats().challenges == 10
    before = bench.stats().challenges
    for step in range(10_000):
        bench.wait(0.0001)
        bench.feed(Source(acknowledged=True).sync(), address=(f"10.0.{step >> 8}.{step & 255}", 1))
    assert 900 <= bench.stats().challenges - before <= 1000


def test_an_answered_challenge_does_not_count_against_its_source() -> None:
    """64 processes of one host find their receiver restarted, and all come back at once."""
    bench = Bench()
    for number in range(1, 65):
        bench.connect(Source(number, acknowledged=True))
    assert bench.stats().challenges == 64
    assert bench.stats().refused == {}


def test_answers_give_back_no_more_than_was_taken() -> None:
    """However many streams prove an address, five unanswered challenges are the most at once."""
    bench = Bench()
    for number in range(1, 65):
        bench.connect(Source(number, acknowledged=True))
    for number in range(100, 200):
        bench.feed(Source(number, acknowledged=True).sync())
    assert bench.stats().challenges == 64 + 5


def test_the_limits_of_challenges_can_be_set() -> None:
    """For hosts with hundreds of processes."""
    bench = Bench(challenge_limits=ChallengeLimits(per_source=500.0, burst_per_source=100.0))
    for number in range(100):
        bench.feed(Source(number, acknowledged=True).sync())
    assert bench.stats().challenges == 100


# --- acknowledged: acks -------------------------------------------------------------------------


def test_the_floor_follows_the_handlers() -> None:
    """Received is held; handled is final."""
    bench, source = connected()
    bench.feed(*source.datas(3))
    (ack,) = bench.replies()
    assert (ack.floor, ack.bitmap, ack.delivered_records) == (0, 0b111, 0)
    bench.handle(1)
    bench.handle()
    ack = bench.replies()[-1]
    assert (ack.floor, ack.bitmap, ack.delivered_records) == (3, 0, 30)


def test_rejected_records_are_told() -> None:
    """Poison is final too, and both ends count it."""
    bench, source = connected()
    bench.feed(source.data())
    bench.handle(rejected={"json": 4})
    ack = bench.replies()[-1]
    assert (ack.floor, ack.rejected_records, ack.delivered_records) == (1, 4, 6)
    assert bench.stream().rejected == {"json": 4}


def test_records_that_nobody_accounts_for_are_rejected() -> None:
    """The header promised more than the batch had."""
    bench, source = connected()
    bench.feed(source.data(10))
    bench.protocol.on_batch_handled(bench.waiting[0], 7, {}, bench.now)
    assert bench.stream().rejected == {"record_count": 3}


def test_accounting_for_too_much_is_our_mistake() -> None:
    """It raises and changes nothing; so does a batch that was not waiting."""
    bench, source = connected()
    bench.feed(source.data(10))
    (batch,) = bench.waiting
    for delivered, rejected in ((11, {}), (10, {"json": 1}), (-1, {}), (11, {"json": -1})):
        with pytest.raises(ValueError, match="10 records"):
            bench.protocol.on_batch_handled(batch, delivered, rejected, bench.now)
    bench.handle()
    with pytest.raises(ValueError, match="not waiting"):
        bench.protocol.on_batch_handled(batch, 10, {}, bench.now)
    assert bench.stream().delivered == 10


def test_in_order_arrivals_are_acked_when_the_socket_is_empty() -> None:
    """One ack for up to eight datagrams."""
    bench, source = connected()
    bench.feed(*source.datas(7), drained=False)
    assert bench.replies() == []
    bench.feed(source.data(), drained=False)
    assert len(bench.replies()) == 1
    bench.feed(*source.datas(2))
    assert len(bench.replies()) == 1
    bench.feed()
    assert bench.replies() == []


def test_out_of_order_arrivals_are_acked_at_once() -> None:
    """A gap, what fills it, and a duplicate are news that the sender waits for."""
    bench, source = connected()
    first, second, third = source.datas(3)
    bench.feed(first, third, drained=False)
    assert [ack.bitmap for ack in bench.replies()] == [0b101]
    bench.feed(second, drained=False)
    assert [ack.bitmap for ack in bench.replies()] == [0b111]
    bench.feed(second, drained=False)
    assert len(bench.replies()) == 1


def test_handled_batches_are_acked_by_sixteen_or_when_none_waits() -> None:
    """The worker's half of the policy."""
    bench, source = connected()
    bench.feed(*source.datas(40))
    bench.replies()
    bench.handle(15)
    assert bench.replies() == []
    bench.handle(1)
    assert [ack.floor for ack in bench.replies()] == [16]
    bench.handle()
    assert [ack.floor for ack in bench.replies()] == [32, 40]


def test_the_counter_of_acks_grows_over_all_streams() -> None:
    """Also after a stream was forgotten and met again."""
    bench = Bench(max_streams=1)
    counters = []
    for number in (1, 2, 1):
        bench.connect(Source(number, acknowledged=True))
        bench.feed(Source(number, acknowledged=True).data(1, bytes(200)))
        bench.handle()
        counters += [Header(*parse(data)).seq for data, _ in bench.sent]
        bench.sent.clear()
        bench.wait(61.0)
    assert counters == sorted(set(counters))
    # the third time, the sender learns from what is remembered that all is final
    assert len(counters) == 5


def test_counts_of_a_stream_that_was_forgotten_go_on() -> None:
    """The sender takes differences; they must not run backwards."""
    bench, source = connected(max_streams=1)
    bench.feed(source.data(10))
    bench.handle(rejected={"json": 3})
    bench.wait(61.0)
    bench.connect(Source(2, acknowledged=True))
    bench.wait(61.0)
    source.floor = source.seq
    ack = bench.connect(source)
    assert (ack.rejected_records, ack.delivered_records) == (3, 7)
    assert bench.stats().delivered == 7


def test_acks_never_exceed_what_came() -> None:
    """Even when each of many tiny datagrams asks for a large bitmap; tiny ones count as 256."""
    bench, source = connected()
    received = 256
    replied = 74
    for datagram in source.datas(3000, n_rec=1)[::-2]:
        bench.feed(datagram)
        received += 256
        replied += sum(len(data) for data, _ in bench.sent)
        bench.sent.clear()
        assert replied <= received
    assert replied > received / 2
    bench.handle()
    for _ in range(6):
        bench.feed(source.sync())
    assert bench.replies()[-1].bitmap.bit_count() == 1500


def test_a_missing_datagram_is_not_lost_but_waited_for() -> None:
    """Acknowledged: it will come again, however long that takes."""
    bench, source = connected()
    first, second, third = source.datas(3)
    bench.feed(first, third)
    for _ in range(30):
        bench.wait(10.0)
        bench.feed(source.sync(promise_ms=10_000))
    assert (bench.stream().missing, bench.stream().lost) == (10, 0)
    bench.feed(second)
    bench.handle()
    assert (bench.stream().delivered, bench.stream().missing) == (30, 0)


def test_beyond_the_window_nothing_is_taken() -> None:
    """The bitmap could not tell of it; the sender will try again."""
    bench, source = connected()
    datagrams = source.datas(4097, n_rec=1)
    bench.feed(datagrams[4096])
    assert bench.stats().refused == {"beyond_window": 1}
    bench.feed(datagrams[4095])
    assert bench.replies()[-1].bitmap == 1 << 4095
    bench.feed(datagrams[0])
    bench.handle()
    bench.feed(datagrams[4096])
    assert len(bench.waiting) == 1


def test_what_the_sender_gives_up_is_abandoned() -> None:
    """The floor passes it; what comes of it later is a duplicate."""
    bench, source = connected()
    datagrams = source.datas(6)
    bench.feed(datagrams[0], datagrams[3], datagrams[5])
    bench.handle()
    source.floor = 3
    bench.feed(source.sync())
    ack = bench.replies()[-1]
    assert (ack.floor, ack.bitmap) == (4, 0b10)
    assert (bench.stream().abandoned, bench.stream().missing) == (20, 10)
    bench.feed(datagrams[1])
    assert bench.stream().duplicate_datagrams == 1
    source.floor = 5
    bench.feed(source.sync())
    assert bench.replies()[-1].floor == 6
    assert bench.stream().abandoned == 30


def test_the_floor_waits_for_the_handlers_when_the_sender_gives_up() -> None:
    """What was received is still handled and reported."""
    bench, source = connected()
    datagrams = source.datas(3)
    bench.feed(datagrams[1])
    source.floor = 3
    bench.feed(source.sync())
    assert bench.replies()[-1].floor == 1
    bench.handle()
    assert bench.replies()[-1].floor == 3
    assert (bench.stream().delivered, bench.stream().abandoned) == (10, 20)


def test_retained_datagrams_of_an_earlier_life_have_a_place() -> None:
    """A new receiver begins at the sender's floor and learns the size of each gap as it fills."""
    bench = Bench()
    source = Source(acknowledged=True, seq=100, rec=2**32 - 15)
    datagrams = source.datas(5)
    source.epoch = 12345
    bench.connect(source)
    assert bench.stream().missing == 0
    bench.feed(datagrams[3])
    assert bench.stream().missing == 10
    bench.feed(datagrams[1])
    assert bench.stream().missing == 20
    bench.feed(datagrams[0], datagrams[2], datagrams[4])
    bench.handle()
    stream = bench.stream()
    assert (stream.delivered, stream.missing, stream.possibly_duplicate) == (50, 0, 50)
    bench.feed(source.data())
    bench.handle()
    assert bench.stream().possibly_duplicate == 50
    assert bench.replies()[-1].floor == 106


def test_a_first_meeting_duplicates_nothing() -> None:
    """Only a SYNC that names another epoch speaks of an earlier receiver."""
    bench, source = Bench(), Source(acknowledged=True)
    datagrams = source.datas(2)
    bench.connect(source)
    bench.feed(*datagrams)
    assert bench.stream().possibly_duplicate == 0


# --- acknowledged: fragments --------------------------------------------------------------------


def test_acknowledged_fragments_are_final_together() -> None:
    """Held one by one, final when the batch is handled; they do not expire."""
    bench, source = connected()
    group = source.fragments(bytes(300), 100)
    bench.feed(group[0], group[2])
    assert bench.replies()[-1].bitmap == 0b101
    for _ in range(6):
        bench.wait(10.0)
        bench.feed(source.sync())
    bench.feed(group[1])
    ack = bench.replies()[-1]
    assert (ack.floor, ack.bitmap) == (0, 0b111)
    bench.handle()
    ack = bench.replies()[-1]
    assert (ack.floor, ack.bitmap, ack.delivered_records) == (3, 0, 1)


def test_a_group_without_room_is_not_marked() -> None:
    """The sender tries again, and then it fits."""
    bench, source = connected(reassembly=ReassemblyLimits(stream_bytes=1100))
    first = source.fragments(bytes(300), 100)
    second = source.fragments(bytes(300), 100)
    bench.feed(first[0], second[0])
    assert bench.stats().refused["reassembly_refused"] == 1
    assert bench.replies()[-1].bitmap == 0b1
    bench.feed(first[1], first[2], *second)
    bench.handle()
    assert bench.replies()[-1].floor == 6


def test_a_completed_group_is_taken_even_when_the_queue_is_full() -> None:
    """Its room was reserved long ago."""
    bench, source = connected(work_queue_bytes=3000)
    group = source.fragments(bytes(3000), 1000)
    bench.feed(*group[:2], source.data(1, bytes(2000)))
    bench.feed(source.data(1, bytes(2000)))
    assert bench.stats().refused["no_room"] == 1
    bench.feed(group[2])
    assert [len(batch.body) for batch in bench.waiting] == [2000, 3000]


def test_a_group_that_the_sender_gives_up_is_abandoned() -> None:
    """Whole: its other fragments are of no use to anybody."""
    bench, source = connected()
    group = source.fragments(bytes(300), 100, n_rec=3)
    bench.feed(group[0], group[2])
    source.floor = 3
    bench.feed(source.sync())
    assert bench.replies()[-1].floor == 3
    assert (bench.stream().abandoned, bench.stream().pending) == (3, 0)
    assert bench.stats().reassembly_bytes == 0


def test_a_group_given_up_in_part_is_abandoned_when_the_rest_comes() -> None:
    """Its first fragments will never come."""
    bench, source = connected()
    group = source.fragments(bytes(300), 100, n_rec=3)
    after = source.data()
    source.floor = 1
    bench.feed(source.sync(), group[1], group[2], after)
    bench.handle()
    assert bench.replies()[-1].floor == 4
    assert (bench.stream().abandoned, bench.stream().delivered) == (3, 10)


# --- acknowledged: credit -----------------------------------------------------------------------


def test_credit_is_a_share_of_the_buffer() -> None:
    """A quarter of it, divided among the active streams."""
    bench = Bench(receive_buffer=400_000)
    shares = [bench.connect(Source(number, acknowledged=True)).credit for number in range(4)]
    assert shares == [100_000, 50_000, 33_333, 25_000]
    bench.wait(6.0)
    assert bench.connect(Source(9, acknowledged=True)).credit == 100_000


def test_credit_shrinks_as_the_queue_fills() -> None:
    """In full until half of it is used, nothing when it is full."""
    bench, source = connected(work_queue_bytes=100_000, receive_buffer=400_000)
    shares = []
    for _ in range(10):
        bench.feed(source.data(1, bytes(10_000 - 512)))
        shares.append(bench.replies()[-1].credit)
    assert shares[:5] == [100_000] * 5
    assert shares[5:] == [80_000, 60_000, 40_000, 20_000, 0]
    bench.handle()
    assert bench.replies()[-1].credit == 100_000


# --- acknowledged: addresses --------------------------------------------------------------------


def test_a_stream_follows_its_sender_to_a_new_address() -> None:
    """One challenge; the same floor, the same dedupe state."""
    bench, source = connected()
    datagrams = source.datas(2)
    bench.feed(datagrams[0])
    bench.handle()
    bench.replies()
    bench.feed(source.data(10, bytes(100)), address=AWAY)
    (challenge,) = bench.replies()
    assert len(bench.of(BatchReceived)) == 1
    source.cookie = challenge.cookie or NO_COOKIE
    bench.feed(source.sync(), address=AWAY)
    (ack,) = bench.replies()
    assert ack.floor == 1
    bench.feed(*datagrams, address=AWAY)
    bench.handle()
    stream = bench.stream()
    assert (stream.address, stream.address_changes, stream.delivered) == (AWAY, 1, 20)
    bench.sent.clear()
    bench.feed(source.data(10, bytes(100)), address=HOME)
    assert bench.replies()[0].cookie is not None


def test_nothing_is_delivered_from_an_address_that_is_not_proven() -> None:
    """Whoever knows a stream id cannot speak in it from elsewhere."""
    bench, source = connected()
    source.cookie = NO_COOKIE
    bench.feed(source.data(10, bytes(200)), source.sync(closing=True), address=AWAY)
    assert bench.of(BatchReceived) == []
    assert bench.stream().ended is None
    assert bench.stream().address == HOME


def test_a_one_way_stream_needs_no_proof() -> None:
    """Nobody is answered, so nothing can be reflected."""
    bench, source = Bench(), Source()
    bench.feed(source.data())
    bench.feed(source.data(), address=AWAY)
    assert [batch.address for batch in bench.waiting] == [HOME, AWAY]
    assert bench.stream().address_changes == 1


# --- acknowledged: the end ----------------------------------------------------------------------


def test_closing_ends_when_all_is_final() -> None:
    """And a repeated goodbye is still answered with the floor."""
    bench, source = connected()
    bench.feed(source.data(), source.sync(closing=True))
    assert bench.of(StreamEnded) == []
    bench.handle()
    assert [event.reason for event in bench.of(StreamEnded)] == ["closed"]
    bench.replies()
    bench.feed(source.sync(closing=True))
    assert bench.replies()[0].floor == 1
    assert len(bench.of(StreamEnded)) == 1


def test_a_closing_receiver_tells_and_finishes() -> None:
    """No new datagrams; what the handlers finish is still acked, with the flag."""
    bench, source = connected()
    one_way = Source(2)
    bench.feed(*source.datas(2), one_way.data())
    bench.replies()
    bench.protocol.close(bench.now)
    bench.collect()
    assert [(ack.closing, ack.floor) for ack in bench.replies()] == [(True, 0)]
    bench.feed(source.data(), Source(3).data())
    assert bench.of(BatchReceived)[-1].stream_id == 2
    assert not bench.protocol.is_settled
    bench.handle()
    assert [(ack.closing, ack.floor) for ack in bench.replies()] == [(True, 2)]
    assert {event.reason for event in bench.of(StreamEnded)} == {"shutdown"}
    assert bench.protocol.is_settled
    assert bench.stats().delivered == 30
    bench.protocol.close(bench.now)
    bench.collect()
    assert bench.replies() == []


def test_resumed_streams_may_use_an_older_key_for_data() -> None:
    """Spooled datagrams never change, the key of the sender may."""
    bench = Bench(keys=[KEY, OTHER_KEY])
    source = Source(acknowledged=True, seal=KEY.sender)
    spooled = source.datas(2)
    source.seal = OTHER_KEY.sender
    bench.feed(source.sync(resumed=True))
    source.cookie = bench.replies(OTHER_KEY.sender)[0].cookie or NO_COOKIE
    bench.feed(source.sync(resumed=True), *spooled)
    assert [batch.key_id for batch in bench.waiting] == [7, 7]
    bench.handle()
    assert bench.replies(OTHER_KEY.sender)[-1].floor == 2
    assert bench.stream().resumed


# --- replay -------------------------------------------------------------------------------------


def session(source: Source, bench: Bench) -> list[bytes]:
    """A whole conversation, as someone on the path records it."""
    recorded = [source.sync()]
    bench.feed(recorded[0])
    if source.acknowledged:
        source.cookie = bench.replies(source.seal)[-1].cookie or NO_COOKIE
        recorded.append(source.sync())
        bench.feed(recorded[-1])
    for _ in range(5):
        recorded.append(source.data(10, bytes(200)))
        bench.feed(recorded[-1])
        bench.handle()
    recorded.append(source.sync(closing=True))
    bench.feed(recorded[-1])
    bench.handle()
    return recorded


MODES = [
    pytest.param(True, CHECKSUM, id="acknowledged"),
    pytest.param(True, KEY.sender, id="acknowledged-key"),
    pytest.param(False, KEY.sender, id="one-way-key"),
]


def recorded_session(acknowledged: bool, seal: Seal, **options: Any) -> tuple[Bench, list[bytes]]:
    bench = Bench(keys=[KEY] if seal.key_id else [], **options)
    source = Source(acknowledged=acknowledged, seal=seal)
    source.sealed_at = int(WALL)
    recorded = session(source, bench)
    assert bench.stats().delivered == 50
    return bench, recorded


@pytest.mark.parametrize(("acknowledged", "seal"), MODES)
@pytest.mark.parametrize("after", [0.0, 10.0, 59.0, 301.0, 599.0])
def test_a_replayed_session_delivers_nothing(acknowledged: bool, seal: Seal, after: float) -> None:
    """Right after its end, and at any time while the stream is remembered."""
    bench, recorded = recorded_session(acknowledged, seal)
    bench.wait(after)
    bench.feed(*recorded)
    bench.handle()
    assert bench.stats().delivered == 50


@pytest.mark.parametrize(("acknowledged", "seal"), MODES)
def test_a_replay_after_the_stream_was_forgotten_delivers_nothing(
    acknowledged: bool, seal: Seal
) -> None:
    """Idle for ten minutes: the cookie is dead, the sealing time too old."""
    bench, recorded = recorded_session(acknowledged, seal)
    bench.wait(700.0)
    assert bench.stats().streams_live == 0
    bench.feed(*recorded)
    assert len(bench.waiting) == 0
    assert bench.stats().delivered == 50


@pytest.mark.parametrize(("acknowledged", "seal"), MODES)
def test_a_replay_after_eviction_delivers_nothing(acknowledged: bool, seal: Seal) -> None:
    """Thrown out for want of room after a minute, while the datagrams are still fresh."""
    bench, recorded = recorded_session(acknowledged, seal, max_streams=1)
    bench.wait(61.0)
    newcomer = Source(2, acknowledged=acknowledged, seal=seal)
    newcomer.sealed_at = int(WALL) + 61
    session(newcomer, bench)
    assert bench.protocol._state.streams.get(1) is None
    bench.wait(61.0)
    bench.feed(*recorded)
    assert len(bench.waiting) == 0
    assert bench.stats().delivered == 100


@pytest.mark.parametrize(("acknowledged", "seal"), MODES)
def test_a_replay_after_a_restart_delivers_nothing(acknowledged: bool, seal: Seal) -> None:
    """The cookie was another one's; the sealing time is before the start."""
    _, recorded = recorded_session(acknowledged, seal)
    bench = Bench(keys=[KEY] if seal.key_id else [], wall=WALL + 6, epoch=99)
    bench.protocol._replies._cookies = type(bench.protocol._replies._cookies)(b"another secret")
    bench.feed(*recorded)
    assert bench.of(BatchReceived) == []


def test_datagrams_are_not_taken_from_mirrors() -> None:
    """An ACK sent back to the receiver is no datagram for it, with and without a key."""
    bench = Bench(keys=[KEY], accept_unauthenticated=True)
    ack = Ack(receiver_epoch=1)
    for seal in (CHECKSUM, KEY.receiver):
        bench.feed(encode_ack(seal, ack, stream_id=1, counter=1, sealed_at=int(WALL)))
    assert bench.stats().refused == {"unsupported_type": 1, "auth_failed": 1}


def test_spooled_datagrams_may_be_old() -> None:
    """Acknowledged streams are protected by the cookie, not by the clock."""
    bench = Bench(keys=[KEY])
    source = Source(acknowledged=True, seal=KEY.sender)
    source.sealed_at = int(WALL) - 86_400
    spooled = source.data()
    bench.connect(source)
    bench.feed(spooled)
    assert len(bench.waiting) == 1


# --- amplification ------------------------------------------------------------------------------


@pytest.mark.parametrize("keyed", [False, True])
def test_nobody_can_be_flooded_in_another_name(keyed: bool) -> None:
    """Any datagrams from unproven addresses: at most 0.8 of their bytes come back, at most a
    thousand replies a second, and with a wrong tag nothing at all."""
    chance = random.Random(5)
    bench = Bench(keys=[KEY] if keyed else [])
    seal = HmacKey(7, bytes(32)).sender if keyed else CHECKSUM
    received: Counter[str] = Counter()
    replied: Counter[str] = Counter()
    makers = [
        lambda source: source.sync(),
        lambda source: source.sync(cookie=chance.randbytes(16)),
        lambda source: source.data(1, chance.randbytes(chance.randrange(1460))),
        lambda source: chance.randbytes(chance.randrange(1500)),
        lambda source: source.sync()[: chance.randrange(128)],
    ]
    start = bench.now
    for number in range(40_000):
        victim = f"198.51.{number % 7}.{number % 251}"
        source = Source(number, acknowledged=True, seal=seal)
        datagram = chance.choice(makers)(source)
        received[victim] += len(datagram)
        bench.now += 0.0001
        bench.protocol.receive_datagram(datagram, (victim, 9), bench.now, WALL)
        for reply, address in bench.protocol.datagrams_to_send():
            replied[source_of(address)] += len(reply)
    assert all(replied[victim] <= 0.8 * received[victim] for victim in received)
    stats = bench.stats()
    assert stats.replies <= 1000 * (bench.now - start) + 1
    assert (stats.replies == 0) is keyed
    assert stats.streams == {}


# --- hostile input ------------------------------------------------------------------------------


def samples() -> list[bytes]:
    source = Source(acknowledged=True)
    return [
        Source().data(10, bytes(range(100))),
        Source().sync(closing=True),
        source.data(10, bytes(range(100))),
        source.sync(),
        *Source().fragments(bytes(100), 60),
        encode_ack(CHECKSUM, Ack(receiver_epoch=3), stream_id=1, counter=1, sealed_at=0),
    ]


@pytest.mark.parametrize("datagram", samples())
def test_no_damaged_datagram_is_taken(datagram: bytes) -> None:
    """Every cut and every flipped bit is refused and counted; nothing is answered or stored."""
    bench = Bench()
    number = int.from_bytes(datagram, "big")
    damaged = [
        (number ^ 1 << bit).to_bytes(len(datagram), "big") for bit in range(8 * len(datagram))
    ]
    damaged += [datagram[:length] for length in range(len(datagram))]
    bench.feed(*damaged)
    assert bench.events == bench.of(DatagramsRefused)
    assert bench.sent == []
    assert sum(bench.stats().refused.values()) == len(damaged)


u64 = st.one_of(st.integers(0, 40), st.integers(0, 2**64 - 1))
u32 = st.one_of(st.integers(0, 400), st.integers(2**32 - 400, 2**32 - 1))


@st.composite
def hostile(draw: st.DrawFn) -> bytes:
    """A datagram with a right trailer and any fields."""
    stream_id = draw(st.integers(1, 3))
    if draw(st.integers(0, 3)) == 0:
        floor, next_seq = sorted((draw(u64), draw(u64)))
        sync = Sync(
            next_seq=next_seq,
            floor=floor,
            next_rec=draw(u32),
            acknowledged=draw(st.booleans()),
            closing=draw(st.booleans()),
            resumed=draw(st.booleans()),
            max_datagram=draw(st.sampled_from([0, 1472, 65_535])),
            dropped_records=draw(u32),
            receiver_epoch=draw(st.sampled_from([0, EPOCH, 5])),
            promise_ms=draw(st.sampled_from([0, 100, 2**32 - 1])),
        )
        return encode_sync(
            CHECKSUM, sync, stream_id=stream_id, counter=draw(u64), sealed_at=draw(u32)
        )
    count = draw(st.sampled_from([1, 1, 1, 2, 3, 1024]))
    index = draw(st.integers(0, count - 1))
    return encode_data(
        CHECKSUM,
        bytes(draw(st.sampled_from([0, 1, 100, 100, 1400]))),
        acknowledged=draw(st.booleans()),
        codec=draw(st.integers(0, 255)),
        stream_id=stream_id,
        seq=draw(u64),
        rec=draw(u32),
        sealed_at=draw(u32),
        n_rec=draw(st.sampled_from([0, 1, 10, 65_535])),
        frag_index=index,
        frag_count=count,
    )


@settings(max_examples=300, deadline=None)
@given(
    steps=st.lists(
        st.one_of(hostile(), st.floats(0.0, 700.0), st.sampled_from(["handle", "handle one"])),
        min_size=5,
        max_size=60,
    )
)
def test_hostile_fields_break_nothing(steps: list[Any]) -> None:
    """Proven addresses and right checksums, any numbers: identity R holds after each step."""
    bench = Bench(max_streams=3)
    for number in (1, 2):
        bench.connect(Source(number, acknowledged=True))
    for step in steps:
        if isinstance(step, bytes):
            bench.feed(step)
        elif isinstance(step, float):
            bench.wait(step)
        else:
            bench.handle(1 if step == "handle one" else None)
        stats = bench.stats()
        assert stats.pending >= sum(batch.n_rec for batch in bench.waiting if batch.stream_id)
    bench.handle()
    assert bench.stats().queued_bytes == 0


@settings(max_examples=200, deadline=None)
@given(noise=st.lists(st.binary(max_size=200), max_size=20))
def test_noise_is_counted(noise: list[bytes]) -> None:
    """Each datagram is taken or refused by reason."""
    bench = Bench()
    bench.feed(*noise)
    stats = bench.stats()
    assert stats.datagrams_received == len(noise)
    assert sum(stats.refused.values()) + len(bench.waiting) == len(noise)


def test_the_secret_for_cookies_is_not_shown() -> None:
    """Not in a traceback's locals, nor anywhere else that uses `repr`."""
    assert "sss" not in repr(Bench().protocol._replies._cookies)


def test_an_epoch_is_not_zero() -> None:
    """0 on the wire means that no receiver is known."""
    with pytest.raises(ValueError, match="epoch"):
        Bench(epoch=0)


def test_a_baseline_batch_is_answered_once() -> None:
    """A second answer raises and changes nothing: the queue would take more than its limit."""
    bench = Bench()
    bench.feed(b'{"message": "hi"}', b'{"message": "hi"}')
    for batch in bench.waiting:
        bench.protocol.on_batch_handled(batch, 1, {}, bench.now)
    with pytest.raises(ValueError, match="not waiting"):
        bench.protocol.on_batch_handled(bench.waiting[0], 1, {}, bench.now)
    assert (bench.stats().queued_bytes, bench.stats().delivered) == (0, 2)


def test_an_impossible_answer_for_a_baseline_batch_is_our_mistake() -> None:
    """It raises and changes nothing; the batch still waits."""
    bench = Bench()
    bench.feed(b'{"message": "hi"}')
    (batch,) = bench.waiting
    impossible: list[tuple[int, dict[str, int]]] = [(-1, {}), (1, {"json": -1})]
    for delivered, rejected in impossible:
        with pytest.raises(ValueError, match="negative"):
            bench.protocol.on_batch_handled(batch, delivered, rejected, bench.now)
    bench.protocol.on_batch_handled(batch, 1, {}, bench.now)
    assert (bench.stats().queued_bytes, bench.stats().delivered) == (0, 1)

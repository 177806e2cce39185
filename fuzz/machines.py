"""Targets: the two protocol machines and the reassembly, driven by a hostile network.

The input is a story: which datagram comes next, from where, after how long, with which numbers in
it. Frames and checksums are right, so that the story gets behind them; the fields are not. After
each step the books must balance (identities S and R), budgets must hold, and no batch may come
out twice.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.payload.encoded import Encoded
from batchudp_handler.core.receive.events import BatchReceived, StreamEnded
from batchudp_handler.core.receive.reassembly import Budget, ReassemblyLimits, StreamReassembly
from batchudp_handler.core.receive.receiver import ReceiverProtocol, ReceiverSettings
from batchudp_handler.core.records.snapshot import STACK_INFO
from batchudp_handler.core.send.deliveries import make_delivery
from batchudp_handler.core.send.retry import SendFailure
from batchudp_handler.core.send.settings import SenderSettings
from batchudp_handler.core.send.storage import StoragePolicy
from batchudp_handler.core.wire.ack import Ack, decode_ack, encode_ack
from batchudp_handler.core.wire.constants import NO_COOKIE
from batchudp_handler.core.wire.datagram import CHECKSUM, DatagramType, Header, encode_data, parse
from batchudp_handler.core.wire.sync import Sync, encode_sync

from .feed import Feed
from .guard import limited

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchudp_handler.core.records.batch import Snapshot

__all__ = ["reassembly", "receiver", "sender"]

STREAM = 0x1122334455667788
WALL = 1_700_000_000.0
MOST_STEPS = 300
CHECKED_EVERY = 8
"""Steps: looking at all numbers of a receiver costs more than a step does."""


# --- the sender -------------------------------------------------------------------------------


def sender(data: bytes) -> None:
    """A sender, and an answering side that says anything."""
    feed = Feed(data)
    story = _SenderStory(feed)
    for _ in range(MOST_STEPS):
        if not feed:
            break
        feed.pick(story.steps)()
        story.check()
    story.finish()


_NO_TEXTS = (None,) * STACK_INFO
"""The other fields of a snapshot, in which limits look for texts that are too long."""


def _encode(snapshots: Sequence[Snapshot], /) -> Encoded:
    """Record numbers, padded to sizes that differ, and cheap to make."""
    body = json.dumps([each[0] for each in snapshots]).encode()
    return Encoded(0, body, len(body))


class _SenderStory:
    """One sender and what it is put through."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.now = 0.0
        self.accepted = 0
        self.counter = 0
        self.sent_end = 0
        self.epochs = [77]
        self.stored: dict[int, bytes] = {}
        settings = SenderSettings(
            encoder=_encode,
            max_datagram_size=feed.pick((200, 128, 548, 1432)),
            acknowledged=feed.below(4) != 0,
            max_retained_bytes=feed.pick((8 << 20, 1_000, 5_000)),
            max_held_records=feed.pick((1 << 62, 50)),
            storage=feed.pick(
                (StoragePolicy.OFF, StoragePolicy.WHEN_NEEDED, StoragePolicy.ALWAYS)
            ),
        )
        self.machine = make_delivery(settings, stream_id=STREAM, random=lambda: 0.5)
        # what happens most often stands here most often
        self.steps = (
            *(self.log, self.log, self.send, self.send_all, self.send_all, self.wait, self.wait),
            *(self.answer_well, self.answer_well, self.answer_well, self.acknowledge),
            *(self.acknowledge, self.challenge, self.garbage, self.refuse, self.store, self.load),
            *(self.resize, self.drop, self.close),
        )
        if feed.below(4):
            self._begin()

    def _begin(self) -> None:
        """The handshake, as it should be."""
        self.log()
        self.send()
        self._answer(Ack(receiver_epoch=77, cookie=b"c" * 16))
        self.now += 0.06
        self.send()
        self._answer(Ack(receiver_epoch=77, credit=1 << 20))

    def log(self) -> None:
        count = self.feed.below(40)
        padding = "x" * self.feed.pick((0, 20, 300, 5_000))
        records = [(f"{self.accepted + number}{padding}", *_NO_TEXTS) for number in range(count)]
        self.accepted += count
        self.machine.send_batch(records, self.now, WALL + self.now)

    def send(self) -> None:
        with limited():
            self.machine.handle_timeout(self.now)
            data = self.machine.datagram_to_send(self.now)
        if data is None:
            return
        assert self.machine.datagram_to_send(self.now) == data
        self.machine.on_datagram_sent(self.now)
        header = parse(data)
        assert isinstance(header, Header)
        if header.type == DatagramType.DATA_ACKNOWLEDGED:
            self.sent_end = max(self.sent_end, header.seq + 1)

    def send_all(self) -> None:
        for _ in range(20):
            self.send()

    def refuse(self) -> None:
        self.machine.handle_timeout(self.now)
        if self.machine.datagram_to_send(self.now) is not None:
            failure = self.feed.pick(tuple(SendFailure))
            self.machine.on_send_failed(failure, self.now, self.feed.pick((None, 600, 64, 0)))

    def wait(self) -> None:
        due = self.machine.next_timeout()
        seconds = self.feed.pick((0.0, 0.001, 0.06, 1.0, 30.0))
        if seconds == 0.0 and due is not None:
            self.now = max(self.now, due)
        else:
            self.now += seconds
        self.machine.handle_timeout(self.now)

    def answer_well(self) -> None:
        """What an honest receiver would say, which has some of the datagrams."""
        low = min(self.machine.floor, self.sent_end)
        floor = low + self.feed.below(min(self.sent_end - low, 254) + 1)
        most = (1 << min(self.sent_end - floor, 4_096)) - 1
        bitmap = int.from_bytes(self.feed.take(self.feed.pick((0, 1, 2))), "little") & most
        self.counter += 1
        ack = Ack(receiver_epoch=self.epochs[-1], floor=floor, credit=1 << 20, bitmap=bitmap)
        self._send_answer(ack)

    def acknowledge(self) -> None:
        """An ACK whose every field is near what it should be, or far from it."""
        feed, machine = self.feed, self.machine
        bitmap = int.from_bytes(feed.take(feed.pick((0, 1, 2, 512))), "little")
        self._answer(
            Ack(
                receiver_epoch=self._epoch(),
                floor=feed.number(64, machine.floor + feed.below(8)),
                credit=feed.pick((1 << 20, 0, 1, 0xFFFF_FFFF)),
                rejected_records=feed.number(32),
                delivered_records=feed.number(32),
                bitmap=bitmap,
                closing=feed.below(16) == 0,
            )
        )

    def challenge(self) -> None:
        self._answer(Ack(receiver_epoch=self._epoch(), cookie=self.feed.take(16).ljust(16, b"c")))

    def _epoch(self) -> int:
        if self.feed.below(8) == 0:
            self.epochs = [*self.epochs[-3:], self.feed.number(64) or 1]
        return self.epochs[-1] if self.feed.below(4) else self.feed.pick(self.epochs)

    def _answer(self, ack: Ack) -> None:
        self.counter = (
            self.feed.number(32, self.counter + 1)
            if self.feed.below(4) == 0
            else (self.counter + 1)
        )
        self._send_answer(ack)

    def _send_answer(self, ack: Ack) -> None:
        data = encode_ack(CHECKSUM, ack, stream_id=STREAM, counter=self.counter, sealed_at=0)
        self._receive(data)

    def garbage(self) -> None:
        self._receive(self.feed.take(self.feed.below(100)))

    def _receive(self, data: bytes) -> None:
        with limited():
            self.machine.receive_datagram(data, self.now)

    def store(self) -> None:
        offered = self.machine.datagrams_to_store(self.now)
        if self.feed.below(4) == 0:
            self.machine.on_store_failed(self.now)
            return
        self.stored.update((each.seq, each.data) for each in offered)
        self.machine.on_stored([each.seq for each in offered])

    def load(self) -> None:
        for seq in self.machine.datagrams_to_load():
            is_lost = self.feed.below(5) == 0
            self.machine.on_loaded(seq, None if is_lost else self.stored.get(seq))

    def drop(self) -> None:
        if self.feed.below(2):
            self.machine.note_dropped(self.feed.number(16), self.now)
        elif self.stored:
            first = self.feed.pick(sorted(self.stored))
            self.machine.on_spool_dropped(first, first + self.feed.below(4))

    def resize(self) -> None:
        self.machine.set_max_datagram_size(self.feed.pick((200, 128, 1432, 65_507, 0)))

    def close(self) -> None:
        kind = self.feed.below(8)
        if kind == 0:
            self.machine.close()
        elif kind == 1:
            self.machine.give_up()
        else:
            self.machine.on_new_socket()

    def check(self) -> None:
        """Identity S."""
        machine, counters = self.machine, self.machine.counters
        settled = counters.sent + counters.confirmed + counters.rejected_by_receiver
        settled += counters.unconfirmed + sum(counters.dropped.values())
        held = machine.pending_records + machine.retained_records + machine.spooled_records
        assert self.accepted == settled + held, (self.accepted, settled, held)
        assert machine.bytes_in_flight >= 0

    def finish(self) -> None:
        """Giving up settles everything."""
        self.machine.give_up()
        self.check()
        assert self.machine.is_closed


# --- the receiver -----------------------------------------------------------------------------

SMALL = ReassemblyLimits(group_bytes=2_000, stream_bytes=6_000, total_bytes=10_000)
HOMES = (("192.0.2.1", 1), ("192.0.2.1", 2), ("192.0.2.2", 1))


def receiver(data: bytes) -> None:
    """A receiver with small limits, and senders that lie about everything but the checksum."""
    feed = Feed(data)
    story = _ReceiverStory(feed)
    for _ in range(MOST_STEPS):
        if not feed:
            break
        feed.pick(story.steps)()
        story.collect()
    story.finish()


class _ReceiverStory:
    """One receiver and what comes to it."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.now = 1000.0
        self.settings = ReceiverSettings(
            work_queue_bytes=3_000,
            max_streams=3,
            reassembly=SMALL,
            receive_buffer=feed.pick((212_992, 2_304)),
        )
        self.machine = ReceiverProtocol(
            self.settings, epoch=5, secret=b"s" * 32, now=self.now, wall=WALL
        )
        self.waiting: list[BatchReceived] = []
        self.seen: set[tuple[int, int]] = set()
        self._steps = 0
        self.cookies: dict[tuple[object, int], bytes] = {}
        """Of a stream at an address."""
        self.next = dict.fromkeys(range(1, 6), (0, 0, 0))
        """Of each stream: the numbers that an honest sender would use next."""
        self.steps = (
            *(self.data, self.data, self.data, self.in_order, self.in_order, self.fragment),
            *(self.sync, self.connect, self.garbage, self.handle, self.handle, self.drained),
            *(self.wait, self.wait, self.close, self.handle),
        )

    # what comes

    def data(self) -> None:
        """DATA with numbers near the right ones."""
        feed = self.feed
        stream = 1 + feed.below(5)
        seq, rec, counter = self.next[stream]
        seq, rec = feed.number(64, seq), feed.number(32, rec)
        n_rec = feed.number(16, 3)
        self.next[stream] = ((seq + 1) % 2**64, (rec + n_rec) % 2**32, counter)
        frag_count = feed.number(16, 1) if feed.below(8) == 0 else 1
        frag_index = feed.number(16) if frag_count != 1 else 0
        self._send(stream, seq, rec, n_rec, frag_index, frag_count, self._body())

    def in_order(self) -> None:
        """What an honest sender would send."""
        stream = 1 + self.feed.below(5)
        seq, rec, counter = self.next[stream]
        self.next[stream] = ((seq + 1) % 2**64, (rec + 2) % 2**32, counter)
        self._send(stream, seq, rec, 2, 0, 1, b"body")

    def fragment(self) -> None:
        """A group, in any order, perhaps with one liar."""
        feed = self.feed
        stream = 1 + feed.below(5)
        seq, rec, counter = self.next[stream]
        count = 2 + feed.below(6)
        self.next[stream] = ((seq + count) % 2**64, (rec + 1) % 2**32, counter)
        size = feed.pick((1, 100, 700))
        for _ in range(count + feed.below(3)):
            index = feed.below(count)
            length = size if feed.below(12) else feed.below(1_000)
            claimed = count if feed.below(16) else 2 + feed.below(6)
            self._send(stream, seq + index, rec, 1, index, claimed, b"f" * length)

    def _body(self) -> bytes:
        return self.feed.take(self.feed.below(16)) * self.feed.pick((1, 1, 1, 200))

    def _send(
        self, stream: int, seq: int, rec: int, n_rec: int, index: int, count: int, body: bytes
    ) -> None:
        data = encode_data(
            CHECKSUM, body, acknowledged=stream > 2, codec=self.feed.below(4),
            stream_id=stream, seq=seq % 2**64, rec=rec, sealed_at=int(WALL), n_rec=n_rec,
            frag_index=index, frag_count=count,
        )  # fmt: skip
        self._arrive(data)

    def connect(self) -> None:
        """A handshake and a heartbeat, as they should be."""
        stream = 3 + self.feed.below(3)
        seq, rec, counter = self.next[stream]
        self.next[stream] = (seq, rec, (counter + 3) % 2**64)
        for number in (1, 2, 3):
            cookie = self.cookies.get((HOMES[0], stream), NO_COOKIE)
            floor = max(0, seq - self.feed.below(3))
            sync = Sync(
                next_seq=seq, floor=floor, next_rec=rec, acknowledged=True, cookie=cookie,
                receiver_epoch=self.feed.pick((0, 5, 6)),
            )  # fmt: skip
            self._arrive(
                encode_sync(
                    CHECKSUM,
                    sync,
                    stream_id=stream,
                    counter=(counter + number) % 2**64,
                    sealed_at=0,
                ),
                HOMES[0],
            )

    def sync(self) -> None:
        feed = self.feed
        stream = 1 + feed.below(5)
        seq, rec, counter = self.next[stream]
        counter = feed.number(64, counter + 1)
        self.next[stream] = (seq, rec, counter)
        home = feed.pick(HOMES)
        next_seq = feed.number(64, seq)
        sync = Sync(
            next_seq=next_seq,
            floor=max(0, next_seq - feed.below(70)) if feed.below(4) else feed.number(64),
            next_rec=feed.number(32, rec),
            acknowledged=stream > 2,
            closing=feed.below(6) == 0,
            resumed=feed.below(6) == 0,
            max_datagram=feed.number(16, 1432),
            dropped_records=feed.number(32),
            receiver_epoch=feed.pick((0, 5, 6)),
            cookie=self.cookies.get((home, stream), feed.take(16).ljust(16)),
            promise_ms=feed.number(32),
        )
        data = encode_sync(CHECKSUM, sync, stream_id=stream, counter=counter, sealed_at=int(WALL))
        self._arrive(data, home)

    def garbage(self) -> None:
        prefix = self.feed.pick(
            (b"", b"\xcb\xf2\x81", b"\xcb\xf2\x00", b"\xcb\xf2\x01\x78\x9c", b"[")
        )
        self._arrive(prefix + self.feed.take(self.feed.below(80)))

    def _arrive(self, data: bytes, home: tuple[str, int] | None = None) -> None:
        home = home or HOMES[0 if self.feed.below(8) else self.feed.below(3)]
        with limited():
            self.machine.receive_datagram(data, home, self.now, WALL + self.now - 1000.0)
        sent = self.machine.datagrams_to_send()
        assert all(len(reply) < len(data) or not _is_challenge(reply) for reply, _ in sent)
        self._take_replies(sent)

    def _take_replies(self, sent: Sequence[tuple[bytes, object]]) -> None:
        for reply, home in sent:
            header, ack = parse(reply), decode_ack(CHECKSUM.open(reply))
            if ack.cookie is not None and isinstance(header, Header):
                self.cookies[home, header.stream_id] = ack.cookie

    # what the shell does

    def handle(self) -> None:
        if not self.waiting:
            return
        batch = self.waiting.pop(self.feed.below(len(self.waiting)))
        delivered = self.feed.below(batch.n_rec + 1) if self.feed.below(4) == 0 else batch.n_rec
        rejected: dict[str, int] = (
            {Reason.JSON: batch.n_rec - delivered} if self.feed.below(2) else {}
        )
        with limited():
            self.machine.on_batch_handled(batch, delivered, rejected, self.now)

    def drained(self) -> None:
        self.machine.on_socket_drained(self.now)

    def wait(self) -> None:
        due = self.machine.next_timeout()
        seconds = self.feed.pick((0.0, 0.001, 0.5, 2.5, 70.0, 700.0))
        self.now = max(self.now, due) if seconds == 0.0 and due else self.now + seconds
        with limited():
            self.machine.handle_timeout(self.now)

    def close(self) -> None:
        if self.feed.below(32) == 31:
            self.machine.close(self.now)

    # what must hold

    def collect(self) -> None:
        self._take_replies(self.machine.datagrams_to_send())
        for event in self.machine.events_received():
            if isinstance(event, BatchReceived):
                self._take_batch(event)
            elif isinstance(event, StreamEnded):
                self.seen = {place for place in self.seen if place[0] != event.stream_id}
        self._steps += 1
        if self._steps % CHECKED_EVERY == 0:
            self.check()

    def _take_batch(self, event: BatchReceived) -> None:
        self.waiting.append(event)
        if event.stream_id is not None:
            place = (event.stream_id, event.seq)
            assert place not in self.seen, "the same batch twice"
            self.seen.add(place)

    def check(self) -> None:
        """Identity R for each stream, and all budgets."""
        stats = self.machine.stats(self.now)
        for stream in stats.streams.values():
            found = stream.delivered + sum(stream.rejected.values()) + stream.lost
            found += stream.missing + stream.abandoned + stream.pending
            assert stream.next_rec - stream.first_rec == found, stream
            counts = (stream.delivered, stream.lost, stream.missing, stream.pending)
            assert min(*counts, stream.abandoned, stream.duplicates) >= 0, stream
        assert stats.streams_live <= self.settings.max_streams
        assert 0 <= stats.reassembly_bytes <= SMALL.total_bytes
        largest = 70_000  # an empty queue takes any batch
        assert 0 <= stats.queued_bytes <= self.settings.work_queue_bytes + largest

    def finish(self) -> None:
        """When the handlers are done nothing is left in any budget."""
        while self.waiting:
            batch = self.waiting.pop()
            self.machine.on_batch_handled(batch, batch.n_rec, {}, self.now)
            self.collect()
        assert self.machine.stats(self.now).queued_bytes == 0
        self.machine.close(self.now)
        self.collect()
        self.check()


def _is_challenge(reply: bytes) -> bool:
    return decode_ack(CHECKSUM.open(reply)).cookie is not None


# --- reassembly -------------------------------------------------------------------------------


def reassembly(data: bytes) -> None:
    """Fragments of two streams, in any order: budgets hold, and what is admitted stays so."""
    feed = Feed(data)
    total = Budget(SMALL.total_bytes)
    streams = [StreamReassembly(SMALL, total), StreamReassembly(SMALL, total)]
    now = 0.0
    for _ in range(MOST_STEPS):
        if not feed:
            break
        now += feed.pick((0.0, 0.0, 1.0))
        _add_fragment(feed, feed.pick(streams), now)
        _check_budgets(streams, total)
    for stream in streams:
        for key in list(stream.groups):
            stream.remove(key)
    assert total.used == 0


def _add_fragment(feed: Feed, stream: StreamReassembly, now: float) -> None:
    count = 2 + feed.below(feed.pick((3, 8, 1023)))
    index = feed.below(count)
    key = feed.below(4) * 1024
    fields = feed.below(16)
    header = Header(
        DatagramType.DATA, 0, int(fields == 1), 1, key + index, int(fields == 2), 0,
        1 + int(fields == 3), index, count,
    )  # fmt: skip
    size = feed.pick((100, 1, 0, 1_400)) if feed.below(4) else feed.number(16)
    old = stream.groups.get(key)
    is_admitted = old is not None and old.fragment_size is not None
    if old is not None and index in old.parts:
        return
    try:
        with limited():
            group = stream.add(
                header, b"f" * min(size, 65_000), now, feed.pick((0, 1_400, 65_507))
            )
    except DecodeError as error:
        if is_admitted and error.reason is Reason.REASSEMBLY_REFUSED:
            raise AssertionError("a fragment of an admitted group was refused") from error
        if error.reason is Reason.GROUP_MISMATCH:
            stream.remove(key)
        return
    if group.is_complete:
        assert len(group.join()) == sum(map(len, group.parts.values()))
        assert len(group.join()) < SMALL.group_bytes + len(group.parts[0])
        stream.remove(key)
    for expired in stream.expired(now):
        stream.remove(expired.key)


def _check_budgets(streams: Sequence[StreamReassembly], total: Budget) -> None:
    for stream in streams:
        assert stream.reserved == sum(group.reserved for group in stream.groups.values())
        assert stream.reserved <= SMALL.stream_bytes
        for group in stream.groups.values():
            assert sum(map(len, group.parts.values())) <= group.reserved
    assert total.used == sum(stream.reserved for stream in streams) <= SMALL.total_bytes

"""What does the receiving machine do with a datagram?

`ReceiverProtocol` is fed datagrams, addresses and the time; it hands out events, datagrams to send
and its next deadline. It opens nothing, waits for nothing and never raises on what the network
sent: what it does not take it counts, by reason.

Each datagram meets the same gates in the same order, cheapest first and nothing stored before the
trailer has proved right: source, form, key, tag, fields, freshness, stream, address, duplicates,
room. Behind the gates `receive_stream.Stream` keeps the numbers.

Only acknowledged streams are ever answered, and only where the address is proven, apart from
challenges, which are smaller than what causes them.

    shell: receive_datagram -> datagrams_to_send -> events_received -> next_timeout, and, when the
    socket has been read empty, on_socket_drained before datagrams_to_send
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from math import inf
from typing import TYPE_CHECKING

from batchudp_handler.core.errors import ConfigError, DecodeError, Reason
from batchudp_handler.core.receive.admission import AllowList, SourceLimiter, source_of
from batchudp_handler.core.receive.census import Census, Progress
from batchudp_handler.core.receive.cookies import ChallengeLimiter, ChallengeLimits, CookieMaker
from batchudp_handler.core.receive.events import (
    AddressShared,
    BatchReceived,
    DatagramsRefused,
    Event,
    RecordsLost,
    SenderDropped,
    StreamEnded,
    StreamStarted,
)
from batchudp_handler.core.receive.reassembly import Budget, ReassemblyLimits
from batchudp_handler.core.receive.refusals import Refusals
from batchudp_handler.core.receive.shared_address import LEFT_FOR_ANOTHER, SharedAddress
from batchudp_handler.core.receive.stream import Arrival, Shared, Stream
from batchudp_handler.core.receive.streams import PROTECTED_SECONDS, StreamTable
from batchudp_handler.core.wire.auth import Key, KeyRing
from batchudp_handler.core.wire.constants import NO_COOKIE
from batchudp_handler.core.wire.datagram import (
    Ack,
    Baseline,
    DatagramType,
    Header,
    Seal,
    Sync,
    decode_sync,
    encode_ack,
    parse,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from batchudp_handler.core.receive.stats import Address, ReceiverStats
    from batchudp_handler.core.receive.tombstones import Tombstone

__all__ = ["ReceiverProtocol", "ReceiverSettings"]

BATCH_OVERHEAD = 512
"""Charged for each batch in the work queue on top of its bytes: a million batches of one byte
are not a megabyte."""
GAP_LIMIT = 65_536
"""Gaps that all streams together keep, beyond the few that each may have."""
START_TOLERANCE = 5
"""Seconds before our start that a one-way datagram with a key may have been sealed."""
CLOCK_IS_SET = 1_577_836_800
"""The year 2020. A clock that says less has not been set since the machine was switched on."""
ACK_EVERY_RECEIVED = 8
ACK_EVERY_HANDLED = 16
CHECK_INTERVAL = 0.05
"""Shortest time between two walks over all streams for their deadlines."""
CREDIT_SHARE = 4
"""A quarter of the kernel's buffer is promised: what the kernel charges for a datagram is up to
four times its size."""
MAX_CREDIT = 0xFFFF_FFFF
_DATA, _DATA_ACKNOWLEDGED, _SYNC, _ = map(int, DatagramType)
"""Plain numbers, because comparing members of an enumeration shows in every datagram."""


@dataclass(frozen=True, slots=True)
class ReceiverSettings:
    """What a receiver accepts and how much it keeps."""

    keys: Sequence[Key] = ()
    accept_unauthenticated: bool = False
    """Take datagrams without a key although there are keys."""
    allow: Sequence[str] = ()
    """Source networks; none given: all."""
    source_rate: float | None = None
    """Datagrams per second from one source address; None: any number."""
    source_burst: float = 1000.0
    receive_buffer: int = 212_992
    """Bytes of the kernel's buffer, as granted."""
    work_queue_bytes: int = 16 << 20
    max_streams: int = 1024
    remembered_streams: int = 100_000
    """Of each kind: streams that are recognised after they have left the table, at least 2."""
    challenge_limits: ChallengeLimits = field(default_factory=ChallengeLimits)
    stream_idle: float = 600.0
    """Seconds of silence after which a stream is forgotten, at least 60."""
    reassembly: ReassemblyLimits = field(default_factory=ReassemblyLimits)

    def __post_init__(self) -> None:
        """Refuse what can not work."""
        if self.max_streams < 1 or self.work_queue_bytes < 1 or self.receive_buffer < 1:
            raise ConfigError("streams, work queue and receive buffer must be at least 1")
        if self.remembered_streams < 2:
            raise ConfigError("remembered streams must be at least 2")
        if self.source_rate is not None and (self.source_rate <= 0 or self.source_burst < 1):
            raise ConfigError("a source's rate must be positive and its burst at least 1")


class ReceiverProtocol:
    """The receiving machine.

    Args:
        settings: see `ReceiverSettings`.
        epoch: random 64 bits, not 0, new at each start.
        secret: random bytes for cookies and tables, new at each start.
        now: on a clock that never goes back.
        wall: Unix time.
    """

    def __init__(
        self, settings: ReceiverSettings, *, epoch: int, secret: bytes, now: float, wall: float
    ) -> None:
        if not 0 < epoch < 1 << 64:
            raise ValueError("the epoch has 64 bits and is not 0")
        self._settings = settings
        self._epoch = epoch
        self._started = now
        self._now = now
        self._wall = wall
        self._clock_offset = inf
        self._look_at_clock()
        self._ring = KeyRing(settings.keys, accept_unauthenticated=settings.accept_unauthenticated)
        self._allowed = AllowList(settings.allow)
        rate = settings.source_rate
        self._sources = SourceLimiter(rate, settings.source_burst) if rate is not None else None
        self._cookies = CookieMaker(secret)
        self._challenge_limiter = ChallengeLimiter(settings.challenge_limits, now)
        self._sharing = SharedAddress()
        self._streams = StreamTable(settings.max_streams, settings.remembered_streams, secret, now)
        limits = settings.reassembly
        self._shared = Shared(limits, Budget(limits.total_bytes), Budget(GAP_LIMIT))
        self._counter = 0
        self._next_check = inf
        self._checked = -inf
        self._is_closing = False

        self._events: list[Event] = []
        self._replies: list[tuple[bytes, Address]] = []
        self._touched: dict[int, Stream] = {}
        self._due: dict[int, Stream] = {}
        self._queued = 0

        self._datagrams = 0
        self._bytes = 0
        self._base_delivered = 0
        self._base_rejected: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._refusals = Refusals()
        self._refused_records: Counter[str] = Counter()
        self._reply_count = 0
        self._reply_bytes = 0
        self._challenge_count = 0
        self._auth_failed: Counter[int] = Counter()
        self._key_last_used: dict[int, float] = {}

    # inputs

    def receive_datagram(self, data: bytes, address: Address, now: float, wall: float) -> None:
        """Take a datagram; never raises on what it is."""
        if self._is_closing:
            return
        self._now = now
        self._wall = wall
        self._look_at_clock()
        self._datagrams += 1
        self._bytes += len(data)
        try:
            self._check_source(address, now)
            parsed = parse(data)
            if isinstance(parsed, Baseline):
                self._receive_baseline(parsed, address, wall)
            else:
                self._receive_frame(parsed, data, address)
        except DecodeError as error:
            self._refuse(error.reason, address)

    def refuse_datagram(self, reason: Reason, address: Address, now: float) -> None:
        """Count a datagram that the shell could not read whole."""
        self._now = max(now, self._now)
        self._refuse(reason, address)

    def _refuse(self, reason: Reason, address: Address) -> None:
        self._refused[reason] += 1
        self._refusals.add(reason, source_of(address))
        due = self._refusals.due_at(reason)
        if due <= self._now:
            self._report_refusals()
        elif due < self._next_check:
            self._next_check = due

    def _report_refusals(self) -> None:
        self._events.extend(map(DatagramsRefused, self._refusals.due(self._now)))

    def on_batch_handled(
        self, event: BatchReceived, delivered: int, rejected: Mapping[str, int], now: float
    ) -> None:
        """The handlers have returned from a batch: it is final.

        Args:
            event: as it came out of `events_received`.
            delivered: records that were handed to local logging (or that no logger wanted).
            rejected: the others by reason. Records of a stream's batch that are in neither are
                rejected as `record_count`.
            now: the time.

        Raises:
            ValueError: more records than the batch has, or it was not waiting.
        """
        self._now = max(now, self._now)
        if event.stream_id is None:
            self._base_delivered += delivered
            self._base_rejected.update({str(key): count for key, count in rejected.items()})
            self._queued -= _charge(event.body)
            return
        stream = self._streams.get(event.stream_id)
        if stream is None or event.seq not in stream.pending:
            raise ValueError("this batch is not waiting to be handled")
        stream.on_handled(event.seq, delivered, rejected)
        self._queued -= _charge(event.body)
        if stream.acknowledged:
            self._touched[stream.stream_id] = stream
            if not stream.pending or stream.handled_since_ack >= ACK_EVERY_HANDLED:
                self._due[stream.stream_id] = stream
        self._end_if_settled(stream)

    def on_socket_drained(self, now: float) -> None:
        """Nothing more is waiting in the socket: answer whoever was heard."""
        self._now = max(now, self._now)
        self._due.update(self._touched)

    def handle_timeout(self, now: float) -> None:
        """Do what has become due: losses, vanished and idle streams."""
        self._now = max(now, self._now)
        if now < self.next_check:
            return
        self._checked = now
        for stream in [each for each in self._streams if each.deadline <= now]:
            self._on_deadline(stream, now)
        self._report_refusals()
        deadlines = (stream.deadline for stream in self._streams)
        self._next_check = min(deadlines, default=inf)
        self._next_check = min(self._next_check, self._refusals.next_due)

    def close(self, now: float) -> None:
        """Take no more datagrams, tell the senders, and let the handlers finish."""
        if self._is_closing:
            return
        self._now = max(now, self._now)
        self._is_closing = True
        self._events.extend(map(DatagramsRefused, self._refusals.rest(now)))
        for stream in self._streams:
            if stream.acknowledged:
                self._due[stream.stream_id] = stream
        # the streams that are with the handlers end when these return
        for stream in list(self._streams):
            self._end_if_settled(stream)

    # outputs

    def events_received(self) -> list[Event]:
        """What has happened since the last call, in order."""
        events, self._events = self._events, []
        return events

    def datagrams_to_send(self) -> list[tuple[bytes, Address]]:
        """Challenges and acks. Acks are made here, so that they tell the latest."""
        replies, self._replies = self._replies, []
        due, self._due = self._due, {}
        for stream in due.values():
            ack = self._ack(stream)
            if ack is not None:
                replies.append((ack, stream.address))
        self._reply_count += len(replies)
        self._reply_bytes += sum(len(data) for data, _ in replies)
        return replies

    @property
    def next_check(self) -> float:
        """When `handle_timeout` has something to do; infinite: never."""
        return max(self._next_check, self._checked + CHECK_INTERVAL)

    def next_timeout(self) -> float | None:
        """When to call `handle_timeout`; None: no need."""
        time = self.next_check
        return None if time == inf else time

    # gates

    def _check_source(self, address: Address, now: float) -> None:
        if not self._allowed and self._sources is None:
            return
        source = source_of(address)
        if not self._allowed.permits(source):
            raise DecodeError(Reason.NOT_ALLOWED)
        if self._sources is not None and not self._sources.take(source, now):
            raise DecodeError(Reason.RATE_LIMITED)

    def _receive_baseline(self, baseline: Baseline, address: Address, wall: float) -> None:
        if not self._ring.accepts_unauthenticated:
            raise DecodeError(Reason.UNAUTHENTICATED)
        if not self._has_room(baseline.body):
            raise DecodeError(Reason.NO_ROOM)
        self._queued += _charge(baseline.body)
        codec, body = baseline
        self._events.append(BatchReceived(None, 0, 0, codec, body, address, 0, wall))

    def _receive_frame(self, header: Header, data: bytes, address: Address) -> None:
        key_id = header.key_id
        seal = self._ring.seal(key_id)
        try:
            body = seal.open(data)
        except DecodeError as error:
            if error.reason is Reason.AUTH_FAILED:
                self._auth_failed[key_id] += 1
            raise
        if key_id:
            self._key_last_used[key_id] = self._wall
        header.check()
        kind = header.type
        if kind == _DATA:
            self._receive_one_way(header, body, len(data), address)
        elif kind == _DATA_ACKNOWLEDGED:
            self._receive_acknowledged(header, body, len(data), address, seal)
        elif kind == _SYNC:
            sync = decode_sync(body, seal.overhead)
            if sync.acknowledged:
                self._receive_acknowledged_sync(header, sync, address, seal)
            else:
                self._receive_one_way_sync(header, sync, address)
        else:
            raise DecodeError(Reason.UNSUPPORTED_TYPE, "ACK")

    def _check_fresh(self, header: Header) -> None:
        """Keep recordings from an earlier life of the receiver from being played to this one.

        Only a new one-way stream with a key is asked. Copies of streams that this life has met are
        recognised by their numbers, whatever any clock says; acknowledged ones need a cookie.
        What was sealed before our start is refused; where so many streams were forgotten that
        tombstones had to go, before the time since when none has. That time is ours: no sealing
        time of one sender has a part in whether another one is heard.

        Our own clock may be set while we run. Of all that it has said, the earliest counts, so
        that a step never makes a fresh datagram look old; what it says before it was ever set
        does not count.
        """
        if header.key_id and header.sealed_at < self._memory_begins - START_TOLERANCE:
            raise DecodeError(Reason.STALE)

    def _look_at_clock(self) -> None:
        offset = self._wall - self._now
        if offset < self._clock_offset and self._wall >= CLOCK_IS_SET:
            self._clock_offset = offset

    @property
    def _memory_begins(self) -> float:
        """Unix time since when every one-way stream with a key would be recognised."""
        offset = self._clock_offset
        return -inf if offset == inf else int(self._streams.complete_since + offset)

    def _has_room(self, body: bytes) -> bool:
        """Whether the work queue takes a batch; an empty one takes any."""
        return not self._queued or self._queued + _charge(body) <= self._settings.work_queue_bytes

    # one-way streams

    def _receive_one_way(self, header: Header, body: bytes, size: int, address: Address) -> None:
        stream = self._streams.get(header.stream_id)
        has_room = self._has_room(body)
        if stream is None:
            stream = self._begin_by_data(header, address, has_room=has_room)
            if stream is None:
                return
        else:
            self._enter_one_way(stream, header, address)
        self._touch(stream, size)
        expected = stream.ledger.next_seq
        try:
            arrival = stream.receive_data(header, body, self._now, has_room=has_room)
        finally:
            # in order and whole, deadlines can only have moved away
            if header.seq != expected or header.frag_count > 1:
                self._reschedule(stream)
        if header.seq != expected and self._sharing.on_gap(header.stream_id, header.seq, expected):
            self._events.append(AddressShared(address))
        if arrival is not None:
            self._deliver(stream, header, arrival, address)

    def _receive_one_way_sync(self, header: Header, sync: Sync, address: Address) -> None:
        stream = self._streams.get(header.stream_id)
        if stream is None:
            tombstone = self._remembered(header, acknowledged=False)
            if tombstone is not None and not tombstone.is_news(sync):
                return  # the second of two goodbyes
            stream = self._start_one_way(
                header, address, tombstone, next_seq=sync.next_seq, next_rec=sync.next_rec
            )
        else:
            self._enter_one_way(stream, header, address)
        self._apply_sync(stream, header, sync)

    def _begin_by_data(self, header: Header, address: Address, *, has_room: bool) -> Stream | None:
        """A stream for a datagram of an unknown one; None for a copy of what was had before."""
        first = header.seq - header.frag_index
        records = header.n_rec if header.frag_index == 0 else 0
        tombstone = self._remembered(header, acknowledged=False)
        if tombstone is not None and first < tombstone.next_seq:
            self._streams.count_duplicate(records)
            return None
        try:
            if not has_room:
                raise DecodeError(Reason.NO_ROOM)
            return self._start_one_way(
                header, address, tombstone, next_seq=first, next_rec=header.rec
            )
        except DecodeError as error:
            self._refused_records[error.reason] += records
            raise

    def _remembered(self, header: Header, *, acknowledged: bool) -> Tombstone | None:
        return self._streams.tombstone(header.stream_id, header.key_id, acknowledged=acknowledged)

    def _start_one_way(
        self,
        header: Header,
        address: Address,
        tombstone: Tombstone | None,
        *,
        next_seq: int,
        next_rec: int,
    ) -> Stream:
        if tombstone is None:
            self._check_fresh(header)
        else:
            next_seq, next_rec = tombstone.next_seq, tombstone.next_rec
        self._make_room()
        stream = Stream.one_way(
            header,
            address,
            next_seq=next_seq,
            next_rec=next_rec,
            shared=self._shared,
            now=self._now,
            is_return=tombstone is not None,
        )
        self._add(stream, tombstone)
        return stream

    def _enter_one_way(self, stream: Stream, header: Header, address: Address) -> None:
        stream.check_belongs(header, acknowledged=False)
        if address != stream.address:
            stream.address = address
            stream.address_changes += 1

    # acknowledged streams

    def _receive_acknowledged(
        self, header: Header, body: bytes, size: int, address: Address, seal: Seal
    ) -> None:
        stream = self._streams.get(header.stream_id)
        if stream is not None:
            stream.check_belongs(header, acknowledged=True)
        if stream is None or stream.address != address:
            self._challenge(header.stream_id, size, address, seal)
            return
        self._touch(stream, size)
        stream.received_since_ack += 1
        self._touched[stream.stream_id] = stream
        expected = stream.ledger.next_seq
        try:
            arrival = stream.receive_data(header, body, self._now, has_room=self._has_room(body))
        finally:
            # whatever is out of order is news that the sender waits for
            if header.seq != expected or stream.received_since_ack >= ACK_EVERY_RECEIVED:
                self._due[stream.stream_id] = stream
        if arrival is not None:
            self._deliver(stream, header, arrival, address)

    def _receive_acknowledged_sync(
        self, header: Header, sync: Sync, address: Address, seal: Seal
    ) -> None:
        stream = self._streams.get(header.stream_id)
        if stream is not None:
            stream.check_belongs(header, acknowledged=True)
        is_old = stream is not None and header.seq <= stream.sync_counter
        if is_old and not sync.resumed:
            raise DecodeError(Reason.REPLAYED, "SYNC")
        self._look_for_sharing(header.stream_id, sync, address, is_known=stream is not None)
        if stream is None or is_old or stream.address != address:
            if not self._cookies.is_good(sync.cookie, address, header.stream_id, self._now):
                self._challenge(header.stream_id, 128, address, seal)
                return
            self._challenge_limiter.on_proof(address)
            stream = self._prove(stream, header, sync, address, seal)
            if stream is None:
                return
        self._due[stream.stream_id] = self._touched[stream.stream_id] = stream
        self._apply_sync(stream, header, sync)

    def _look_for_sharing(
        self, stream_id: int, sync: Sync, address: Address, *, is_known: bool
    ) -> None:
        """Whether the sender speaks with another receiver, too.

        One that names another receiver may just not have heard our answers yet. So that counts
        for much only if it has named this one before, and for nothing before it was answered.
        """
        named = sync.receiver_epoch
        weight = 0
        if named == self._epoch:
            self._sharing.on_own(stream_id)
        elif is_known and named:
            weight = LEFT_FOR_ANOTHER if self._sharing.was_own(stream_id) else 1
        elif not (is_known or named or sync.cookie == NO_COOKIE):
            weight = not self._cookies.is_good(sync.cookie, address, stream_id, self._now)
        if weight and self._sharing.on_foreign(stream_id, self._now, weight):
            self._events.append(AddressShared(address))

    def _prove(
        self, stream: Stream | None, header: Header, sync: Sync, address: Address, seal: Seal
    ) -> Stream | None:
        """The address is proven: begin a stream, or let it move there.

        None: there is nothing to begin, because all is final that the sender may ask about.
        """
        if stream is not None:
            if stream.address != address:
                stream.address = address
                stream.address_changes += 1
                stream.allowance = 0
            # whoever takes up a stream from a spool counts on from a clock, which may be wrong
            stream.sync_counter = min(stream.sync_counter, header.seq - 1)
            return stream
        tombstone = self._remembered(header, acknowledged=True)
        if tombstone is not None and tombstone.answers(sync):
            self._answer(self._last_ack(tombstone), header.stream_id, address, seal)
            return None
        try:
            self._make_room()
        except DecodeError:
            self._answer(self._no_room(sync, tombstone), header.stream_id, address, seal)
            raise
        if tombstone is not None:
            sync = replace(sync, floor=max(sync.floor, tombstone.next_seq))
        stream = Stream.from_sync(header, address, sync, shared=self._shared, now=self._now)
        if sync.receiver_epoch not in (0, self._epoch):
            stream.sent_before = sync.next_seq
        self._add(stream, tombstone)
        return stream

    def _last_ack(self, tombstone: Tombstone) -> Ack:
        """What the stream would answer if it were still in the table."""
        return Ack(
            receiver_epoch=self._epoch,
            floor=tombstone.next_seq,
            credit=self._credit(),
            rejected_records=tombstone.rejected,
            delivered_records=tombstone.delivered,
            closing=self._is_closing,
        )

    def _no_room(self, sync: Sync, tombstone: Tombstone | None) -> Ack:
        """An answer to a stream that finds the table full: come back later.

        To any sender this is a receiver that takes nothing at present; a receiver that closes
        never offers a credit of 0, so that a sender can tell the two apart.
        """
        return Ack(
            receiver_epoch=self._epoch,
            floor=sync.floor,
            rejected_records=tombstone.rejected if tombstone else 0,
            delivered_records=tombstone.delivered if tombstone else 0,
            closing=True,
        )

    def _answer(self, ack: Ack, stream_id: int, address: Address, seal: Seal) -> None:
        self._replies.append((self._seal_ack(ack, stream_id, seal), address))

    def _challenge(self, stream_id: int, size: int, address: Address, seal: Seal) -> None:
        if not self._challenge_limiter.permits(address, size, self._now):
            self._refuse(Reason.UNPROVEN_ADDRESS, address)
            return
        cookie = self._cookies.make(address, stream_id, self._now)
        self._challenge_count += 1
        self._answer(Ack(receiver_epoch=self._epoch, cookie=cookie), stream_id, address, seal)

    def _ack(self, stream: Stream) -> bytes | None:
        """Seal an ack; None when the stream has not sent enough to be answered."""
        ack = Ack(
            receiver_epoch=self._epoch,
            floor=stream.window.floor,
            credit=max(self._credit(), self._is_closing),
            rejected_records=stream.base_rejected + sum(stream.rejected.values()),
            delivered_records=stream.base_delivered + stream.delivered,
            bitmap=stream.window.bitmap,
            closing=self._is_closing,
        )
        data = self._seal_ack(ack, stream.stream_id, self._ring.seal(stream.key_id))
        if len(data) > stream.allowance:
            return None
        stream.allowance -= len(data)
        stream.received_since_ack = stream.handled_since_ack = 0
        self._touched.pop(stream.stream_id, None)
        return data

    def _seal_ack(self, ack: Ack, stream_id: int, seal: Seal) -> bytes:
        self._counter += 1
        return encode_ack(
            seal, ack, stream_id=stream_id, counter=self._counter, sealed_at=int(self._wall)
        )

    def _credit(self) -> int:
        """A share of the kernel's buffer, less and less as the second half of the queue fills."""
        limit = self._settings.work_queue_bytes
        share = self._settings.receive_buffer // CREDIT_SHARE // self._streams.active(self._now)
        return min(MAX_CREDIT, share * max(0, min(limit, 2 * (limit - self._queued))) // limit)

    # both

    def _touch(self, stream: Stream, size: int) -> None:
        stream.touch(size, self._now)
        if stream.ended in ("vanished", "idle"):
            stream.ended = None
            self._announce(stream)
            self._reschedule(stream)

    def _apply_sync(self, stream: Stream, header: Header, sync: Sync) -> None:
        self._touch(stream, 128)
        try:
            dropped = stream.receive_sync(header.seq, sync, self._now)
        finally:
            self._reschedule(stream)
        if dropped:
            self._events.append(SenderDropped(stream.stream_id, stream.address, dropped))
        self._end_if_settled(stream)

    def _deliver(self, stream: Stream, header: Header, arrival: Arrival, address: Address) -> None:
        seq, body = arrival
        self._queued += _charge(body)
        self._events.append(
            BatchReceived(
                stream.stream_id,
                seq,
                header.n_rec,
                header.codec,
                body,
                address,
                header.key_id,
                self._wall,
            )
        )

    def _make_room(self) -> None:
        victim = self._streams.victim(self._now)
        if victim is not None:
            self._forget(victim, "evicted")

    def _add(self, stream: Stream, tombstone: Tombstone | None) -> None:
        self._streams.add(stream, tombstone)
        self._announce(stream)
        self._reschedule(stream)

    def _announce(self, stream: Stream) -> None:
        self._events.append(
            StreamStarted(stream.stream_id, stream.address, stream.key_id, stream.acknowledged)
        )

    # ends

    def _on_deadline(self, stream: Stream, now: float) -> None:
        stream.on_time(now)
        self._report_losses(stream)
        self._end_if_settled(stream)
        if self._streams.get(stream.stream_id) is not stream:
            return
        if not stream.pending and now >= self._idle_time(stream):
            self._forget(stream, "idle")
            return
        if stream.ended is None and now >= stream.vanish_time():
            self._end(stream, "vanished")
        self._reschedule(stream)

    def _report_losses(self, stream: Stream) -> None:
        if stream.newly_lost:
            lost, stream.newly_lost = stream.newly_lost, 0
            self._events.append(RecordsLost(stream.stream_id, stream.address, lost))

    def _idle_time(self, stream: Stream) -> float:
        return stream.last_seen + max(self._settings.stream_idle, PROTECTED_SECONDS)

    def _reschedule(self, stream: Stream) -> None:
        self._report_losses(stream)
        deadline = min(stream.loss_time(), self._idle_time(stream))
        if stream.ended is None:
            deadline = min(deadline, stream.vanish_time())
        stream.deadline = deadline
        self._next_check = min(self._next_check, deadline)

    def _end_if_settled(self, stream: Stream) -> None:
        if stream.ended is None:
            if stream.closing and stream.is_settled:
                self._end(stream, "closed")
            elif self._is_closing and not stream.pending:
                self._end(stream, "shutdown")
        if stream.ended == "closed" and stream.is_complete:
            # its last ack may be due still; everything else is in the tombstone
            self._touched.pop(stream.stream_id, None)
            self._streams.forget(stream, self._now)

    def _end(self, stream: Stream, reason: str) -> None:
        """Announce the end of a stream, once."""
        if stream.ended is not None:
            return
        stream.ended = reason
        self._streams.ended[reason] += 1
        self._events.append(
            StreamEnded(stream.stream_id, stream.address, stream.stats(self._now), reason)
        )

    def _forget(self, stream: Stream, reason: str) -> None:
        stream.release()
        self._report_losses(stream)
        self._end(stream, reason)
        self._touched.pop(stream.stream_id, None)
        self._due.pop(stream.stream_id, None)
        self._streams.forget(stream, self._now)

    # getters

    @property
    def is_settled(self) -> bool:
        """Whether no batch is with the handlers."""
        return not self._queued

    def census(self, now: float) -> Census:
        """All counters at this moment, but for those of the streams, which it copies later."""
        return Census(
            self._streams,
            delivered=self._base_delivered,
            rejected=self._base_rejected,
            others={
                "refused": {str(reason): count for reason, count in self._refused.items()},
                "refused_records": {
                    str(reason): count for reason, count in self._refused_records.items() if count
                },
                "trimmed": {},  # known to whoever decodes
                "datagrams_received": self._datagrams,
                "bytes_received": self._bytes,
                "replies": self._reply_count,
                "reply_bytes": self._reply_bytes,
                "challenges": self._challenge_count,
                "auth_failed": dict(self._auth_failed),
                "key_last_used": dict(self._key_last_used),
                "queued_bytes": self._queued,
                "reassembly_bytes": self._shared.reassembly.used,
                "uptime": now - self._started,
                "receive_buffer": self._settings.receive_buffer,
            },
            now=now,
        )

    def progress(self) -> Progress:
        """How many records were delivered, and lost or missing, of all streams."""
        return Progress(self._streams, self._base_delivered)

    def stats(self, now: float) -> ReceiverStats:
        """A snapshot of all counters."""
        census = self.census(now)
        census.copy_some(len(self._streams))
        return census.stats()


def _charge(body: bytes) -> int:
    """What a batch costs in the work queue."""
    return len(body) + BATCH_OVERHEAD

"""What does the sending machine do next?

`SenderProtocol` puts the parts together: the splitter cuts records into bodies, the stream numbers
and seals them, a delivery decides when each datagram is sent, and again. Both deliveries have the
same methods; which one runs is chosen once, at the start.

    commands   send_batch  reconfigure  note_dropped  close  give_up
    inputs     receive_datagram  on_datagram_sent  on_send_failed  set_max_datagram_size
    timer      next_timeout  handle_timeout
    outputs    datagram_to_send

The shell calls in the order: feed, `handle_timeout`, send while `datagram_to_send` gives one,
wait until `next_timeout`. Each call of `datagram_to_send` encodes one datagram's worth at most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchudp_handler.core.errors import ConfigError
from batchudp_handler.core.payload.budget import printed_value
from batchudp_handler.core.send.counters import SenderCounters
from batchudp_handler.core.send.one_way import OneWayDelivery
from batchudp_handler.core.send.outgoing import BaselineStream, OutgoingStream
from batchudp_handler.core.send.retry import SendFailure, smaller_datagram_size
from batchudp_handler.core.send.settings import SenderSettings, acknowledged_delivery
from batchudp_handler.core.send.splitter import MAX_RECORDS, Splitter
from batchudp_handler.core.send.storage import StoragePolicy, StoredDatagram
from batchudp_handler.core.trace import Trace
from batchudp_handler.core.wire.constants import MAX_FRAGMENTS, MIN_DATAGRAM_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from batchudp_handler.core.records.batch import BatchHeader, Captured
    from batchudp_handler.core.send.delivery import Delivery
    from batchudp_handler.core.wire.datagram import Header

__all__ = ["SendFailure", "SenderProtocol", "SenderSettings", "StoragePolicy", "StoredDatagram"]

HELD_DATAGRAMS = 4
"""At least so many datagrams share the records that may be held."""


PRINTED_STATIC = 8 << 20
"""Bytes of static fields that the records of a datagram print: half of what receivers allow."""


class SenderProtocol:
    """The sending side of one stream, without a socket, a thread or a clock.

    Args:
        settings: how to encode, seal and deliver.
        stream_id: random 64 bits; a new one after each start and fork.
        random: draws from [0, 1).
        counters: those of the handler, whatever streams it has; None: some of its own.
    """

    def __init__(
        self,
        settings: SenderSettings,
        *,
        stream_id: int,
        random: Callable[[], float],
        counters: SenderCounters | None = None,
    ) -> None:
        self.counters = SenderCounters() if counters is None else counters
        self.stream_id = stream_id
        self._settings = settings
        self._stream: OutgoingStream | BaselineStream
        if settings.encoding == "json":
            self._stream = BaselineStream()
        else:
            self._stream = OutgoingStream(
                stream_id, settings.seal, settings.own_seal, acknowledged=settings.acknowledged
            )
        self._size = settings.max_datagram_size
        self._splitter = Splitter(
            settings.make_encoder(),
            self.counters,
            room=self._room,
            max_fragments=self._max_fragments,
        )
        self._use_limits(settings)
        self._delivery = self._make_delivery(settings, random)

    def _make_delivery(self, settings: SenderSettings, random: Callable[[], float]) -> Delivery:
        trace = None if settings.trace is None else Trace(settings.trace, self.stream_id)
        if isinstance(self._stream, OutgoingStream) and settings.acknowledged:
            return acknowledged_delivery()(
                self._stream,
                self._splitter,
                self.counters,
                settings.limits,
                max_datagram_size=self._size,
                storage=settings.storage,
                random=random,
                trace=trace,
            )
        return OneWayDelivery(
            self._stream,
            self._splitter,
            self.counters,
            settings.limits,
            max_datagram_size=self._size,
            random=random,
            trace=trace,
        )

    @property
    def _room(self) -> int:
        return self._size - self._stream.overhead

    @property
    def _max_fragments(self) -> int:
        return 1 if self._settings.encoding == "json" else MAX_FRAGMENTS

    # commands

    def send_batch(
        self,
        snapshots: Sequence[Captured],
        now: float,
        wall: float,
        *,
        has_more_to_come: bool = False,
    ) -> None:
        """Take records; they are encoded as they are sent.

        Args:
            snapshots: any number of records, oldest first.
            now: the time.
            wall: the same moment as Unix time, for the headers.
            has_more_to_come: more follow as soon as `wanted_records` says so: datagrams that
                are not full wait for them.
        """
        self._stream.clock_offset = wall - now
        self._splitter.has_more_to_come = has_more_to_come
        self._splitter.append(snapshots)
        self._delivery.on_records(now)

    def reconfigure(self, settings: SenderSettings) -> None:
        """Use other settings from the next datagram on; nothing that waits is lost.

        Raises:
            ConfigError: a setting was changed that belongs to the stream.
        """
        old = self._settings
        if (settings.acknowledged, settings.encoding, settings.seal, settings.storage) != (
            *(old.acknowledged, old.encoding, old.seal, old.storage),
        ):
            raise ConfigError("delivery, encoding, key and spool cannot change within a stream")
        self._settings = settings
        self._use_limits(settings)
        self._delivery.reconfigure(settings.limits)
        changed = settings.max_datagram_size != old.max_datagram_size
        self._use_size(settings.max_datagram_size if changed else self._size)

    def note_dropped(self, records: int, now: float) -> None:
        """Say how many records were dropped so far before they came here; SYNC tells it."""
        self._delivery.note_dropped(records, now)

    def look_for_receiver(self, now: float, wall: float) -> None:
        """Note that records wait, though none is wanted before a receiver has answered.

        Args:
            now: the time.
            wall: the same moment as Unix time, for the headers.
        """
        self._stream.clock_offset = wall - now
        self._delivery.look_for_receiver(now)

    def drop_oldest(self, limit: int, cause: str) -> None:
        """Give up about so many of the oldest records, while `is_stuck`: there is no room.

        Args:
            limit: records; the rest of a datagram goes with them.
            cause: under which those count that have not been sent; the others are unconfirmed.
        """
        self._delivery.drop_oldest(limit, cause)

    def close(self) -> None:
        """Take no more records; send what is left and say goodbye. `is_closed` tells the end."""
        self._delivery.close()

    def give_up(self) -> None:
        """Stop: count what was not sent or not confirmed, by cause, and be closed."""
        self._delivery.give_up()

    # inputs

    def receive_datagram(self, data: bytes, now: float) -> None:
        """Take what the socket received. Never raises; what is no answer to us is counted."""
        self._delivery.receive_datagram(data, now)
        self._follow_delivery()

    def on_datagram_sent(self, now: float) -> None:
        """Note that the socket took the datagram of `datagram_to_send`."""
        self._delivery.on_datagram_sent(now)

    def on_send_failed(
        self, failure: SendFailure, now: float, max_datagram_size: int | None = None
    ) -> None:
        """Note that the socket refused the datagram of `datagram_to_send`.

        Args:
            failure: what kind of refusal.
            now: the time.
            max_datagram_size: with TOO_BIG: what the socket says the path takes, if it does.
        """
        refused = self._delivery.outstanding_size
        if failure is not SendFailure.TOO_BIG or refused <= MIN_DATAGRAM_SIZE:
            self._delivery.on_send_failed(failure, now)
            return
        self._use_size(smaller_datagram_size(refused, max_datagram_size))

    def set_max_datagram_size(self, size: int) -> None:
        """Use the size that the path carries; a configured size above it is cut down."""
        size = min(max(size, MIN_DATAGRAM_SIZE), self._settings.max_datagram_size)
        if size != self._size:
            self._use_size(size)

    def on_new_socket(self) -> None:
        """Note that the name was looked up again and another socket is in use."""
        self._delivery.on_new_socket()

    def handle_timeout(self, now: float) -> None:
        """Do what is due at `now`."""
        self._delivery.handle_timeout(now)
        self._follow_delivery()

    # outputs

    def datagram_to_send(self, now: float) -> bytes | None:
        """Return the datagram to send now, or None.

        The same bytes are returned until `on_datagram_sent` or `on_send_failed` is called.
        """
        return self._delivery.datagram_to_send(now)

    def next_timeout(self) -> float | None:
        """Return when to call `handle_timeout` and `datagram_to_send`; the past means: now."""
        return self._delivery.next_timeout()

    # the spool: what is to be stored and loaded is decided here, the files are somebody else's

    def datagrams_to_store(self, now: float) -> list[StoredDatagram]:
        """Return sealed datagrams for the spool, oldest first, a few at a time."""
        return self._delivery.datagrams_to_store(now)

    def store_everything(self) -> None:
        """Offer all that is not confirmed to the spool from now on, also if somebody is there."""
        self._delivery.store_everything()

    def on_stored(self, seqs: Iterable[int]) -> None:
        """Note that the spool has these datagrams."""
        self._delivery.on_stored(seqs)

    def on_store_failed(self, now: float) -> None:
        """Note that the spool takes nothing; it is asked again after a while."""
        self._delivery.on_store_failed(now)

    def datagrams_to_load(self) -> list[int]:
        """Return the numbers of stored datagrams whose bytes are wanted back."""
        return self._delivery.datagrams_to_load()

    def on_loaded(self, seq: int, data: bytes | None) -> None:
        """Take a stored datagram's bytes back; None: the spool has lost them."""
        self._delivery.on_loaded(seq, data)

    def store_again(self) -> None:
        """Offer to the spool again what memory has: somebody has removed all of its files."""
        self._delivery.store_again()

    def on_spool_dropped(self, first_seq: int, last_seq: int, cause: str = "spool_full") -> None:
        """Note that the spool has lost these datagrams, for instance to stay within its size."""
        self._delivery.on_spool_dropped(first_seq, last_seq, cause)

    def resume(
        self, stored: Iterable[tuple[Header, int]], now: float, wall: float | None = None
    ) -> None:
        """Take up a stream that another process left in the spool.

        Args:
            stored: header and size of each datagram, by growing number.
            now: the time.
            wall: the same moment as Unix time, for the headers; None: `now` is that.
        """
        self._stream.clock_offset = 0.0 if wall is None else wall - now
        self._delivery.resume(stored, now)

    @property
    def floor(self) -> int:
        """Datagrams below this number are settled: the spool may delete them."""
        return self._delivery.floor

    # getters

    @property
    def can_send(self) -> bool:
        """Say whether there is room for another batch."""
        return self._delivery.can_send

    @property
    def wanted_records(self) -> int:
        """How many more records are of use now."""
        room = self._settings.max_held_records - self.pending_records - self.retained_records
        return max(0, min(self._delivery.wanted_records, room))

    @property
    def is_acknowledged(self) -> bool:
        """Say whether the receiver answers."""
        return self._settings.acknowledged

    @property
    def is_stuck(self) -> bool:
        """Say whether what is held cannot be sent just now: refused, or nobody answers."""
        return self._delivery.is_stuck

    @property
    def is_idle(self) -> bool:
        """Say whether everything accepted is sent or confirmed, or counted."""
        return self._delivery.is_idle

    @property
    def is_closed(self) -> bool:
        """Say whether nothing is left to do."""
        return self._delivery.is_closed

    @property
    def wants_new_socket(self) -> bool:
        """Say whether the name should be looked up again."""
        return self._delivery.wants_new_socket

    @property
    def alternations(self) -> int:
        """How often a receiver answered after another one had, although that one lives."""
        return self._delivery.alternations

    @property
    def meets_two_receivers(self) -> bool:
        """Say whether two receivers share what is sent to one address (acknowledged)."""
        return self._delivery.meets_two_receivers

    @property
    def finds_no_place(self) -> bool:
        """Whether the receiver answers that it follows as many senders as it can."""
        return self._delivery.finds_no_place

    @property
    def unanswered_since(self) -> float | None:
        """Return when the oldest question was asked that has no answer (acknowledged)."""
        return self._delivery.unanswered_since

    @property
    def is_away(self) -> bool:
        """Say whether the receiver has been silent for long (acknowledged)."""
        return self._delivery.is_away

    @property
    def pending_records(self) -> int:
        """Records accepted and not sealed, or (one-way) not sent."""
        return self._delivery.pending_records

    @property
    def retained_records(self) -> int:
        """Records sealed and not settled, in memory."""
        return self._delivery.retained_records

    @property
    def retained_bytes(self) -> int:
        """Bytes of sealed datagrams in memory, unsettled or read from the spool."""
        return self._delivery.retained_bytes

    @property
    def spooled_records(self) -> int:
        """Records sealed and not settled, in the spool."""
        return self._delivery.spooled_records

    @property
    def rtt(self) -> float | None:
        """Smoothed round-trip time in seconds; None until measured."""
        return self._delivery.rtt

    @property
    def bytes_in_flight(self) -> int:
        """Bytes sent and neither acked nor lost."""
        return self._delivery.bytes_in_flight

    @property
    def congestion_window(self) -> int:
        """Bytes that may be in flight, the receiver's credit left aside."""
        return self._delivery.congestion_window

    @property
    def max_datagram_size(self) -> int:
        """Bytes of UDP payload that a datagram may have now."""
        return self._size

    # inside

    def _use_limits(self, settings: SenderSettings) -> None:
        """A datagram has no more than a quarter of the records that may be held.

        What is dropped for want of room goes by the datagram.
        """
        limit = settings.max_held_records // HELD_DATAGRAMS
        limit = min(limit, _most_records(settings.header))
        self._splitter.max_batch = max(1, min(limit, MAX_RECORDS))

    def _use_size(self, size: int) -> None:
        self._size = size
        self._splitter.configure(
            self._settings.make_encoder(), room=self._room, max_fragments=self._max_fragments
        )
        self._delivery.set_max_datagram_size(size)

    def _follow_delivery(self) -> None:
        """Cut smaller when the delivery has found out that large datagrams do not arrive."""
        size = self._delivery.suspected_size
        if size is not None and size < self._size:
            self._use_size(size)


def _most_records(header: BatchHeader) -> int:
    """How many records one datagram may have.

    A receiver bounds what the records of a datagram print, and every one of them prints the static
    fields, which are sent once.
    """
    try:
        return PRINTED_STATIC // printed_value(dict(header.static_fields))
    except RecursionError:
        return MAX_RECORDS

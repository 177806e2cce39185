"""What both deliveries of a stream have in common: taking records, and the size of datagrams.

`OneWayDelivery` and `AcknowledgedDelivery` say when each datagram is sent, and when again. The
defaults here are those of a delivery that retains nothing, stores nothing and is never answered,
so that each implementation says only what it does.
"""
# ruff: noqa: B027  # empty defaults are what this base class is for

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from batchudp_handler.core.errors import ConfigError, Reason
from batchudp_handler.core.send.retry import SendFailure, smaller_datagram_size
from batchudp_handler.core.send.splitter import Splitter
from batchudp_handler.core.send.window import SendWindow
from batchudp_handler.core.trace import Trace
from batchudp_handler.core.wire.constants import MIN_DATAGRAM_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from batchudp_handler.core.records.batch import Captured
    from batchudp_handler.core.send.counters import SenderCounters
    from batchudp_handler.core.send.outgoing import BaselineStream, OutgoingStream
    from batchudp_handler.core.send.settings import SenderSettings
    from batchudp_handler.core.send.storage import StoredDatagram
    from batchudp_handler.core.wire.datagram import Header

__all__ = ["Delivery"]


class Delivery(ABC):
    """The sending machine of one stream: decides when each datagram is sent, and when again.

    The shell calls in the order: feed, `handle_timeout`, send while `datagram_to_send` gives one,
    wait until `next_timeout`. Each call of `datagram_to_send` encodes one datagram's worth at
    most.

    Args:
        settings: How to encode, seal and deliver.
        stream_id: The number of the stream.
        stream: Numbers and seals datagrams.
        counters: Where each record is counted, shared by all streams of a handler.
    """

    def __init__(
        self,
        settings: SenderSettings,
        stream_id: int,
        stream: OutgoingStream | BaselineStream,
        counters: SenderCounters,
    ) -> None:
        self.stream_id = stream_id
        self.counters = counters
        self.max_datagram_size = settings.max_datagram_size
        """Bytes of UDP payload that a datagram may have now."""
        self._settings = settings
        self._stream = stream
        self._splitter = Splitter(
            settings.make_encoder(),
            counters,
            room=self.max_datagram_size - stream.overhead,
            max_fragments=settings.max_fragments,
        )
        self._splitter.max_batch = settings.max_batch
        self._trace = None if settings.trace is None else Trace(settings.trace, stream_id)
        self._nothing = SendWindow()

    @property
    def window(self) -> SendWindow:
        """The datagrams that are sealed and not settled; by default none is retained."""
        return self._nothing

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
            snapshots: Any number of records, oldest first.
            now: The time.
            wall: The same moment as Unix time, for the headers.
            has_more_to_come: More follow as soon as `wanted_records` says so: datagrams that
                are not full wait for them.
        """
        self._stream.clock_offset = wall - now
        self._splitter.has_more_to_come = has_more_to_come
        self._splitter.append(snapshots)
        self._on_records(now)

    @abstractmethod
    def _on_records(self, now: float) -> None:
        """Note that the splitter has got records."""

    def look_for_receiver(self, now: float, wall: float) -> None:
        """Note that records wait which are not wanted before a receiver has answered."""
        self._stream.clock_offset = wall - now

    @abstractmethod
    def note_dropped(self, records: int, now: float) -> None:
        """Tell the receiver soon how many records were dropped before they came here."""

    def reconfigure(self, settings: SenderSettings) -> None:
        """Use other settings from the next datagram on; nothing that waits is lost.

        Raises:
            ConfigError: A setting was changed that belongs to the stream.
        """
        old = self._settings
        if settings.of_the_stream != old.of_the_stream:
            raise ConfigError("delivery, encoding, key and spool cannot change within a stream")
        self._settings = settings
        self._splitter.max_batch = settings.max_batch
        is_other = settings.max_datagram_size != old.max_datagram_size
        self._use_size(settings.max_datagram_size if is_other else self.max_datagram_size)

    def set_max_datagram_size(self, size: int) -> None:
        """Use the size that the path carries; a configured size above it is cut down."""
        size = min(max(size, MIN_DATAGRAM_SIZE), self._settings.max_datagram_size)
        if size != self.max_datagram_size:
            self._use_size(size)

    def _use_size(self, size: int) -> None:
        self.max_datagram_size = size
        self._splitter.configure(
            self._settings.make_encoder(),
            room=size - self._stream.overhead,
            max_fragments=self._settings.max_fragments,
        )
        self._cut_again(size)

    @abstractmethod
    def _cut_again(self, size: int) -> None:
        """Cut again what waits and is larger than `size`."""

    @abstractmethod
    def drop_oldest(self, limit: int, cause: str) -> None:
        """Drop about `limit` records, oldest first, and count them.

        Those that were sent count as unconfirmed. To be called while `is_stuck`.
        """

    def resume(self, stored: Iterable[tuple[Header, int]], now: float, wall: float) -> None:
        """Take up what another process left in the spool.

        Args:
            stored: Header and size of each datagram, by growing number.
            now: The time.
            wall: The same moment as Unix time, for the headers.
        """

    @abstractmethod
    def close(self) -> None:
        """Take no more records, send what is left, and say goodbye."""

    @abstractmethod
    def give_up(self) -> None:
        """Stop, and count what was not sent or not confirmed."""

    # inputs

    def receive_datagram(self, _data: bytes, _now: float, /) -> None:
        """Take what the socket received; by default it is counted as no answer."""
        self.counters.ignore(Reason.UNSUPPORTED_TYPE)

    @abstractmethod
    def on_datagram_sent(self, now: float) -> None:
        """Note that the network took the datagram of `datagram_to_send`."""

    def on_send_failed(
        self, failure: SendFailure, now: float, max_datagram_size: int | None = None
    ) -> None:
        """Note that the socket refused the datagram of `datagram_to_send`.

        Args:
            failure: The kind of refusal.
            now: The time.
            max_datagram_size: With TOO_BIG: what the socket says the path takes, if it does.
        """
        refused = self._outstanding_size
        if failure is SendFailure.TOO_BIG and refused > MIN_DATAGRAM_SIZE:
            self._use_size(smaller_datagram_size(refused, max_datagram_size))
        else:
            self._on_refused(failure, now)

    @abstractmethod
    def _on_refused(self, failure: SendFailure, now: float) -> None:
        """Note that the socket refused the datagram, other than for its size."""

    @abstractmethod
    def on_new_socket(self) -> None:
        """Note that the name was looked up again and another socket is in use."""

    def handle_timeout(self, now: float) -> None:
        """Do what is due at `now`."""

    # outputs

    @abstractmethod
    def datagram_to_send(self, now: float) -> bytes | None:
        """Return the datagram to send now; the same one until its fate is told."""

    @abstractmethod
    def next_timeout(self) -> float | None:
        """Return when something is to be done; the past means now."""

    # the spool

    def datagrams_to_store(self, _now: float, /) -> list[StoredDatagram]:
        """Return sealed datagrams for the spool, oldest first, a few at a time."""
        return []

    def store_everything(self) -> None:
        """Offer all that is not confirmed to the spool from now on."""

    def on_stored(self, seqs: Iterable[int]) -> None:
        """Note that the spool has these datagrams."""

    def on_store_failed(self, now: float) -> None:
        """Note that the spool takes nothing for the moment."""

    def datagrams_to_load(self) -> list[int]:
        """Return the numbers of stored datagrams whose bytes are wanted back."""
        return []

    def on_loaded(self, seq: int, data: bytes | None) -> None:
        """Take a stored datagram's bytes back; None means that the spool has lost them."""

    def store_again(self) -> None:
        """Offer to the spool again what memory has: somebody has removed all of its files."""

    def on_spool_dropped(self, first_seq: int, last_seq: int, cause: str = "spool_full") -> None:
        """Note that the spool has lost these datagrams."""

    @property
    def floor(self) -> int:
        """The number below which every datagram is settled."""
        return self.window.floor

    # what is held

    @property
    @abstractmethod
    def _outstanding_size(self) -> int:
        """The size of the datagram whose fate is not known yet, in bytes."""

    @property
    @abstractmethod
    def pending_records(self) -> int:
        """The number of records that are not sealed yet, or (one-way) not sent."""

    @property
    def retained_records(self) -> int:
        """The number of records that are sealed and not settled, in memory."""
        return self.window.retained_records

    @property
    def retained_bytes(self) -> int:
        """The size of the sealed datagrams in memory."""
        return self.window.retained_bytes

    @property
    def spooled_records(self) -> int:
        """The number of records that are sealed and not settled, in the spool."""
        return self.window.stored_records

    @property
    def bytes_in_flight(self) -> int:
        """The bytes that were sent and are neither acked nor lost."""
        return self.window.bytes_in_flight

    # what is wanted

    @property
    @abstractmethod
    def can_send(self) -> bool:
        """Whether more records may come."""

    @property
    def is_acknowledged(self) -> bool:
        """Whether the receiver answers."""
        return self._settings.acknowledged

    @property
    def wanted_records(self) -> int:
        """The number of further records that are of use now and may be held."""
        held = self.pending_records + self.retained_records
        return max(0, min(self._appetite, self._settings.max_held_records - held))

    @property
    @abstractmethod
    def _appetite(self) -> int:
        """The number of further records that are of use now."""

    @property
    @abstractmethod
    def wants_new_socket(self) -> bool:
        """Whether the receiver's name should be looked up again."""

    @property
    @abstractmethod
    def is_stuck(self) -> bool:
        """Whether what is held cannot be sent just now."""

    @property
    @abstractmethod
    def is_idle(self) -> bool:
        """Whether everything is sent or settled, or counted otherwise."""

    @property
    @abstractmethod
    def is_closed(self) -> bool:
        """Whether nothing more is to be done."""

    # what is known of the receiver

    @property
    def is_away(self) -> bool:
        """Whether the receiver has been silent for long."""
        return False

    @property
    def unanswered_since(self) -> float | None:
        """The time of the oldest question that has no answer."""
        return None

    @property
    def finds_no_place(self) -> bool:
        """Whether the receiver answers that it follows as many streams as it can."""
        return False

    @property
    def meets_two_receivers(self) -> bool:
        """Whether two receivers share what is sent to one address."""
        return False

    @property
    def alternations(self) -> int:
        """How often a receiver answered after another one had, although that one lives."""
        return 0

    @property
    def rtt(self) -> float | None:
        """The smoothed round-trip time in seconds; None until measured."""
        return None

    @property
    def congestion_window(self) -> int:
        """The bytes that may be in flight, the receiver's credit left aside."""
        return 0

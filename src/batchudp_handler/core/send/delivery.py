"""The interface of a delivery: the rules by which one stream's datagrams are sent, and again.

`OneWayDelivery` and `AcknowledgedDelivery` implement it. The defaults here are those of a delivery
that retains nothing, stores nothing and is never answered, so that each implementation says only
what it does.
"""
# ruff: noqa: B027  # empty defaults are what this base class is for

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchudp_handler.core.errors import Reason
from batchudp_handler.core.send.window import SendWindow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from batchudp_handler.core.send.counters import SenderCounters
    from batchudp_handler.core.send.retry import SendFailure
    from batchudp_handler.core.send.splitter import Splitter
    from batchudp_handler.core.send.storage import StoredDatagram
    from batchudp_handler.core.wire.datagram import Header

__all__ = ["Delivery", "DeliveryLimits"]


@dataclass(frozen=True, slots=True)
class DeliveryLimits:
    """The limits of a delivery that may change while its stream runs."""

    max_retries: int
    """One-way: how often a datagram is tried again that the socket refused."""
    max_retained_bytes: int
    """Acknowledged: sealed and unconfirmed datagrams in memory."""


class Delivery(ABC):
    """Decides when each datagram of one stream is sent, and when again.

    Args:
        splitter: The records that wait.
        counters: Where each record is counted, shared by all machines of a handler.
        limits: What it may retry and retain.
    """

    suspected_size: int | None = None
    """A datagram size that arrives where the one in use does not."""

    def __init__(
        self, splitter: Splitter, counters: SenderCounters, limits: DeliveryLimits
    ) -> None:
        self._splitter = splitter
        self._counters = counters
        self._limits = limits
        self._nothing = SendWindow()

    @property
    def window(self) -> SendWindow:
        """The datagrams that are sealed and not settled; by default none is retained."""
        return self._nothing

    # commands

    @abstractmethod
    def on_records(self, now: float) -> None:
        """Note that the splitter has got records."""

    def look_for_receiver(self, now: float) -> None:
        """Note that records wait which are not wanted before a receiver has answered."""

    @abstractmethod
    def note_dropped(self, records: int, now: float) -> None:
        """Tell the receiver soon how many records were dropped before they came here."""

    def reconfigure(self, limits: DeliveryLimits) -> None:
        """Use other limits from now on."""
        self._limits = limits

    @abstractmethod
    def set_max_datagram_size(self, size: int) -> None:
        """Use another datagram size; what waits and is too big is cut again."""

    @abstractmethod
    def drop_oldest(self, limit: int, cause: str) -> None:
        """Drop about `limit` records, oldest first, and count them."""

    def resume(self, stored: Iterable[tuple[Header, int]], now: float) -> None:
        """Take up what another process left in the spool."""

    @abstractmethod
    def close(self) -> None:
        """Take no more records, send what is left, and say goodbye."""

    @abstractmethod
    def give_up(self) -> None:
        """Stop, and count what was not sent or not confirmed."""

    # inputs

    def receive_datagram(self, _data: bytes, _now: float, /) -> None:
        """Take what the socket received; by default it is counted as no answer."""
        self._counters.ignore(Reason.UNSUPPORTED_TYPE)

    @abstractmethod
    def on_datagram_sent(self, now: float) -> None:
        """Note that the network took the datagram of `datagram_to_send`."""

    @abstractmethod
    def on_send_failed(self, failure: SendFailure, now: float) -> None:
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

    def on_spool_dropped(self, first_seq: int, last_seq: int, cause: str) -> None:
        """Note that the spool has lost these datagrams."""

    @property
    def floor(self) -> int:
        """The number below which every datagram is settled."""
        return self.window.floor

    # what is held

    @property
    @abstractmethod
    def outstanding_size(self) -> int:
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
    @abstractmethod
    def wanted_records(self) -> int:
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

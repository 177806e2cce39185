"""The settings of one stream, checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from batchudp_handler.core.errors import ConfigError
from batchudp_handler.core.payload.budget import printed_value
from batchudp_handler.core.payload.encoders import encoder_for
from batchudp_handler.core.records.batch import BatchHeader
from batchudp_handler.core.send.splitter import MAX_RECORDS
from batchudp_handler.core.send.storage import StoragePolicy
from batchudp_handler.core.wire.constants import (
    MAX_DATAGRAM_SIZE,
    MAX_FRAGMENTS,
    MIN_DATAGRAM_SIZE,
)
from batchudp_handler.core.wire.datagram import CHECKSUM

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchudp_handler.core.payload.encoded import Encoder
    from batchudp_handler.core.trace import TraceEvent
    from batchudp_handler.core.wire.datagram import Seal

__all__ = ["SenderSettings"]

HELD_DATAGRAMS = 4
"""At least so many datagrams share the records that may be held."""
PRINTED_STATIC = 8 << 20
"""Bytes of static fields that the records of a datagram print: half of what receivers allow."""


@dataclass(frozen=True, slots=True)
class SenderSettings:
    """What a stream is told at the start, and again by `reconfigure`."""

    header: BatchHeader = field(default_factory=lambda: BatchHeader(""))
    encoding: str = "compact"
    compress: bool = True
    max_datagram_size: int = 1432
    """Bytes of UDP payload."""
    max_retries: int = 3
    """One-way: how often a datagram is tried again that the socket refused."""
    seal: Seal = CHECKSUM
    own_seal: Seal | None = None
    """What opens the sender's own datagrams (a key's `receiver`), to cut them smaller; None: the
    same as `seal`, which will do for the checksum."""
    acknowledged: bool = False
    max_retained_bytes: int = 8 << 20
    """Acknowledged: sealed and unconfirmed datagrams in memory."""
    max_held_records: int = 1 << 62
    """Records that it takes without having settled them."""
    storage: StoragePolicy = StoragePolicy.OFF
    encoder: Encoder | None = None
    """None: the one that `encoding` names."""
    trace: Callable[[TraceEvent], object] | None = None
    """What gets each event of the machine; see `core.trace`."""

    def __post_init__(self) -> None:
        if self.encoding not in ("compact", "json"):
            raise ConfigError(f"encoding is 'compact' or 'json', not {self.encoding!r}")
        if self.acknowledged and self.encoding == "json":
            raise ConfigError(
                "acknowledged delivery needs encoding='compact': JSON has no numbers"
            )
        if not MIN_DATAGRAM_SIZE <= self.max_datagram_size <= MAX_DATAGRAM_SIZE:
            raise ConfigError(
                f"max_datagram_size is {MIN_DATAGRAM_SIZE} to {MAX_DATAGRAM_SIZE} bytes, "
                f"not {self.max_datagram_size}"
            )
        if self.max_retries < 0:
            raise ConfigError(f"max_retries is 0 or more, not {self.max_retries}")
        self.make_encoder()

    @property
    def of_the_stream(self) -> tuple[object, ...]:
        """Those settings that cannot change within a stream."""
        return self.acknowledged, self.encoding, self.seal, self.storage

    @property
    def max_fragments(self) -> int:
        """The datagrams that one record may take."""
        return 1 if self.encoding == "json" else MAX_FRAGMENTS

    @property
    def max_batch(self) -> int:
        """The records that one datagram may have.

        No more than a quarter of those that may be held, because what is dropped for want of
        room goes by the datagram.
        """
        limit = min(self.max_held_records // HELD_DATAGRAMS, _most_records(self.header))
        return max(1, min(limit, MAX_RECORDS))

    def make_encoder(self) -> Encoder:
        """Return the encoder that was given, or a new one of the named encoding."""
        if self.encoder is not None:
            return self.encoder
        return encoder_for(self.encoding, self.header, compress=self.compress)


def _most_records(header: BatchHeader) -> int:
    """Return how many records a receiver lets one datagram have.

    It bounds what the records of a datagram print, and every one of them prints the static
    fields, which are sent once.
    """
    try:
        return PRINTED_STATIC // printed_value(dict(header.static_fields))
    except RecursionError:
        return MAX_RECORDS

"""An encoded batch, and the signature of what makes one.

Below the codecs and the splitter alike: the splitter asks for encoded batches without knowing in
which encoding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchudp_handler.core.records.batch import Snapshot

__all__ = ["Encoded", "Encoder"]


@dataclass(frozen=True, slots=True)
class Encoded:
    """A batch, ready for a datagram's body."""

    codec: int
    body: bytes
    raw_size: int
    """Bytes before compression."""


class Encoder(Protocol):
    """Turns a batch into a body. One per encoding."""

    def __call__(self, snapshots: Sequence[Snapshot], /) -> Encoded:
        """Encode and, where it pays, compress."""

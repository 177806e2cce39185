"""The encodings of a batch, by the names that the setting takes.

`compact` goes into a datagram with a header, whose codec field says how the body is compressed.
`json` is a whole datagram by itself: JSON that any reader takes, or JSON behind three bytes where
compression pays. Few programs ask for it, so its code is loaded when a sender's settings do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchudp_handler.core.payload.compact import encode_compact
from batchudp_handler.core.payload.compression import Codec, compress, compress_baseline
from batchudp_handler.core.payload.encoded import Encoded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from batchudp_handler.core.payload.encoded import Encoder
    from batchudp_handler.core.records.batch import BatchHeader, Snapshot

    Write = Callable[[Sequence[Snapshot], BatchHeader], bytes]

__all__ = ["encoder_for"]

COMPRESS = {"compact": compress, "json": compress_baseline}


def encoder_for(encoding: str, header: BatchHeader, *, compress: bool) -> Encoder:
    """Return the encoder of this name; the name has been checked."""
    write = _writer(encoding)

    def encode(snapshots: Sequence[Snapshot]) -> Encoded:
        payload = write(snapshots, header)
        codec, body = COMPRESS[encoding](payload) if compress else (Codec.JSON, payload)
        return Encoded(codec, body, len(payload))

    return encode


def _writer(encoding: str) -> Write:
    if encoding == "compact":
        return encode_compact
    from batchudp_handler.core.payload.rows import encode_rows  # see above

    return encode_rows

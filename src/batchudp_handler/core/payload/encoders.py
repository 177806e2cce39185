"""Which bytes does a batch become, by the name of the encoding?

`compact` goes into a datagram with a header, whose codec field says how the body is compressed.
`json` is a whole datagram by itself: JSON that any reader takes, or JSON behind three bytes where
compression pays. Few programs ask for it, so its code is loaded when a sender's settings do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchudp_handler.core.payload.compact import encode_compact
from batchudp_handler.core.payload.compression import Codec, compress, encode_v0
from batchudp_handler.core.payload.encoded import Encoded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchudp_handler.core.payload.encoded import Encoder
    from batchudp_handler.core.records.batch import BatchHeader, Snapshot

__all__ = ["ENCODINGS", "encoder_for"]


def _compact(header: BatchHeader) -> Encoder:
    def encode(snapshots: Sequence[Snapshot]) -> Encoded:
        payload = encode_compact(snapshots, header)
        return Encoded(Codec.JSON, payload, len(payload))

    return encode


def _compressed_compact(header: BatchHeader) -> Encoder:
    def encode(snapshots: Sequence[Snapshot]) -> Encoded:
        payload = encode_compact(snapshots, header)
        codec, body = compress(payload)
        return Encoded(codec, body, len(payload))

    return encode


def _rows(header: BatchHeader) -> Encoder:
    from batchudp_handler.core.payload.rows import encode_rows  # see above

    def encode(snapshots: Sequence[Snapshot]) -> Encoded:
        payload = encode_rows(snapshots, header)
        return Encoded(Codec.JSON, payload, len(payload))

    return encode


def _compressed_rows(header: BatchHeader) -> Encoder:
    from batchudp_handler.core.payload.rows import encode_rows  # see above

    def encode(snapshots: Sequence[Snapshot]) -> Encoded:
        payload = encode_rows(snapshots, header)
        packed = encode_v0(payload, compress=True)
        return Encoded(Codec.ZLIB, min(packed, payload, key=len), len(payload))

    return encode


ENCODINGS = {
    ("compact", False): _compact,
    ("compact", True): _compressed_compact,
    ("json", False): _rows,
    ("json", True): _compressed_rows,
}
"""By name, and by whether compression is wanted."""


def encoder_for(encoding: str, header: BatchHeader, *, compress: bool) -> Encoder:
    """Return the encoder of this name; the name has been checked."""
    return ENCODINGS[encoding, compress](header)

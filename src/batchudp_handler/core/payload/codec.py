"""A batch as bytes, and bytes as a batch, in every form that a payload has.

The one door to the codecs: two encodings of the same batch (`compact.py`, `rows.py`), their
compression, the baseline form, and the decoding that tells them apart. Everything here is pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchudp_handler.core.payload.budget import PAYLOAD_WEIGHT, Budget
from batchudp_handler.core.payload.checks import Checks
from batchudp_handler.core.payload.compact import encode_compact
from batchudp_handler.core.payload.compact_decode import decode_compact
from batchudp_handler.core.payload.compression import (
    Codec,
    compress,
    compress_zstd,
    decompress,
)
from batchudp_handler.core.payload.gelf import row_of_gelf
from batchudp_handler.core.payload.json_text import loads
from batchudp_handler.core.payload.rows import decode_rows, encode_rows
from batchudp_handler.core.records.batch import Batch, BatchHeader

if TYPE_CHECKING:
    from batchudp_handler.core.payload.limits import DecodeLimits

__all__ = [
    "Batch",
    "BatchHeader",
    "Codec",
    "compress",
    "compress_zstd",
    "decode_payload",
    "encode_compact",
    "encode_rows",
]


def decode_payload(codec: int, body: bytes, limits: DecodeLimits) -> Batch:
    """Read the body of a datagram, in either encoding.

    Args:
        codec: How the body is compressed; the values of `Codec`.
        body: Bytes from the network.
        limits: What may come out of them.

    Returns:
        The batch; records, templates and extras that were refused one by one are counted in it.

    Raises:
        DecodeError: The body cannot be divided into records. Nothing else is ever raised.
    """
    payload = decompress(codec, body, limits)
    budget = Budget(limits)
    budget.output(len(payload) * PAYLOAD_WEIGHT)
    document = loads(payload, budget, limits.json_depth)
    if codec == Codec.GELF:
        document = row_of_gelf(document)
    checks = Checks(limits, budget, len(payload))
    if isinstance(document, dict) and "sites" in document:
        return decode_compact(document, checks)
    return decode_rows(document, checks)

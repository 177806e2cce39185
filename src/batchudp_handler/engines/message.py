"""A batch as a message of an engine, and back.

The body is the datagram's, still compressed: an edge does not decode what it only passes on. What
the datagram's header said travels in message headers. The message id is made of the stream id and
the sequence number, which a sender never uses twice, so an engine that drops messages with a
known id drops exactly the copies.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.receive.events import BatchReceived

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MESSAGE_ID", "batch_from_message", "message_from_batch"]

MESSAGE_ID = "Nats-Msg-Id"
"""The header by which NATS JetStream tells copies of a message."""

CODEC = "Batchudp-Codec"
RECORDS = "Batchudp-Records"
STREAM = "Batchudp-Stream"
SEQ = "Batchudp-Seq"
ADDRESS = "Batchudp-Address"
KEY_ID = "Batchudp-Key-Id"
RECEIVED = "Batchudp-Received"

NO_STREAM = "-"
MAX_ADDRESS_CHARACTERS = 128


def message_from_batch(
    batch: BatchReceived, *, records: int, address: str
) -> tuple[dict[str, str], bytes]:
    """Return the headers and the body of the message that carries `batch`.

    Args:
        batch: As the receiving core gave it.
        records: How many records it holds.
        address: The sender's address as text.
    """
    headers = {
        CODEC: str(int(batch.codec)),
        RECORDS: str(records),
        STREAM: NO_STREAM if batch.stream_id is None else f"{batch.stream_id:016x}",
        SEQ: str(batch.seq),
        ADDRESS: "".join(c for c in address if c.isprintable())[:MAX_ADDRESS_CHARACTERS],
        KEY_ID: str(batch.key_id),
        RECEIVED: f"{batch.wall:.6f}",
    }
    if batch.stream_id is not None:
        headers[MESSAGE_ID] = f"{batch.stream_id:016x}:{batch.seq}"
    return headers, batch.body


def batch_from_message(headers: Mapping[str, str] | None, body: bytes) -> BatchReceived:
    """Return the batch that a message carries.

    Raises:
        DecodeError: The message is not one of ours.
    """
    try:
        if headers is None:
            raise KeyError(CODEC)
        stream = headers[STREAM]
        return BatchReceived(
            stream_id=None if stream == NO_STREAM else _whole(stream, 16, 2**64),
            seq=_whole(headers[SEQ], 10, 2**64),
            n_rec=_whole(headers[RECORDS], 10, 65_536),
            codec=_whole(headers[CODEC], 10, 256),
            body=body,
            address=headers[ADDRESS][:MAX_ADDRESS_CHARACTERS],
            key_id=_whole(headers[KEY_ID], 10, 65_536),
            wall=_time(headers[RECEIVED]),
        )
    except (KeyError, ValueError) as error:
        raise DecodeError(Reason.MALFORMED) from error


def _whole(text: str, base: int, limit: int) -> int:
    number = int(text, base)
    if not 0 <= number < limit:
        raise ValueError(text)
    return number


def _time(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number

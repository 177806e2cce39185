"""A received batch: its payload decoded, and the answer that its worker gives for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.payload.codec import decode_payload

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batchudp_handler.core.payload.limits import DecodeLimits
    from batchudp_handler.core.receive.events import BatchReceived
    from batchudp_handler.core.records.batch import Batch

__all__ = ["Answer", "answer_for", "decode_batch", "refusal_of"]


class Answer(NamedTuple):
    """What has become of the records of one batch."""

    delivered: int
    rejected: Mapping[str, int]
    """By reason."""


def decode_batch(event: BatchReceived, limits: DecodeLimits) -> Batch:
    """Return the records of a batch.

    Raises:
        DecodeError: It cannot be decoded, or it holds more records than its header says: those
            would be delivered although no counter knows of them.
    """
    batch = decode_payload(event.codec, event.body, limits)
    if event.n_rec and len(batch) + batch.malformed > event.n_rec:
        raise DecodeError(Reason.RECORD_COUNT)
    return batch


def answer_for(batch: Batch) -> Answer:
    """Return the answer for a batch that was handed over."""
    return Answer(len(batch), {Reason.BAD_RECORD: batch.malformed} if batch.malformed else {})


def refusal_of(event: BatchReceived, reason: Reason) -> Answer:
    """Return the answer for a batch of which no record was handed over."""
    return Answer(0, {reason: event.least_records})

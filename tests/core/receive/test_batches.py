"""A batch is decoded within its limits, held to its header, and answered for as a whole."""

from __future__ import annotations

import pytest

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.payload.limits import DecodeLimits
from batchudp_handler.core.receive.batches import answer_for, decode_batch, refusal_of
from batchudp_handler.core.receive.events import BatchReceived
from tests.core.receive.bench import HOME, WALL

ROWS = b'[{"message": "one"}, {"message": "two"}, 3]'
"""Two records, and a row that is none."""


def batch(body: bytes, n_rec: int) -> BatchReceived:
    """A batch of JSON rows; without a header it does not say how many."""
    return BatchReceived(1 if n_rec else None, 0, n_rec, 0, body, HOME, 0, WALL)


@pytest.mark.parametrize("n_rec", [0, 3, 4])
def test_a_batch_is_answered_by_its_records(n_rec: int) -> None:
    """The core rejects what the header promised beyond them."""
    decoded = decode_batch(batch(ROWS, n_rec), DecodeLimits())
    assert answer_for(decoded) == (2, {"bad_record": 1})
    assert answer_for(decode_batch(batch(ROWS[:19] + b"]", n_rec), DecodeLimits())) == (1, {})


def test_more_records_than_the_header_says_are_refused() -> None:
    """They would be delivered although no counter knows of them."""
    with pytest.raises(DecodeError) as raised:
        decode_batch(batch(ROWS, 2), DecodeLimits())
    assert raised.value.reason is Reason.RECORD_COUNT


@pytest.mark.parametrize(("n_rec", "rejected"), [(0, 1), (1, 1), (7, 7)])
def test_a_refusal_rejects_every_record(n_rec: int, rejected: int) -> None:
    """As many as the header says, and at least one."""
    assert refusal_of(batch(b"", n_rec), Reason.CODEC) == (0, {"codec": rejected})

"""A batch survives its way through an engine's message."""

from __future__ import annotations

from typing import Any

import pytest

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.receive.events import BatchReceived
from batchudp_handler.engines.message import MESSAGE_ID, batch_from_message, message_from_batch


def _batch(**changes: Any) -> BatchReceived:
    values: dict[str, Any] = {
        "stream_id": 0xAB,
        "seq": 7,
        "n_rec": 3,
        "codec": 1,
        "body": b"body",
        "address": "192.0.2.1:5",
        "key_id": 9,
        "wall": 1700000000.25,
    }
    return BatchReceived(**{**values, **changes})


@pytest.mark.parametrize(
    "batch",
    [
        _batch(),
        _batch(stream_id=2**64 - 1, seq=2**64 - 1, n_rec=65_535, key_id=65_535),
        _batch(stream_id=None, seq=0, key_id=0),
        _batch(address="unix:///run/x.sock"),
    ],
)
def test_batch_comes_back_as_it_went(batch: BatchReceived) -> None:
    """Every field of a batch comes back, also at its limits."""
    headers, body = message_from_batch(batch, records=batch.n_rec, address=str(batch.address))

    assert batch_from_message(headers, body) == batch


def test_id_is_made_of_stream_and_sequence_number() -> None:
    """The same datagram has the same id at every edge, and another one has another."""
    ids = [
        message_from_batch(_batch(stream_id=stream, seq=seq), records=1, address="")[0][MESSAGE_ID]
        for stream, seq in [(1, 2), (1, 2), (1, 3), (2, 2)]
    ]

    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


def test_batch_without_stream_has_no_id() -> None:
    """Baseline datagrams have no number, so the engine must not take two for one."""
    headers, _ = message_from_batch(_batch(stream_id=None), records=1, address="")

    assert MESSAGE_ID not in headers


def test_address_cannot_add_a_header() -> None:
    """A line break in an address does not reach the headers."""
    headers, _ = message_from_batch(_batch(), records=1, address="x\r\nEvil: 1")

    assert headers["Batchudp-Address"] == "xEvil: 1"


@pytest.mark.parametrize("name", sorted(message_from_batch(_batch(), records=1, address="")[0]))
@pytest.mark.parametrize("value", [None, "", "x", "-1", "1z", "9" * 30])
def test_foreign_message_is_refused(name: str, value: str | None) -> None:
    """A header that is missing or not a number of its range makes a message foreign."""
    if name in {MESSAGE_ID, "Batchudp-Address"} or (name, value) == ("Batchudp-Received", "-1"):
        return  # one is for the engine only, one is any text, one is a time before 1970
    headers, body = message_from_batch(_batch(), records=1, address="")
    if value is None:
        del headers[name]
    else:
        headers[name] = value
    if (name, value) == ("Batchudp-Received", "9" * 30):
        return  # far away, but a time

    with pytest.raises(DecodeError) as caught:
        batch_from_message(headers, body)

    assert caught.value.reason is Reason.MALFORMED


def test_message_without_headers_is_refused() -> None:
    """Somebody else's message on our subject is refused."""
    with pytest.raises(DecodeError):
        batch_from_message(None, b"{}")

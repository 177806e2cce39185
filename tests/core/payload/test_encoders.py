"""The encodings by name: what they make can be read by the receiver's codec."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from batchudp_handler.core.payload.codec import Codec, decode_payload
from batchudp_handler.core.payload.encoders import encoder_for
from batchudp_handler.core.payload.limits import DecodeLimits
from batchudp_handler.core.records.batch import BatchHeader
from batchudp_handler.core.records.snapshot import snapshot
from batchudp_handler.core.send.deliveries import make_delivery
from batchudp_handler.core.send.settings import SenderSettings
from batchudp_handler.core.wire.datagram import CHECKSUM, Baseline, Header, parse

if TYPE_CHECKING:
    from batchudp_handler.core.records.batch import Snapshot

HEADER = BatchHeader("host", {"service": "test"})


def snapshots(count: int) -> list[Snapshot]:
    found = []
    for number in range(count):
        record = logging.LogRecord("app", 20, "/app.py", 1, "record %d of %s", (number, "x"), None)
        taken = snapshot(record, format_exception=str)
        assert taken is not None
        found.append(taken)
    return found


@pytest.mark.parametrize("compress", [False, True])
def test_compact(compress: bool) -> None:
    """The codec that is named reads the body; compressed it is smaller."""
    encoded = encoder_for("compact", HEADER, compress=compress)(snapshots(100))
    batch = decode_payload(encoded.codec, encoded.body, DecodeLimits())
    assert len(batch) == 100
    assert (encoded.codec == Codec.JSON) is not compress
    assert (len(encoded.body) < encoded.raw_size) is compress


@pytest.mark.parametrize("compress", [False, True])
def test_json(compress: bool) -> None:
    """A body is a whole baseline datagram."""
    encoded = encoder_for("json", HEADER, compress=compress)(snapshots(100))
    baseline = parse(encoded.body)
    assert isinstance(baseline, Baseline)
    assert len(decode_payload(baseline.codec, baseline.body, DecodeLimits())) == 100
    assert encoded.body.startswith(b"\xcb\xf2\x01" if compress else b"[")


def test_json_that_does_not_compress_is_sent_as_it_is() -> None:
    """Any JSON reader takes it then."""
    record = logging.LogRecord("a", 20, "", 1, "é", (), None)
    taken = snapshot(record, format_exception=str)
    assert taken is not None
    minimal = tuple(None if value == "" else value for value in taken)
    encoded = encoder_for("json", BatchHeader(""), compress=True)([minimal])
    assert isinstance(parse(encoded.body), Baseline)


@pytest.mark.parametrize("size", [1_472, 65_507])
def test_a_machine_with_the_real_encoding(size: int) -> None:
    """Everything that goes in comes out of the datagrams, and they are well filled."""
    settings = SenderSettings(header=HEADER, max_datagram_size=size)
    sender = make_delivery(settings, stream_id=1, random=lambda: 0.5)
    sender.send_batch(snapshots(3_000), 0.0, 1e9)
    numbers = []
    sizes = []
    while (data := sender.datagram_to_send(0.0)) is not None:
        sender.on_datagram_sent(0.0)
        header = parse(data)
        assert isinstance(header, Header)
        if header.type == 1:
            batch = decode_payload(header.codec, CHECKSUM.open(data), DecodeLimits())
            numbers += [content[1][0] for content in batch.contents if content is not None]
            sizes.append(len(data))
    assert numbers == list(range(3_000))
    assert max(sizes) <= size
    assert len(sizes) == 3 if size == 65_507 else min(sizes[1:-1]) > 0.75 * size

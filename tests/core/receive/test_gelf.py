"""The receiving machine with GELF: what it hands out, refuses and counts."""

from __future__ import annotations

import gzip
import json

import pytest

from batchudp_handler.core.payload.compression import Codec
from batchudp_handler.core.receive.events import BatchReceived
from batchudp_handler.core.receive.gelf_chunks import CHUNK_SECONDS
from batchudp_handler.core.receive.receiver import ReceiverProtocol, ReceiverSettings
from batchudp_handler.core.wire.auth import HmacKey

ADDRESS = ("192.0.2.1", 5000)
MESSAGE = json.dumps({"version": "1.1", "host": "a", "short_message": "hi"}).encode()


def machine(**settings: object) -> ReceiverProtocol:
    chosen = ReceiverSettings(**{"gelf": True, **settings})  # type: ignore[arg-type]
    return ReceiverProtocol(chosen, epoch=1, secret=bytes(32), now=0.0, wall=1e9)


def chunk(number: int, total: int, body: bytes, identity: bytes = b"12345678") -> bytes:
    return b"\x1e\x0f" + identity + bytes([number, total]) + body


def handed_out(protocol: ReceiverProtocol) -> list[BatchReceived]:
    return [event for event in protocol.events_received() if isinstance(event, BatchReceived)]


@pytest.mark.parametrize("body", [MESSAGE, gzip.compress(MESSAGE)], ids=["plain", "gzip"])
def test_whole_and_chunked_messages(body: bytes) -> None:
    """Both are batches without a stream, with the codec that only GELF has."""
    protocol = machine()
    protocol.receive_datagram(body, ADDRESS, 0.0, 1e9)
    protocol.receive_datagram(chunk(1, 2, body[10:]), ADDRESS, 0.0, 1e9)
    protocol.receive_datagram(chunk(0, 2, body[:10]), ADDRESS, 0.0, 1e9)
    first, second = handed_out(protocol)
    assert first.body == second.body == body
    assert {first.codec, second.codec} == {Codec.GELF}
    assert first.stream_id is None
    protocol.on_batch_handled(first, 1, {}, 0.0)
    protocol.on_batch_handled(second, 1, {}, 0.0)
    assert protocol.stats(0.0).delivered == 2
    assert protocol.is_settled


def test_without_the_setting_nothing_changes() -> None:
    """GELF is off by default: compressed and chunked messages are malformed, JSON is a row."""
    protocol = machine(gelf=False)
    for data in (MESSAGE, gzip.compress(MESSAGE), chunk(0, 2, b"x")):
        protocol.receive_datagram(data, ADDRESS, 0.0, 1e9)
    (event,) = handed_out(protocol)
    assert event.codec == Codec.JSON
    assert protocol.stats(0.0).refused == {"malformed": 2}


def test_rows_and_streams_beside_it() -> None:
    """What is no GELF is read as ever."""
    protocol = machine()
    protocol.receive_datagram(b'{"message":"row"}', ADDRESS, 0.0, 1e9)
    protocol.receive_datagram(b"\xcb\xf2\x81\x01" + bytes(60), ADDRESS, 0.0, 1e9)
    (event,) = handed_out(protocol)
    assert event.codec == Codec.JSON
    assert protocol.stats(0.0).refused == {"bad_crc": 1}


def test_keys_shut_it_out() -> None:
    """GELF knows no keys: where they are required it is refused, before anything is stored."""
    protocol = machine(keys=[HmacKey(7, bytes(32))])
    for data in (MESSAGE, chunk(0, 2, b"x")):
        protocol.receive_datagram(data, ADDRESS, 0.0, 1e9)
    assert protocol.stats(0.0).refused == {"unauthenticated": 2}
    assert protocol.next_timeout() is None or protocol.stats(9.0).refused == {"unauthenticated": 2}


def test_incomplete_messages_are_counted() -> None:
    """Five seconds after its first chunk a message is given up, chunk by chunk."""
    protocol = machine()
    for number in range(3):
        protocol.receive_datagram(chunk(number, 4, b"x"), ADDRESS, 1.0, 1e9)
    assert protocol.next_timeout() == 1.0 + CHUNK_SECONDS
    protocol.handle_timeout(1.0 + CHUNK_SECONDS)
    assert protocol.stats(9.0).refused == {"gelf_incomplete": 3}


def test_each_chunk_is_counted_once() -> None:
    """Chunks of a refused message are all counted, under one reason."""
    protocol = machine()
    for data in (chunk(0, 3, b"a"), chunk(1, 3, b"b"), chunk(1, 4, b"b"), chunk(9, 3, b"c")):
        protocol.receive_datagram(data, ADDRESS, 0.0, 1e9)
    stats = protocol.stats(0.0)
    assert stats.refused == {"group_mismatch": 3, "malformed": 1}
    assert stats.datagrams_received == 4


def test_a_full_queue_refuses_messages() -> None:
    """Nothing is kept beyond the work queue."""
    protocol = machine(work_queue_bytes=200)
    for _ in range(10):
        protocol.receive_datagram(MESSAGE, ADDRESS, 0.0, 1e9)
    refused = protocol.stats(0.0).refused["no_room"]
    assert refused + len(handed_out(protocol)) == 10
    assert refused > 0

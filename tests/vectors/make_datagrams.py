"""Datagrams of given fields, written as `datagram-*.json`; tests compare, others may read.

    python tests/vectors/make_datagrams.py

Bytes are in hexadecimal. Encrypted DATA needs the package `cryptography`; without it the vectors
that exist are left alone.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from batchudp_handler.core.wire.ack import Ack, encode_ack
from batchudp_handler.core.wire.auth import AeadKey, HmacKey, Key
from batchudp_handler.core.wire.datagram import (
    CHECKSUM,
    Baseline,
    Seal,
    encode_baseline,
    encode_data,
)
from batchudp_handler.core.wire.sync import Sync, encode_sync

HERE = Path(__file__).parent
SECRET = bytes(range(32))
JSON_BODY = b'[{"message":"hi","level":"warning"}]'
# not made here: zlib implementations differ in their output, never in their input
ZLIB_BODY = bytes.fromhex(
    "789c8bae56ca4d2d2e4e4c4f55b252cac854d251ca492d4bcd0172ca138bf232f3d2956a6301deab0c25"
)

Fields = dict[str, Any]

DATA: dict[str, tuple[Fields, bytes]] = {
    "one-way": ({"seq": 0, "rec": 0, "n_rec": 1}, JSON_BODY),
    "acknowledged": (
        {"acknowledged": True, "codec": 1, "seq": 7, "rec": 70, "n_rec": 10},
        b"body",
    ),
    "largest-numbers": (
        {
            "acknowledged": True,
            "codec": 3,
            "stream_id": 2**64 - 1,
            "seq": 2**64 - 2,
            "rec": 2**32 - 1,
            "sealed_at": 2**32 - 1,
            "n_rec": 65_535,
        },
        b"\x00",
    ),
    "empty-body": ({"seq": 1, "rec": 1, "n_rec": 1}, b""),
    "first-fragment": (
        {"codec": 1, "seq": 4, "rec": 40, "n_rec": 1, "frag_count": 3},
        b"0123456789",
    ),
    "last-fragment": (
        {"codec": 1, "seq": 6, "rec": 40, "n_rec": 1, "frag_index": 2, "frag_count": 3},
        b"abc",
    ),
}

SYNCS: dict[str, tuple[int, Sync]] = {
    "start": (0, Sync(next_seq=0, floor=0, next_rec=0, max_datagram=1472, promise_ms=1000)),
    "one-way-goodbye": (
        9,
        Sync(next_seq=500, floor=500, next_rec=4321, closing=True, dropped_records=12),
    ),
    "acknowledged-with-cookie": (
        2**40,
        Sync(
            next_seq=100,
            floor=90,
            next_rec=1000,
            acknowledged=True,
            resumed=True,
            max_datagram=65_507,
            receiver_epoch=0x1122334455667788,
            cookie=bytes(range(16)),
            promise_ms=10_000,
        ),
    ),
}

ACKS: dict[str, tuple[int, Ack]] = {
    "challenge": (1, Ack(receiver_epoch=0x1122334455667788, cookie=bytes(range(16)))),
    "all-final": (
        2,
        Ack(receiver_epoch=0x1122334455667788, floor=100, credit=53_248, delivered_records=1000),
    ),
    "held-above-a-gap": (
        3,
        Ack(
            receiver_epoch=0x1122334455667788,
            floor=100,
            credit=53_248,
            rejected_records=3,
            delivered_records=997,
            bitmap=0b1_0000_0110,
        ),
    ),
    "closing-with-full-bitmap": (
        4,
        Ack(receiver_epoch=1, floor=2**63, bitmap=2**4095 | 1, closing=True),
    ),
}

BASELINE: dict[str, Baseline] = {
    "json": Baseline(0, JSON_BODY),
    "zlib": Baseline(1, ZLIB_BODY),
}

REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "malformed"),
    "text": (b"<13>hello", "malformed"),
    "utf-16": ('{"message":"hi"}'.encode("utf-16"), "malformed"),
    "magic-alone": (b"\xcb\xf2", "malformed"),
    "baseline-flag-2": (b"\xcb\xf2\x02{}", "unsupported_flags"),
    "baseline-no-zlib": (b"\xcb\xf2\x01{}", "malformed"),
    "version-2": (b"\xcb\xf2\x82" + bytes(60), "unsupported_version"),
    "reserved-version-bits": (b"\xcb\xf2\x91" + bytes(60), "unsupported_version"),
    "version-bit-alone": (b"\xcb\xf2\x80" + bytes(60), "unsupported_version"),
    "type-0": (b"\xcb\xf2\x81\x00" + bytes(60), "unsupported_type"),
    "type-5": (b"\xcb\xf2\x81\x05" + bytes(60), "unsupported_type"),
    "flags-1": (b"\xcb\xf2\x81\x01\x00\x00\x00\x01" + bytes(60), "unsupported_flags"),
    "crc-wrong": (b"\xcb\xf2\x81\x01" + bytes(60), "bad_crc"),
    "header-alone": (b"\xcb\xf2\x81\x01" + bytes(34), "malformed"),
}


def data_fields(fields: Fields) -> Fields:
    """All arguments of `encode_data`, with the defaults of these vectors."""
    defaults: Fields = {
        "acknowledged": False,
        "codec": 0,
        "stream_id": 0x0102030405060708,
        "sealed_at": 1_700_000_000,
        "frag_index": 0,
        "frag_count": 1,
    }
    return defaults | fields


def readable(value: object) -> object:
    """JSON has neither bytes nor integers that every reader keeps."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, int) and not isinstance(value, bool) and value >= 2**53:
        return hex(value)
    return value


def vector(name: str, fields: Fields, datagram: bytes) -> Fields:
    """One entry of a file."""
    return {
        "name": name,
        "fields": {key: readable(value) for key, value in fields.items()},
        "datagram": datagram.hex(),
    }


def sealed(out: Seal, back: Seal) -> list[Fields]:
    """DATA and SYNC as a sender seals them, ACK as the receiver does."""
    vectors = []
    for name, (given, body) in DATA.items():
        fields = data_fields(given)
        datagram = encode_data(out, body, **fields)
        vectors.append(vector(f"data/{name}", {**fields, "body": body}, datagram))
    frame = {"stream_id": 0x0102030405060708, "sealed_at": 1_700_000_000}
    for name, (counter, sync) in SYNCS.items():
        datagram = encode_sync(out, sync, counter=counter, **frame)
        vectors.append(
            vector(f"sync/{name}", {**frame, "counter": counter, **asdict(sync)}, datagram)
        )
    for name, (counter, ack) in ACKS.items():
        datagram = encode_ack(back, ack, counter=counter, **frame)
        vectors.append(
            vector(f"ack/{name}", {**frame, "counter": counter, **asdict(ack)}, datagram)
        )
    return vectors


def keyed(key: Key) -> Fields:
    """The same datagrams with a key."""
    return {
        "key_id": key.key_id,
        "secret": SECRET.hex(),
        "datagrams": sealed(key.sender, key.receiver),
    }


def files() -> dict[str, Fields]:
    """File names and what belongs in them."""
    found: dict[str, Fields] = {
        "datagram-checksum.json": {"key_id": 0, "datagrams": sealed(CHECKSUM, CHECKSUM)},
        "datagram-hmac.json": keyed(HmacKey(7, SECRET)),
        "datagram-baseline.json": {
            "datagrams": [
                vector(name, baseline._asdict(), encode_baseline(baseline))
                for name, baseline in BASELINE.items()
            ]
        },
        "datagram-refused.json": {
            "datagrams": [
                {"name": name, "datagram": data.hex(), "reason": reason}
                for name, (data, reason) in REFUSED.items()
            ]
        },
    }
    if find_spec("cryptography"):
        found["datagram-aead.json"] = keyed(AeadKey(65_535, SECRET))
    return found


def text(content: Fields) -> str:
    """As it stands in the file."""
    return json.dumps(content, indent=1) + "\n"


if __name__ == "__main__":
    for file_name, content in files().items():
        (HERE / file_name).write_text(text(content), "utf-8")

"""Endless datagrams of one kind for each attack, as somebody sends them who means harm.

Everything that can be repeated is made once, because an attacker has more time than the attacked.
"""

from __future__ import annotations

import json
import zlib
from itertools import count
from typing import TYPE_CHECKING, Any

from batchudp_handler.core.wire.auth import HmacKey
from batchudp_handler.core.wire.constants import HEADER_SIZE
from batchudp_handler.core.wire.datagram import CHECKSUM, Seal, encode_data
from batchudp_handler.core.wire.sync import Sync, encode_sync

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

LARGEST = 65_507
NAMES_AT_ONCE = 100
MAGIC_ZLIB = b"\xcb\xf2\x01"
WRONG_KEY = HmacKey(1, b"not the receiver's secret, but 32").sender
UNKNOWN_KEY = HmacKey(999, b"not the receiver's secret, but 32").sender
BOMB = zlib.compress(bytes(64 << 20), 9)
"""64 MiB in 65 kB; a datagram holds nearly all of it."""


def data(
    body: bytes, stream_id: int, *, seal: Seal = CHECKSUM, n_rec: int = 1, **fields: Any
) -> bytes:
    """A datagram whose header is as it should be."""
    values = {"acknowledged": False, "codec": 0, "seq": 0, "rec": 0, "sealed_at": 0, **fields}
    return encode_data(seal, body, stream_id=stream_id, n_rec=n_rec, **values)


def sync(stream_id: int, counter: int = 0, seal: Seal = CHECKSUM, **fields: Any) -> bytes:
    values = {"next_seq": 0, "floor": 0, "next_rec": 0, "acknowledged": True, **fields}
    return encode_sync(seal, Sync(**values), stream_id=stream_id, counter=counter, sealed_at=0)


def packed(value: object) -> bytes:
    """As a baseline datagram, compressed."""
    return MAGIC_ZLIB + zlib.compress(json.dumps(value).encode(), 9)


def compact(**members: object) -> bytes:
    """A compact payload of one record, with some members replaced."""
    payload: dict[str, object] = {
        "host": "h",
        "time": 1_700_000_000_000_000,
        "sites": [["n", 20, "INFO", "/x.py", 1, "f", None, 0]],
        "origins": [[1, "p", 1, "t", None]],
        "site": [0],
        "delta": [],
        "values": [[["text"]]],
        **members,
    }
    return json.dumps(payload).encode()


# --- noise ------------------------------------------------------------------------------------


def garbage(random: Random, _: int) -> Iterator[bytes]:
    """Bytes of any length up to 1,500."""
    while True:
        yield random.randbytes(random.randrange(1_501))


def valid_headers(random: Random, _: int) -> Iterator[bytes]:
    """Right header, right checksum, and no batch behind it; a new stream each time."""
    while True:
        body = random.randbytes(random.randrange(1_400))
        codec, n_rec = random.randrange(5), random.randrange(65_536)
        yield data(body, random.getrandbits(64), codec=codec, n_rec=n_rec)


# --- bombs ------------------------------------------------------------------------------------


def zlib_bombs(random: Random, _: int) -> Iterator[bytes]:
    """64 MiB in each datagram: whole, cut short, and behind a header."""
    head = BOMB[: LARGEST - 3]
    while True:
        yield MAGIC_ZLIB + head
        yield MAGIC_ZLIB + BOMB[: random.randrange(1_000, len(head))]
        yield data(BOMB[: LARGEST - HEADER_SIZE - 4], random.getrandbits(64), codec=1)


def json_bombs(random: Random, _: int) -> Iterator[bytes]:
    """As deep, and with as many objects, as a mebibyte of text allows."""
    mebibyte = (1 << 20) - 16
    texts = [
        "[" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        "[" + ",".join(["[]"] * (mebibyte // 3)) + "]",
        "[" + ",".join(["{}"] * (mebibyte // 3)) + "]",
        "[" + ",".join(["[[[[[]]]]]"] * (mebibyte // 11)) + "]",
        '{"message":"x","extra":' + '{"a":' * 300 + "1" + "}" * 300 + "}",
        '{"message":"x","x":' + "9" * 500_000 + "}",
        '{"message":"x","created":1e99999,"x":[' + "1e99999," * 100_000 + "1]}",
        '{"sites":[' + "[]," * (mebibyte // 4) + "[]]}",
        '{"message":"' + "\\ud800" * (mebibyte // 7) + '"}',
    ]
    bombs = [zlib.compress(text.encode(), 9) for text in texts]
    while True:
        bomb = random.choice(bombs)
        yield MAGIC_ZLIB + bomb
        yield data(bomb, random.getrandbits(64), codec=1, n_rec=random.randrange(1, 65_536))


def as_many_as_allowed(records: int) -> bytes:
    """Records that cost their sender three characters each; the receiver takes 2,048."""
    return compact(
        site=[0] * records,
        delta=[0] * (records - 1),
        strings=["x" * 50],
        values=[[{"of": [0] * records}]],
    )


def many_claimed(random: Random, _: int) -> Iterator[bytes]:
    """Up to a million records claimed, by the header or by the payload."""
    columns = [
        packed([{}] * 250_000),
        packed([{"message": ""}] * 60_000),
        MAGIC_ZLIB + zlib.compress(compact(site=[0] * 340_000), 9),
        MAGIC_ZLIB + zlib.compress(as_many_as_allowed(2_047), 9),
        MAGIC_ZLIB + zlib.compress(as_many_as_allowed(2_049), 9),
        MAGIC_ZLIB
        + zlib.compress(compact(strings=["x" * 1_000] * 900, values=[[{"of": [0] * 2_000}]]), 9),
    ]
    while True:
        yield random.choice(columns)
        yield data(compact(time="x"), random.getrandbits(64), n_rec=65_535)
        yield data(
            zlib.compress(compact(site=[10**6]), 9), random.getrandbits(64), codec=1, n_rec=1
        )


def oversize(random: Random, _: int) -> Iterator[bytes]:
    """Whatever has a length, far beyond its limit, in the largest datagrams that there are."""
    long = "x" * 900_000
    rows = [
        {"message": long},
        {"message": "m", "name": long},
        {"message": "m", "name": "." * 500_000},
        {"message": "m", "exc_text": long},
        {"message": "m", "stack_info": long, "levelname": long[:99_999]},
        {"message": "m", "extra": {f"key_{number}": number for number in range(9_000)}},
        {"message": "m", "extra": {long: 1}},
        {"message": "m", "extra": {"x": ["y" * 100] * 8_000}},
        {"message": "m", "pathname": long, "hostname": long[:99_999]},
        {"message": {"x" * 100: [0] * 300_000}},
    ]
    datagrams = [packed(row) for row in rows]
    largest = json.dumps({"message": "y" * (LARGEST - 20)}).encode()
    while True:
        yield random.choice(datagrams)
        yield largest
        yield random.randbytes(LARGEST)


# --- records that are as hostile as records can be ---------------------------------------------


def logger_names(random: Random, _: int) -> Iterator[bytes]:
    """Names that nobody else uses, each as deep as a name can be."""
    for number in count():
        first = number * NAMES_AT_ONCE
        names = [f"evil{each}{'.x' * random.randrange(130)}" for each in range(NAMES_AT_ONCE)]
        yield packed(
            [{"name": f"{first + each}.{name}", "msg": "m"} for each, name in enumerate(names)]
        )


def templates(random: Random, _: int) -> Iterator[bytes]:
    """Format strings that would print gigabytes or raise, and texts that drive terminals."""
    hostile = ["%99999999d", "%*d", "%(x)s", "%c", "%s%s%s", "{0.__class__}", "%.99999999f", "%"]
    texts = [
        "\x1b[2J\x1b]0;owned\x07",
        "line\nhonest 1 forged line\r\n",
        "\u202egnp.exe\u2066",
        "\ud800",
        "\x00\x85\u2028",
        "%s %d %n {0}",
        "${jndi:ldap://x/}",
    ]
    sites = [
        compact(sites=[["n", 20, "INFO", "/x.py", 1, "f", template, 1]], values=[[[5]]])
        for template in hostile
    ]
    rows = [json.dumps({"message": text, "name": text, "extra": {"x": text}}) for text in texts]
    datagrams = [*sites, *(row.encode() for row in rows)]
    while True:
        yield MAGIC_ZLIB + zlib.compress(random.choice(datagrams))


# --- streams -----------------------------------------------------------------------------------


def stolen_stream(random: Random, stream_id: int) -> Iterator[bytes]:
    """Batches, jumps and goodbyes in the name of the honest sender's stream."""
    for number in count():
        yield data(compact(), stream_id, acknowledged=True, seq=number % 10_000)
        yield data(compact(), stream_id, seq=number % 10_000)
        jump = random.getrandbits(40)
        yield sync(stream_id, 10**9 + number, next_seq=jump, floor=jump, next_rec=jump & 0xFFFF)
        yield sync(stream_id, 10**9 + number, closing=True, cookie=random.randbytes(16))


def fragments(random: Random, _: int) -> Iterator[bytes]:
    """First pieces of the largest groups, of which the rest never comes."""
    piece = random.randbytes(1_000)
    while True:
        stream_id = random.getrandbits(64)
        for group in range(4):
            yield data(piece, stream_id, seq=group * 1_024, frag_count=1_024, frag_index=0)
            yield data(piece, stream_id, seq=group * 1_024 + 1, frag_count=1_024, frag_index=1)


def sync_flood(random: Random, _: int) -> Iterator[bytes]:
    """Handshakes that are never finished, with no cookie or an invented one."""
    for number in count():
        cookie = random.randbytes(16) if number % 2 else bytes(16)
        yield sync(random.getrandbits(64), number, cookie=cookie)


def spoofable(random: Random, _: int) -> Iterator[bytes]:
    """A third each of what might be answered: SYNC, acknowledged DATA, garbage of 0 to 1,500 B."""
    while True:
        yield sync(random.getrandbits(64))
        body = random.randbytes(random.randrange(1_400))
        yield data(body, random.getrandbits(64), acknowledged=True)
        yield random.randbytes(random.randrange(1_501))


# --- for a receiver with keys -------------------------------------------------------------------


def wrong_tags(random: Random, stream_id: int) -> Iterator[bytes]:
    """All that a sender may say, sealed with another secret."""
    while True:
        seal = WRONG_KEY if random.random() < 0.8 else UNKNOWN_KEY
        target = stream_id if random.random() < 0.5 else random.getrandbits(64)
        yield data(compact(), target, seal=seal, acknowledged=True)
        yield data(compact(), target, seal=seal)
        yield sync(target, 10**9, seal)
        yield sync(target, 10**9, seal, closing=True, next_seq=10**6, floor=10**6)


def no_tags(random: Random, stream_id: int) -> Iterator[bytes]:
    """Every form that needs no key, the honest stream's number among them."""
    while True:
        yield b'{"message": "downgrade"}'
        yield packed({"message": "downgrade"})
        yield data(compact(), random.getrandbits(64))
        yield data(compact(), stream_id, acknowledged=True)
        yield sync(stream_id, 10**9)


def spoofable_with_key(random: Random, stream_id: int) -> Iterator[bytes]:
    """`spoofable`, sealed with a secret that is not the receiver's."""
    while True:
        yield sync(random.getrandbits(64), seal=WRONG_KEY)
        body = random.randbytes(random.randrange(1_400))
        yield data(body, random.getrandbits(64), seal=WRONG_KEY, acknowledged=True)
        yield random.randbytes(random.randrange(1_501))

"""Files for the decoder's tests: a conversation, and captures of it as tcpdump writes them."""

from __future__ import annotations

from struct import pack
from zlib import compress

from batchudp_handler.core.payload.compression import Codec
from batchudp_handler.core.wire.ack import Ack, encode_ack
from batchudp_handler.core.wire.datagram import (
    CHECKSUM,
    Baseline,
    Seal,
    encode_baseline,
    encode_data,
)
from batchudp_handler.core.wire.sync import Sync, encode_sync

STREAM = 0x0102030405060708
ROWS = b'[{"message":"hi","level":"warning","name":"shop"},{"message":"a\\u001b[31mb"}]'


def data(seq: int = 0, body: bytes = ROWS, *, seal: Seal = CHECKSUM, **fields: int) -> bytes:
    """One DATA datagram of two records."""
    values = {"rec": 0, "n_rec": 2, "frag_index": 0, "frag_count": 1, **fields}
    return encode_data(
        seal,
        body,
        acknowledged=True,
        codec=Codec.JSON,
        stream_id=STREAM,
        seq=seq,
        sealed_at=1_700_000_000,
        **values,
    )


def conversation() -> list[bytes]:
    """A SYNC, a batch, the answer, and a datagram of the older form."""
    sync = Sync(next_seq=0, floor=0, next_rec=0, acknowledged=True, promise_ms=1000)
    answer = Ack(receiver_epoch=0xABC, floor=1, credit=4096, delivered_records=2, bitmap=0b100)
    return [
        encode_sync(CHECKSUM, sync, stream_id=STREAM, counter=0, sealed_at=1_700_000_000),
        data(),
        encode_ack(CHECKSUM, answer, stream_id=STREAM, counter=0, sealed_at=1_700_000_000),
        encode_baseline(Baseline(Codec.ZLIB, compress(b'{"message":"old"}'))),
    ]


def udp(payload: bytes, *, version: int = 4) -> bytes:
    """An IP packet that carries a datagram from port 40001 to port 9999."""
    inner = pack(">HHHH", 40_001, 9_999, 8 + len(payload), 0) + payload
    if version == 6:
        loopback = bytes(15) + b"\x01"
        return pack(">IHBB", 6 << 28, len(inner), 17, 64) + loopback * 2 + inner
    head = pack(">BBHHHBBH", 0x45, 0, 20 + len(inner), 1, 0, 64, 17, 0)
    return head + b"\x7f\x00\x00\x01" * 2 + inner


def ethernet(packet: bytes, *, vlan: bool = False) -> bytes:
    """A frame around an IP packet."""
    kind = pack(">H", 0x0800 if packet[0] >> 4 == 4 else 0x86DD)
    return bytes(12) + (b"\x81\x00\x00\x05" if vlan else b"") + kind + packet


def pcap(frames: list[bytes], *, order: str = "<", link: int = 1, nano: bool = False) -> bytes:
    """A capture; the packets are half a second apart."""
    magic = 0xA1B23C4D if nano else 0xA1B2C3D4
    half = 500_000_000 if nano else 500_000
    parts = [pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65_535, link)]
    for index, frame in enumerate(frames):
        seconds, rest = divmod(index, 2)
        head = pack(order + "IIII", 1_700_000_000 + seconds, rest * half, len(frame), len(frame))
        parts += [head, frame]
    return b"".join(parts)


def pcapng(frames: list[bytes], *, order: str = "<", link: int = 1) -> bytes:
    """The same in the newer form, with times in nanoseconds."""
    section = pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1)
    resolution = pack(order + "HHB3xHH", 9, 1, 9, 0, 0)
    parts = [
        block(order, 0x0A0D0D0A, section),
        block(order, 1, pack(order + "HHI", link, 0, 0) + resolution),
    ]
    for index, frame in enumerate(frames):
        time = 1_700_000_000_000_000_000 + index * 500_000_000
        head = pack(order + "IIIII", 0, time >> 32, time & 0xFFFF_FFFF, len(frame), len(frame))
        parts.append(block(order, 6, head + frame))
    return b"".join(parts)


def block(order: str, kind: int, body: bytes) -> bytes:
    """One block of a pcapng file."""
    body += bytes(-len(body) % 4)
    length = pack(order + "I", len(body) + 12)
    return pack(order + "I", kind) + length + body + length

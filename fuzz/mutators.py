"""Mutations after which an input still gets past the first check.

A flipped bit in a datagram fails its checksum, and one in a compressed body its stream: without
help the fuzzer would see nothing but refusals. Each function takes the input apart, lets the
fuzzer change what is inside, and puts it together again; one time in eight it leaves it broken.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from batchudp_handler.core.payload.compression import DICTIONARY, Codec
from batchudp_handler.core.wire.constants import CRC_SIZE, HEADER_SIZE, MAGIC
from batchudp_handler.core.wire.datagram import CHECKSUM
from batchudp_handler.core.wire.spool_frame import FRAME_OVERHEAD, encode_frame

if TYPE_CHECKING:
    from collections.abc import Callable

    Mutate = Callable[[bytes, int], bytes]
    """The fuzzer's own mutation: bytes and the most there may be, to bytes."""

__all__ = ["mutate_datagram", "mutate_payload", "mutate_segment"]

BROKEN_ONE_IN = 8


def mutate_datagram(data: bytes, most: int, seed: int, mutate: Mutate) -> bytes:
    """Change a datagram, then make its checksum right."""
    changed = mutate(data, most)
    if seed % BROKEN_ONE_IN == 0 or len(changed) < HEADER_SIZE + CRC_SIZE:
        return changed
    return CHECKSUM.seal(changed[:-CRC_SIZE], b"")


def mutate_payload(data: bytes, most: int, seed: int, mutate: Mutate) -> bytes:
    """Change what is inside a compressed body."""
    codec = data[0] % 5 if data else 0
    if seed % BROKEN_ONE_IN == 0 or codec not in (Codec.ZLIB, Codec.ZLIB_DICT):
        return mutate(data, most)
    dictionary = DICTIONARY if codec == Codec.ZLIB_DICT else b""
    try:
        inner = zlib.decompressobj(zdict=dictionary).decompress(data[1:], most)
    except zlib.error:
        return mutate(data, most)
    deflate = zlib.compressobj(1, zdict=dictionary) if dictionary else zlib.compressobj(1)
    body = deflate.compress(mutate(inner, most)) + deflate.flush()
    return (data[:1] + body)[:most]


def mutate_segment(data: bytes, most: int, seed: int, mutate: Mutate) -> bytes:
    """Change one of a segment's datagrams, then make length and checksum of its frame right."""
    begins = [place for place in _places_of(MAGIC, data) if place >= FRAME_OVERHEAD]
    if seed % BROKEN_ONE_IN == 0 or not begins:
        return mutate(data, most)
    number = seed // BROKEN_ONE_IN % len(begins)
    begin = begins[number]
    end = begins[number + 1] - FRAME_OVERHEAD if number + 1 < len(begins) else len(data)
    sealed = mutate(data[begin:end], max(HEADER_SIZE, most - len(data)))
    return (data[: begin - FRAME_OVERHEAD] + encode_frame(sealed) + data[end:])[:most]


def _places_of(pattern: bytes, data: bytes) -> list[int]:
    places = []
    place = data.find(pattern)
    while place >= 0:
        places.append(place)
        place = data.find(pattern, place + 1)
    return places

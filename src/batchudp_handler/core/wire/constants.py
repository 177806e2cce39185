"""Numbers of protocol version 1 that both ends must agree on, each written once.

`docs/protocol/datagrams.md` states them for other languages.
"""

from __future__ import annotations

__all__ = [
    "BITMAP_LIMIT",
    "COOKIE_SIZE",
    "CRC_SIZE",
    "HEADER_SIZE",
    "MAGIC",
    "MAX_DATAGRAM_SIZE",
    "MAX_FRAGMENTS",
    "MAX_RECORDS",
    "MAX_SEQ",
    "MIN_DATAGRAM_SIZE",
    "MODULUS",
    "NO_COOKIE",
    "SYNC_SIZE",
    "TAG_SIZE",
    "VERSION",
    "WINDOW_SIZE",
]

MAGIC = b"\xcb\xf2"
"""Not valid UTF-8, so never the start of a JSON text."""
VERSION = 0x81
"""Bit 7: extended header. Low nibble: version 1. Bits 6 to 4 are reserved."""

HEADER_SIZE = 38
CRC_SIZE = 4
TAG_SIZE = 16
COOKIE_SIZE = 16
NO_COOKIE = bytes(COOKIE_SIZE)

MAX_DATAGRAM_SIZE = 65_507
"""The largest UDP payload over IPv4: 65,535 less an IP header of 20 and a UDP header of 8."""
SYNC_SIZE = 128
"""All SYNCs are padded to this size: no reply to one is larger, see amplification."""
MIN_DATAGRAM_SIZE = SYNC_SIZE
"""On a path that carries less there is no protocol."""

MAX_RECORDS = 0xFFFF
"""Records of one datagram: the width of `n_rec`."""
MAX_FRAGMENTS = 1024
"""Datagrams of one group: what a receiver agrees to put together."""
MAX_SEQ = (1 << 64) - 1
"""The largest floor that can be told. No datagram has this number."""
MODULUS = 1 << 32
"""Ordinals and counters of records are told modulo this."""

WINDOW_SIZE = 4096
"""Datagrams above the receiver's floor that both ends tell apart."""
BITMAP_LIMIT = WINDOW_SIZE // 8
"""Bytes of bitmap in an ACK: one bit for each datagram of the window."""

"""Datagrams found in a file: a capture, a spool segment, hex digits, or one datagram as it is.

Packets of a capture are followed through Ethernet, Linux "cooked" and raw IP headers down to UDP.
What is something else (TCP, ARP, a cut packet, a fragment of an IP packet) is left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from struct import Struct
from struct import error as StructError
from typing import TYPE_CHECKING

from batchudp_handler.core.wire.constants import HEADER_SIZE
from batchudp_handler.core.wire.spool_frame import header_fields, scan_segment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Found", "datagrams_in"]

PCAP_MAGICS = {0xA1B2C3D4: 1e-6, 0xA1B23C4D: 1e-9}
"""The first four bytes of a pcap file, and what a unit of its fractions is worth in seconds."""
PCAPNG_MAGIC = 0x0A0D0D0A
PCAPNG_ORDER = 0x1A2B3C4D
INTERFACE, SIMPLE, ENHANCED = 1, 3, 6
"""Blocks of a pcapng file that matter here."""
OPTION_RESOLUTION = 9
FRAME_HEAD = 8
"""Bytes of length and checksum before a datagram in a spool segment."""

ETHERNET, RAW_IP, LINUX_COOKED, LINUX_COOKED_2 = 1, 101, 113, 276
NULL_LOOPBACK = 0
VLANS = (0x8100, 0x88A8)
IPV4, IPV6 = 0x0800, 0x86DD
UDP = 17


@dataclass(frozen=True, slots=True)
class Found:
    """A datagram, with what its file says of it."""

    data: bytes
    when: float | None = None
    """Seconds since the epoch."""
    source: str = ""
    target: str = ""


def datagrams_in(content: bytes) -> list[Found]:
    """Find the datagrams of a file, whatever its kind.

    Args:
        content: The whole file.

    Returns:
        The datagrams in the order of the file; none if it holds nothing that can be one.
    """
    for reader in (_from_pcap, _from_pcapng, _from_segment, _from_hex):
        found = reader(content)
        if found is not None:
            return found
    return [Found(content)] if content else []


# --- files -------------------------------------------------------------------------------------


def _from_segment(content: bytes) -> list[Found] | None:
    fields = header_fields(content[FRAME_HEAD : FRAME_HEAD + HEADER_SIZE])
    if fields is None:
        return None
    frames = scan_segment(content, fields[0]).frames
    return [Found(content[frame.offset : frame.end]) for frame in frames]


def _from_hex(content: bytes) -> list[Found] | None:
    """Return one datagram for each line of hex digits, whatever blanks and colons are in it."""
    if re.fullmatch(rb"[0-9A-Fa-f\s:]+", content) is None:
        return None
    lines = (re.sub(rb"[\s:]", b"", line) for line in content.splitlines())
    return [Found(bytes.fromhex(line.decode())) for line in lines if line and not len(line) % 2]


def _byte_order(content: bytes, known: Callable[[int], bool]) -> str | None:
    for order in "<>":
        if len(content) >= 4 and known(Struct(order + "I").unpack_from(content)[0]):
            return order
    return None


def _from_pcap(content: bytes) -> list[Found] | None:
    order = _byte_order(content, PCAP_MAGICS.__contains__)
    if order is None or len(content) < 24:
        return None
    unit = PCAP_MAGICS[Struct(order + "I").unpack_from(content)[0]]
    link = Struct(order + "I").unpack_from(content, 20)[0] & 0xFFFF
    return [found for when, packet in _pcap_packets(content, order, unit)
            for found in _udp_in(link, packet, when)]  # fmt: skip


def _pcap_packets(content: bytes, order: str, unit: float) -> Iterator[tuple[float, bytes]]:
    head, position = Struct(order + "IIII"), 24
    while position + head.size <= len(content):
        seconds, fraction, length, _ = head.unpack_from(content, position)
        position += head.size
        yield seconds + fraction * unit, content[position : position + length]
        position += length


def _from_pcapng(content: bytes) -> list[Found] | None:
    if _byte_order(content, PCAPNG_MAGIC.__eq__) is None or len(content) < 28:
        return None
    order = _byte_order(content[8:], PCAPNG_ORDER.__eq__)
    if order is None:
        return None
    found: list[Found] = []
    interfaces: list[tuple[int, float]] = []
    for kind, body in _blocks(content, order):
        if kind == INTERFACE:
            interfaces.append(_interface(body, order))
        elif kind == ENHANCED and len(body) >= 20:
            index, high, low, length, _ = Struct(order + "IIIII").unpack_from(body)
            link, unit = interfaces[index] if index < len(interfaces) else (ETHERNET, 1e-6)
            found += _udp_in(link, body[20 : 20 + length], (high << 32 | low) * unit)
        elif kind == SIMPLE and interfaces:
            found += _udp_in(interfaces[0][0], body[4:], None)
    return found


def _blocks(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    head, position = Struct(order + "II"), 0
    while position + 12 <= len(content):
        kind, length = head.unpack_from(content, position)
        if length < 12:
            return
        yield kind, content[position + 8 : position + length - 4]
        position += length


def _interface(body: bytes, order: str) -> tuple[int, float]:
    """Return the kind of link and the unit of its times in seconds, as far as they are there."""
    link = Struct(order + "H").unpack(body[:2])[0] if len(body) >= 2 else ETHERNET
    for option, value in _options(body[8:], order):
        if option == OPTION_RESOLUTION and value:
            return link, 2.0 ** -(value[0] & 0x7F) if value[0] & 0x80 else 10.0 ** -value[0]
    return link, 1e-6


def _options(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    pair, position = Struct(order + "HH"), 0
    while position + 4 <= len(content):
        option, length = pair.unpack_from(content, position)
        yield option, content[position + 4 : position + 4 + length]
        position += 4 + (length + 3 & ~3)


# --- packets -----------------------------------------------------------------------------------


def _udp_in(link: int, packet: bytes, when: float | None) -> Iterator[Found]:
    try:
        found = _udp_of_ip(_ip_of_link(link, packet), when)
    except (StructError, IndexError, ValueError):
        return  # cut, or not what it says
    if found is not None:
        yield found


def _ip_of_link(link: int, packet: bytes) -> bytes:
    if link == ETHERNET:
        position = 12
        while int.from_bytes(packet[position : position + 2]) in VLANS:
            position += 4
        return packet[position + 2 :]
    skipped = {NULL_LOOPBACK: 4, LINUX_COOKED: 16, LINUX_COOKED_2: 20}
    return packet[skipped.get(link, 0) :]


def _udp_of_ip(packet: bytes, when: float | None) -> Found | None:
    version = packet[0] >> 4
    if version == 4:
        is_fragment = int.from_bytes(packet[6:8]) & 0x3FFF
        start = (packet[0] & 0x0F) * 4
        is_udp = packet[9] == UDP and not is_fragment
        addresses = packet[12:16], packet[16:20]
    elif version == 6:
        start, is_udp = 40, packet[6] == UDP
        addresses = packet[8:24], packet[24:40]
    else:
        return None
    if not is_udp:
        return None
    source_port, target_port, length, _ = Struct(">HHHH").unpack_from(packet, start)
    source, target = (ip_address(each) for each in addresses)
    return Found(
        packet[start + 8 : start + length],
        when,
        f"{source}:{source_port}" if version == 4 else f"[{source}]:{source_port}",
        f"{target}:{target_port}" if version == 4 else f"[{target}]:{target_port}",
    )

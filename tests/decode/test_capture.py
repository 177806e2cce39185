"""Datagrams are found in every kind of file that people have."""

from __future__ import annotations

from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchudp_handler.core.wire.spool_frame import encode_frame
from batchudp_handler.decode.capture import datagrams_in
from tests.decode.files import block, conversation, data, ethernet, pcap, pcapng, udp

TALK = conversation()


@pytest.mark.parametrize("write", [pcap, pcapng])
@pytest.mark.parametrize("order", ["<", ">"])
def test_captures_in_either_byte_order(write, order):
    """Datagrams, times and addresses come out as they went in."""
    found = datagrams_in(write([ethernet(udp(each)) for each in TALK], order=order))

    assert [each.data for each in found] == TALK
    assert [each.when for each in found] == pytest.approx(
        [1_700_000_000 + index / 2 for index in range(len(TALK))]
    )
    assert {(each.source, each.target) for each in found} == {
        ("127.0.0.1:40001", "127.0.0.1:9999")
    }


def test_times_in_nanoseconds():
    """The other magic number of pcap means finer fractions."""
    found = datagrams_in(pcap([ethernet(udp(each)) for each in TALK[:2]], nano=True))

    assert found[1].when == pytest.approx(1_700_000_000.5)


def test_ipv6_and_vlan():
    """Tags are skipped, and IPv6 addresses have brackets before the port."""
    found = datagrams_in(pcap([ethernet(udp(TALK[0], version=6), vlan=True)]))

    assert [(each.data, each.source) for each in found] == [(TALK[0], "[::1]:40001")]


@pytest.mark.parametrize(("link", "head"), [(101, 0), (0, 4), (113, 16), (276, 20)])
def test_links_without_ethernet(link, head):
    """Captures of loopback, of "any" and of tunnels have other headers before IP."""
    found = datagrams_in(pcap([bytes(head) + udp(TALK[1])], link=link))

    assert [each.data for each in found] == [TALK[1]]


def test_what_is_no_udp_is_left_out():
    """TCP, ARP, pieces of IP packets and cut packets do not stop the reader."""
    packet = udp(TALK[1])
    tcp = packet[:9] + b"\x06" + packet[10:]
    piece = packet[:6] + b"\x20\x00" + packet[8:]
    arp = bytes(12) + b"\x08\x06" + bytes(28)
    frames = [ethernet(tcp), ethernet(piece), arp, ethernet(packet)[:30], b"", ethernet(packet)]

    assert [each.data for each in datagrams_in(pcap(frames))] == [TALK[1]]


def test_a_segment_of_a_spool():
    """Each intact frame is a datagram; a damaged one is skipped."""
    whole = [data(seq, rec=seq * 2) for seq in range(3)]
    segment = bytearray(b"".join(map(encode_frame, whole)))
    segment[len(encode_frame(whole[0])) + 60] ^= 1

    found = datagrams_in(bytes(segment))

    assert [each.data for each in found] == [whole[0], whole[2]]


def test_lines_of_hex_digits():
    """One datagram a line, with blanks, colons and either case."""
    text = TALK[0].hex(" ") + "\n\n" + TALK[1].hex(":").upper() + "\n"

    assert [each.data for each in datagrams_in(text.encode())] == TALK[:2]


@pytest.mark.parametrize("datagram", TALK)
def test_one_datagram_as_it_is(datagram):
    """What is none of these is a datagram itself."""
    assert [each.data for each in datagrams_in(datagram)] == [datagram]


def test_an_empty_file():
    """There is nothing in it."""
    assert datagrams_in(b"") == []


@pytest.mark.parametrize("write", [pcap, pcapng])
def test_a_capture_cut_anywhere(write):
    """What stands whole before the cut is found, and the interface may be cut in its options."""
    content = write([ethernet(udp(each)) for each in TALK])

    counts = [len(datagrams_in(content[:cut])) for cut in range(28, len(content) + 1)]

    assert sorted(counts) == counts
    assert counts[-1] == len(TALK)


@pytest.mark.parametrize("order", ["<", ">"])
def test_an_interface_without_a_description(order):
    """A block that says nothing of its link stands for Ethernet with microseconds."""
    head, interface = pcapng([], order=order)[:28], pack(order + "III", 1, 12, 12)
    packet = ethernet(udp(TALK[1]))
    body = pack(order + "IIIII", 0, 0, 3_000_000, len(packet), len(packet)) + packet

    found = datagrams_in(head + interface + block(order, 6, body))

    assert [(each.data, each.when) for each in found] == [(TALK[1], 3.0)]


@given(st.binary(max_size=300), st.sampled_from([pcap, pcapng]), st.integers(0, 400))
def test_nothing_raises(noise, write, cut):
    """Whatever the file holds, and wherever it is cut."""
    datagrams_in(write([noise])[:cut])
    datagrams_in(write([])[:28] + noise)

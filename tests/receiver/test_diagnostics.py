"""What a receiver says about itself is readable, and never a flood."""

from __future__ import annotations

import logging
import struct
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler import BatchUDPHandler
from batchudp_handler.core.receive.events import RecordsLost, SenderDropped
from batchudp_handler.core.wire.auth import HmacKey
from batchudp_handler.receiver import BatchUDPReceiver
from batchudp_handler.receiver.diagnostics import Diagnostics
from batchudp_handler.receiver.receive_socket import address_text
from tests.support import wait_until

if TYPE_CHECKING:
    from batchudp_handler.core.receive.events import Address
from tests.receiver.bench import connected, entry, version_1


def test_diagnostics_are_rate_limited(caplog: pytest.LogCaptureFixture) -> None:
    """A kind of message appears at once, then once per ten seconds with what came together."""
    now = [0.0]
    diagnostics = Diagnostics(lambda: now[0])
    for _ in range(5):
        diagnostics.on_event(RecordsLost(1, ("192.0.2.1", 5), 2))
        diagnostics.tell()
    diagnostics.on_event(SenderDropped(1, ("192.0.2.1", 5), 3))
    diagnostics.tell()
    now[0] = 10.0
    diagnostics.tell()
    diagnostics.tell()
    assert caplog.messages == [
        "2 records lost on the way, latest from 192.0.2.1:5",
        "3 records dropped by their senders, latest by 192.0.2.1:5",
        "8 records lost on the way, latest from 192.0.2.1:5",
    ]


def refused_by(caplog: pytest.LogCaptureFixture, *datagrams: bytes, **settings: Any) -> list[str]:
    """What a receiver says about datagrams that it refuses."""
    caplog.clear()
    with (
        BatchUDPReceiver("127.0.0.1", 0, **settings) as receiver,
        connected(receiver.address) as plain,
    ):
        for datagram in datagrams:
            plain.send(datagram)
        wait_until(lambda: receiver.stats().refused or receiver.stats().rejected)
        wait_until(lambda: caplog.messages)
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    return caplog.messages


def test_refusals_are_said_with_reason_source_and_remedy(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The commonest mistakes: a key, an allow-list, a size, a port that is somebody else's."""
    key = HmacKey(7, bytes(32))
    (no_key,) = refused_by(caplog, entry("a"), keys=[key])
    assert no_key == (
        "refused 1 datagram from 127.0.0.1, unauthenticated: The datagram has no key, but "
        "the receiver requires one. Advice: give the sender a key file, or set "
        "accept_unauthenticated."
    )
    (stranger,) = refused_by(caplog, entry("a"), allow=("192.0.2.0/24",))
    assert stranger == (
        "refused 1 datagram from 127.0.0.1, not_allowed: The source address is not allowed to "
        "send, or not to this stream. Advice: add its network to allow."
    )
    (too_long,) = refused_by(caplog, bytes(600), buffer_size=512)
    assert "from 127.0.0.1, truncated_read: Longer than `buffer_size`." in too_long
    (garbage,) = refused_by(caplog, b"GET / HTTP/1.1")
    assert garbage.startswith("refused 1 datagram from 127.0.0.1, malformed: ")
    (no_json,) = refused_by(caplog, b'{"message": ')
    assert no_json.startswith("rejected 1 record from 127.0.0.1, json: ")


def test_refusals_do_not_flood(caplog: pytest.LogCaptureFixture) -> None:
    """A thousand of them are two lines: the first, and all others in the end."""
    messages = refused_by(caplog, *[b"garbage"] * 1000)
    numbers = [int(message.split()[1]) for message in messages]
    assert len(numbers) <= 2
    assert sum(numbers) == 1000


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("\0a8be5e", "unix:@a8be5e"),
        ("/run/x.sock", "unix:/run/x.sock"),
        ("", "unix:(no name)"),
        ("\0a\nFAKE", "unix:@a\\nFAKE"),
        ("unix:///run/log.sock", "unix:///run/log.sock"),
        (("::1", 9, 0, 0), "[::1]:9"),
    ],
)
def test_addresses_are_readable(address: Address, text: str) -> None:
    """A sender on a unix socket has a name that can be read, and that fakes no line."""
    assert address_text(address) == text


def test_streams_are_summed_up_when_they_end(caplog: pytest.LogCaptureFixture) -> None:
    """One line for each sender that leaves: a warning if anything is missing."""
    caplog.set_level(logging.INFO, "batchudp.receiver")
    with BatchUDPReceiver("127.0.0.1", 0) as receiver, connected(receiver.address) as plain:
        plain.send(version_1("a", rec=0, seq=0))
        plain.send(version_1("b", rec=3, seq=2))
        wait_until(lambda: receiver.stats().delivered == 2)
    (record,) = [each for each in caplog.records if "ended (shutdown)" in each.message]
    assert record.levelno == logging.WARNING
    assert "2 delivered, 2 lost, 0 rejected, 0 dropped by the sender" in record.message


def test_an_end_without_a_goodbye_is_not_called_whole(caplog: pytest.LogCaptureFixture) -> None:
    """A one-way sender that was killed may have sent more: the receiver says what it knows."""
    caplog.set_level(logging.DEBUG, "batchudp.receiver")
    with BatchUDPReceiver("127.0.0.1", 0) as receiver, connected(receiver.address) as plain:
        plain.send(version_1("a", rec=0, seq=0))
        wait_until(lambda: receiver.stats().delivered == 1)
    (record,) = [each for each in caplog.records if "ended (shutdown)" in each.message]
    assert record.levelno == logging.INFO
    assert "1 delivered, 0 rejected, 0 dropped by the sender; its last records are not known" in (
        record.message
    )


def test_a_sender_that_left_with_nothing_lost_is_no_news(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Among the lines of a program it is said at DEBUG only."""
    caplog.set_level(logging.DEBUG, "batchudp.receiver")
    with BatchUDPReceiver("127.0.0.1", 0) as receiver:
        sender = BatchUDPHandler(*receiver.address)
        sender.handle(logging.makeLogRecord({"msg": "m"}))
        sender.close()
        wait_until(lambda: receiver.stats().streams_ended)
    (record,) = [each for each in caplog.records if "ended (closed)" in each.message]
    assert record.levelno == logging.DEBUG
    assert "1 delivered, 0 lost" in record.message


def test_many_ending_streams_do_not_flood(caplog: pytest.LogCaptureFixture) -> None:
    """Twenty summaries, then one line for all the others."""
    caplog.set_level(logging.DEBUG, "batchudp.receiver")
    with BatchUDPReceiver("127.0.0.1", 0) as receiver, connected(receiver.address) as plain:
        for stream in range(50):
            good = bytearray(version_1("a")[:-4])
            good[8:16] = struct.pack(">Q", stream + 1)
            plain.send(bytes(good) + struct.pack(">I", zlib.crc32(bytes(good))))
        wait_until(lambda: receiver.stats().delivered == 50)
    assert sum("ended (shutdown)" in message for message in caplog.messages) == 20
    assert "30 more streams ended" in caplog.messages

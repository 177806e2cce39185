"""What stands in for a missing ability does the same."""

from __future__ import annotations

import os
import select
import socket
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from batchudp_handler import platform
from batchudp_handler.platform import POLLIN, POLLOUT, present_waiter
from batchudp_handler.receiver.receive_socket import ReceiveSocket

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


@pytest.fixture(params=["poll", "select"])
def primitive(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "select":
        monkeypatch.delattr(select, "poll")
    return str(request.param)


@pytest.mark.usefixtures("primitive")
def test_a_waiter_names_what_is_ready(pair: tuple[socket.socket, socket.socket]) -> None:
    """Readable, writable or neither; and it can be asked again and again."""
    one, other = (each.fileno() for each in pair)
    readable = present_waiter()({one: POLLIN, other: POLLIN})
    either = present_waiter()({one: POLLIN | POLLOUT})

    assert readable(0.0) == []
    assert either(0.0) == [one]
    pair[1].send(b"x")
    assert readable(None) == [one]
    assert readable(5.0) == [one]


@pytest.mark.usefixtures("primitive")
def test_a_waiter_for_nothing_waits() -> None:
    """Its time passes, as Windows would not have it."""
    began = time.monotonic()
    assert present_waiter()({})(0.05) == []
    assert time.monotonic() - began >= 0.045


@pytest.mark.usefixtures("primitive")
def test_a_closed_descriptor_ends_a_wait_at_once() -> None:
    """The owner then looks at what it has; a wait that raised would be a fault."""
    one, other = socket.socketpair()
    wait = present_waiter()({one.fileno(): POLLIN})
    number = one.fileno()
    one.close()
    other.close()
    assert wait(30.0) == [number]


def test_a_byte_is_read_without_pread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written next goes to the end nevertheless."""
    path = tmp_path / "log"
    path.write_bytes(b"one\ntwo")
    monkeypatch.delattr(os, "pread")
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
    try:
        assert platform.read_at(descriptor, 1, 3) == b"\n"
        os.write(descriptor, b"!")
    finally:
        os.close(descriptor)
    assert path.read_bytes() == b"one\ntwo!"


def test_a_path_of_unix_sockets_has_no_size(pair: tuple[socket.socket, socket.socket]) -> None:
    """Only IP has one, and nothing is asked of another family."""
    platform.never_fragment(pair[0])
    assert platform.path_datagram_size(pair[0]) is None


def test_an_answer_to_a_sender_that_left_disturbs_no_reading(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Windows says of it ECONNRESET when the next datagram is read; what came before is kept."""
    with closing(ReceiveSocket("127.0.0.1", 0, receive_buffer=4096, buffer_size=100)) as own:
        receive, refusals = own._receive, iter([False, True])

        def resetting(size: int) -> tuple[bytes, object]:
            if next(refusals, False):
                raise ConnectionResetError
            return receive(size)

        monkeypatch.setattr(own, "_receive", resetting)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect(own.address)
            sender.send(b"before")
            sender.send(b"after")
            own.wait(30.0)
            assert [data for data, _ in own.receive(10)] == [b"before"]
            assert [data for data, _ in own.receive(10)] == [b"after"]

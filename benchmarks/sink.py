"""Where does it all go, and how much of it arrives?

A process that reads one UDP port and one TCP port as fast as it can and throws everything away. It
counts bytes and datagrams; whoever wants to know asks over a pipe.
"""

from __future__ import annotations

import multiprocessing
import selectors
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

RECEIVE_BUFFER = 32 * 1024 * 1024
SO_RCVBUFFORCE = 33


@dataclass(frozen=True, slots=True)
class Arrived:
    """What came since the last time somebody asked."""

    bytes: int
    pieces: int


class Sink:
    """The process and its two ports."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(theirs,), daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        self.udp_port, self.tcp_port = self._pipe.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.send(False)
        self._process.join(5)

    def take(self) -> Arrived:
        """Count and reset, after everything that waits in the sockets has been read."""
        self._pipe.send(True)
        return Arrived(*self._pipe.recv())


def _udp_socket() -> socket.socket:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        udp.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except OSError:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    udp.bind(("127.0.0.1", 0))
    udp.setblocking(False)
    return udp


def _run(pipe: Connection[Any, Any]) -> None:
    selector = selectors.DefaultSelector()
    udp = _udp_socket()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    selector.register(udp, selectors.EVENT_READ)
    selector.register(listener, selectors.EVENT_READ)
    selector.register(pipe, selectors.EVENT_READ)
    pipe.send((udp.getsockname()[1], listener.getsockname()[1]))
    buffer = bytearray(1 << 20)
    total = pieces = 0
    while True:
        ready = [key.fileobj for key, _ in selector.select()]
        for source in ready:
            if source is listener:
                connection, _ = listener.accept()
                connection.setblocking(False)
                selector.register(connection, selectors.EVENT_READ)
            elif isinstance(source, socket.socket):
                count, reads = _read(source, buffer)
                total, pieces = total + count, pieces + reads
                if source is not udp and not count:
                    selector.unregister(source)
                    source.close()
        # asked only when nothing else is left to read
        if ready == [pipe]:
            if not pipe.recv():
                return
            pipe.send((total, pieces))
            total = pieces = 0


def _read(source: socket.socket, buffer: bytearray) -> tuple[int, int]:
    total = reads = 0
    try:
        while count := source.recv_into(buffer):
            total, reads = total + count, reads + 1
    except (BlockingIOError, ConnectionResetError):
        pass
    return total, reads

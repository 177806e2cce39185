"""A server that counts how much of what was sent arrives.

A process that reads a UDP port, and a TCP port for each protocol of the peers, as fast as it can,
counts bytes, reads and records, and throws everything away. Acknowledged and keyed senders need
somebody who answers: two real receivers run in it as well. Whoever wants to know asks over a pipe.
"""

from __future__ import annotations

import gzip
import logging
import multiprocessing
import os
import selectors
import socket
import tempfile
from base64 import b64encode
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from batchudp_handler import BatchUDPReceiver
from batchudp_handler.core.payload.codec import decode_payload
from batchudp_handler.core.payload.limits import DecodeLimits
from batchudp_handler.core.wire.datagram import Baseline, DatagramType, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from multiprocessing.connection import Connection

RECEIVE_BUFFER = 32 * 1024 * 1024
SO_RCVBUFFORCE = 33
GELF_CHUNK = b"\x1e\x0f"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Arrived:
    """What came since the last time somebody asked."""

    bytes: int = 0
    records: int = 0

    def __sub__(self, other: Arrived) -> Arrived:
        """What came in between."""
        return Arrived(self.bytes - other.bytes, self.records - other.records)

    def __add__(self, other: Arrived) -> Arrived:
        """Both."""
        return Arrived(self.bytes + other.bytes, self.records + other.records)


class Sink:
    """The process, its ports by name, and the file with the key that one of them wants."""

    ports: Mapping[str, int]
    key_file: str

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._folder = tempfile.TemporaryDirectory()
        self.key_file = _write_key(Path(self._folder.name) / "key")
        self._process = context.Process(target=_run, args=(theirs, self.key_file), daemon=True)

    def __enter__(self) -> Self:
        """Start, and learn the ports."""
        self._process.start()
        self.ports = self._pipe.recv()
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._pipe.send(False)
        self._process.join(10)
        self._folder.cleanup()

    def take(self) -> Arrived:
        """Count and reset, after everything that waits in the sockets has been read."""
        self._pipe.send(True)
        counted: Arrived = self._pipe.recv()
        return counted


def _write_key(path: Path) -> str:
    path.touch(mode=0o600)
    path.write_text(f"1 hmac-sha256 {b64encode(os.urandom(32)).decode()}\n", "ascii")
    return str(path)


# --- who counts what -----------------------------------------------------------------------------


def records_in_datagram(data: bytes) -> int:
    """One, unless it is one of ours or a piece of a larger one."""
    if data[:2] == GELF_CHUNK:
        return int(data[10] == 0)
    if data[:2] != b"\xcb\xf2" and data[:1] not in b"[{":
        return 1
    frame = parse(data)
    if isinstance(frame, Baseline):
        return len(decode_payload(frame.codec, frame.body, DecodeLimits()))
    is_data = frame.type in (DatagramType.DATA, DatagramType.DATA_ACKNOWLEDGED)
    return frame.n_rec if is_data and frame.frag_index == 0 else 0


class Reader(Protocol):
    """What counts the records of one connection."""

    def feed(self, data: bytes) -> int:
        """Take the next bytes; give back how many records they complete."""

    def reply(self) -> bytes:
        """What the peer waits for."""


class Lines:
    """One record for each line."""

    def feed(self, data: bytes) -> int:
        """Count line ends."""
        return data.count(b"\n")

    def reply(self) -> bytes:
        """Nothing."""
        return b""


class Frames(Lines):
    """Each record behind its length in four bytes, as `SocketHandler` sends it."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> int:
        """Hop from length to length."""
        self._rest += data
        at = count = 0
        while len(self._rest) - at >= 4:
            end = at + 4 + int.from_bytes(self._rest[at : at + 4], "big")
            if end > len(self._rest):
                break
            at, count = end, count + 1
        del self._rest[:at]
        return count


class MessagePack(Lines):
    """One record for each object."""

    def __init__(self) -> None:
        import msgpack

        self._unpacker = msgpack.Unpacker()

    def feed(self, data: bytes) -> int:
        """Count complete objects."""
        self._unpacker.feed(data)
        return sum(1 for _ in self._unpacker)


class Requests(Lines):
    """OTLP over HTTP; every request is answered with 200."""

    def __init__(self) -> None:
        self._rest = b""
        self._answers = 0

    def feed(self, data: bytes) -> int:
        """Count the records of complete requests."""
        self._rest += data
        count = 0
        while b"\r\n\r\n" in self._rest:
            head, _, rest = self._rest.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            if len(rest) < length:
                break
            self._rest = rest[length:]
            self._answers += 1
            count += _otlp_records(rest[:length])
        return count

    def reply(self) -> bytes:
        """One answer for each request."""
        answers, self._answers = self._answers, 0
        return OK * answers


def _otlp_records(body: bytes) -> int:
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    if body[:2] == b"\x1f\x8b":
        body = gzip.decompress(body)
    request = ExportLogsServiceRequest.FromString(body)
    return sum(len(s.log_records) for r in request.resource_logs for s in r.scope_logs)


READERS: Mapping[str, Callable[[], Reader]] = {
    "frames": Frames,
    "lines": Lines,
    "msgpack": MessagePack,
    "http": Requests,
}


# --- the process ---------------------------------------------------------------------------------


def udp_socket() -> socket.socket:
    """Bound to a free port of the loopback, with a large buffer."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        udp.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except OSError:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    udp.bind(("127.0.0.1", 0))
    udp.setblocking(False)
    return udp


class _Process:
    def __init__(self, pipe: Connection[Any, Any], key_file: str) -> None:
        self._pipe = pipe
        self._selector = selectors.DefaultSelector()
        self._selector.register(pipe, selectors.EVENT_READ)
        self._counted = self._told = Arrived()
        self._receivers = {
            "receiver": BatchUDPReceiver("127.0.0.1", 0),
            "keyed": BatchUDPReceiver("127.0.0.1", 0, key_file=key_file),
        }
        self.ports = {name: each.address[1] for name, each in self._receivers.items()}
        for each in self._receivers.values():
            each.__enter__()
        self._open("udp", udp_socket(), self._read_datagrams)
        for name, new_reader in READERS.items():
            listener = socket.create_server(("127.0.0.1", 0))
            listener.setblocking(False)
            self._open(name, listener, partial(self._accept, new_reader))

    def _open(
        self, name: str, sock: socket.socket, on_ready: Callable[[socket.socket], None]
    ) -> None:
        self.ports[name] = sock.getsockname()[1]
        self._selector.register(sock, selectors.EVENT_READ, on_ready)

    def run(self) -> None:
        while True:
            ready = [key for key, _ in self._selector.select()]
            for key in ready:
                if key.data is not None:
                    key.data(key.fileobj)
            # asked only when nothing else is left to read
            if len(ready) == 1 and ready[0].data is None:
                if not self._pipe.recv():
                    return
                self._tell()

    def _tell(self) -> None:
        total = self._counted
        for receiver in self._receivers.values():
            stats = receiver.stats()
            total += Arrived(stats.bytes_received, stats.delivered)
        self._pipe.send(total - self._told)
        self._told = total

    def close(self) -> None:
        for each in self._receivers.values():
            each.close()

    def _read_datagrams(self, udp: socket.socket) -> None:
        try:
            while data := udp.recv(65_535):
                self._counted += Arrived(len(data), records_in_datagram(data))
        except BlockingIOError:
            pass

    def _accept(self, new_reader: Callable[[], Reader], listener: socket.socket) -> None:
        connection, _ = listener.accept()
        reader = new_reader()
        self._selector.register(
            connection, selectors.EVENT_READ, lambda s: self._read_stream(s, reader)
        )

    def _read_stream(self, connection: socket.socket, reader: Reader) -> None:
        try:
            data = connection.recv(1 << 18)
        except ConnectionResetError:
            data = b""
        if not data:
            self._selector.unregister(connection)
            connection.close()
            return
        self._counted += Arrived(len(data), reader.feed(data))
        if answer := reader.reply():
            connection.sendall(answer)


def _run(pipe: Connection[Any, Any], key_file: str) -> None:
    logging.basicConfig(level=logging.DEBUG, handlers=[logging.NullHandler()])
    process = _Process(pipe, key_file)
    pipe.send(process.ports)
    process.run()
    process.close()

"""A socket to one receiver, and the questions that it answers to anybody."""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import TYPE_CHECKING, TypeAlias

from batchudp_handler.core.errors import DecodeError
from batchudp_handler.core.wire.ack import decode_ack
from batchudp_handler.core.wire.constants import HEADER_SIZE, MAX_DATAGRAM_SIZE
from batchudp_handler.core.wire.datagram import DatagramType, Header, encode_data, parse
from batchudp_handler.core.wire.sync import Sync, encode_sync
from batchudp_handler.platform import (
    AF_UNIX,
    PathDiscovery,
    never_fragment,
    path_datagram_size,
)
from batchudp_handler.waits import clamped

if TYPE_CHECKING:
    from batchudp_handler.core.wire.datagram import Seal

__all__ = ["Place", "Probe", "Refused", "SocketAddress", "find_places"]

RESOLVE_SECONDS = 3.0


SocketAddress: TypeAlias = "tuple[str | int | bytes, ...] | str"


Place: TypeAlias = "tuple[int, SocketAddress]"


class Refused(Exception):
    """The answer of the other machine that no program listens there."""


class Probe:
    """A connected socket to one receiver, and what may be asked over it."""

    def __init__(self, place: Place, seal: Seal) -> None:
        self.family, address = place
        self.seal = seal
        self._counter = 0
        self._socket = socket.socket(self.family, socket.SOCK_DGRAM)
        if self.family == AF_UNIX:
            self._socket.bind("")  # a name of the kernel's choice: it can be answered
        never_fragment(self._socket, PathDiscovery.PROBE)
        self._socket.connect(address)
        self.send_buffer = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def path_size(self) -> int:
        """Return the largest datagram that this machine would send that way in one piece."""
        size = path_datagram_size(self._socket)
        return MAX_DATAGRAM_SIZE if size is None else min(size, MAX_DATAGRAM_SIZE)

    def ping(self, patience: float) -> tuple[float, Header] | None:
        """Return round trip and header of the answer to a SYNC; None: there was none.

        Raises:
            Refused: Nobody listens.
        """
        self._counter += 1
        stream_id = _random_id()
        sync = Sync(next_seq=0, floor=0, next_rec=0, acknowledged=True)
        datagram = encode_sync(
            self.seal, sync, stream_id=stream_id, counter=self._counter, sealed_at=int(time.time())
        )
        return self._ask(datagram, stream_id, patience)

    def carries(self, size: int, patience: float) -> bool:
        """Return whether a datagram of this size gets there, and is answered."""
        stream_id = _random_id()
        datagram = encode_data(
            self.seal,
            bytes(size - HEADER_SIZE - self.seal.overhead),
            acknowledged=True,
            codec=0,
            stream_id=stream_id,
            seq=0,
            rec=0,
            sealed_at=int(time.time()),
            n_rec=1,
        )
        try:
            return self._ask(datagram, stream_id, patience) is not None
        except (Refused, OSError):
            return False

    def _ask(
        self, datagram: bytes, stream_id: int, patience: float
    ) -> tuple[float, Header] | None:
        asked = time.monotonic()
        try:
            self._socket.send(datagram)
            while (left := asked + patience - time.monotonic()) > 0:
                self._socket.settimeout(clamped(left))
                answer = self._challenge(self._socket.recv(MAX_DATAGRAM_SIZE), stream_id)
                if answer is not None:
                    return time.monotonic() - asked, answer
        except TimeoutError:
            return None
        except ConnectionRefusedError:
            raise Refused from None
        return None

    def _challenge(self, datagram: bytes, stream_id: int) -> Header | None:
        """Return the header of an answer to our question, if its trailer is right."""
        try:
            header = parse(datagram)
            if isinstance(header, Header) and header.type == DatagramType.ACK:
                decode_ack(self.seal.open(datagram))
                return header if header.stream_id == stream_id else None
        except DecodeError:
            return None
        return None


def _random_id() -> int:
    return int.from_bytes(os.urandom(8)) or 1


def find_places(host: str, port: int) -> tuple[list[Place], float] | str:
    """Return the addresses and the seconds that it took, or what went wrong."""
    if host.startswith("unix://"):
        return [(AF_UNIX, host.removeprefix("unix://"))], 0.0
    begun = time.monotonic()
    found: list[Place] = []
    problem = [f"no answer within {RESOLVE_SECONDS:.0f} s"]

    def look_up() -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        except OSError as error:
            problem[0] = str(error.strerror or error)
        else:
            found.extend(dict.fromkeys((family, address) for family, _, _, _, address in answers))
            found.sort(key=lambda place: place[0] != socket.AF_INET)  # as senders do

    thread = threading.Thread(target=look_up, daemon=True)  # a resolver may take minutes
    thread.start()
    thread.join(RESOLVE_SECONDS)
    return (found, time.monotonic() - begun) if found else problem[0]

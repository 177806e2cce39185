"""The socket of the receiver, and what the kernel dropped before it.

The only socket of the receiving side: UDP over IPv4 or IPv6, a unix datagram socket, or one that
systemd opened and handed over. It is read until it is empty, because what waits in the kernel is
the one thing that can overflow: at the default buffer, 92 datagrams of 1,400 bytes or 3 of 65,507.

Where the system does not tell what it dropped, reading works all the same and the count is None.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from typing import TYPE_CHECKING

from batchudp_handler.core.wire.reply_names import beside
from batchudp_handler.platform import (
    AF_UNIX,
    POLLIN,
    SO_RXQ_OVFL,
    grow_receive_buffer,
    kernel_drops,
    present_waiter,
)
from batchudp_handler.unix_paths import BoundPath

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, MutableMapping

    from batchudp_handler.core.receive.events import Address

__all__ = [
    "ReceiveSocket",
    "address_text",
    "inherited_socket",
    "is_loopback",
]

COUNTER = struct.Struct("=I")

FIRST_INHERITED_DESCRIPTOR = 3
"""SD_LISTEN_FDS_START."""


class ReceiveSocket:
    """A bound datagram socket with a second descriptor that wakes the one who waits."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        receive_buffer: int,
        buffer_size: int,
        inherited: socket.socket | None = None,
    ) -> None:
        self._path: BoundPath | None = None
        self._socket = inherited if inherited is not None else self._bound(host, port)
        self._socket.setblocking(False)
        self.receive_buffer = grow_receive_buffer(self._socket, receive_buffer)
        self._read_size = buffer_size + 1  # one byte more shows that a datagram was longer
        self._overflow_count: int | None = None
        self._receive = self._receiver()
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        descriptors = (self._socket.fileno(), self._woken.fileno())
        self._wait = present_waiter()(dict.fromkeys(descriptors, POLLIN))
        self._is_closed = False

    def _bound(self, host: str, port: int) -> socket.socket:
        if host.startswith("unix://"):
            return self._bound_to_path(host.removeprefix("unix://"))
        passive = socket.AI_PASSIVE
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=passive)
        family, kind, protocol, _, address = found[0]
        bound = socket.socket(family, kind, protocol)
        with _closed_on_error(bound):
            bound.bind(address)
        return bound

    def _bound_to_path(self, path: str) -> socket.socket:
        bound = socket.socket(AF_UNIX, socket.SOCK_DGRAM)
        with _closed_on_error(bound):
            self._path = BoundPath(bound, path)
        return bound

    def _receiver(self) -> Callable[[int], tuple[bytes, object]]:
        """Return `recvfrom`, or `recvmsg` with its counter where only that tells about drops."""
        if SO_RXQ_OVFL is None or kernel_drops(self._socket) is not None:
            return self._socket.recvfrom
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
        except OSError:
            return self._socket.recvfrom
        self._overflow_count = 0
        return self._receive_with_counter

    def _receive_with_counter(self, size: int) -> tuple[bytes, object]:
        data, ancillary, _, address = self._socket.recvmsg(size, socket.CMSG_SPACE(COUNTER.size))
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, SO_RXQ_OVFL):
                (self._overflow_count,) = COUNTER.unpack(content[: COUNTER.size])
        return data, address

    @property
    def address(self) -> Address:
        """Where others send to: host and port, or `unix:///path`."""
        name = self._socket.getsockname()
        return f"unix://{name}" if self._socket.family == AF_UNIX else name[:2]

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.address)

    def kernel_drops(self) -> int | None:
        """Return how many datagrams found the kernel's queue full; None: it cannot be read."""
        if self._is_closed:
            return self._overflow_count
        drops = kernel_drops(self._socket)
        return self._overflow_count if drops is None else drops

    def wait(self, timeout: float | None) -> None:
        """Wait until there is something to read, somebody calls `wake`, or the time is up."""
        if self._woken.fileno() in self._wait(timeout):
            with contextlib.suppress(BlockingIOError):
                self._woken.recv(4096)

    def wake(self) -> None:
        """End a `wait`; may be called from any thread and from a signal handler."""
        with contextlib.suppress(OSError):  # full: it is awake already; closed: nobody waits
            self._waker.send(b"\0")

    def receive(self, limit: int) -> list[tuple[bytes, Address]]:
        """Read what waits in the kernel, up to `limit` datagrams, oldest first.

        Raises:
            OSError: The kernel reported an error and no datagram was read before it.
        """
        received: list[tuple[bytes, Address]] = []
        receive, size = self._receive, self._read_size
        try:
            while len(received) < limit:
                received.append(receive(size))  # type: ignore[arg-type]  # addresses are Any
        except (BlockingIOError, ConnectionResetError):
            pass  # nothing more; or, on Windows, an earlier answer found its sender gone
        except OSError:
            if not received:
                raise
        if self._socket.family == AF_UNIX:
            return [(data, os.fsdecode(address or "")) for data, address in received]  # type: ignore[arg-type]  # str, bytes or None
        return received

    def send(self, data: bytes, address: Address) -> bool:
        """Try to send a reply; whoever waits for it asks again when it was lost."""
        if not address:
            return False  # a unix socket without a name cannot be answered
        if isinstance(address, str):
            address = beside(os.fsdecode(self._socket.getsockname()), address)
        try:
            self._socket.sendto(data, address)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Close everything, and remove the path that was made here."""
        if self._is_closed:
            return
        self._overflow_count = self.kernel_drops()
        self._is_closed = True
        if self._path is not None:
            self._path.remove()
        for each in (self._socket, self._woken, self._waker):
            each.close()


def inherited_socket(environ: MutableMapping[str, str], pid: int) -> socket.socket | None:
    """Return the datagram socket that systemd passed to this process, if it did.

    The variables are removed, so that no child takes them for its own.

    Raises:
        OSError: Something was passed that is not one datagram socket.
    """
    owner, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    for name in ("LISTEN_FDNAMES", "LISTEN_PIDFDID"):
        environ.pop(name, None)
    if owner != str(pid) or count in {"", "0"}:
        return None
    if count != "1":
        raise OSError(errno.EINVAL, "exactly one inherited socket is supported", count)
    passed = socket.socket(fileno=FIRST_INHERITED_DESCRIPTOR)
    if passed.type != socket.SOCK_DGRAM:
        passed.detach()
        raise OSError(errno.EPROTOTYPE, "the inherited socket is not a datagram socket")
    os.set_inheritable(passed.fileno(), False)
    return passed


def address_text(address: Address) -> str:
    """Return an address as people write it."""
    if isinstance(address, str):
        return address if address.startswith("unix:") else f"unix:{_unix_name(address)}"
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"


def _unix_name(name: str) -> str:
    """Return a path, or an abstract name as `ss` shows it, without anything unprintable."""
    shown = f"@{name[1:]}" if name.startswith("\0") else name or "(no name)"
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in shown)


def is_loopback(address: Address) -> bool:
    """Return whether an address belongs to this machine alone."""
    if isinstance(address, str):
        return True
    host = str(address[0])
    return host == "::1" or host.removeprefix("::ffff:").startswith("127.")


@contextlib.contextmanager
def _closed_on_error(sock: socket.socket) -> Iterator[None]:
    try:
        yield
    except BaseException:
        sock.close()
        raise

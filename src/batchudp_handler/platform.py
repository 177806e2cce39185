"""Abilities of this platform's sockets, files and signals, and what stands in for missing ones.

No other module asks for `sys.platform`, `os.name` or an attribute that only some systems have, and
none names a number of Linux (`tests/test_layering.py`). So what is different elsewhere is found in
one place, and can be taken away in one place. Where nothing can stand in, a constant says so, and
the settings refuse what needs it.

It belongs to neither half: the sender, the receiver and the scripts ask alike.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import stat
import struct
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import IntEnum
from typing import Any, NamedTuple, TypeAlias

from batchudp_handler.waits import clamped, milliseconds, sleep_for

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "AF_UNIX",
    "CAN_REUSE_ADDRESS",
    "CAN_SHARE_PORT",
    "CAN_SPOOL",
    "END_SIGNALS",
    "HAS_ABSTRACT_NAMES",
    "HAS_NONBLOCKING_FILES",
    "HAS_UNIX_SOCKETS",
    "OPEN_OUTPUT",
    "POLLIN",
    "POLLOUT",
    "RELOAD_SIGNAL",
    "REPORT_SIGNAL",
    "SO_ATTACH_REUSEPORT_CBPF",
    "SO_RXQ_OVFL",
    "PathDiscovery",
    "WaitForAny",
    "Waiter",
    "call_in_forked_child",
    "give_owner_and_mode",
    "grow_receive_buffer",
    "identity_of_socket",
    "kernel_drops",
    "never_fragment",
    "open_again",
    "path_datagram_size",
    "present_waiter",
    "read_at",
    "restrict_to_owner",
    "usable_buffer",
    "wait_until_writable",
]

_IS_LINUX = sys.platform == "linux"
_IS_WINDOWS = sys.platform == "win32"

# --- families and names ------------------------------------------------------------------------

HAS_UNIX_SOCKETS = hasattr(socket, "AF_UNIX")
AF_UNIX: int = getattr(socket, "AF_UNIX", 0xFFFF)
"""The family of unix sockets; where there are none, a number that every system refuses."""
HAS_ABSTRACT_NAMES = _IS_LINUX
"""Whether the kernel names a unix socket that is bound to nothing."""
CAN_SHARE_PORT = _IS_LINUX
"""Whether several sockets get the datagrams of one port, each its own senders."""
CAN_REUSE_ADDRESS = not _IS_WINDOWS
"""Whether SO_REUSEADDR leaves a port to the socket that has it; on Windows it takes it away."""


def identity_of_socket(descriptor: int) -> tuple[int, int] | None:
    """Return what tells an open socket from any other with its number; None: it is not open.

    On Windows sockets are no descriptors of the C library: `os.closerange` does not reach them,
    and `os.fstat` does not know them. There the number is enough.
    """
    if _IS_WINDOWS:
        return (0, descriptor) if descriptor >= 0 else None
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino


# --- waiting -----------------------------------------------------------------------------------

POLLIN, POLLOUT = 1, 4
"""As in `select`, which has them only where it has `poll`."""

Waiter: TypeAlias = Callable[[float | None], list[int]]
"""Waits for so many seconds at most, and returns the descriptors that are ready or broken."""
WaitForAny: TypeAlias = Callable[[Mapping[int, int]], Waiter]
"""Makes a `Waiter` for descriptors and the events that each is waited for."""


def present_waiter() -> WaitForAny:
    """Choose among what the standard library offers at this moment; eventlet takes `poll` away."""
    if hasattr(select, "poll"):
        return _waiter_by_poll(select.poll)
    return _waiter_by_select(select.select)


def _waiter_by_poll(make_poll: Callable[[], Any]) -> WaitForAny:
    def waiter(descriptors: Mapping[int, int]) -> Waiter:
        poll = make_poll()
        for descriptor, events in descriptors.items():
            poll.register(descriptor, events)
        return lambda timeout: [number for number, _ in poll.poll(milliseconds(timeout))]

    return waiter


def _waiter_by_select(select_any: Callable[..., Any]) -> WaitForAny:
    def waiter(descriptors: Mapping[int, int]) -> Waiter:
        readable = [number for number, events in descriptors.items() if events & POLLIN]
        writable = [number for number, events in descriptors.items() if events & POLLOUT]

        def wait(timeout: float | None) -> list[int]:
            if not descriptors and timeout is not None:
                sleep_for(timeout)  # Windows refuses to wait for nothing
                return []
            try:
                ready = select_any(readable, writable, [], clamped(timeout))
            except (OSError, ValueError):
                return list(descriptors)  # one was closed meanwhile: `poll` says which, this not
            return list(dict.fromkeys((*ready[0], *ready[1])))

        return wait

    return waiter


def wait_until_writable(descriptor: int, seconds: float) -> bool:
    """Wait until a write would not block, or for so long; return whether it would not.

    Without `poll` only time passes: `select` takes no files on Windows.
    """
    if descriptor < 0 or not hasattr(select, "poll"):
        sleep_for(seconds)
        return True
    return bool(_waiter_by_poll(select.poll)({descriptor: POLLOUT})(seconds))


# --- the path of a datagram ----------------------------------------------------------------------


class PathDiscovery(IntEnum):
    """What a socket does with a datagram that is too large for the path (Linux, <linux/in.h>)."""

    DO = 2
    """Refuse it: the kernel knows what the path carries."""
    PROBE = 3
    """Send it whole nevertheless, to find out."""


class _Layer(NamedTuple):
    """The options of one version of IP, which the socket module does not name."""

    level: int
    mtu_discover: int
    mtu: int
    overhead: int
    """Bytes of the IP and the UDP header."""


_LAYERS = {
    int(socket.AF_INET): _Layer(socket.IPPROTO_IP, 10, 14, 28),
    int(socket.AF_INET6): _Layer(socket.IPPROTO_IPV6, 23, 24, 48),
}


def never_fragment(sock: socket.socket, discovery: PathDiscovery = PathDiscovery.DO) -> None:
    """Have no datagram of this socket cut on its way, where the system can be asked for that."""
    layer = _LAYERS.get(sock.family)
    if _IS_LINUX and layer is not None:
        sock.setsockopt(layer.level, layer.mtu_discover, discovery)


def path_datagram_size(sock: socket.socket) -> int | None:
    """Return the largest datagram that the path of a connected socket carries.

    Returns:
        Bytes without headers, which may be more than UDP allows; None where nobody knows.

    Raises:
        OSError: The kernel does not know, as of a socket that is not connected.
    """
    layer = _LAYERS.get(sock.family)
    if not _IS_LINUX or layer is None:
        return None
    return sock.getsockopt(layer.level, layer.mtu) - layer.overhead


# --- the receiver's kernel buffer ----------------------------------------------------------------

SO_RXQ_OVFL = 40 if _IS_LINUX else None
"""Asks for the number of dropped datagrams beside each one; None: there is no such thing."""
SO_ATTACH_REUSEPORT_CBPF = 51
"""Attaches a program that chooses among the sockets of one port. Linux only."""
_SO_RCVBUFFORCE = 33
_SO_MEMINFO = 55
_MEMINFO = struct.Struct("=9I")
_MEMINFO_DROPS = 8
_BUFFER_OPTIONS = (_SO_RCVBUFFORCE, socket.SO_RCVBUF) if _IS_LINUX else (socket.SO_RCVBUF,)


def grow_receive_buffer(sock: socket.socket, wanted: int) -> int:
    """Ask with privilege, then without; the kernel's answer counts its bookkeeping, too."""
    for option in _BUFFER_OPTIONS:
        try:
            sock.setsockopt(socket.SOL_SOCKET, option, wanted)
            break
        except OSError:
            continue
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


def usable_buffer(granted: int) -> int:
    """Return the part of a granted buffer that was asked for: Linux doubles it."""
    return granted // 2 if _IS_LINUX else granted


def kernel_drops(sock: socket.socket) -> int | None:
    """Return how many datagrams found the queue full; None where only `SO_RXQ_OVFL` may tell.

    It is the exact number at any time, from a call that needs 0.7 us and no datagram.
    """
    if not _IS_LINUX:
        return None
    try:
        answer = sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
        return int(_MEMINFO.unpack(answer)[_MEMINFO_DROPS])
    except (OSError, struct.error):
        return None


# --- files ---------------------------------------------------------------------------------------

OPEN_OUTPUT = sum(
    getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOCTTY", "O_BINARY", "O_CLOEXEC")
)
"""Flags with which an output is opened: a device must not hold us, and bytes stay as they are."""
HAS_NONBLOCKING_FILES = not _IS_WINDOWS
"""Whether a pipe or a terminal can say that it is full."""
CAN_SPOOL = fcntl is not None and hasattr(os, "pread") and hasattr(os, "geteuid")
"""Whether files have locks and owners, and are found from an open directory, as a spool needs."""


def open_again(descriptor: int) -> int:
    """Open for writing, without ever waiting, what a descriptor of a pipe or terminal leads to.

    Raises:
        OSError: There is no /proc, or it belongs to another user.
    """
    return os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | OPEN_OUTPUT)


def read_at(descriptor: int, size: int, position: int) -> bytes:
    """Read from a place in a file that is written at its end only."""
    if hasattr(os, "pread"):
        return os.pread(descriptor, size, position)
    os.lseek(descriptor, position, os.SEEK_SET)
    return os.read(descriptor, size)


def give_owner_and_mode(descriptor: int, like: os.stat_result) -> None:
    """Give a file the owner and the mode of another one, as far as this process may."""
    if hasattr(os, "fchown"):
        with suppress(OSError):
            os.fchown(descriptor, like.st_uid, -1)
        with suppress(OSError):
            os.fchown(descriptor, -1, like.st_gid)
        with suppress(OSError):
            os.fchmod(descriptor, stat.S_IMODE(like.st_mode))


def restrict_to_owner(descriptor: int) -> None:
    """Let nobody but its owner use a file, whatever the umask; Windows asks no modes."""
    if hasattr(os, "fchmod"):
        os.fchmod(descriptor, 0o600)


# --- processes -----------------------------------------------------------------------------------

END_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)
)
"""What asks a script to end; Ctrl-Break on Windows."""
RELOAD_SIGNAL: int | None = getattr(signal, "SIGHUP", None)
REPORT_SIGNAL: int | None = getattr(signal, "SIGUSR1", None)
"""What asks a script for more; None: the system has no such signal."""


def call_in_forked_child(function: Callable[[], None]) -> None:
    """Have `function` called in each child of a fork; where nothing forks, never."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)

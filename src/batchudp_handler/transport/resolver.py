"""Addresses of a host, looked up without waiting for the answer.

A resolver may hang for half a minute when its server is away. Numbers and Unix paths need none;
names are looked up by a function that runs aside, and `take` says what came of it.
"""

from __future__ import annotations

import _socket
import errno
import socket
from collections.abc import Callable
from typing import Any, TypeAlias

from batchudp_handler.platform import AF_UNIX

__all__ = [
    "Address",
    "Resolver",
    "RunAside",
    "SocketAddress",
    "host_name",
    "is_out_of_threads",
    "look_up",
]

SocketAddress: TypeAlias = tuple[object, ...] | str
Address: TypeAlias = tuple[int, SocketAddress]
RunAside: TypeAlias = Callable[[Callable[[], None]], None]
"""Runs a function on another thread; raises RuntimeError when there can be none."""

UNIX = "unix://"


def is_out_of_threads(error: RuntimeError) -> bool:
    """Return whether a thread did not start because the system has none left just now.

    At interpreter shutdown and in isolated subinterpreters, where there never will be one,
    CPython says something else.
    """
    return str(error) == "can't start new thread"


def host_name() -> str:
    """Return the name of this machine, as it knows itself, and ask nobody."""
    return socket.gethostname()


def numbered(host: str, port: int) -> list[Address]:
    """Return the addresses of a host that is a number or a path, and ask nobody.

    gevent's `getaddrinfo` starts threads and imports modules for a number, too, which fails at
    interpreter shutdown, and while it is being patched in.

    Raises:
        OSError: It is a name.
    """
    return look_up(host, port, _socket.getaddrinfo, socket.AI_NUMERICHOST)


def look_up(
    host: str, port: int, ask: Callable[..., Any] | None = None, flags: int = 0
) -> list[Address]:
    """Return the addresses of a host, IPv4 first: a receiver on 0.0.0.0 does not hear IPv6."""
    if host.startswith(UNIX):
        return [(AF_UNIX, host.removeprefix(UNIX))]
    # As text, even an ASCII name makes Python import its IDNA codec; a child that is forked while
    # that goes on never gets the codec, and could not look up anything.
    name = host.encode("ascii") if host.isascii() else host
    found = (ask or socket.getaddrinfo)(name, port, type=socket.SOCK_DGRAM, flags=flags)
    addresses = dict.fromkeys((int(family), address) for family, _, _, _, address in found)
    return sorted(addresses, key=lambda pair: pair[0] != socket.AF_INET)


class Resolver:
    """Look-ups of one host, as often as asked; at most one question is open."""

    def __init__(
        self, host: str, port: int, *, run_aside: RunAside, notify: Callable[[], None]
    ) -> None:
        self._host, self._port = host, port
        self._run_aside = run_aside
        self._notify = notify
        self._answer: list[Address] | OSError | None = None
        self.is_busy = False

    def ask(self) -> None:
        """Start to look the host up; `notify` is called when the answer is there."""
        self.is_busy = True
        try:
            self._answer = numbered(self._host, self._port)
        except (OSError, UnicodeError):
            self._ask_aside()

    def take(self) -> list[Address] | OSError | None:
        """Return the answer, once; None while there is none."""
        answer, self._answer = self._answer, None
        if answer is not None:
            self.is_busy = False
        return answer

    def _ask_aside(self) -> None:
        try:
            self._run_aside(self._look_up)
        except RuntimeError as error:
            if is_out_of_threads(error):
                self._answer = OSError(errno.EAGAIN, str(error))  # asked again after a while
            else:
                # at interpreter shutdown, or where threads do not run: better late than never
                self._look_up()

    def _look_up(self) -> None:
        try:
            self._answer = look_up(self._host, self._port)
        except OSError as error:
            self._answer = error
        except UnicodeError:  # a name that no resolver can be asked for
            self._answer = socket.gaierror(socket.EAI_NONAME, "invalid name")
        except Exception as error:  # noqa: BLE001  # a replacement's own: it must not be the last
            self._answer = socket.gaierror(socket.EAI_FAIL, repr(error))
        self._notify()

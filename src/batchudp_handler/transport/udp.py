"""The socket that sends datagrams: opened, connected, replaced, waited for.

The socket is connected, so that the kernel tells the path's size and the peer's refusals, and it
never blocks. It belongs to one thread. Until the host's addresses are known there is no socket,
and records wait in the buffer.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

from batchudp_handler.core.causes import trouble_words
from batchudp_handler.core.send.reaching import Reaching
from batchudp_handler.core.send.retry import SendFailure
from batchudp_handler.core.wire.constants import MAX_DATAGRAM_SIZE
from batchudp_handler.platform import (
    AF_UNIX,
    POLLIN,
    POLLOUT,
    never_fragment,
    path_datagram_size,
    present_waiter,
)
from batchudp_handler.transport.owned import OwnedSocket
from batchudp_handler.transport.reply_name import ReplyName
from batchudp_handler.transport.resolver import Address, Resolver, RunAside, SocketAddress
from batchudp_handler.transport.send_error import SendError
from batchudp_handler.transport.wakeup import Wakeup

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["UDPTransport"]

SEND_BUFFER_FLOOR = 131_072
"""Bytes; two of the largest datagrams."""
BLIND_WAIT = 0.1
"""Seconds between two looks at the buffer while there is no descriptor to be woken by."""


class UDPTransport:
    """A connected datagram socket that is opened, replaced and closed by one thread.

    Args:
        host: A name, an address or ``unix:///path``.
        port: The receiver's port.
        fit_path: Never let the network fragment; datagrams are cut to what the path carries.
        resolve_interval: Seconds after which the name is looked up again and a fresh socket,
            with a fresh source port, takes over; None: never.
        run_aside: Runs the look-up of a name on another thread.
        random: Draws from [0, 1).
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        fit_path: bool,
        resolve_interval: float | None,
        run_aside: RunAside,
        random: Callable[[], float],
    ) -> None:
        self.wakeup = Wakeup()
        self.errors: dict[str, int] = {}
        """How often a look-up, a connection or a datagram failed, by the error's name."""
        self.resolves = 0
        self.reconnects = 0
        self._run_aside = run_aside
        self._random = random
        self._owned: OwnedSocket | None = None
        self.use_present_primitives()
        self.retarget(host, port, fit_path=fit_path, resolve_interval=resolve_interval)

    def retarget(
        self, host: str, port: int, *, fit_path: bool, resolve_interval: float | None
    ) -> None:
        """Send somewhere else, or in another way, from the next `open` on."""
        self._host = host
        self._last_error: tuple[str, str] | None = None
        self._resolver = Resolver(host, port, run_aside=self._run_aside, notify=self.wakeup.send)
        self._fit_path = fit_path
        self._addresses: list[Address] = []
        self._family = 0
        self._reply_name: ReplyName | None = None
        self._is_refused = False
        self._reaching = Reaching(resolve_interval, self._random)
        self._disconnect()

    def use_present_primitives(self) -> None:
        """Make sockets and wait for them by what the standard library offers at this moment.

        gevent and eventlet may replace that while the thread lives. The thread stays what it is,
        and with the replacements it would make a hub of its own, which fails when the program
        makes its first one at that moment. To be called where the thread is started.
        """
        self._make_socket = socket.socket
        self._wait_for_any = present_waiter()

    # --- opening -------------------------------------------------------------------------------

    def open(self, now: float) -> bool:
        """Have a socket, or get nearer to one; never wait for a resolver.

        To be called in each turn before anything is sent: here the descriptor is compared with
        what was opened. An `fstat` for each datagram would cost half as much as sending it.

        Returns:
            Whether datagrams can be sent. If not, call again at `retry_at`, or when woken.
        """
        if not self._resolver.is_busy and self._reaching.must_look_up(now):
            self._resolve(now)
        self._take_answer(now)
        self._let_go_of_foreign()
        if self._reply_name is not None and self._reply_name.is_to_change(now):
            self._disconnect()
        if self._owned is None and self._reaching.may_connect(now):
            self._connect(now)
        return self._owned is not None

    def open_known(self) -> bool:
        """Have a socket to an address that is known already, and ask no resolver."""
        self._let_go_of_foreign()
        if self._owned is None and self._addresses:
            self._connect(0.0)
        return self._owned is not None

    def _let_go_of_foreign(self) -> None:
        """Drop a socket whose descriptor somebody else has closed, or got meanwhile."""
        if self._owned is not None and not self._owned.is_intact():
            self._count_error(OSError(errno.EBADF, os.strerror(errno.EBADF)))
            self._disconnect()

    @property
    def retry_at(self) -> float | None:
        """When `open` may succeed; None: it has, or a wake-up comes with the resolver's answer."""
        return (
            None if self._owned is not None or self._resolver.is_busy else self._reaching.retry_at
        )

    def look_up_again(self, now: float) -> None:
        """Ask for the addresses anew; the present socket stays until there is an answer."""
        if not self._resolver.is_busy and self._reaching.may_look_up(now):
            self._resolve(now)

    def reopen(self) -> None:
        """Let the next `open` try the next address, or the same with a fresh socket."""
        self._reaching.skip()
        self._disconnect()

    def _resolve(self, now: float) -> None:
        self._reaching.on_look_up(now)
        self._resolver.ask()

    def _take_answer(self, now: float) -> None:
        answer = self._resolver.take()
        if isinstance(answer, OSError):
            # an address that was good yesterday is better than none: the socket stays
            self._count_error(answer)
            self._reaching.on_failed(now)
        elif answer:
            self.resolves += 1
            self._addresses = answer
            self._reaching.on_found(len(answer), now)
            self._disconnect()

    def _connect(self, now: float) -> None:
        for _ in self._addresses:
            family, address = self._addresses[self._reaching.address]
            try:
                self._owned = OwnedSocket(self._connected(family, address))
            except OSError as error:
                self._count_error(error)
                self._reaching.skip()
                continue
            self._family = family
            self._is_refused = False
            self.reconnects += 1
            self._reaching.on_connected()
            return
        self._reaching.on_failed(now)

    def _connected(self, family: int, address: SocketAddress) -> socket.socket:
        sock = self._make_socket(family, socket.SOCK_DGRAM)
        try:
            if sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) < SEND_BUFFER_FLOOR:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_FLOOR)
            if self._fit_path:
                never_fragment(sock)
            if family == AF_UNIX:
                self._name(sock, str(address))
            sock.setblocking(False)
            sock.connect(address)
        except OSError:
            sock.close()
            raise
        return sock

    def _name(self, sock: socket.socket, receiver: str) -> None:
        """Give a unix socket a name under which it can be answered, if there is one."""
        if self._reply_name is None:
            self._reply_name = ReplyName(receiver)
        error = self._reply_name.bind(sock)
        if error is not None:
            self.errors["no_reply_path"] = self.errors.get("no_reply_path", 0) + 1
            self._last_error = "no_reply_path", error.strerror or str(error)

    def expect_answer(self, now: float) -> None:
        """Note that what was sent may be answered, and that the answer is missed if it is not."""
        if self._reply_name is not None:
            self._reply_name.on_sent(now)

    def _count_error(self, error: OSError) -> None:
        name = errno.errorcode.get(error.errno or 0, type(error).__name__)
        if isinstance(error, socket.gaierror):
            name = "name_not_resolved"
        self.errors[name] = self.errors.get(name, 0) + 1
        self._last_error = name, error.strerror or str(error)

    @property
    def trouble(self) -> str:
        """What went wrong last, in words; empty: nothing since the receiver was heard."""
        if not self._addresses and self._resolver.is_busy:
            return f"the name {self._host} is still being looked up"
        if self._last_error is None:
            return ""
        name, text = self._last_error
        if name == "name_not_resolved":
            return f"the name {self._host} cannot be looked up: {text}"
        return trouble_words(name, text)

    # --- using ---------------------------------------------------------------------------------

    def send(self, datagram: bytes) -> None:
        """Send one datagram now.

        Raises:
            SendError: It did not leave; the failure says whether later or smaller may help.
        """
        try:
            self._checked().send(datagram)
        except OSError as error:
            self._count_error(error)
            is_local = self._family == AF_UNIX
            failed = SendError(error.errno or errno.EIO, is_local=is_local)
            self._on_failure(failed.failure)
            raise failed from None

    def _checked(self) -> socket.socket:
        if self._owned is None:
            raise OSError(errno.EBADF, "no socket")
        if self._is_refused:
            self._is_refused = False
            raise OSError(errno.ECONNREFUSED, "an earlier datagram was refused")
        return self._owned.socket

    def _on_failure(self, failure: SendFailure) -> None:
        has_choice = self._reaching.has_choice
        if failure is SendFailure.UNREACHABLE or (failure is SendFailure.REFUSED and has_choice):
            self.reopen()

    def receive(self) -> bytes | None:
        """Return one datagram that has come in, or None."""
        if self._owned is None:
            return None
        try:
            datagram = self._owned.socket.recv(65_536)
        except (ConnectionRefusedError, ConnectionResetError):
            # the kernel would have told the next `send`: keep it for that
            self._is_refused = True
            return None
        except OSError:
            return None  # nothing there
        self._last_error = None
        if self._reply_name is not None:
            self._reply_name.on_answer()
        return datagram

    def path_datagram_size(self) -> int | None:
        """Return the largest datagram that the path carries; None where nobody knows."""
        if self._owned is None:
            return None
        if self._family == AF_UNIX:
            return MAX_DATAGRAM_SIZE
        try:
            size = path_datagram_size(self._owned.socket)
        except OSError:
            return None
        return None if size is None else min(size, MAX_DATAGRAM_SIZE)

    # --- waiting -------------------------------------------------------------------------------

    def wait(self, timeout: float | None, *, readable: bool, writable: bool) -> None:
        """Sleep until woken, until the socket is ready as asked, or until the time is over."""
        try:
            if self.wakeup.renew():
                return  # a wake-up may have been lost with the old pair
        except OSError as error:
            # no descriptor is left: look again soon, since nobody can wake us
            self._count_error(error)
            timeout = BLIND_WAIT if timeout is None else min(timeout, BLIND_WAIT)
        events = (POLLIN if readable else 0) | (POLLOUT if writable else 0)
        descriptors = dict.fromkeys(self.wakeup.descriptors(), POLLIN)
        if events and self._owned is not None:
            descriptors[self._owned.socket.fileno()] = events
        if self._wait_for_any(descriptors)(timeout):
            self.wakeup.clear()

    # --- closing -------------------------------------------------------------------------------

    def _disconnect(self) -> None:
        owned, self._owned = self._owned, None
        if owned is not None:
            owned.close()
        if self._reply_name is not None:
            self._reply_name.release()

    def close(self) -> None:
        """Close what is ours; `open_known` and `send` still work after it, waiting does not."""
        self._disconnect()
        self.wakeup.close()

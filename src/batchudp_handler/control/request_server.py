"""A server for many clients with short requests, run by one thread and bounded in number and time.

The control socket and the metrics page are such servers. A client says what it wants, gets an
answer and leaves. One that says nothing, half of it or too much, or does not read, costs one place
of a fixed number for a few seconds. When all places are taken, the client that has been there
longest is sent away, so that a new one that asks at once is always answered. Each client that is
sent away is told so and counted.
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from batchudp_handler.receiver.guard import Guard, run_loop
from batchudp_handler.waits import clamped

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchudp_handler.receiver.guard import Loop

__all__ = ["Client", "RequestServer", "Service"]

MOST_CLIENTS = 64
"""Clients that ask or read their answer. The service bounds those that stay."""
LONGEST_REQUEST = 4_096
REQUEST_SECONDS = 5.0
"""Time for a client to say what it wants and to read the answer."""
STAY_SECONDS = 600.0
"""Time for one that stays to read the next byte."""
BACKLOG = 512
"""Clients that may wait to be let in; the thread lets them in within milliseconds."""
ACCEPTS_AT_ONCE = 64
FULL_SECONDS = 0.1
"""Pause when no descriptor is left: who waits stays readable, and must not make the loop spin."""

CLOSE_SECONDS = 1.0
"""What an answer that is being made may delay the end."""

_NEVER = float("inf")


@dataclass(slots=True, eq=False)
class Client:
    """One connection."""

    socket: socket.socket
    deadline: float
    """When it is sent away."""
    request: bytearray = field(default_factory=bytearray)
    waiting: bytearray = field(default_factory=bytearray)
    """What it has to read."""
    is_answered: bool = False
    stays: bool = False
    """It is given more and more, and leaves when it likes."""
    moved_at: float = 0.0
    """When one that stays last read something, or had nothing to read."""


class Service(Protocol):
    """A service behind the server, whose thread calls it and contains what it raises."""

    name: str
    """For counters: `control`, `metrics`."""
    full: bytes
    """What a client is told that is sent away for want of room."""
    late: bytes
    """What one is told that has not said what it wants in time."""

    def is_whole(self, request: bytes) -> bool:
        """Return whether this much of a request is all of it."""

    def answer(self, client: Client, request: bytes) -> None:
        """Put the answer into `client.waiting`, and say in `client.stays` if there is more."""

    def take_turn(self) -> None:
        """Do what there is to do besides requests; called whenever the server wakes up."""

    def on_left(self, client: Client) -> None:
        """Note that a client has left."""


class RequestServer:
    """The thread that accepts clients and answers them.

    Args:
        listener: A socket that listens. The server closes it.
        service: What is behind it.
        loop: The name of its thread in the counters.
        guard: Where errors, and clients that are sent away, are counted.
    """

    def __init__(
        self, listener: socket.socket, service: Service, *, loop: Loop, guard: Guard
    ) -> None:
        self._listener = listener
        self._service = service
        self._guard = guard
        self._clients: dict[socket.socket, Client] = {}
        self._is_closing = False
        self._woken, self._waker = socket.socketpair()
        for each in (listener, self._woken, self._waker):
            each.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)

        def run() -> None:
            run_loop(guard, loop, self._turn, lambda: self._is_closing)

        self._thread = threading.Thread(target=run, name=f"batchudp-{loop}", daemon=True)

    def start(self) -> None:
        """Let clients in from now on."""
        self._thread.start()

    def close(self) -> None:
        """Send everybody away."""
        self._is_closing = True
        self.wake()
        if self._thread.is_alive():
            self._thread.join(CLOSE_SECONDS)
            if self._thread.is_alive():
                return  # held up by code of the program; it ends with the process
        for client in list(self._clients.values()):
            self.let_go(client)
        for each in (self._listener, self._selector, self._woken, self._waker):
            each.close()

    def wake(self) -> None:
        """Have the service take a turn; any thread may ask, and a signal handler."""
        with contextlib.suppress(OSError):  # full: it is awake already
            self._waker.send(b"\0")

    def staying(self) -> list[Client]:
        """Return the clients that stay, those who came first at the front."""
        return [client for client in self._clients.values() if client.stays]

    def send_away(self, client: Client, cause: str, words: bytes = b"") -> None:
        """Let a client go without what it came for, tell it so if it reads, and count it."""
        self._guard.refused(f"{self._service.name}_{cause}")
        if client.socket in self._clients and not client.waiting:
            with contextlib.suppress(OSError):
                client.socket.send(words)
        self.let_go(client)

    def let_go(self, client: Client) -> None:
        """Close the connection of a client."""
        if self._clients.pop(client.socket, None) is None:
            return
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(client.socket)
        client.socket.close()
        self._service.on_left(client)

    def push(self, client: Client) -> None:
        """Send what waits for a client, as far as it reads."""
        self._contain(client, self._write)

    # --- the loop ------------------------------------------------------------------------------

    def _turn(self) -> None:
        for key, events in self._selector.select(clamped(self._patience())):
            if key.fileobj is self._listener:
                self._accept()
            elif key.fileobj is self._woken:
                with contextlib.suppress(OSError):
                    self._woken.recv(4_096)
            else:
                self._serve(key.data, events)
        self._service.take_turn()
        self._send_the_late_away()

    def _patience(self) -> float | None:
        """Return the seconds until the first client is late; None without one."""
        first = min((client.deadline for client in self._clients.values()), default=_NEVER)
        return None if first == _NEVER else max(0.0, first - time.monotonic())

    def _accept(self) -> None:
        for _ in range(ACCEPTS_AT_ONCE):
            try:
                connection, _ = self._listener.accept()
            except OSError as error:
                if error.errno in {errno.EMFILE, errno.ENFILE}:
                    time.sleep(FULL_SECONDS)
                return
            connection.setblocking(False)
            self._make_room()
            client = Client(connection, time.monotonic() + REQUEST_SECONDS)
            self._clients[connection] = client
            self._selector.register(connection, selectors.EVENT_READ, client)

    def _make_room(self) -> None:
        asking = [client for client in self._clients.values() if not client.stays]
        if len(asking) >= MOST_CLIENTS:
            self.send_away(asking[0], "full", self._service.full)

    def _serve(self, client: Client, events: int) -> None:
        if client.socket not in self._clients:
            return  # sent away earlier in this turn
        if events & selectors.EVENT_READ:
            self._contain(client, self._read)
        if client.waiting and client.socket in self._clients:
            self._contain(client, self._write)

    def _contain(self, client: Client, action: Callable[[Client], None]) -> None:
        """Let whatever goes wrong with a client end this one only."""
        try:
            action(client)
        except OSError:
            self.let_go(client)
        except BaseException:
            self.let_go(client)
            raise

    def _read(self, client: Client) -> None:
        data = client.socket.recv(LONGEST_REQUEST)
        if not data:
            self._on_said_all(client)
        elif not client.is_answered:
            client.request += data
            is_too_long = len(client.request) > LONGEST_REQUEST
            if is_too_long or self._service.is_whole(bytes(client.request)):
                client.is_answered = True
                self._service.answer(client, bytes(client.request[: LONGEST_REQUEST + 1]))
                client.moved_at = time.monotonic()

    def _on_said_all(self, client: Client) -> None:
        """Note that the client will say no more; it may still read its answer."""
        if client.is_answered and not client.stays:
            self._selector.modify(client.socket, selectors.EVENT_WRITE, client)
        else:
            self.let_go(client)

    def _write(self, client: Client) -> None:
        with contextlib.suppress(BlockingIOError):
            sent = client.socket.send(client.waiting)
            del client.waiting[:sent]
            client.moved_at = time.monotonic()
        if client.stays:
            client.deadline = client.moved_at + STAY_SECONDS if client.waiting else _NEVER
        if client.waiting:
            both = selectors.EVENT_READ | selectors.EVENT_WRITE
            self._selector.modify(client.socket, both, client)
        elif client.stays:
            self._selector.modify(client.socket, selectors.EVENT_READ, client)
        else:
            self.let_go(client)

    def _send_the_late_away(self) -> None:
        now = time.monotonic()
        for client in list(self._clients.values()):
            if now >= client.deadline:
                self.send_away(client, "late", b"" if client.is_answered else self._service.late)

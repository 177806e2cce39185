"""Who answers the operator while the receiver receives?

One thread with a unix stream socket that only its owner may use (mode 0600). A client sends one
line of JSON and gets one line back, or follows records until it leaves:

    {"get": "stats"}                                        {"uptime": ...}
    {"get": "health"}                                       {"healthy": true, "text": "..."}
    {"follow": {"logger": "shop", "level": 30}}             one line for each record

Nothing here can slow the receiver: clients are few, their requests short, and what one of them
does not read in time is left out and counted for it: `{"skipped": 17}` says so.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import selectors
import socket
import stat
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from batchudp_handler.console import JSONFormatter
from batchudp_handler.control.tap import RecordFilter, Tap
from batchudp_handler.waits import clamped

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Mapping

__all__ = ["ControlServer"]

MOST_CLIENTS = 16
LONGEST_REQUEST = 4_096
REQUEST_SECONDS = 5.0
"""Time for a client to say what it wants, and then to read an answer."""
MOST_WAITING = 1_048_576
"""Bytes that may wait for one follower."""
RECORDS_AT_ONCE = 256


@dataclass(slots=True, eq=False)
class _Client:
    socket: socket.socket
    deadline: float
    """When it is let go, unless it follows."""
    request: bytearray = field(default_factory=bytearray)
    waiting: bytearray = field(default_factory=bytearray)
    wanted: RecordFilter | None = None
    skipped: int = 0
    skipped_before: int = 0
    """What the tap had left out when this one came or was told last."""
    is_answered: bool = False


class ControlServer:
    """The control socket of one receiver.

    Args:
        path: Where the socket is made. One that nobody listens on any more is replaced.
        answers: By the name of what can be asked for: what gives one line of JSON.
        tap: Where records come from; None: they cannot be followed here.

    Raises:
        OSError: The socket cannot be made, or another receiver has it.
    """

    def __init__(
        self, path: str, *, answers: Mapping[str, Callable[[], str]], tap: Tap | None
    ) -> None:
        self.path = path
        self._answers = answers
        self._tap = tap
        self._formatter = JSONFormatter()
        self._clients: dict[socket.socket, _Client] = {}
        self._is_closing = False
        self._listener, self._inode = _listen(path)
        self._woken, self._waker = socket.socketpair()
        for each in (self._listener, self._woken, self._waker):
            each.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="batchudp-control", daemon=True)
        if tap is not None:
            tap.wake = self._wake

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def close(self) -> None:
        """Let all clients go, and remove the socket."""
        self._is_closing = True
        self._wake()
        if self._thread.is_alive():
            self._thread.join()
        for client in list(self._clients.values()):
            self._let_go(client)
        if _inode(self.path) == self._inode:
            with contextlib.suppress(OSError):
                os.unlink(self.path)
        for each in (self._listener, self._selector, self._woken, self._waker):
            each.close()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it is awake already
            self._waker.send(b"\0")

    # --- the loop ------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._is_closing:
            for key, events in self._selector.select(clamped(self._patience())):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._woken:
                    with contextlib.suppress(OSError):
                        self._woken.recv(4_096)
                else:
                    self._serve(key.data, events)
            self._show_records()
            self._let_the_late_go()

    def _patience(self) -> float | None:
        """Until the first client that is late; without one for as long as it takes."""
        deadlines = [client.deadline for client in self._clients.values()]
        first = min(deadlines, default=float("inf"))
        return None if first == float("inf") else max(0.0, first - time.monotonic())

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError as error:
            if error.errno in {errno.EMFILE, errno.ENFILE}:
                time.sleep(0.1)  # what waits stays readable: do not spin until one is free
            return
        connection.setblocking(False)
        if len(self._clients) >= MOST_CLIENTS:
            with connection, contextlib.suppress(OSError):
                connection.send(_line({"error": "too many clients"}))
            return
        client = _Client(connection, time.monotonic() + REQUEST_SECONDS)
        self._clients[connection] = client
        self._selector.register(connection, selectors.EVENT_READ, client)

    def _serve(self, client: _Client, events: int) -> None:
        try:
            if events & selectors.EVENT_READ:
                self._read(client)
            if client.waiting and client.socket in self._clients:
                self._write(client)
        except OSError:
            self._let_go(client)

    def _read(self, client: _Client) -> None:
        data = client.socket.recv(LONGEST_REQUEST)
        if not data and not client.is_answered:
            self._let_go(client)
        elif not data:
            self._selector.modify(client.socket, selectors.EVENT_WRITE, client)
            if client.wanted is not None:  # whoever follows and says goodbye has seen enough
                self._let_go(client)
        elif not client.is_answered:
            client.request += data
            line, found, _ = client.request.partition(b"\n")
            if found or len(client.request) > LONGEST_REQUEST:
                self._answer(client, bytes(line))

    def _answer(self, client: _Client, line: bytes) -> None:
        client.is_answered = True
        try:
            request = json.loads(line[:LONGEST_REQUEST])
            if "follow" in request:
                self._begin_to_follow(client, request["follow"])
                return
            text = self._answers[request["get"]]()
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            text = json.dumps({"error": f"known: get {', '.join(self._answers)}; follow"})
        client.waiting += text.encode() + b"\n"

    def _begin_to_follow(self, client: _Client, wanted: dict[str, object]) -> None:
        if self._tap is None:
            client.waiting += _line({"error": "records pass through unread, see the consumer"})
            return
        logger, sender = str(wanted.get("logger", "")), str(wanted.get("sender", ""))
        client.wanted = RecordFilter(logger, int(str(wanted.get("level", 0))), sender)
        client.skipped_before = self._tap.skipped
        client.deadline = float("inf")
        client.waiting += _line({"following": True})
        self._tap.has_followers = True

    def _write(self, client: _Client) -> None:
        with contextlib.suppress(BlockingIOError):
            sent = client.socket.send(client.waiting)
            del client.waiting[:sent]
        if client.waiting:
            both = selectors.EVENT_READ | selectors.EVENT_WRITE
            self._selector.modify(client.socket, both, client)
        elif client.wanted is not None:
            self._selector.modify(client.socket, selectors.EVENT_READ, client)
        else:
            self._let_go(client)

    def _let_go(self, client: _Client) -> None:
        if self._clients.pop(client.socket, None) is None:
            return
        self._selector.unregister(client.socket)
        client.socket.close()
        if self._tap is not None and not self._followers():
            self._tap.has_followers = False

    def _let_the_late_go(self) -> None:
        now = time.monotonic()
        for client in list(self._clients.values()):
            if now >= client.deadline:
                self._let_go(client)

    # --- records -------------------------------------------------------------------------------

    def _followers(self) -> list[_Client]:
        return [client for client in self._clients.values() if client.wanted is not None]

    def _show_records(self) -> None:
        """What is in the tap now; a bound, so that clients are served in between."""
        tap = self._tap
        if tap is None:
            return
        records = tap.take(RECORDS_AT_ONCE)
        followers = self._followers()
        for record in records:
            self._show(record, followers)
        for client in followers:
            if tap.skipped != client.skipped_before:
                client.skipped += tap.skipped - client.skipped_before
                client.skipped_before = tap.skipped
            if client.waiting:
                self._serve(client, 0)
        if len(records) == RECORDS_AT_ONCE:
            self._wake()

    def _show(self, record: logging.LogRecord, followers: list[_Client]) -> None:
        wanting = [one for one in followers if one.wanted is not None and one.wanted.wants(record)]
        if not wanting:
            return
        line = self._formatter.format(record).encode("utf-8", "backslashreplace") + b"\n"
        for client in wanting:
            if len(client.waiting) + len(line) > MOST_WAITING:
                client.skipped += 1
                continue
            if client.skipped:
                client.waiting += _line({"skipped": client.skipped})
                client.skipped = 0
            client.waiting += line


def _line(value: object) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _listen(path: str) -> tuple[socket.socket, tuple[int, int] | None]:
    _remove_dead(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(listener.fileno(), 0o600)  # on Linux the path gets it with bind, without a gap
        listener.bind(path)
        os.chmod(path, 0o600)
        listener.listen(MOST_CLIENTS)
    except BaseException:
        listener.close()
        raise
    return listener, _inode(path)


def _remove_dead(path: str) -> None:
    """Remove the socket of a receiver that died; one that lives keeps it, and so does a file."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return  # bind says that the address is in use
    except OSError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError:
            return


def _inode(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino

"""The control socket, which answers the operator while the receiver receives.

A unix stream socket that only its owner may use (mode 0600). A client sends one line of JSON and
gets one line back, or follows records until it leaves:

    {"get": "stats"}                                        {"uptime": ...}
    {"get": "health"}                                       {"healthy": true, "text": "..."}
    {"follow": {"logger": "shop", "level": 30}}             one line for each record

Nothing here can slow the receiver. Followers have places of their own, so that they leave room
for who asks for `health`; what one of them does not read in time is left out and counted for it:
`{"skipped": 17}` says so.
"""

from __future__ import annotations

import json
import os
import socket
import time
from typing import TYPE_CHECKING

from batchudp_handler.console import JSONFormatter
from batchudp_handler.control.request_server import (
    BACKLOG,
    LONGEST_REQUEST,
    REQUEST_SECONDS,
    Client,
    RequestServer,
)
from batchudp_handler.control.tap import RecordFilter
from batchudp_handler.platform import AF_UNIX, restrict_to_owner
from batchudp_handler.receiver.guard import Guard, Loop, Seam
from batchudp_handler.unix_paths import BoundPath

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Mapping

    from batchudp_handler.control.tap import Tap

__all__ = ["ControlServer"]

MOST_FOLLOWERS = 16
STUCK_SECONDS = 10.0
"""A follower that has read nothing for so long gives its place to one that comes."""
MOST_WAITING = 1_048_576
"""Bytes that may wait for one follower."""
RECORDS_AT_ONCE = 256


class _Follower:
    """What one client follows."""

    def __init__(self, wanted: RecordFilter, skipped_before: int) -> None:
        self.wanted = wanted
        self.skipped = 0
        self.skipped_before = skipped_before
        """What the tap had left out when this one came or was told last."""


class ControlServer:
    """The control socket of one receiver.

    Args:
        path: Where the socket is made. One that nobody listens on any more is replaced.
        answers: By the name of what can be asked for: what gives one line of JSON.
        tap: Where records come from; None: they cannot be followed here.
        guard: Where errors, and clients that are sent away, are counted.

    Raises:
        OSError: The socket cannot be made, or another receiver has it.
    """

    name = "control"

    def __init__(
        self,
        path: str,
        *,
        answers: Mapping[str, Callable[[], str]],
        tap: Tap | None,
        guard: Guard | None = None,
    ) -> None:
        self.path = path
        self.full = _line({"error": "too many clients"})
        self.late = _line({"error": f"no request within {REQUEST_SECONDS:g} s"})
        self._answers = answers
        self._tap = tap
        self._guard = Guard() if guard is None else guard
        self._formatter = JSONFormatter()
        self._followers: dict[Client, _Follower] = {}
        listener, self._bound = _listen(path)
        self._requests = RequestServer(listener, self, loop=Loop.CONTROL, guard=self._guard)
        if tap is not None:
            tap.wake = self._requests.wake

    def start(self) -> None:
        """Answer from now on."""
        self._requests.start()

    def close(self) -> None:
        """Let all clients go, and remove the socket."""
        self._requests.close()
        self._bound.remove()

    # --- requests ------------------------------------------------------------------------------

    def is_whole(self, request: bytes) -> bool:
        """Return whether the request is a whole line."""
        return b"\n" in request

    def answer(self, client: Client, request: bytes) -> None:
        """Answer a request, or begin to show records."""
        line = request.partition(b"\n")[0]
        try:
            wish = json.loads(line[:LONGEST_REQUEST])
            follow, get = wish.get("follow"), wish.get("get")
            wanted = None if follow is None else _filter_of(follow)
            answer = self._answers[get] if wanted is None else None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            known = ", ".join(self._answers)
            client.waiting += _line({"error": f"known: get {known}; follow"})
            return
        if answer is None:
            assert wanted is not None
            self._begin_to_follow(client, wanted)
        else:
            wrong = json.dumps({"error": f"{get} cannot be told, see the receiver's messages"})
            text = str(self._guard.run(Seam.ANSWER, answer, default=wrong))
            client.waiting += text.encode("utf-8", "backslashreplace") + b"\n"

    def _begin_to_follow(self, client: Client, wanted: RecordFilter) -> None:
        if self._tap is None:
            client.waiting += _line({"error": "records pass through unread, see the consumer"})
            return
        if len(self._followers) >= MOST_FOLLOWERS and not self._stuck_one_left():
            self._guard.refused("followers_full")
            client.waiting += _line({"error": f"too many clients follow, {MOST_FOLLOWERS} may"})
            return
        self._followers[client] = _Follower(wanted, self._tap.skipped)
        client.stays, client.deadline = True, float("inf")
        client.waiting += _line({"following": True})
        self._tap.has_followers = True

    def _stuck_one_left(self) -> bool:
        """Send away the follower that has read nothing for longest, if it is long enough."""
        stuck = [client for client in self._followers if client.waiting]
        longest = min(stuck, key=lambda client: client.moved_at, default=None)
        if longest is None or time.monotonic() - longest.moved_at < STUCK_SECONDS:
            return False
        self._requests.send_away(longest, "stuck")
        return True

    def on_left(self, client: Client) -> None:
        """Forget a follower; without followers the tap keeps nothing."""
        self._followers.pop(client, None)
        if self._tap is not None and not self._followers:
            self._tap.has_followers = False

    # --- records -------------------------------------------------------------------------------

    def take_turn(self) -> None:
        """Show what is in the tap now; a bound, so that clients are served in between."""
        tap = self._tap
        if tap is None:
            return
        records = tap.take(RECORDS_AT_ONCE)
        for record in records:
            self._guard.run(Seam.TAP, self._show, record, default=None)
        for client, follower in list(self._followers.items()):
            follower.skipped += tap.skipped - follower.skipped_before
            follower.skipped_before = tap.skipped
            if client.waiting:
                self._requests.push(client)
        if len(records) == RECORDS_AT_ONCE:
            self._requests.wake()

    def _show(self, record: logging.LogRecord) -> None:
        """Show a record to those who want it; one that cannot be shown counts as skipped."""
        followers = list(self._followers.items())
        try:
            wanting = [(who, what) for who, what in followers if what.wanted.wants(record)]
            if not wanting:
                return
            text = self._formatter.format(record)
            line = text.encode("utf-8", "backslashreplace") + b"\n"
        except BaseException:
            for _, follower in followers:
                follower.skipped += 1
            raise
        for client, follower in wanting:
            _add(client, follower, line)


def _add(client: Client, follower: _Follower, line: bytes) -> None:
    if len(client.waiting) + len(line) > MOST_WAITING:
        follower.skipped += 1
        return
    if follower.skipped:
        client.waiting += _line({"skipped": follower.skipped})
        follower.skipped = 0
    client.waiting += line


def _filter_of(wanted: Mapping[str, object]) -> RecordFilter:
    logger, sender = str(wanted.get("logger", "")), str(wanted.get("sender", ""))
    return RecordFilter(logger, int(str(wanted.get("level", 0))), sender)


def _line(value: object) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _listen(path: str) -> tuple[socket.socket, BoundPath]:
    listener = socket.socket(AF_UNIX, socket.SOCK_STREAM)
    try:
        restrict_to_owner(listener.fileno())  # on Linux the path gets it with bind, without a gap
        bound = BoundPath(listener, path)
        os.chmod(path, 0o600)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener, bound

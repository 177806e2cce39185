"""The questions that a program may ask a running receiver.

>>> ask("/run/batchudp/control.sock", "health")  # doctest: +SKIP
{'healthy': True, 'text': 'ok: ...'}
"""

from __future__ import annotations

import contextlib
import json
import socket
from typing import TYPE_CHECKING, Any

from batchudp_handler.waits import clamped

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

from batchudp_handler.platform import AF_UNIX

__all__ = ["NobodyAnswers", "ask", "follow"]

ANSWER_SECONDS = 5.0


class NobodyAnswers(Exception):
    """There is no receiver at any of the places, or it says why it does not answer."""


def ask(places: Sequence[str], what: str, *, timeout: float = ANSWER_SECONDS) -> dict[str, Any]:
    """Return what a receiver says about `stats` or `health`.

    Raises:
        NobodyAnswers: The text says what is wrong.
    """
    with _connected(places, timeout) as connection, _readable(places):
        _say(connection, {"get": what})
        with connection.makefile("rb") as stream:
            return _answer(stream.readline())


def follow(places: Sequence[str], wanted: Mapping[str, object]) -> Iterator[str]:
    """Yield one line of JSON for each record, as it arrives, until the receiver ends.

    Raises:
        NobodyAnswers: The text says what is wrong.
    """
    with _connected(places, ANSWER_SECONDS) as connection, _readable(places):
        _say(connection, {"follow": dict(wanted)})
        with connection.makefile("rb") as stream:
            _answer(stream.readline())
            connection.settimeout(None)
            for line in stream:
                yield line.decode("utf-8", "backslashreplace").rstrip("\n")


def _say(connection: socket.socket, wish: Mapping[str, object]) -> None:
    # a receiver that has too many clients says so and hangs up, perhaps before it is asked
    with contextlib.suppress(BrokenPipeError):
        connection.sendall(json.dumps(wish).encode() + b"\n")


def _answer(line: bytes) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(line) if line else {"error": "it hung up"}
    if "error" in answer:
        raise NobodyAnswers(str(answer["error"]))
    return answer


def _connected(places: Sequence[str], timeout: float) -> socket.socket:
    if not places:
        raise NobodyAnswers("no control socket is known; say --control-socket PATH")
    problems = []
    for path in places:
        connection = socket.socket(AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(clamped(timeout))
        try:
            connection.connect(path)
        except OSError as error:
            connection.close()
            problems.append(f"{path}: {error.strerror or error}")
        else:
            return connection
    raise NobodyAnswers("; ".join(problems))


@contextlib.contextmanager
def _readable(places: Sequence[str]) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise NobodyAnswers(f"{places[0]}: {error}") from None

"""Waits of any length, on the real primitives."""

from __future__ import annotations

import math
import select
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from batchudp_handler import waits
from batchudp_handler.waits import clamped, join_thread, milliseconds, sleep_for, until

if TYPE_CHECKING:
    from collections.abc import Callable

TOO_LONG = (3e6, 1e10, 1e300, math.inf)
"""Above the limit of `poll`, of `time.sleep`, of `threading.TIMEOUT_MAX`, and above all."""


@pytest.mark.parametrize("seconds", [*TOO_LONG, None])
def test_no_time_is_too_long_for_a_lock(seconds: float | None) -> None:
    """What is there is taken at once, whatever the patience."""
    lock = threading.Lock()

    assert until(lambda piece: lock.acquire(timeout=piece), seconds)


@pytest.mark.parametrize("seconds", TOO_LONG)
def test_no_time_is_too_long_for_poll_or_select(seconds: float) -> None:
    """Both take what `milliseconds` and `clamped` make of it, and end when there is news."""
    ready, other = socket.socketpair()
    other.send(b"x")
    poll = select.poll()
    poll.register(ready, select.POLLIN)

    assert poll.poll(milliseconds(seconds))
    assert select.select([ready], [], [], clamped(seconds))[0]
    ready.close()
    other.close()


@pytest.mark.parametrize("seconds", TOO_LONG)
def test_no_time_is_too_long_for_a_thread(seconds: float) -> None:
    """A thread that ends is waited for no longer than it lives."""
    thread = threading.Thread(target=lambda: None)
    thread.start()

    assert join_thread(thread, seconds)


@pytest.mark.parametrize("seconds", [0.0, -0.0, -1.0, -math.inf])
def test_a_time_that_is_over_looks_once(seconds: float) -> None:
    """No time left: one look, and the answer."""
    looks: list[float] = []

    assert not until(looks.append, seconds)
    assert looks == [0.0]
    assert clamped(seconds) == 0.0
    assert milliseconds(seconds) == 0


def test_a_long_wait_is_made_of_short_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pieces are as long as the limit, and together as long as was asked."""
    monkeypatch.setattr(waits, "LONGEST", 0.02)
    pieces: list[float] = []

    def wait(piece: float) -> None:
        pieces.append(piece)
        time.sleep(piece)

    began = time.monotonic()
    assert not until(wait, 0.1)

    assert time.monotonic() - began >= 0.1
    assert len(pieces) > 1
    assert max(pieces) <= 0.02


def test_a_long_sleep_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that is made of pieces."""
    monkeypatch.setattr(waits, "LONGEST", 0.01)
    began = time.monotonic()

    sleep_for(0.05)

    assert 0.05 <= time.monotonic() - began < 1.0


@pytest.mark.parametrize(
    ("seconds", "expected"), [(None, None), (0.0001, 1), (1.0, 1000), (1e300, 3_600_000)]
)
def test_milliseconds_are_rounded_up(seconds: float | None, expected: int | None) -> None:
    """A wait that ends a moment early would be made again at once, and spin."""
    assert milliseconds(seconds) == expected


@pytest.mark.parametrize(
    "call",
    [
        lambda: select.poll().poll(int(3e6 * 1000)),
        lambda: threading.Lock().acquire(timeout=math.inf),
        lambda: time.sleep(1e10),
    ],
    ids=["poll", "acquire", "sleep"],
)
def test_the_primitives_have_limits(call: Callable[[], object]) -> None:
    """Why this module exists; should Python lift them, it can go."""
    with pytest.raises(OverflowError):
        call()

"""Retries of what the socket refused: when to try again, and at which size.

The delay is 0.1 s, doubled per failure in a row, at most 2 s, times a random factor from 0.8 to
1.2 so that the processes of one host do not try in step.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING

from batchudp_handler.core.wire.constants import MIN_DATAGRAM_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SendFailure", "SocketTrouble", "backoff", "smaller_datagram_size"]

FIRST_DELAY = 0.1
MAX_DELAY = 2.0

AWAY_AFTER_REFUSALS = 3
REFUSALS_WITHIN = 1.0
"""Three refused datagrams within a second: nobody listens."""

_COMMON_SIZES = (8_932, 1_472, 1_432, 1_200, 548, 256, MIN_DATAGRAM_SIZE)
"""Jumbo frames, Ethernet, Ethernet with tunnels, QUIC's and IPv6's minimum, IPv4's minimum."""


class SendFailure(Enum):
    """Why the socket did not take a datagram."""

    WOULD_BLOCK = "would_block"
    """No buffer space (EAGAIN, ENOBUFS, ENOMEM)."""
    REFUSED = "refused"
    """The datagram before this one reached no socket, and this one was not sent (ECONNREFUSED)."""
    TOO_BIG = "too_big"
    """Not at this size, ever (EMSGSIZE)."""
    UNREACHABLE = "unreachable"
    """No way to the receiver at the moment: no route, no permission, no name, no socket."""


def backoff(failures: int, random: Callable[[], float]) -> float:
    """Return how many seconds to wait after `failures` in a row, one at least.

    >>> [round(backoff(failures, lambda: 0.5), 3) for failures in (1, 2, 3, 10)]
    [0.1, 0.2, 0.4, 2.0]
    """
    delay = min(FIRST_DELAY * 2.0 ** min(failures - 1, 10), MAX_DELAY)
    return delay * (0.8 + 0.4 * random())


class SocketTrouble:
    """The refusals of one socket in a row, and how long to wait after them."""

    def __init__(self, random: Callable[[], float]) -> None:
        self.failures = 0
        self.blocked_until = float("-inf")
        self._random = random
        self._refusals: deque[float] = deque(maxlen=AWAY_AFTER_REFUSALS)

    def on_failure(self, failure: SendFailure, now: float) -> bool:
        """Count a failure; return whether the receiver should be considered gone."""
        self.failures += 1
        self.blocked_until = now + backoff(self.failures, self._random)
        if failure is SendFailure.UNREACHABLE:
            return self.failures >= AWAY_AFTER_REFUSALS
        if failure is not SendFailure.REFUSED:
            return False
        self._refusals.append(now)
        is_burst = len(self._refusals) == AWAY_AFTER_REFUSALS
        return is_burst and now - self._refusals[0] <= REFUSALS_WITHIN

    def on_heard(self) -> None:
        """Note an answer: the path is free."""
        self.failures = 0
        self._refusals.clear()

    def unblock(self) -> None:
        """End the wait."""
        self.blocked_until = float("-inf")


def smaller_datagram_size(refused: int, told: int | None) -> int:
    """Return the size to use after `refused` bytes were too many.

    Args:
        refused: Bytes that the path did not take.
        told: What the socket says the path takes; it may be out of date.
    """
    if told is not None and MIN_DATAGRAM_SIZE <= told < refused:
        return told
    return next((size for size in _COMMON_SIZES if size < refused), MIN_DATAGRAM_SIZE)

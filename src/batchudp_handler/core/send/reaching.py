"""When the receiver's name is looked up, and when which of its addresses is tried.

After failures the next attempt waits as `retry.backoff` says, with a random factor, so that the
processes of one host do not try in step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchudp_handler.core.send.retry import MAX_DELAY, backoff

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Reaching"]


class Reaching:
    """The attempts to reach one host.

    Args:
        interval: Seconds after which the name is looked up again; None: never.
        random: Draws from [0, 1).
    """

    def __init__(self, interval: float | None, random: Callable[[], float]) -> None:
        self.retry_at = float("-inf")
        """No attempt is made before."""
        self._interval = interval
        self._random = random
        self._addresses = 0
        self._place = 0
        self._failures = 0
        self._asked_at = self._ask_at = float("-inf")

    def must_look_up(self, now: float) -> bool:
        """Return whether the name should be looked up now."""
        is_due = not self._addresses or now >= self._ask_at
        return is_due and now >= self.retry_at

    def may_look_up(self, now: float) -> bool:
        """Return whether the name may be looked up early: the last time is long enough ago."""
        return now >= self._asked_at + MAX_DELAY

    def on_look_up(self, now: float) -> None:
        """Note that the name is being looked up."""
        self._asked_at = now
        self._ask_at = float("inf") if self._interval is None else now + self._interval

    def on_found(self, addresses: int, now: float) -> None:
        """Note how many addresses there are; the first is tried at once."""
        self._addresses = addresses
        self._place = 0
        self.retry_at = now

    def may_connect(self, now: float) -> bool:
        """Return whether an address should be tried now."""
        return bool(self._addresses) and now >= self.retry_at

    @property
    def address(self) -> int:
        """The place of the address that is tried next, among those that were found."""
        return self._place % self._addresses

    @property
    def has_choice(self) -> bool:
        """Whether there is more than one address."""
        return self._addresses > 1

    def skip(self) -> None:
        """Try the next address next time."""
        self._place += 1

    def on_connected(self) -> None:
        """Note that there is a socket."""
        self._failures = 0

    def on_failed(self, now: float) -> None:
        """Note that there is no address, or that none of them could be used."""
        self._failures += 1
        self.retry_at = now + backoff(self._failures, self._random)

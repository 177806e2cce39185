"""The times at which a one-way stream sends SYNCs, which tell the receiver how far it has come.

One at the start, one a second after the last DATA, then after 10 s, then each minute, at least
each 10 s while DATA flows, and two at the end.
"""

from __future__ import annotations

__all__ = ["OneWaySyncs"]

AFTER_DATA = 1.0
FIRST_IDLE = 10.0
IDLE = 60.0
BUSY = 10.0
"""Seconds between SYNCs: after the last DATA, after that SYNC, later, and while DATA flows."""

GOODBYES = 2
GOODBYE_INTERVAL = 0.05


class OneWaySyncs:
    """The time of the next SYNC, in `at`; None before the first record, and without numbers."""

    __slots__ = ("_idle", "_last", "at", "goodbyes")

    def __init__(self) -> None:
        self.at: float | None = None
        self.goodbyes: int | None = None
        """SYNCs that still have to say goodbye; None while the stream is not closing."""
        self._last = 0.0
        self._idle = 0

    def start(self, now: float) -> None:
        """Send the first one now, if that was not done before."""
        if self.at is None:
            self.at = self._last = now

    def tell_soon(self, now: float) -> None:
        """Send one soon, because there is something to tell."""
        if self.at is not None:
            self.at = min(self.at, max(now, self._last + AFTER_DATA))

    def close(self) -> None:
        """Say goodbye when nothing else is left to send."""
        if self.goodbyes is None:
            self.goodbyes = GOODBYES if self.at is not None else 0

    def end(self) -> None:
        """Say nothing more."""
        self.goodbyes = 0

    def is_due(self, now: float) -> bool:
        """Return whether to send one now, whatever else waits."""
        return self.at is not None and now >= self.at

    def is_goodbye_due(self, now: float) -> bool:
        """Return whether to say goodbye now, if nothing else waits."""
        if not self.goodbyes:
            return False
        return self.goodbyes == GOODBYES or now >= self._last + GOODBYE_INTERVAL

    @property
    def goodbye_at(self) -> float | None:
        """The time of the next goodbye; None if there is none."""
        return self._last + GOODBYE_INTERVAL if self.goodbyes else None

    @property
    def interval(self) -> float:
        """The seconds until the SYNC after the next one, if no DATA is sent."""
        return FIRST_IDLE if self._idle < 1 else IDLE

    def on_data_sent(self, now: float) -> None:
        """Note that DATA was sent."""
        self._idle = 0
        if self.at is not None:
            self.at = min(now + AFTER_DATA, self._last + BUSY)

    def on_sent(self, now: float, *, is_goodbye: bool) -> None:
        """Note that one was sent."""
        self.at = now + self.interval
        self._last = now
        self._idle += 1
        self._count_goodbye(is_goodbye)

    def on_refused(self, now: float, *, is_goodbye: bool) -> None:
        """Note that the socket did not take one; it is not repeated as it was."""
        self.at = now + AFTER_DATA
        self._last = now
        self._count_goodbye(is_goodbye)

    def _count_goodbye(self, is_goodbye: bool) -> None:
        if is_goodbye and self.goodbyes:
            self.goodbyes -= 1

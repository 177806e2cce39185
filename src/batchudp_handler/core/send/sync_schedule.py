"""The times at which an acknowledged stream sends SYNCs.

While an answer is missing: after 0.2 s, doubled up to about a second, and from then on 15 % later
each time, up to 10 s. A receiver that was away for less than five seconds is so found within a
second of its return, and one that is away for hours is asked six times a minute. Jitter of 25 %
either way keeps a fleet from asking in step.

From the third time on it is asked three times in a row, 50 ms apart: where datagrams are lost in
bursts, a burst ends after so many datagrams, and a burst that met only single ones,
growing rarer, would last for minutes.

Otherwise: a heartbeat every 10 s, and never two SYNCs within 50 ms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["HEARTBEAT", "SyncSchedule"]

HEARTBEAT = 10.0
FIRST_PROBE = 0.2
SLOW_PROBE = 0.7
GROWTH = 0.15
MAX_PROBE = 10.0
MIN_INTERVAL = 0.05

TRAIN = 3
"""SYNCs in a row."""
SINGLE_PROBES = 2
"""Before that one is sent at a time, so that the first answer tells the round trip."""


class SyncSchedule:
    """The time of the next SYNC, in `at`; None before the first one."""

    def __init__(self, random: Callable[[], float]) -> None:
        self.at: float | None = None
        self._random = random
        self._last_sent = float("-inf")
        self._probing_since: float | None = None
        self._probes = 0
        self._repeats = 0

    def probe(self, now: float) -> None:
        """Ask for an answer now, and then less and less often."""
        self._probing_since = now
        self._probes = self._repeats = 0
        self.by(now)

    def is_probing(self) -> bool:
        """Return whether an answer is missing."""
        return self._probing_since is not None

    def beat(self, now: float) -> None:
        """Go on with the heartbeat, because an answer has come."""
        self._probing_since = None
        self.at = now + HEARTBEAT

    def soon(self) -> None:
        """Send one as soon as the distance to the last one allows."""
        self.by(float("-inf"))

    def by(self, time: float) -> None:
        """Send one at `time` at the latest."""
        time = max(time, self._last_sent + MIN_INTERVAL)
        self.at = time if self.at is None else min(self.at, time)

    def is_due(self, now: float) -> bool:
        """Return whether to send one now."""
        return self.at is not None and self.at <= now

    def is_older_than(self, age: float, now: float) -> bool:
        """Return whether the last one was sent more than `age` seconds ago."""
        return now - self._last_sent > age

    def on_sent(self, now: float) -> None:
        """Note that one was sent, and plan the next."""
        self._last_sent = now
        if self._probing_since is None:
            self.at = now + HEARTBEAT
            return
        if self._probes >= SINGLE_PROBES and self._repeats < TRAIN - 1:
            self._repeats += 1
            self.at = now + MIN_INTERVAL
            return
        self._repeats = 0
        elapsed = max(now - self._probing_since, 0.0)
        delay = min(FIRST_PROBE * 2.0 ** min(self._probes, 10), max(SLOW_PROBE, GROWTH * elapsed))
        self._probes += 1
        self.at = now + min(delay, MAX_PROBE) * (0.75 + 0.5 * self._random())

    def on_refused(self, now: float) -> None:
        """Note that the socket did not take it, and plan the next."""
        self._last_sent = now
        self.at = now + (FIRST_PROBE if self._probing_since is not None else 1.0)

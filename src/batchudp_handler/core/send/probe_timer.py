"""The probe timer: when a missing answer is suspicious, and when it means that nobody is there.

Two counts of expiries, because they end at different news. The backoff ends with progress: a
receiver whose handlers are slow does answer, and would otherwise be probed a hundred times a
second. The silence ends with any answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchudp_handler.core.send.rtt import RttEstimator

__all__ = ["ProbeTimer"]

AWAY_AFTER_PROBES = 5
AWAY_AFTER_SILENCE = 5.0
"""Seconds. Both are needed: at 50 % loss three probes in a row often get no answer."""


class ProbeTimer:
    """The probe timeout (RFC 9002 section 6.2) of one stream."""

    def __init__(self, rtt: RttEstimator) -> None:
        self.silent_expiries = 0
        self._rtt = rtt
        self._base = 0.0
        self._expiries = 0
        self._waiting_since: float | None = None

    @property
    def time(self) -> float:
        """When the timer expires, if anything is missing an answer."""
        return self._base + self._rtt.probe_timeout(self._expiries)

    @property
    def is_backed_off(self) -> bool:
        """Whether the timer has expired since there was progress."""
        return self._expiries > 0

    def on_sent(self, now: float) -> None:
        """Note that something was sent which will be answered."""
        if self._waiting_since is None:
            self._waiting_since = now

    def restart(self, now: float) -> None:
        """Start the timeout again, because DATA was sent."""
        self._base = now

    def on_heard(self) -> None:
        """Note an answer of any kind."""
        self._waiting_since = None
        self.silent_expiries = 0

    def on_progress(self, now: float) -> None:
        """Note an answer that says something new."""
        self._expiries = 0
        self._base = now

    def on_expired(self, now: float) -> None:
        """Note that the timer expired."""
        self._base = now
        self._expiries += 1
        self.silent_expiries += 1

    def is_silent(self, now: float) -> bool:
        """Return whether the receiver should be considered gone."""
        return (
            self.silent_expiries >= AWAY_AFTER_PROBES
            and self._waiting_since is not None
            and now - self._waiting_since > AWAY_AFTER_SILENCE
        )

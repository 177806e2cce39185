"""The times in which an output refuses what is to be written.

Decides when it is tried again, what an operator is told and how often, and whether the receiver
counts as healthy. A reader that is merely slow is given time before anything is said.
"""

from __future__ import annotations

from collections import Counter

__all__ = ["Outage"]

FIRST_DELAY, LONGEST_DELAY = 0.05, 1.0
"""Seconds before a refused write is tried again; twice as long each time."""
QUIET_SECONDS = 60.0
"""Between two messages about the same outage."""
SLOW_SECONDS = 5.0
"""A reader that takes nothing for less than this is slow, and no outage."""
SLOW = frozenset({"EAGAIN", "EWOULDBLOCK"})

ADVICE = {
    **dict.fromkeys(("ENOSPC", "EDQUOT"), "free some space"),
    **dict.fromkeys(("ENOENT", "ENOTDIR"), "make its directory again"),
    **dict.fromkeys(("EACCES", "EPERM", "EROFS"), "let this process write there"),
    **dict.fromkeys(("EPIPE", "ENXIO"), "start what reads it"),
    **dict.fromkeys(SLOW, "what reads it has stopped reading"),
    **dict.fromkeys(("EIO", "ENODEV", "ESTALE"), "look after the disk below it"),
    **dict.fromkeys(("EMFILE", "ENFILE"), "raise the limit of open files"),
    "EFBIG": "raise the limit for the size of a file, or rotate it with --max-bytes",
    "EISDIR": "move the directory away",
}
"""What to do, by the name of the error."""


class Outage:
    """What an output has refused, and since when.

    Args:
        name: The path of the output, or what it is.
    """

    __slots__ = ("_delay", "_is_said", "_is_told", "_said_at", "_since", "_text", "errors", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.errors: Counter[str] = Counter()
        """Refused writes, by the name of the error. A slow reader counts once, when it has taken
        nothing for `SLOW_SECONDS`."""
        self._since: float | None = None
        self._said_at = float("-inf")
        self._is_told = self._is_said = False
        self._delay = FIRST_DELAY
        self._text = ""

    @property
    def problem(self) -> str | None:
        """What an operator should know now; None: the output takes what it gets."""
        return self._text if self._is_told else None

    def seconds(self, now: float) -> float:
        """Return for how long the output has refused; 0: it does not."""
        return 0.0 if self._since is None or not self._is_told else now - self._since

    def refused(self, error: str, reason: str, now: float) -> str | None:
        """Note that the output did not take what it was given.

        Args:
            error: The name of the errno.
            reason: The same in words.
            now: Monotonic seconds.

        Returns:
            A warning, if one is due.
        """
        if self._since is None:
            self._since, self._delay = now, FIRST_DELAY
        else:
            self._delay = min(2 * self._delay, LONGEST_DELAY)
        is_slow = error in SLOW
        if is_slow and (self._is_told or now - self._since < SLOW_SECONDS):
            return self._due(now) if self._is_told else None
        self.errors[error] += 1
        self._is_told = True
        advice = ADVICE.get(error, "see what is wrong with it")
        self._text = f"{reason}: {self.name}; {advice}, records wait meanwhile"
        return self._due(now)

    def _due(self, now: float) -> str | None:
        if now - self._said_at < QUIET_SECONDS:
            return None
        self._said_at, self._is_said = now, True
        return self._text

    @property
    def delay(self) -> float:
        """Seconds until the next attempt."""
        return self._delay

    def progressed(self) -> None:
        """Note that the output took a part: whoever reads it is slow, and has not stopped."""
        if not self._is_told:
            self._since = None

    def ended(self, now: float) -> str | None:
        """Note that the output took everything; return what to say, if the outage was told."""
        since, was_said = self._since, self._is_said
        self._since, self._is_told, self._is_said = None, False, False
        if since is None or not was_said:
            return None
        return f"{self.name} is written again, after {now - since:.1f} s"

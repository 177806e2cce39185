"""How does a program's owner learn that records were lost, if nobody reads the counters?

By a line on stderr, at once for the first loss and rarely after that, with the totals. Never by
`logging`: that would feed the handler its own complaints. `logging.raiseExceptions = False`
silences it, as it silences the complaints of the standard handlers.
"""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LossNote"]

INTERVAL = 30.0
"""Seconds between two lines."""
ON_PURPOSE = {"relay", "self_log"}
"""Causes of drops that are no losses."""


class LossNote:
    """Writes the lines of one handler."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._told = 0
        self._last = float("-inf")

    def is_due(self, lost: Mapping[str, int], now: float) -> bool:
        """Whether more was lost than has been told, and it is time for a line."""
        return now >= self._last + INTERVAL and _total(lost) > self._told

    def tell(self, lost: Mapping[str, int], now: float) -> None:
        """Write a line if it is due."""
        if self.is_due(lost, now):
            self._write(lost, now)

    def tell_last(self, lost: Mapping[str, int], now: float) -> None:
        """Write a line if more was lost than has been told, since there will be none later."""
        if _total(lost) > self._told:
            self._write(lost, now)

    def _write(self, lost: Mapping[str, int], now: float) -> None:
        causes = sorted(_unwanted(lost).items())
        self._told, self._last = _total(lost), now
        details = ", ".join(f"{name} {number}" for name, number in causes)
        write_note(f"{self._told} records for {self._target} were lost so far: {details}")


def _total(lost: Mapping[str, int]) -> int:
    return sum(_unwanted(lost).values())


def _unwanted(lost: Mapping[str, int]) -> dict[str, int]:
    return {name: number for name, number in lost.items() if number and name not in ON_PURPOSE}


def write_note(text: str) -> None:
    """One line on stderr, if there is one and the program wants to hear."""
    if not logging.raiseExceptions or sys.stderr is None:
        return
    # closed, or replaced by something that is no file: then nobody hears
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"batchudp-handler: {text}\n")

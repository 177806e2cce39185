"""The line on stderr by which a program's owner learns that records were lost.

At once for the first loss and rarely after that, with the totals, the latest error in words, and
where to look further. Never by `logging`: that would feed the handler its own complaints.
`logging.raiseExceptions = False` silences it, as it silences the complaints of the standard
handlers.
"""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from batchudp_handler.core.places import doctor_command, place_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["LossNote", "write_note"]

INTERVAL = 30.0
"""Seconds between two lines."""
ON_PURPOSE = {"relay", "self_log"}
"""Causes of drops that are no losses."""


class LossNote:
    """Writes the lines of one handler.

    Args:
        target: Host and port of the receiver, at this moment.
        why: What went wrong last, in words; empty: nothing that is known.
    """

    def __init__(self, target: Callable[[], tuple[str, int]], why: Callable[[], str]) -> None:
        self._target = target
        self._why = why
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
        host, port = self._target()
        text = f"{self._told} records for {place_text(host, port)} were lost so far: {details}"
        why = self._why()
        if why:
            text += f"; {why}. To find the cause: {doctor_command(host, port)}"
        write_note(text)


def _total(lost: Mapping[str, int]) -> int:
    return sum(_unwanted(lost).values())


def _unwanted(lost: Mapping[str, int]) -> dict[str, int]:
    return {name: number for name, number in lost.items() if number and name not in ON_PURPOSE}


def write_note(text: str) -> None:
    """One line on stderr, if there is one and the program wants to hear."""
    if not logging.raiseExceptions or sys.stderr is None:
        return
    # closed, in the middle of another write, or replaced by an object of the program's
    with suppress(Exception):
        sys.stderr.write(f"batchudp-handler: {text}\n")

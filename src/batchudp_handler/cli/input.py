"""The records of `batchudp-send`, from lines or made up.

From the lines of a file or of standard input, or from a generator of sample records at a rate. A
source calls the handler and nothing else; it ends when there is no more.
"""

from __future__ import annotations

import logging
import os
import random
import sys
import time
from typing import IO, TYPE_CHECKING

from batchudp_handler.waits import sleep_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Pace", "generate_samples", "line_records", "lines_of"]

LONGEST_LINE = 256 * 1024
"""Bytes. A longer line goes on in the next record; a receiver would cut its text there."""
POLL_SECONDS = 0.2
BURST_SECONDS = 0.005


class Pace:
    """The pace of records, which a rate limits.

    Sleeps in steps of a few milliseconds, because shorter ones are not kept, so a burst has as
    many records as the rate allows in that time.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._per_step = max(1, int(rate * BURST_SECONDS))
        self._left = self._per_step  # the first step is free: nobody has gone before
        self._next_step = time.monotonic()

    def wait(self) -> None:
        """Return when the next record may go."""
        if self._left:
            self._left -= 1
            return
        self._left = self._per_step - 1
        self._next_step += self._per_step / self._rate
        delay = self._next_step - time.monotonic()
        if delay > 0:
            sleep_for(delay)
        else:
            self._next_step -= delay  # time lost is not made up for in a burst


# --- lines -------------------------------------------------------------------------------------


def lines_of(path: str, *, follow: bool) -> Iterator[str]:
    """Yield the lines of a file, of standard input for `-`, or as they come with `follow`."""
    if path == "-":
        yield from _lines_in(sys.stdin.buffer)
    elif follow:
        yield from _lines_followed(path)
    else:
        with open(path, "rb") as file:
            yield from _lines_in(file)


def _lines_in(file: IO[bytes]) -> Iterator[str]:
    while line := file.readline(LONGEST_LINE):
        yield _text(line)


def _text(line: bytes) -> str:
    """Return a line without its line feed; bytes that are not UTF-8 are shown as such."""
    return line.removesuffix(b"\n").decode("utf-8", "backslashreplace")


def _lines_followed(path: str) -> Iterator[str]:
    """Yield lines as `tail -F` does: from the beginning, as they come, and of a file that replaces
    it."""
    begun = b""
    file = open(path, "rb")  # noqa: SIM115  # closed and opened again at each rotation
    try:
        while True:
            line = begun + file.readline(LONGEST_LINE)
            if line.endswith(b"\n") or len(line) >= LONGEST_LINE:
                begun = b""
                yield _text(line)
                continue
            begun = line
            if _is_replaced(file, path):
                if begun:
                    yield _text(begun)
                begun = b""
                file.close()
                file = open(path, "rb")  # noqa: SIM115  # see above
            else:
                time.sleep(POLL_SECONDS)
    finally:
        file.close()


def _is_replaced(file: IO[bytes], path: str) -> bool:
    """Return whether the path is another file now, or the file was emptied."""
    try:
        there = os.stat(path)
    except OSError:
        return False  # moved away, and not yet made again
    here = os.fstat(file.fileno())
    return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino) or (
        there.st_size < file.tell()
    )


def line_records(lines: Iterator[str], *, name: str, levelno: int) -> Iterator[logging.LogRecord]:
    """Yield a record for each line, with the line as its text."""
    for line in lines:
        yield logging.LogRecord(name, levelno, "", 0, line, (), None, func="")


# --- samples -----------------------------------------------------------------------------------


def generate_samples(
    log: logging.Logger,
    *,
    rate: float,
    run_time: float,
    has_ended: Callable[[], bool] = lambda: False,
) -> None:
    """Log made-up records at a rate, for a time, or until it has ended; 0: until then.

    As many as rate and time say, or fewer where the machine is too slow for them.
    """
    chance = random.Random()
    pace = Pace(rate)
    until = time.monotonic() + run_time if run_time else float("inf")
    most = max(1.0, rate * run_time + 0.5) if run_time else float("inf")
    number = 0
    while number + 1 <= most and time.monotonic() < until and not has_ended():
        pace.wait()
        _log_sample(log, number, chance)
        number += 1


def _log_sample(log: logging.Logger, number: int, chance: random.Random) -> None:
    """Log one record of a shop that works most of the time."""
    kind = chance.random()
    milliseconds = chance.expovariate(1 / 40)
    if kind < 0.70:
        status = chance.choice((200, 200, 200, 304, 404))
        log.getChild("web").info("GET /items/%d -> %d in %.1f ms", number, status, milliseconds)
    elif kind < 0.88:
        log.getChild("orders").info("order %d paid: %.2f", number, chance.uniform(5, 500))
    elif kind < 0.95:
        log.getChild("db").debug("query took %.1f ms", milliseconds)
    elif kind < 0.99:
        extra = {"item": "tea", "left": chance.randrange(5)}
        log.getChild("stock").warning("stock is low", extra=extra)
    else:
        _log_failure(log.getChild("orders"), number)


def _log_failure(log: logging.Logger, number: int) -> None:
    try:
        raise TimeoutError("the payment service did not answer")
    except TimeoutError:
        log.exception("order %d failed", number)

"""The signals of a script, and its end soon after the first one, whatever its threads wait for.

A handler written in Python runs on the main thread between two of its instructions. So it comes
late, or never, while that thread waits for a lock or a system call that it was just about to
begin; and what it does may come in the middle of anything, such as the taking of a lock, which is
then held for ever if the handler raises. Here no Python code runs in a handler. C code writes the
number of the signal to a socket, and a thread that does nothing else reads it there.
"""

from __future__ import annotations

import operator
import os
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING

from batchudp_handler.cli.parser import ExitCode
from batchudp_handler.platform import END_SIGNALS
from batchudp_handler.waits import clamped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Ending", "end_by_default", "follow_by_socket"]

GRACE = 0.6
"""Seconds beyond the script's own time for what is not counted in it, such as joining threads."""
LAST_WORDS_SECONDS = 0.2


def follow_by_socket(numbers: tuple[int, ...]) -> tuple[socket.socket, socket.socket]:
    """Have these signals do nothing but make a byte, their number.

    To be called by the main thread.

    Returns:
        The socket to read them from, and the other end, which has to stay open.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    for number in numbers:
        signal.signal(number, operator.is_)  # takes a number and a frame, and is no Python code
    return reader, writer


def end_by_default() -> None:
    """Let SIGINT end the process at once, as SIGTERM does, until signals are followed."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


class Ending:
    """The signals of a script, and its end if it does not end by itself.

    A second SIGINT or SIGTERM ends the process at once.

    Args:
        seconds: What the script may take to end by itself.
        on_end: Called at the first SIGINT or SIGTERM, on a thread of its own; must not wait.
        last_words: Called if the script did not end in time: says what there is to be said, and
            returns the exit code.
        others: What to do at other signals, on the same thread.
    """

    def __init__(
        self,
        seconds: float,
        *,
        on_end: Callable[[], object],
        last_words: Callable[[], int],
        others: Mapping[int, Callable[[], object]] | None = None,
    ) -> None:
        self._seconds = seconds
        self._on_end = on_end
        self._last_words = last_words
        self._others = dict(others or {})
        self._ends_at: float | None = None

    def follow(self) -> None:
        """Follow the signals from now on; to be called by the main thread."""
        self._reader, self._writer = follow_by_socket((*END_SIGNALS, *self._others))
        threading.Thread(target=self._watch, name="batchudp-signals", daemon=True).start()

    def _watch(self) -> None:
        while True:
            patience = None if self._ends_at is None else self._ends_at - time.monotonic()
            if patience is not None and patience <= 0:
                self._end_now()
            self._reader.settimeout(clamped(patience))
            try:
                numbers = self._reader.recv(4096)
            except TimeoutError:
                continue
            for number in numbers:
                self._on_signal(number)

    def _on_signal(self, number: int) -> None:
        if number in END_SIGNALS and self._ends_at is not None:
            os._exit(128 + number)  # as a shell says it of a process that a signal ended
        action = self._on_end if number in END_SIGNALS else self._others.get(number)
        if action is None:
            return  # somebody else's: every signal with a handler in Python makes a byte
        if number in END_SIGNALS:
            self._ends_at = time.monotonic() + self._seconds + GRACE
        try:
            action()
        except Exception as error:  # noqa: BLE001  # the next signal must be heard
            _complain(number, error)

    def _end_now(self) -> None:
        """End although something is stuck, which may be the stream that words are said to."""
        codes: list[int] = []
        say = threading.Thread(target=lambda: codes.append(self._last_words()), daemon=True)
        try:
            say.start()
        except RuntimeError:
            # the script has ended and said all, and the interpreter waits for a thread of a
            # library: no thread starts any more, and nothing is left to be said
            codes.append(self._last_words())
        else:
            say.join(LAST_WORDS_SECONDS)
        os._exit(codes[0] if codes else ExitCode.SOFTWARE)


def _complain(number: int, error: Exception) -> None:
    name = signal.Signals(number).name
    sys.stderr.write(f"{name} could not be followed: {type(error).__name__}: {error}\n")

"""`batchudp-receive` whose clocks do not wait: a program that the replay tests start.

The first argument is how many seconds its wall clock is ahead. Each SIGUSR2 takes its monotonic
clock 61 seconds forward, after which a silent stream may be forgotten.
"""

from __future__ import annotations

import signal
import sys
import time

JUMP = 61.0

_monotonic, _wall = time.monotonic, time.time
_ahead = 0.0
_wall_ahead = float(sys.argv.pop(1))


def _jump(*_: object) -> None:
    global _ahead  # noqa: PLW0603  # the clock is the process's
    _ahead += JUMP


time.monotonic = lambda: _monotonic() + _ahead
time.time = lambda: _wall() + _wall_ahead
signal.signal(signal.SIGUSR2, _jump)

if __name__ == "__main__":
    from batchudp_handler.cli.receive import main  # takes the clocks that it finds

    sys.exit(main())

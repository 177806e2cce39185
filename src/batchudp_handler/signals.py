"""How do the last records get out when the process is told to terminate?

With its default disposition SIGTERM ends a process at once: neither `atexit` nor
`logging.shutdown` runs, and what waits in the buffer is lost. The package installs no signal
handler by itself, since signals belong to the program; a program asks for this one.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from batchudp_handler import fork

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["drain_on_sigterm"]


def drain_on_sigterm() -> None:
    """Send what waits when SIGTERM arrives, then do what would have been done without us.

    A handler that was installed before is called afterwards. Where there was none, all handlers
    of this package are closed, within their `shutdown_timeout`, and the process ends by SIGTERM,
    as its parent expects. Call it in the main thread, after other handlers are installed.

    CPython runs handlers between two of its instructions: a signal that arrives just before the
    main thread begins to wait for a semaphore is handled after that wait. This is so with every
    handler written in Python. `multiprocessing.Pool.terminate` sends SIGTERM once, and then waits
    for workers that may be in that very place: end pools with `close` and `join` where you can.

    Raises:
        ValueError: Called outside the main thread, where Python cannot install handlers.
    """
    previous = signal.getsignal(signal.SIGTERM)
    if previous == signal.SIG_IGN:
        return

    def drain(number: int, frame: FrameType | None) -> None:
        for handler in fork.live():
            # a handler of the program may decide to go on: do not close under its feet
            if callable(previous):
                handler.flush()
            else:
                handler.close()
        if callable(previous):
            previous(number, frame)
        else:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, drain)

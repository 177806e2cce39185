"""SIGTERM: what waits is sent before the process ends, or before the program's own handler runs.

With its default disposition SIGTERM ends a process at once: neither `atexit` nor
`logging.shutdown` runs, and what waits in the buffer is lost. Signals belong to the program, so
the package handles this one only when asked: by `drain_on_sigterm()`, for all handlers, or by the
setting of that name, for one. A process has one installation, which all of them share.
"""

from __future__ import annotations

import os
import signal
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from batchudp_handler import fork

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from batchudp_handler.fork import ForkAware

__all__ = ["drain_on_sigterm", "end_draining", "start_draining"]

# Global because the disposition of a signal is: a process has one.
_asked: dict[int, weakref.ref[ForkAware]] = {}
"""The handlers with the setting, by identity. A dict, whose single steps no signal can split."""
_everyone: list[bool] = []
"""Not empty: the program has called `drain_on_sigterm`."""


def drain_on_sigterm() -> None:
    """Send what waits when SIGTERM arrives, then do what would have been done without us.

    A handler that was installed before is called afterwards. Where there was none, all handlers
    of this package are closed, within their `shutdown_timeout`, and the process ends by SIGTERM,
    as its parent expects. Call it in the main thread, after other handlers are installed. The
    setting `drain_on_sigterm` of `BatchUDPHandler` does the same for one handler.

    CPython runs handlers between two of its instructions: a signal that arrives just before the
    main thread begins to wait for a semaphore is handled after that wait. This is so with every
    handler written in Python. `multiprocessing.Pool.terminate` sends SIGTERM once, and then waits
    for workers that may be in that very place: end pools with `close` and `join` where you can.

    Raises:
        ValueError: Called outside the main thread, where Python cannot install handlers.
    """
    _install()
    _everyone[:] = [True]


def start_draining(handler: ForkAware) -> bool:
    """Drain one handler at SIGTERM; False: not possible on this thread. Again is no harm."""
    try:
        _install()
    except ValueError:
        return False
    key = id(handler)
    _asked[key] = weakref.ref(handler, lambda _: _asked.pop(key, None))
    return True


def end_draining(handler: ForkAware) -> None:
    """Forget a handler; with the last one the disposition is again what it was before."""
    if _asked.pop(id(handler), None) is None or _asked or _everyone:
        return
    ours = signal.getsignal(signal.SIGTERM)
    if isinstance(ours, _Drain):
        # not the main thread: it stays, and does nothing but call the one before
        with suppress(ValueError):
            signal.signal(signal.SIGTERM, ours.previous)


def _install() -> None:
    present = signal.getsignal(signal.SIGTERM)
    if present is None:
        return  # installed by a program around Python, which alone can call it
    if not isinstance(present, _Drain) and present is not signal.SIG_IGN:
        signal.signal(signal.SIGTERM, _Drain(present))


def _to_drain() -> list[ForkAware]:
    if _everyone:
        return fork.live()
    return [handler for ref in list(_asked.values()) if (handler := ref()) is not None]


class _Drain:
    """Our handler of SIGTERM, and the one before it."""

    def __init__(self, previous: Callable[[int, FrameType | None], Any] | int | None) -> None:
        self.previous = previous

    def __call__(self, number: int, frame: FrameType | None) -> None:
        previous = self.previous
        # a handler of the program may decide to go on, and the kernel spares the first process of
        # a container: do not close under their feet
        goes_on = callable(previous) or os.getpid() == 1
        try:
            for handler in _to_drain():
                if goes_on:
                    handler.flush()
                else:
                    handler.close()
        finally:
            if callable(previous):
                previous(number, frame)
            elif not goes_on:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)

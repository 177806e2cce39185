"""The handlers of a process after a fork, and the last records of a child.

A forked child has the parent's memory, but none of its threads and not its place in the stream.
Everything that owns a thread or a socket registers here and is told after the fork, in the
child. Nothing is locked before a fork: a lock that is held while others fork is a deadlock.

Children of `multiprocessing` and `billiard` leave through `os._exit`, without running what
`logging` registered with `atexit`. They do run the finalizers of their own module, except for the
children of billiard's pools: these call what was given to them as `on_exit`, and Celery, whose
pool is one of them, sends a signal.
"""

from __future__ import annotations

import atexit
import sys
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakSet

from batchudp_handler.platform import call_in_forked_child

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ForkAware", "drain_in_child", "is_worker_process", "live", "track"]

POOLS = ("multiprocessing", "billiard")
"""Packages that fork, end with `os._exit`, and have finalizers in their module `util`."""


class ForkAware(Protocol):
    """Something that has a thread, a socket, or records that the parent will send."""

    def after_fork_in_child(self) -> None:
        """Start afresh; runs before anything else in the child, with no other thread around."""

    def flush(self) -> object:
        """Send what waits, within bounds."""

    def close(self) -> None:
        """Send what waits, within bounds, and end."""


# Global because a fork is: there is one hook per process, and it cannot be taken back.
_tracked: WeakSet[ForkAware] = WeakSet()


def track(item: ForkAware) -> None:
    """Tell `item` after each fork, as long as it is in use."""
    _tracked.add(item)


def live() -> list[ForkAware]:
    """Return what is tracked and still in use."""
    return list(_tracked)


def is_worker_process() -> bool:
    """Return whether a process pool started this process, by whatever method."""
    for package in POOLS:
        module = sys.modules.get(f"{package}.process")
        if module is not None and module.current_process().name != "MainProcess":
            return True
    return False


def drain_in_child(drain: Callable[[], None]) -> None:
    """Call `drain` at the end of this process, however a process pool ends its children.

    To be called at the child's first record and not at the fork: a pool forgets, when a child
    begins, what its parent registered.
    """
    atexit.register(drain)
    for package in POOLS:
        util = sys.modules.get(f"{package}.util")
        if util is not None:
            util.Finalize(None, drain, exitpriority=0)
    signals = sys.modules.get("celery.signals")
    if signals is not None:
        signals.worker_process_shutdown.connect(lambda **_: drain(), weak=False)
    else:
        _drain_in_pool_of_billiard(drain)


def _drain_in_pool_of_billiard(drain: Callable[[], None]) -> None:
    process = sys.modules.get("billiard.process")
    worker: Any = getattr(process and process.current_process(), "_target", None)
    if not hasattr(worker, "on_exit"):
        return  # no child of a pool, or of one that works in another way
    before = worker.on_exit

    def on_exit(pid: int, code: int) -> None:
        if before is not None:
            before(pid, code)
        drain()

    worker.on_exit = on_exit


def _after_fork_in_child() -> None:
    for item in live():
        item.after_fork_in_child()


call_in_forked_child(_after_fork_in_child)

"""What tests of several folders need: to wait for a condition, and the sum of all fates."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchudp_handler.core.send.stats import SenderStats

__all__ = ["balance", "free_port", "wait_until"]


def wait_until(
    condition: Callable[[], object], what: str = "a condition", seconds: float = 90.0
) -> None:
    """Poll the condition until it holds, and fail when the time is over."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.005)


def balance(stats: SenderStats) -> int:
    """Return what became of all accepted records: they are as many."""
    return (
        stats.sent
        + stats.confirmed
        + stats.rejected_by_receiver
        + stats.unconfirmed
        + stats.waiting
        + stats.retained
        + stats.spooled
        + sum(stats.dropped.values())
    )


def free_port() -> int:
    """Return a port of the loopback address that nobody uses at the moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])

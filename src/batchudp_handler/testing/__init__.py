"""Help for tests of programs that ship their logs: a receiver that remembers, a bad network.

`batchudp_handler.testing.plugin` is the pytest plugin with the fixture `log_receiver`;
`batchudp_handler.testing.faultproxy` is a seeded UDP proxy that also runs as a process. Importing
`batchudp_handler` imports nothing from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchudp_handler.testing.log_receiver import LogReceiver

__all__ = ["LogReceiver"]


def __getattr__(name: str) -> object:
    """Load the receiver at its first use: pytest imports this package in every run."""
    if name == "LogReceiver":
        from batchudp_handler.testing.log_receiver import LogReceiver

        return LogReceiver
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)

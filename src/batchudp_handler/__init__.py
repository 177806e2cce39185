"""Ship log records in compressed batches over UDP, and feed them into local logging again.

>>> import logging
>>> handler = BatchUDPHandler("localhost", 9999)
>>> logging.getLogger("shop").addHandler(handler)

The receiving side is loaded when it is first asked for: programs that only send do not pay for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchudp_handler.config import HandlerConfig, ReceiverConfig
from batchudp_handler.core.errors import BatchUDPError
from batchudp_handler.handler import BatchUDPHandler
from batchudp_handler.signals import drain_on_sigterm

if TYPE_CHECKING:
    from batchudp_handler.receiver import BatchUDPReceiver

__all__ = [
    "BatchUDPError",
    "BatchUDPHandler",
    "BatchUDPReceiver",
    "HandlerConfig",
    "ReceiverConfig",
    "__version__",
    "drain_on_sigterm",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Load the receiver at its first use."""
    if name == "BatchUDPReceiver":
        from batchudp_handler.receiver import BatchUDPReceiver  # see above

        return BatchUDPReceiver
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    """Show what can be imported, loaded or not."""
    return sorted({*globals(), *__all__})

"""Ship log records in compressed batches over UDP, and feed them into local logging again.

>>> import logging
>>> handler = BatchUDPHandler("localhost", 9999)
>>> logging.getLogger("shop").addHandler(handler)

The receiving side, and the types that few programs name, are loaded at their first use: programs
that only send do not pay for them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from batchudp_handler.config import HandlerConfig
from batchudp_handler.core.errors import BatchUDPError, ConfigError
from batchudp_handler.handler import BatchUDPHandler
from batchudp_handler.signals import drain_on_sigterm

if TYPE_CHECKING:
    from batchudp_handler.config.receiver import ReceiverConfig
    from batchudp_handler.core.payload.limits import DecodeLimits
    from batchudp_handler.core.receive.stats import ReceiverStats, StreamStats
    from batchudp_handler.core.send.stats import SenderStats
    from batchudp_handler.core.wire.auth import Key
    from batchudp_handler.receiver import BatchUDPReceiver

__all__ = [
    "BatchUDPError",
    "BatchUDPHandler",
    "BatchUDPReceiver",
    "ConfigError",
    "DecodeLimits",
    "HandlerConfig",
    "Key",
    "ReceiverConfig",
    "ReceiverStats",
    "SenderStats",
    "StreamStats",
    "__version__",
    "drain_on_sigterm",
]

__version__ = "0.1.0"

LOADED_LATER = {
    "BatchUDPReceiver": "receiver",
    "DecodeLimits": "core.payload.limits",
    "Key": "core.wire.auth",
    "ReceiverConfig": "config.receiver",
    "ReceiverStats": "core.receive.stats",
    "SenderStats": "core.send.stats",
    "StreamStats": "core.receive.stats",
}
"""Public names, and the modules that hold them."""


def __getattr__(name: str) -> object:
    """Load a public name at its first use."""
    if name in LOADED_LATER:
        return getattr(import_module(f"{__name__}.{LOADED_LATER[name]}"), name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    """Return what can be imported, loaded or not."""
    return sorted({*globals(), *__all__})

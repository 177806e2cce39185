"""The settings of the handler and of the receiver, validated when they are made.

Values, checks and names are declared in ``settings``. Only these classes and the scripts read the
environment, and only when asked to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchudp_handler.config.address import split_address
from batchudp_handler.config.handler import Delivery, Encoding, Fsync, HandlerConfig, Overflow
from batchudp_handler.core.errors import ConfigError
from batchudp_handler.settings import settings_of

if TYPE_CHECKING:
    from batchudp_handler.config.receiver import ReceiverConfig

__all__ = [
    "ConfigError",
    "Delivery",
    "Encoding",
    "Fsync",
    "HandlerConfig",
    "Overflow",
    "ReceiverConfig",
    "settings_of",
    "split_address",
]


def __getattr__(name: str) -> object:
    """Load the receiver's settings at their first use; programs that only send need none."""
    if name == "ReceiverConfig":
        from batchudp_handler.config.receiver import ReceiverConfig

        return ReceiverConfig
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)

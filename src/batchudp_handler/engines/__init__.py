"""Which engines store batches between receivers, and how is one had?

The modules behind these functions need the extra `nats`; nobody else pays for importing it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batchudp_handler.core.errors import ConfigError

if TYPE_CHECKING:
    from batchudp_handler.engines.forwarder import NatsForwarder
    from batchudp_handler.engines.source import NatsSource

__all__ = ["forwarder", "source"]

MISSING = "an engine needs the extra nats: pip install batchudp-handler[nats]"


def forwarder(url: str, **settings: Any) -> NatsForwarder:
    """What takes batches instead of a `ReceiveWorker`, for the engine at `url`.

    Raises:
        ConfigError: The URL is wrong, or the library is missing.
    """
    from batchudp_handler.engines.target import NatsTarget

    target = NatsTarget.from_url(url)
    try:
        from batchudp_handler.engines.forwarder import NatsForwarder
    except ImportError:
        raise ConfigError(MISSING) from None
    return NatsForwarder(target, **settings)


def source(url: str, **settings: Any) -> NatsSource:
    """What gives batches of the engine at `url` to a worker.

    Raises:
        ConfigError: The URL is wrong, or the library is missing.
    """
    from batchudp_handler.engines.target import NatsTarget

    target = NatsTarget.from_url(url)
    try:
        from batchudp_handler.engines.source import NatsSource
    except ImportError:
        raise ConfigError(MISSING) from None
    return NatsSource(target, **settings)

"""The engines that store batches between receivers.

The modules for NATS need the extra `nats`; nobody else pays for importing it. Those for an
OpenTelemetry collector need the standard library's HTTP client.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from batchudp_handler.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchudp_handler.engines.nats_source import NatsSource
    from batchudp_handler.receiver.guard import Guard
    from batchudp_handler.receiver.worker import Worker

__all__ = ["forwarder", "source"]

MISSING = "an engine needs the extra nats: pip install batchudp-handler[nats]"


def forwarder(url: str, *, create_stream: bool = False) -> Callable[..., Worker]:
    """Return what makes a receiver pass batches on: `BatchUDPReceiver(new_worker=forwarder(url))`.

    Args:
        url: `nats://[user:password@]host[:port][,host...][/STREAM]`, or
            `otlp+http://[user:password@]host[:port][/v1/logs]` for a collector.
        create_stream: Make the stream when there is none; an existing one is never changed.

    Raises:
        ConfigError: The URL is wrong, or the library is missing.
    """
    from batchudp_handler.engines.otlp_target import OtlpTarget, is_otlp

    if is_otlp(url):
        from batchudp_handler.engines.otlp_forwarder import OtlpForwarder

        return partial(OtlpForwarder, OtlpTarget.from_url(url))
    from batchudp_handler.engines.nats_target import NatsTarget

    target = NatsTarget.from_url(url)
    try:
        from batchudp_handler.engines.nats_forwarder import NatsForwarder
    except ImportError:
        raise ConfigError(MISSING) from None
    return partial(NatsForwarder, target, create_stream=create_stream)


def source(url: str, *, create_stream: bool = False, guard: Guard | None = None) -> NatsSource:
    """Return what gives batches of the engine at `url` to a worker, and counts errors in `guard`.

    Raises:
        ConfigError: The URL is wrong, or the library is missing.
    """
    from batchudp_handler.engines.nats_target import NatsTarget

    target = NatsTarget.from_url(url)
    try:
        from batchudp_handler.engines.nats_source import NatsSource
    except ImportError:
        raise ConfigError(MISSING) from None
    return NatsSource(target, create_stream=create_stream, guard=guard)

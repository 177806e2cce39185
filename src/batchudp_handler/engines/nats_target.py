"""The engine that a URL names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from batchudp_handler.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RETRY_HORIZON", "NatsTarget"]

DEFAULT_STREAM = "BATCHUDP"
RETRY_HORIZON = 120.0
"""Seconds for which a sender without a spool may bring the same datagram again: five probe
timeouts, then probes at most 10 s apart until it finds an edge. Also NATS's own default window."""


@dataclass(frozen=True, slots=True)
class NatsTarget:
    """A JetStream stream: `nats://[user:password@]host[:port][,host...][/STREAM]`."""

    servers: tuple[str, ...]
    stream: str = DEFAULT_STREAM
    subject: str = "batchudp.batches"
    durable: str = "batchudp"
    replicas: int = 1
    duplicate_window: float = RETRY_HORIZON

    @classmethod
    def from_url(cls, url: str) -> NatsTarget:
        """Read a URL; `?subject=`, `durable=`, `replicas=` and `duplicate_window=` may follow.

        Raises:
            ConfigError: It is not such a URL.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"nats", "tls"} or not parts.netloc:
            raise ConfigError("an engine must be given as nats://host:port/STREAM")
        credentials, at, hosts = parts.netloc.rpartition("@")
        servers = tuple(f"{parts.scheme}://{credentials}{at}{host}" for host in hosts.split(","))
        stream = parts.path.strip("/") or DEFAULT_STREAM
        if not stream.replace("_", "").replace("-", "").isalnum():
            raise ConfigError(f"{stream!r} is not a valid stream name")
        return cls(servers, stream, **_options(parts.query))


def _options(query: str) -> dict[str, Any]:
    kinds: dict[str, Callable[[str], object]] = {
        "subject": str,
        "durable": str,
        "replicas": int,
        "duplicate_window": float,
    }
    found = parse_qs(query, keep_blank_values=True)
    unknown = found.keys() - kinds.keys()
    if unknown:
        raise ConfigError(
            f"unknown option in the engine's URL: {min(unknown)}; known: {', '.join(kinds)}"
        )
    try:
        return {name: kinds[name](values[-1]) for name, values in found.items()}
    except ValueError:
        raise ConfigError("replicas and duplicate_window must be numbers") from None

"""The address of a collector, as `--forward` gives it."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from batchudp_handler.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["OtlpTarget", "is_otlp"]

SCHEMES = {"otlp+http": 4318, "otlp+https": 443}
DEFAULT_PATH = "/v1/logs"
COMPRESSIONS = ("gzip", "none")
OPTIONS = ("compression", "timeout", "header")
LONGEST_TIMEOUT = 30.0
"""Seconds; a worker that is silent for a minute counts as hung."""


def is_otlp(url: str) -> bool:
    """Return whether the URL names a collector."""
    return urlsplit(url).scheme in SCHEMES


@dataclass(frozen=True, slots=True)
class OtlpTarget:
    """A collector: `otlp+http://[user:password@]host[:port][/v1/logs]`."""

    host: str
    port: int
    path: str = DEFAULT_PATH
    is_tls: bool = False
    compression: str = "gzip"
    timeout: float = 10.0
    """Seconds that one request may take."""
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_url(cls, url: str) -> OtlpTarget:
        """Read a URL; `?compression=none`, `timeout=` and `header=Name:value` may follow.

        Raises:
            ConfigError: It is not such a URL.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in SCHEMES or not parts.hostname:
            raise ConfigError("a collector must be given as otlp+http://host:port/v1/logs")
        options = _options(parts.query)
        headers = dict(map(_header, options.get("header", ())))
        if parts.username is not None:
            words = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers["Authorization"] = f"Basic {base64.b64encode(words.encode()).decode()}"
        return cls(
            parts.hostname,
            port or SCHEMES[parts.scheme],
            parts.path.rstrip("/") or DEFAULT_PATH,
            is_tls=parts.scheme == "otlp+https",
            compression=_compression(options.get("compression", ("gzip",))[-1]),
            timeout=_timeout(options.get("timeout", ("10",))[-1]),
            headers=headers,
        )

    @property
    def place(self) -> str:
        """Host and port in words, without a secret."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def _options(query: str) -> dict[str, list[str]]:
    found = parse_qs(query, keep_blank_values=True)
    unknown = found.keys() - set(OPTIONS)
    if unknown:
        known = ", ".join(OPTIONS)
        raise ConfigError(f"unknown option in the collector's URL: {min(unknown)}; known: {known}")
    return found


def _compression(text: str) -> str:
    if text not in COMPRESSIONS:
        raise ConfigError(f"compression must be one of: {', '.join(COMPRESSIONS)}")
    return text


def _timeout(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= LONGEST_TIMEOUT:
        raise ConfigError(f"timeout must be from 0.1 to {LONGEST_TIMEOUT:.0f} seconds")
    return seconds


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    is_name = name.replace("-", "").isalnum() and name.isascii()
    if not (colon and is_name and value.isascii() and value.isprintable()):
        raise ConfigError("header must be given as Name:value, in ASCII")
    return name, value.strip()

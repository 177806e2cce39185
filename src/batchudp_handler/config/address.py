"""The address of a receiver as a host and a port, which may both be given as one text."""

from __future__ import annotations

import re

from batchudp_handler.core.errors import ConfigError
from batchudp_handler.platform import HAS_UNIX_SOCKETS
from batchudp_handler.settings import HOST

__all__ = ["split_address"]

MAX_UNIX_PATH = 107
"""Bytes: ``sun_path`` holds 108 with the closing zero."""


def split_address(host: str, port: int) -> tuple[str, int]:
    """Return host and port, where the host may be ``host:port`` or ``[address]:port``.

    Raises:
        ConfigError: It is neither a host nor one of these.
    """
    if host.startswith("unix:"):
        return _checked_unix_host(host), port
    bracketed = re.fullmatch(r"\[([^\[\]]+)\](?::(.*))?", host)
    if bracketed:
        name, digits = bracketed[1], bracketed[2]
    elif "[" in host or "]" in host:
        name, digits = "", ""
    elif host.count(":") == 1:
        name, _, digits = host.partition(":")
    else:
        name, digits = host, None  # a name, or an IPv6 address without brackets
    if digits is None:
        return name, port
    if not name or not re.fullmatch(r"[0-9]{1,5}", digits) or int(digits) > 65_535:
        message = f"host must be {HOST.allowed}, not {host!r}"
        raise ConfigError(message)
    return name, int(digits)


def _checked_unix_host(host: str) -> str:
    if not HAS_UNIX_SOCKETS:
        raise ConfigError("unix:// needs unix sockets, which this system lacks; use 'host:port'")
    path = host.removeprefix("unix://")
    if not path.startswith("/") or len(path.encode(errors="surrogateescape")) > MAX_UNIX_PATH:
        message = f"host must be 'unix:///path' of at most {MAX_UNIX_PATH} bytes, not {host!r}"
        raise ConfigError(message)
    return host

"""A receiver's place in words, and the command that looks at it."""

from __future__ import annotations

__all__ = ["doctor_command", "place_text"]


def place_text(host: str, port: int) -> str:
    """Host and port, the host in brackets where it has colons; a unix socket has no port."""
    if host.startswith("unix://"):
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def doctor_command(host: str, port: int) -> str:
    """What to type to have name, path, key and clock looked at."""
    where = f"--target-host {host}"
    if not host.startswith("unix://"):
        where += f" --target-port {port}"
    return f"batchudp-send --doctor {where}"

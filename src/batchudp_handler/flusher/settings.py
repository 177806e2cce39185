"""The settings of the sending side of one handler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchudp_handler.core.send.session import SessionSettings

__all__ = ["FlusherSettings"]


@dataclass(frozen=True, slots=True)
class FlusherSettings:
    """What the sending side of one handler is told; `HandlerConfig` says what it means."""

    session: SessionSettings
    host: str
    port: int
    flush_level: int | None
    overflow: str
    overflow_timeout: float | None
    protect_level: int | None
    resolve_interval: float | None
    shutdown_timeout: float
    spool_directory: str | None = None
    spool_size_bytes: int = 64 << 20
    spool_age_seconds: float = 7 * 86_400.0
    spool_fsync: bool = False

    @property
    def target(self) -> tuple[str, int, bool, float | None]:
        """What a socket is made for: host, port, whether to fit the path, how long it stays."""
        return self.host, self.port, self.session.fit_path, self.resolve_interval

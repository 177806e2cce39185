"""The settings of a receiving machine: what it accepts and how much it keeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from batchudp_handler.core.errors import ConfigError
from batchudp_handler.core.receive.cookies import ChallengeLimits
from batchudp_handler.core.receive.reassembly import ReassemblyLimits
from batchudp_handler.core.wire.constants import MAX_DATAGRAM_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from batchudp_handler.core.trace import TraceEvent
    from batchudp_handler.core.wire.auth import Key

__all__ = ["ReceiverSettings"]


@dataclass(frozen=True, slots=True)
class ReceiverSettings:
    """The settings of a receiving machine."""

    keys: Sequence[Key] = ()
    accept_unauthenticated: bool = False
    """Take datagrams without a key although there are keys."""
    gelf: bool = False
    """Take messages of GELF, too."""
    allow: Sequence[str] = ()
    """Source networks; none given: all."""
    source_rate: float | None = None
    """Datagrams per second from one source address; None: any number."""
    source_burst: float = 1000.0
    longest_datagram: int = MAX_DATAGRAM_SIZE
    """Bytes; a longer datagram was cut when it was read."""
    receive_buffer: int = 212_992
    """Bytes of the kernel's buffer, as granted."""
    work_queue_bytes: int = 16 << 20
    max_streams: int = 1024
    remembered_streams: int = 100_000
    """Of each kind: streams that are recognised after they have left the table, at least 2."""
    challenge_limits: ChallengeLimits = field(default_factory=ChallengeLimits)
    stream_idle: float = 600.0
    """Seconds of silence after which a stream is forgotten, at least 60."""
    reassembly: ReassemblyLimits = field(default_factory=ReassemblyLimits)
    trace: Callable[[TraceEvent], object] | None = None
    """What gets each event of the machine; see `core.trace`."""

    def __post_init__(self) -> None:
        """Refuse what can not work."""
        if self.max_streams < 1 or self.work_queue_bytes < 1 or self.receive_buffer < 1:
            raise ConfigError("streams, work queue and receive buffer must be at least 1")
        if self.remembered_streams < 2:
            raise ConfigError("remembered streams must be at least 2")
        if self.source_rate is not None and (self.source_rate <= 0 or self.source_burst < 1):
            raise ConfigError("a source's rate must be positive and its burst at least 1")

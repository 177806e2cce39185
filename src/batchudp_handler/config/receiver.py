"""The settings of the receiver."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from batchudp_handler.config.address import split_address
from batchudp_handler.settings import (
    HOST,
    NETWORKS,
    PATHS,
    SWITCH,
    TEXT,
    Config,
    integer,
    optional,
    rate,
    seconds,
    setting,
)

if TYPE_CHECKING:
    from batchudp_handler.core.payload.limits import DecodeLimits

__all__ = ["ReceiverConfig"]

MIN_BUFFER_SIZE = 512
"""What a receiver reads at least: the 576 bytes that every IPv4 host takes, less headers."""
MAX_QUEUE_SIZE = 1 << 40
"""1 TiB: more than any machine has for this, and within every counter."""


@dataclass(frozen=True, slots=True)
class ReceiverConfig(Config):
    """All settings of a `BatchUDPReceiver`; validated when it is made."""

    host: str = setting(
        "0.0.0.0",
        HOST,
        "address to listen on, 'host:port' or 'unix:///path'",
        variable="SERVER_HOST",
        flags="--host --server-host",
        plain=True,
    )
    port: int = setting(
        9999,
        integer(0, 65_535, metavar="PORT"),
        "port to listen on; 0: any free one",
        variable="SERVER_PORT",
        flags="--port --server-port",
        plain=True,
    )
    buffer_size: int = setting(
        65_535,
        integer(MIN_BUFFER_SIZE, 1_048_576, "bytes"),
        "largest datagram read, in bytes; a longer one is counted and dropped",
        plain=True,
    )
    receive_buffer: int = setting(
        8_388_608,
        integer(4_096, 1_073_741_824, "bytes"),
        "size in bytes of the receive buffer to request from the kernel",
    )
    queue_size: int = setting(
        16_777_216,
        integer(65_536, MAX_QUEUE_SIZE, "bytes"),
        "largest size in bytes of the batches that wait for handlers",
    )
    logger_prefix: str = setting(
        "", TEXT, "prefix for the names of remote loggers, such as 'remote.'"
    )
    restore_exceptions: bool = setting(
        False, SWITCH, "give records with an exception an exc_info that tools can use"
    )
    allow: tuple[str, ...] = setting(
        (),
        NETWORKS,
        "networks that may send, such as '10.0.0.0/8'; if none is given, every network may",
    )
    source_rate: float | None = setting(
        None,
        optional(rate("datagrams", zero=False)),
        "datagrams per second that one address may send; None: any number",
    )
    key_file: tuple[str, ...] = setting(
        (), PATHS, "files with the accepted keys; without one, anyone may send"
    )
    accept_unauthenticated: bool = setting(
        False, SWITCH, "accept datagrams without a key even if keys are configured"
    )
    gelf: bool = setting(
        False, SWITCH, "also take GELF messages, plain, zlib, gzip or chunked, on the same port"
    )
    max_records: int = setting(
        2_048, integer(1, 65_535, "records"), "largest number of records in one datagram"
    )
    max_batch_size: int = setting(
        1_048_576,
        integer(1_024, 67_108_864, "bytes"),
        "largest batch in bytes after decompression or reassembly",
    )
    max_streams: int = setting(
        1_024,
        integer(1, 1_048_576, "senders"),
        "largest number of senders tracked at the same time",
    )
    remembered_streams: int = setting(
        100_000,
        integer(2, 16_777_216, "senders"),
        "number of ended senders, per kind, whose repeated datagrams are recognised; each takes "
        "about 45 bytes",
    )
    stream_timeout: float = setting(
        600.0, seconds(zero=False), "a sender that is silent for so many seconds is forgotten"
    )
    shutdown_timeout: float = setting(
        5.0,
        seconds(zero=True),
        "longest time in seconds that shutdown may take to handle waiting batches",
    )

    def __post_init__(self) -> None:
        """Convert every value and take the port out of the host."""
        self._convert()
        host, port = split_address(self.host, self.port)
        object.__setattr__(self, "host", host)
        object.__setattr__(self, "port", port)

    def decode_limits(self, limits: DecodeLimits) -> DecodeLimits:
        """Return the limits on a payload, with those that are settings."""
        return replace(
            limits, inflated_bytes=self.max_batch_size, records=self.max_records, gelf=self.gelf
        )

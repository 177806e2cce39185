"""Which settings do the handler and the receiver have?

Frozen dataclasses, validated when they are made: a value that is not allowed raises
``ConfigError``, a ``ValueError`` that says what is. How a value is converted, and the names
under which it may be given, is in ``settings``.

Only this module and the scripts read the environment, and only when asked to.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from batchudp_handler.core.errors import ConfigError
from batchudp_handler.core.wire.constants import MAX_DATAGRAM_SIZE
from batchudp_handler.platform import CAN_SPOOL, HAS_UNIX_SOCKETS
from batchudp_handler.settings import (
    FIELDS,
    HOST,
    LEVEL,
    MANY,
    NETWORKS,
    PATH,
    PATHS,
    SWITCH,
    TEXT,
    choice,
    config_from_mapping,
    convert_all,
    from_environment,
    integer,
    optional,
    rate,
    seconds,
    setting,
    settings_of,
    values_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ConfigError", "HandlerConfig", "ReceiverConfig", "settings_of", "split_address"]

LEAST_CONFIGURED_SIZE = 256
"""Header, checksum or tag, and some 180 bytes of payload fit; hardly any path carries less."""
MIN_BUFFER_SIZE = 512
"""What a receiver reads at least: the 576 bytes that every IPv4 host takes, less headers."""
MAX_QUEUE_SIZE = 1 << 40
"""1 TiB: more than any machine has for this, and within every counter."""
MAX_UNIX_PATH = 107
"""``sun_path`` holds 108 bytes with the closing zero."""


def split_address(host: str, port: int) -> tuple[str, int]:
    """Take the port out of ``host:port`` or ``[address]:port``; other hosts stay as they are."""
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


def _require(*, condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


# --- the sending side --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HandlerConfig:
    """Everything that a ``BatchUDPHandler`` can be told; validated when it is made.

    >>> HandlerConfig(host="logs.example:9998", batch_size="50").port
    9998
    """

    host: str = setting(
        "localhost",
        HOST,
        "name or address of the receiver, 'host:port' or 'unix:///path'",
        variable="TARGET_HOST",
        flags="--target-host --host",
        plain=True,
    )
    port: int = setting(
        9999,
        integer(1, 65_535, "PORT"),
        "port of the receiver",
        variable="TARGET_PORT",
        flags="--target-port --port",
        plain=True,
    )
    level: int = setting(logging.NOTSET, LEVEL, "records below this level are not sent")
    batch_size: int = setting(
        10,
        integer(1, MANY),
        "number of waiting records that triggers a flush; a flush takes all",
        plain=True,
    )
    flush_interval: float = setting(
        5.0,
        seconds(zero=False),
        "longest time that a record waits for its batch",
        flags="--batch-interval --flush-interval",
        plain=True,
    )
    flush_level: int | None = setting(
        logging.ERROR, optional(LEVEL), "a record at or above this level flushes at once"
    )
    capacity: int = setting(
        10_000,
        integer(1, MANY),
        "largest number of records kept in memory, waiting or unconfirmed",
    )
    capacity_bytes: int = setting(
        67_108_864,
        integer(65_536, MAX_QUEUE_SIZE, "BYTES"),
        "largest size of the texts of these records",
    )
    overflow: str = setting(
        "drop_oldest",
        choice("drop_oldest", "drop_newest", "block"),
        "what happens when there is no room for a record",
    )
    overflow_timeout: float | None = setting(
        1.0,
        optional(seconds(zero=True)),
        "longest time that overflow='block' makes the caller wait; None: no limit",
    )
    protect_level: int | None = setting(
        None,
        optional(LEVEL),
        "reserve part of the capacity for records at or above this level",
    )
    compress: bool = setting(
        True, SWITCH, "compress payloads if that makes them smaller", plain=True
    )
    encoding: str = setting(
        "compact",
        choice("compact", "json"),
        "'json' writes rows that any JSON receiver reads, without loss accounting",
    )
    max_datagram_size: int | None = setting(
        None,
        optional(integer(LEAST_CONFIGURED_SIZE, MAX_DATAGRAM_SIZE, "BYTES")),
        "largest datagram sent; None: what the path carries",
    )
    max_retries: int = setting(
        3, integer(0, 1_000_000), "how often a failed send is repeated", plain=True
    )
    delivery: str = setting(
        "one_way", choice("one_way", "acknowledged"), "whether the receiver confirms batches"
    )
    spool_directory: str | None = setting(
        None, optional(PATH), "directory that stores datagrams while the receiver is away"
    )
    spool_size_bytes: int = setting(
        67_108_864,
        integer(65_536, MAX_QUEUE_SIZE, "BYTES"),
        "largest size of the spool; beyond that the oldest datagrams are dropped",
    )
    spool_age_seconds: float = setting(
        604_800.0, seconds(zero=False), "how long datagrams are kept in the spool"
    )
    spool_fsync: str = setting(
        "off",
        choice("off", "batch"),
        "'batch' syncs each batch to survive a power failure, at the cost of a disk write each",
    )
    key_file: str | None = setting(
        None, optional(PATH), "file with the key that authenticates every datagram"
    )
    static_fields: Mapping[str, object] = setting(
        {}, FIELDS, "fields that the receiver adds to every record"
    )
    shutdown_timeout: float = setting(
        2.0, seconds(zero=True), "longest time that close() may take to send waiting records"
    )
    relay: bool = setting(
        False, SWITCH, "also send records that a receiver in this process delivered"
    )
    resolve_interval: float | None = setting(
        300.0,
        optional(seconds(zero=False, low=0.1)),
        "how often the host name is looked up again",
    )
    drain_on_sigterm: bool = setting(
        False, SWITCH, "when SIGTERM arrives, send waiting records before it takes effect"
    )

    def __post_init__(self) -> None:
        """Convert every value and check those that depend on each other."""
        convert_all(self)
        host, port = split_address(self.host, self.port)
        object.__setattr__(self, "host", host)
        object.__setattr__(self, "port", port)
        _require(condition=port > 0, message="port must be a whole number from 1 to 65535, not 0")
        acknowledged = self.delivery == "acknowledged"
        _require(
            condition=acknowledged or self.spool_directory is None,
            message="spool_directory needs delivery='acknowledged'",
        )
        _require(
            condition=CAN_SPOOL or self.spool_directory is None,
            message="spool_directory needs file locks and owners, which this system lacks",
        )
        _require(
            condition=self.encoding == "compact" or (not acknowledged and self.key_file is None),
            message="delivery='acknowledged' and key_file need encoding='compact'",
        )

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> Self:
        """From keywords and values; an unknown name is a ``TypeError``."""
        return config_from_mapping(cls, values)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """From ``BATCHUDP_X`` and the plain names; what is not set keeps its default."""
        return cls.from_mapping(from_environment(cls, environ))

    def replace(self, changes: Mapping[str, object]) -> Self:
        """A validated copy with some values changed."""
        return self.from_mapping({**values_of(self), **changes})


# --- the receiving side ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReceiverConfig:
    """Everything that a ``BatchUDPReceiver`` can be told; validated when it is made."""

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
        integer(0, 65_535, "PORT"),
        "port to listen on; 0: any free one",
        variable="SERVER_PORT",
        flags="--port --server-port",
        plain=True,
    )
    buffer_size: int = setting(
        65_535,
        integer(MIN_BUFFER_SIZE, 1_048_576, "BYTES"),
        "largest datagram read; a longer one is counted and dropped",
        plain=True,
    )
    receive_buffer: int = setting(
        8_388_608,
        integer(4_096, 1_073_741_824, "BYTES"),
        "size of the receive buffer to request from the kernel",
    )
    queue_size: int = setting(
        16_777_216,
        integer(65_536, MAX_QUEUE_SIZE, "BYTES"),
        "largest size of the batches that wait for handlers",
    )
    logger_prefix: str = setting(
        "", TEXT, "prefix for the names of remote loggers, such as 'remote.'"
    )
    allow: tuple[str, ...] = setting(
        (), NETWORKS, "networks that may send; if none is given, every network may"
    )
    source_rate: float | None = setting(
        None, optional(rate(zero=False)), "datagrams per second that one address may send"
    )
    key_file: tuple[str, ...] = setting(
        (), PATHS, "files with the accepted keys; without one, anyone may send"
    )
    accept_unauthenticated: bool = setting(
        False, SWITCH, "accept datagrams without a key even if keys are configured"
    )
    max_records: int = setting(
        2_048, integer(1, 65_535), "largest number of records in one datagram"
    )
    max_batch_size: int = setting(
        1_048_576,
        integer(1_024, 67_108_864, "BYTES"),
        "largest batch after decompression or reassembly",
    )
    max_streams: int = setting(
        1_024, integer(1, 1_048_576), "largest number of senders tracked at the same time"
    )
    remembered_streams: int = setting(
        100_000,
        integer(2, 16_777_216),
        "number of ended senders, per kind, whose repeated datagrams are recognised",
    )
    stream_timeout: float = setting(
        600.0, seconds(zero=False), "a sender that is silent for this long is forgotten"
    )
    shutdown_timeout: float = setting(
        5.0, seconds(zero=True), "longest time that shutdown may take to handle waiting batches"
    )

    def __post_init__(self) -> None:
        """Convert every value and take the port out of the host."""
        convert_all(self)
        host, port = split_address(self.host, self.port)
        object.__setattr__(self, "host", host)
        object.__setattr__(self, "port", port)

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> Self:
        """From keywords and values; an unknown name is a ``TypeError``."""
        return config_from_mapping(cls, values)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """From ``BATCHUDP_X`` and the plain names; what is not set keeps its default."""
        return cls.from_mapping(from_environment(cls, environ))

    def replace(self, changes: Mapping[str, object]) -> Self:
        """A validated copy with some values changed."""
        return self.from_mapping({**values_of(self), **changes})

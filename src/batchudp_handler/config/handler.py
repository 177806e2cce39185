"""The settings of the handler.

A frozen dataclass, validated when it is made: a value that is not allowed raises ``ConfigError``,
a ``ValueError`` that says what is.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from batchudp_handler.config.address import split_address
from batchudp_handler.core.errors import ConfigError
from batchudp_handler.core.wire.constants import MAX_DATAGRAM_SIZE
from batchudp_handler.platform import CAN_SPOOL
from batchudp_handler.settings import (
    FIELDS,
    HOST,
    LEVEL,
    MANY,
    PATH,
    SWITCH,
    TEXT,
    Config,
    choice,
    integer,
    optional,
    seconds,
    setting,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Delivery", "Encoding", "Fsync", "HandlerConfig", "Overflow"]

Overflow: TypeAlias = Literal["drop_oldest", "drop_newest", "block"]
Encoding: TypeAlias = Literal["compact", "json"]
Delivery: TypeAlias = Literal["one_way", "acknowledged"]
Fsync: TypeAlias = Literal["off", "batch"]

LEAST_CONFIGURED_SIZE = 256
"""Header, checksum or tag, and some 180 bytes of payload fit; hardly any path carries less."""
MIN_BYTES, MAX_BYTES = 65_536, 1 << 40
"""Of a buffer or a spool: one datagram, and 1 TiB, more than any machine has for this."""


@dataclass(frozen=True, slots=True)
class HandlerConfig(Config):
    """All settings of a `BatchUDPHandler`; validated when it is made.

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
        integer(1, 65_535, metavar="PORT"),
        "port of the receiver",
        variable="TARGET_PORT",
        flags="--target-port --port",
        plain=True,
    )
    level: int = setting(logging.NOTSET, LEVEL, "records below this level are not sent")
    batch_size: int = setting(
        10,
        integer(1, MANY, "records"),
        "number of waiting records that triggers a flush; a flush takes all that wait",
        plain=True,
    )
    flush_interval: float = setting(
        5.0,
        seconds(zero=False),
        "longest time in seconds that a record waits for its batch; the first record after a "
        "quiet time leaves at once",
        flags="--batch-interval --flush-interval",
        plain=True,
    )
    flush_level: int | None = setting(
        logging.ERROR,
        optional(LEVEL),
        "a record at or above this level flushes at once; None: no level does",
    )
    capacity: int = setting(
        10_000,
        integer(1, MANY, "records"),
        "largest number of records kept in memory, waiting or unconfirmed",
    )
    capacity_bytes: int = setting(
        67_108_864,
        integer(MIN_BYTES, MAX_BYTES, "bytes"),
        "largest size of the texts of these records in bytes",
    )
    overflow: Overflow = setting(
        "drop_oldest",
        choice(*get_args(Overflow)),
        "what happens when there is no room for a record; 'block' makes the log call wait",
    )
    overflow_timeout: float | None = setting(
        1.0,
        optional(seconds(zero=True)),
        "longest time in seconds that 'block' makes a log call wait, before the record is "
        "dropped; None: no limit",
    )
    protect_level: int | None = setting(
        None,
        optional(LEVEL),
        "records below this level leave a fifth of the capacity to those at or above it",
    )
    compress: bool = setting(
        True, SWITCH, "compress payloads if that makes them smaller", plain=True
    )
    encoding: Encoding = setting(
        "compact",
        choice(*get_args(Encoding)),
        "'json' writes rows that any JSON receiver reads, without loss accounting",
    )
    max_datagram_size: int | None = setting(
        None,
        optional(integer(LEAST_CONFIGURED_SIZE, MAX_DATAGRAM_SIZE, "bytes")),
        "largest datagram sent, in bytes; None: what the path carries",
    )
    max_retries: int = setting(
        3, integer(0, 1_000_000), "how often a failed send is repeated", plain=True
    )
    delivery: Delivery = setting(
        "one_way",
        choice(*get_args(Delivery)),
        "'acknowledged' keeps records until the receiver confirms them",
    )
    spool_directory: str | None = setting(
        None, optional(PATH), "directory that stores datagrams while the receiver is away"
    )
    spool_size_bytes: int = setting(
        67_108_864,
        integer(MIN_BYTES, MAX_BYTES, "bytes"),
        "largest size of the spool in bytes; beyond that the oldest datagrams are dropped",
    )
    spool_age_seconds: float = setting(
        604_800.0, seconds(zero=False), "how many seconds datagrams are kept in the spool"
    )
    spool_fsync: Fsync = setting(
        "off",
        choice(*get_args(Fsync)),
        "'batch' syncs each batch to survive a power failure, at the cost of a disk write each",
    )
    key_file: str | None = setting(
        None, optional(PATH), "file with the key that authenticates every datagram"
    )
    static_fields: Mapping[str, object] = setting(
        {}, FIELDS, "fields that the receiver adds to every record"
    )
    hostname: str | None = setting(
        None, optional(TEXT), "what this host is called at the receiver; None: its own name"
    )
    shutdown_timeout: float = setting(
        2.0,
        seconds(zero=True),
        "longest time in seconds that close() may take to send waiting records",
    )
    relay: bool = setting(
        False, SWITCH, "also send records that a receiver in this process delivered"
    )
    resolve_interval: float | None = setting(
        300.0,
        optional(seconds(zero=False, low=0.1)),
        "seconds after which the host name is looked up again and a fresh socket is used; "
        "None: never",
    )
    drain_on_sigterm: bool = setting(
        False,
        SWITCH,
        "when SIGTERM arrives, send waiting records before it takes effect; needs the main thread",
    )

    def __post_init__(self) -> None:
        """Convert every value and check those that depend on each other."""
        self._convert()
        host, port = split_address(self.host, self.port)
        object.__setattr__(self, "host", host)
        object.__setattr__(self, "port", port)
        acknowledged = self.delivery == "acknowledged"
        if port == 0:
            raise ConfigError("port must be a whole number from 1 to 65535, not 0")
        if self.spool_directory is not None and not acknowledged:
            raise ConfigError("spool_directory needs delivery='acknowledged'")
        if self.spool_directory is not None and not CAN_SPOOL:
            raise ConfigError(
                "spool_directory needs file locks and owners, which this system lacks"
            )
        if self.encoding != "compact" and (acknowledged or self.key_file is not None):
            raise ConfigError("delivery='acknowledged' and key_file need encoding='compact'")

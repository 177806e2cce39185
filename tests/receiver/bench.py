"""What tests of the receiver share: a handler that keeps records, and datagrams by hand."""

from __future__ import annotations

import json
import logging
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from batchudp_handler.core.payload.codec import compress, encode_compact
from batchudp_handler.core.records.batch import BatchHeader
from batchudp_handler.core.records.snapshot import snapshot
from batchudp_handler.core.wire.datagram import CHECKSUM, encode_data

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batchudp_handler.core.receive.events import Address


class Collector(logging.Handler):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def messages(self) -> list[str]:
        return [record.getMessage() for record in self.records]


@contextmanager
def connected(address: Address) -> Iterator[socket.socket]:
    """A plain socket that sends to a receiver."""
    if isinstance(address, str):
        family, target = socket.AF_UNIX, address.removeprefix("unix://")
    else:
        family = socket.AF_INET6 if ":" in str(address[0]) else socket.AF_INET
        target = address  # type: ignore[assignment]  # host and port
    with socket.socket(family, socket.SOCK_DGRAM) as plain:
        plain.connect(target)
        yield plain


def entry(message: str, **fields: object) -> bytes:
    return json.dumps({"message": message, **fields}).encode()


def version_1(*messages: str, rec: int = 0, seq: int = 0, n_rec: int | None = None) -> bytes:
    """A one-way DATA datagram, made by the core."""
    snapshots = [
        snapshot(
            logging.LogRecord("app", logging.INFO, "/srv/app.py", 1, message, (), None),
            format_exception=str,
        )
        for message in messages
    ]
    payload = encode_compact([each for each in snapshots if each], BatchHeader("host"))
    codec, body = compress(payload)
    return encode_data(
        CHECKSUM,
        body,
        acknowledged=False,
        codec=codec,
        stream_id=77,
        seq=seq,
        rec=rec,
        sealed_at=int(time.time()),
        n_rec=len(messages) if n_rec is None else n_rec,
    )

"""A collector of what a sender puts on the wire, datagram by datagram.

A receiver without policy, for tests of senders: it reads, decodes and keeps everything, and
neither logs nor answers. Tests that are about records rather than datagrams use the real receiver.
"""

from __future__ import annotations

import math
import socket
import threading
import time
from typing import TYPE_CHECKING, Self

from batchudp_handler.core.errors import DecodeError
from batchudp_handler.core.payload.codec import decode_payload
from batchudp_handler.core.payload.limits import DecodeLimits
from batchudp_handler.core.records.rebuild import records
from batchudp_handler.core.wire.datagram import CHECKSUM, Baseline, DatagramType, Header, parse
from batchudp_handler.core.wire.sync import Sync, decode_sync
from batchudp_handler.platform import AF_UNIX, grow_receive_buffer
from batchudp_handler.settings import timeout as as_timeout

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

__all__ = ["DatagramCollector"]

READ_SIZE = 65_536
RECEIVE_BUFFER = 8 << 20
LIMITS = DecodeLimits(records=1_000_000)


class DatagramCollector:
    """A thread that collects what arrives at a port of the loopback, or at a Unix path.

    Args:
        path: Listen at this Unix path.
        port: Listen at this port of the loopback; 0: any free one.

    >>> with DatagramCollector() as collector:
    ...     host, port = collector.address
    """

    def __init__(self, path: str | None = None, *, port: int = 0) -> None:
        family = socket.AF_INET if path is None else AF_UNIX
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        grow_receive_buffer(self._socket, RECEIVE_BUFFER)
        self._socket.bind(("127.0.0.1", port) if path is None else path)
        self.address: tuple[str, int] = (
            self._socket.getsockname() if path is None else (f"unix://{path}", 0)
        )
        self._socket.settimeout(0.05)
        self.datagrams: list[bytes] = []
        self.sources: set[object] = set()
        self.undecodable: list[DecodeError] = []
        self.syncs: list[tuple[int, Sync]] = []
        """Stream id and contents of each SYNC."""
        self.records: list[logging.LogRecord] = []
        """In order of arrival; a datagram that came twice counts once."""
        self.streams: dict[int, list[logging.LogRecord]] = {}
        """The records of each stream; stream 0 are datagrams without a header."""
        self._seen: set[tuple[int, int]] = set()
        self._fragments: dict[tuple[int, int], dict[int, bytes]] = {}
        self._is_over = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def messages(self) -> list[str]:
        """The rendered texts, in order of arrival."""
        return [record.getMessage() for record in self.records]

    def wait_for(self, number: int, seconds: float = 60.0) -> list[str]:
        """Wait for so many records and return their texts; AssertionError if they do not come."""
        self.wait_until(lambda: len(self.records) >= number, seconds)
        return self.messages

    def wait_until(self, condition: Callable[[], object], seconds: float = 60.0) -> None:
        """Wait until something about the collection is true."""
        patience = as_timeout(seconds, "seconds")
        end = math.inf if patience is None else time.monotonic() + patience
        while not condition():
            if time.monotonic() > end:
                message = f"not in {seconds} s; {len(self.records)} records have come"
                raise AssertionError(message)
            time.sleep(0.002)

    def close(self) -> None:
        """Read what is still queued, and end."""
        self._is_over = True
        self._thread.join()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _run(self) -> None:
        while True:
            try:
                datagram, source = self._socket.recvfrom(READ_SIZE)
            except TimeoutError:
                if self._is_over:
                    return
                continue
            self.datagrams.append(datagram)
            self.sources.add(source)
            try:
                self._take(datagram)
            except DecodeError as error:
                self.undecodable.append(error)

    def _take(self, datagram: bytes) -> None:
        frame = parse(datagram)
        if isinstance(frame, Baseline):
            self._decode(0, frame.codec, frame.body)
            return
        body = CHECKSUM.open(datagram)
        if frame.type == DatagramType.SYNC:
            self.syncs.append((frame.stream_id, decode_sync(body)))
        elif (frame.stream_id, frame.seq) not in self._seen:
            self._seen.add((frame.stream_id, frame.seq))
            self._join(frame, body)

    def _join(self, frame: Header, body: bytes) -> None:
        group = (frame.stream_id, frame.seq - frame.frag_index)
        parts = self._fragments.setdefault(group, {})
        parts[frame.frag_index] = body
        if len(parts) == frame.frag_count:
            del self._fragments[group]
            whole = b"".join(parts[index] for index in range(frame.frag_count))
            self._decode(frame.stream_id, frame.codec, whole)

    def _decode(self, stream_id: int, codec: int, body: bytes) -> None:
        found = records(decode_payload(codec, body, LIMITS), {})
        self.streams.setdefault(stream_id, []).extend(found)
        self.records.extend(found)

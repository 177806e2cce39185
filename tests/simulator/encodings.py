"""Record numbers become bodies, and bodies record numbers.

`light` is a stand-in that costs next to nothing: the number and as many bytes as the record is
said to have. `compact` is the real encoding of real log records.
"""

from __future__ import annotations

import logging
import struct
from random import Random
from typing import TYPE_CHECKING, Protocol

from batchudp_handler.core.payload.codec import decode_payload
from batchudp_handler.core.payload.encoded import Encoded
from batchudp_handler.core.payload.encoders import encoder_for
from batchudp_handler.core.payload.limits import DecodeLimits
from batchudp_handler.core.records.batch import BatchHeader
from batchudp_handler.core.records.snapshot import STACK_INFO, snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchudp_handler.core.payload.encoded import Encoder
    from batchudp_handler.core.records.batch import Snapshot

__all__ = ["ENCODINGS", "Encoding"]

_HEAD = struct.Struct(">II")
_NO_TEXTS = (None,) * (STACK_INFO - 1)
"""The other fields of a snapshot, in which limits look for texts that are too long."""


class Encoding(Protocol):
    """Both directions of one encoding."""

    @property
    def encoder(self) -> Encoder:
        """Make a body of a batch."""

    def snapshot(self, number: int, size: int) -> Snapshot:
        """Make the record with this number, of about `size` bytes."""

    def numbers(self, codec: int, body: bytes) -> list[int]:
        """Return the numbers of the records in a body."""


class Light:
    """Number, length, padding."""

    @property
    def encoder(self) -> Encoder:
        """Put the records one behind the other."""
        return self._encode

    @staticmethod
    def _encode(snapshots: Sequence[Snapshot], /) -> Encoded:
        body = b"".join([_HEAD.pack(*each[:2]) + bytes(each[1]) for each in snapshots])
        return Encoded(0, body, len(body))

    def snapshot(self, number: int, size: int) -> Snapshot:
        """Nothing but the two numbers, where a real one has no texts."""
        return (number, size, *_NO_TEXTS)

    def numbers(self, codec: int, body: bytes) -> list[int]:
        """Walk over the body."""
        assert codec == 0
        found = []
        at = 0
        while at < len(body):
            number, size = _HEAD.unpack_from(body, at)
            found.append(number)
            at += _HEAD.size + size
        assert at == len(body)
        return found


class Compact:
    """The real thing, with texts that do not compress to nothing."""

    def __init__(self) -> None:
        self.encoder = encoder_for("compact", BatchHeader("host"), compress=True)

    def snapshot(self, number: int, size: int) -> Snapshot:
        """A record with its number and noise as arguments."""
        noise = Random(number).randbytes(size // 2).hex()
        record = logging.LogRecord(
            "simulator", logging.INFO, "/app.py", 7, "record %d: %s", (number, noise), None
        )
        taken = snapshot(record, format_exception=str)
        assert taken is not None
        return taken

    def numbers(self, codec: int, body: bytes) -> list[int]:
        """Decode as a receiver does."""
        batch = decode_payload(codec, body, DecodeLimits())
        found = []
        for content in batch.contents:
            assert content is not None
            found.append(int(content[1][0]))
        return found


ENCODINGS: dict[str, Encoding] = {"light": Light(), "compact": Compact()}

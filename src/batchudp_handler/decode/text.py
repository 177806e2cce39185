"""Datagrams as text for people: the header, the members of a SYNC or an ACK, the records.

The parsers are those of the receiver. So what is refused here would be refused there, and the text
says with which reason.
"""

from __future__ import annotations

import logging
import time
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from batchudp_handler.console import escape
from batchudp_handler.core.errors import DecodeError
from batchudp_handler.core.payload.codec import Codec, decode_payload
from batchudp_handler.core.payload.limits import DecodeLimits
from batchudp_handler.core.records.rebuild import records
from batchudp_handler.core.wire.ack import decode_ack
from batchudp_handler.core.wire.constants import MODULUS, NO_COOKIE
from batchudp_handler.core.wire.datagram import CHECKSUM, Baseline, DatagramType, Header, parse
from batchudp_handler.core.wire.sync import decode_sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from batchudp_handler.core.wire.ack import Ack
    from batchudp_handler.core.wire.auth import Key
    from batchudp_handler.core.wire.datagram import Seal
    from batchudp_handler.core.wire.sync import Sync
    from batchudp_handler.decode.capture import Found

__all__ = ["Describer"]

LINE = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
LINE.converter = time.gmtime  # the same text wherever it is read
LINE.default_msec_format = "%s.%03d"
TYPES = {
    DatagramType.DATA: "DATA",
    DatagramType.DATA_ACKNOWLEDGED: "DATA (acknowledged)",
    DatagramType.SYNC: "SYNC",
    DatagramType.ACK: "ACK",
}
SHOWN: dict[str, Callable[[Any], str]] = {
    "bitmap": lambda bits: f"of {bits.bit_count()} datagrams",
    "cookie": bytes.hex,
    "receiver_epoch": lambda epoch: f"{epoch:016x}",
}
"""How the members of a SYNC or an ACK are shown that are no plain numbers."""


class Describer:
    """A writer of descriptions, datagram by datagram; it joins the fragments among them.

    Args:
        keys: What opens datagrams that are sealed with a key.
        with_records: Whether the records of a batch are shown.
    """

    def __init__(self, keys: Sequence[Key] = (), *, with_records: bool = True) -> None:
        self._keys = {key.key_id: key for key in keys}
        self._with_records = with_records
        self._fragments: dict[tuple[int, int], dict[int, bytes]] = {}

    def describe(self, number: int, found: Found) -> Iterator[str]:
        """Yield the lines for one datagram.

        Args:
            number: Its place in the file, from 1.
            found: The datagram.
        """
        try:
            parsed = parse(found.data)
        except DecodeError as error:
            yield _heading(number, found, f"refused: {error}")
            return
        if isinstance(parsed, Baseline):
            yield _heading(number, found, f"JSON without a header, {_codec(parsed.codec)}")
            yield from self._payload(parsed.codec, parsed.body, found.when or 0.0)
        else:
            yield from self._with_header(number, found, parsed)

    def _with_header(self, number: int, found: Found, header: Header) -> Iterator[str]:
        yield _heading(number, found, _header(header))
        try:
            body, overhead = self._open(header, found.data)
            header.check()
            if header.type == DatagramType.SYNC:
                yield _members(decode_sync(body, overhead))
            elif header.type == DatagramType.ACK:
                yield _members(decode_ack(body))
            else:
                yield from self._data(header, body)
        except DecodeError as error:
            yield f"    refused: {error}"
        except _NoKeyError as error:
            yield f"    {error}"

    def _open(self, header: Header, data: bytes) -> tuple[bytes, int]:
        """Return the body, and the bytes that its trailer takes."""
        seal: Seal = CHECKSUM
        if header.key_id:
            key = self._keys.get(header.key_id)
            if key is None:
                raise _NoKeyError(f"sealed with key {header.key_id}: give it with --key-file")
            seal = key.sender if header.type == DatagramType.ACK else key.receiver
        return seal.open(data), seal.overhead

    def _data(self, header: Header, body: bytes) -> Iterator[str]:
        if header.frag_count == 1:
            yield from self._payload(header.codec, body, header.sealed_at)
            return
        group = header.stream_id, header.seq - header.frag_index
        parts = self._fragments.setdefault(group, {})
        parts[header.frag_index] = body
        if len(parts) == header.frag_count:
            del self._fragments[group]
            whole = b"".join(parts[index] for index in range(header.frag_count))
            yield from self._payload(header.codec, whole, header.sealed_at)

    def _payload(self, codec: int, body: bytes, when: float) -> Iterator[str]:
        try:
            batch = decode_payload(codec, body, DecodeLimits())
        except DecodeError as error:
            yield f"    refused: {error}"
            return
        static = ", ".join(f"{name}={value!r}" for name, value in batch.static_fields.items())
        counts = {
            "records": len(batch),
            "refused": batch.malformed,
            "templates refused": batch.templates_refused,
            "fields refused": batch.fields_refused,
            "cut": batch.truncated,
        }
        told = [f"{name} {number}" for name, number in counts.items() if number]
        origin = f"host {escape(batch.hostname or '-')}"
        yield "    " + "; ".join(filter(None, [origin, ", ".join(told), escape(static)]))
        if self._with_records:
            for record in records(batch, {"received": when}):
                yield from (f"      {escape(line)}" for line in LINE.format(record).splitlines())


class _NoKeyError(Exception):
    """Error: the datagram is sealed with a key that was not given."""


def _heading(number: int, found: Found, text: str) -> str:
    way = f"{found.source} > {found.target}  " if found.source else ""
    when = "" if found.when is None else f"{found.when:.6f}  "
    return f"{number}  {when}{way}{len(found.data)} bytes  {text}"


def _header(header: Header) -> str:
    parts = [TYPES[DatagramType(header.type)], f"stream {header.stream_id:016x}"]
    if header.type in (DatagramType.DATA, DatagramType.DATA_ACKNOWLEDGED):
        last = (header.rec + header.n_rec - 1) % MODULUS
        parts += [f"seq {header.seq}", f"records {header.rec}-{last}", _codec(header.codec)]
        if header.frag_count > 1:
            parts.append(f"fragment {header.frag_index + 1} of {header.frag_count}")
    else:
        parts.append(f"counter {header.seq}")
    if header.key_id:
        parts.append(f"key {header.key_id}")
    return ", ".join([*parts, f"sealed at {header.sealed_at}"])


def _codec(codec: int) -> str:
    try:
        return Codec(codec).name.lower()
    except ValueError:
        return f"codec {codec}"


def _members(answer: Sync | Ack) -> str:
    """Return what a SYNC or an ACK says, without what is not set."""
    told = []
    for item in fields(answer):
        value = getattr(answer, item.name)
        show = SHOWN.get(item.name, str)
        if value is True:
            told.append(item.name)
        elif value not in (None, False, NO_COOKIE):
            told.append(f"{item.name} {show(value)}")
    return f"    {', '.join(told)}"

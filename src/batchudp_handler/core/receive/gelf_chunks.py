"""Chunks of GELF messages that become messages again, in bounded memory.

As with our own fragments, the first chunk to arrive reserves room for all: a message is admitted
as a whole or not at all. A sender's address and the message's id tell messages apart, and an id
that is complete is remembered while its chunks may be late, so that a copy begins nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.receive.admission import source_of
from batchudp_handler.core.receive.reassembly import FRAGMENT_OVERHEAD, GROUP_OVERHEAD, Budget

if TYPE_CHECKING:
    from batchudp_handler.core.receive.reassembly import ReassemblyLimits
    from batchudp_handler.core.receive.stats import Address
    from batchudp_handler.core.wire.gelf import Chunk

    Key = tuple[Address, bytes]

__all__ = ["Message", "MessageRefused", "MessageStore"]

CHUNK_SECONDS = 5.0
"""GELF says that chunks have to arrive within five seconds."""
REMEMBERED = 4_096
"""Complete messages whose chunks are recognised if they come once more."""


class MessageRefused(DecodeError):
    """A message cannot be put together; `datagrams` says how many of its chunks are lost by it."""

    def __init__(self, reason: Reason, datagrams: int) -> None:
        super().__init__(reason)
        self.datagrams = datagrams


@dataclass(slots=True)
class Message:
    """The chunks of one message so far."""

    address: Address
    count: int
    started: float
    size: int = 0
    """Of the largest chunk."""
    reserved: int = 0
    parts: dict[int, bytes] = field(default_factory=dict)


class MessageStore:
    """The unfinished messages of all senders.

    Args:
        limits: How much one message and one source may take.
        total: What is shared with the fragments of streams.
    """

    def __init__(self, limits: ReassemblyLimits, total: Budget) -> None:
        self._limits = limits
        self._total = total
        self._sources: dict[str, Budget] = {}
        self._messages: dict[Key, Message] = {}
        self._complete: dict[Key, float] = {}

    def add(self, chunk: Chunk, address: Address, now: float) -> bytes | None:
        """Take a chunk, and return its message if that is complete.

        Raises:
            MessageRefused: The chunk came before; or it contradicts its message, has no room, or
                can never fit, and its message is forgotten.
        """
        key = (address, chunk.message_id)
        if self._complete.get(key, -CHUNK_SECONDS) > now - CHUNK_SECONDS:
            raise MessageRefused(Reason.REPLAYED, 1)
        message = self._messages.get(key)
        if message is None:
            message = self._messages[key] = Message(address, chunk.total, now)
        elif message.parts.get(chunk.number) == chunk.body and message.count == chunk.total:
            raise MessageRefused(Reason.REPLAYED, 1)
        try:
            self._check(message, chunk)
            self._reserve(message, max(message.size, len(chunk.body)))
        except DecodeError as error:
            self._remove(key)
            raise MessageRefused(error.reason, 1 + len(message.parts)) from None
        message.parts[chunk.number] = chunk.body
        if len(message.parts) < message.count:
            return None
        self._remove(key)
        self._remember(key, now)
        return b"".join(message.parts[index] for index in range(message.count))

    def expired(self, now: float) -> list[Message]:
        """Forget and return the messages that have waited too long, oldest first."""
        found = []
        for key, message in list(self._messages.items()):
            if message.started > now - CHUNK_SECONDS:
                break  # the order is by age
            found.append(message)
            self._remove(key)
        return found

    def expiry_time(self) -> float | None:
        """Return when the oldest message will have waited too long."""
        for message in self._messages.values():
            return message.started + CHUNK_SECONDS
        return None

    def _check(self, message: Message, chunk: Chunk) -> None:
        if message.count != chunk.total or chunk.number in message.parts:
            raise DecodeError(Reason.GROUP_MISMATCH)
        if sum(map(len, message.parts.values())) + len(chunk.body) > self._limits.group_bytes:
            raise DecodeError(Reason.INFLATE_LIMIT)

    def _reserve(self, message: Message, size: int) -> None:
        """Reserve room for as many chunks as large as the largest one."""
        expected = min(message.count * size, self._limits.group_bytes)
        cost = GROUP_OVERHEAD + FRAGMENT_OVERHEAD * message.count + expected
        more = cost - message.reserved
        own = self._own(message)
        if not (own.fits(more) and self._total.fits(more)):
            raise DecodeError(Reason.REASSEMBLY_REFUSED)
        own.used += more
        self._total.used += more
        message.size, message.reserved = size, cost

    def _own(self, message: Message) -> Budget:
        source = source_of(message.address)
        return self._sources.setdefault(source, Budget(self._limits.stream_bytes))

    def _remove(self, key: Key) -> None:
        message = self._messages.pop(key)
        own = self._own(message)
        own.used -= message.reserved
        self._total.used -= message.reserved
        if not own.used:
            del self._sources[source_of(message.address)]

    def _remember(self, key: Key, now: float) -> None:
        self._complete.pop(key, None)
        self._complete[key] = now
        if len(self._complete) > REMEMBERED:
            del self._complete[next(iter(self._complete))]

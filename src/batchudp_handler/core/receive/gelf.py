"""The way of GELF datagrams to the handlers: each complete message is a batch of one record."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.payload.compression import Codec
from batchudp_handler.core.receive.gelf_chunks import MessageStore
from batchudp_handler.core.wire.datagram import Baseline
from batchudp_handler.core.wire.gelf import is_chunk, parse_chunk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batchudp_handler.core.receive.gates import Gates
    from batchudp_handler.core.receive.state import ReceiverState
    from batchudp_handler.core.receive.stats import Address

__all__ = ["GelfReception"]


class GelfReception:
    """What a receiver does with GELF.

    Args:
        state: Shared with the other parts of the machine.
        gates: Say whether datagrams without a key are accepted: GELF knows no keys.
    """

    def __init__(self, state: ReceiverState, gates: Gates) -> None:
        self._state = state
        self._gates = gates
        self._store = MessageStore(state.budgets.limits, state.budgets.reassembly)

    def receive(self, data: bytes, address: Address) -> None:
        """Take a message or a chunk of one.

        Raises:
            DecodeError: It is not accepted; a `MessageRefused` costs several datagrams.
        """
        self._gates.check_baseline()
        message: bytes | None = data
        if is_chunk(data):
            message = self._store.add(parse_chunk(data), address, self._state.clock.now)
        if message is None:
            return
        if not self._state.queue.has_room(message):
            raise DecodeError(Reason.NO_ROOM)
        self._state.hand_out_baseline(Baseline(Codec.GELF, message), address)

    def expired(self, now: float) -> Iterator[tuple[Address, int]]:
        """Give up messages that have waited too long: their senders, and how many chunks came."""
        for message in self._store.expired(now):
            yield message.address, len(message.parts)

    @property
    def next_deadline(self) -> float:
        """When the oldest message is given up; infinite: there is none."""
        time = self._store.expiry_time()
        return inf if time is None else time

"""The receiver as the sender knows it, and which of its answers count.

A receiver is known by its epoch, random at each of its starts. An ACK counts if it is of the
current epoch and newer than the last one, or if it is the first of an epoch that has challenged
us: a late answer of a receiver that is gone must not look like a new receiver. So epochs that were
left are remembered, as many as there can be late answers of.

Which of two receivers is gone? A challenge does not tell: the later one may have been under way
for longer. An ACK does. It answers a cookie that we had before, so its receiver is younger than
every one that challenged us earlier; whoever challenged us later keeps its chance.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING

from batchudp_handler.core.wire.constants import MODULUS, NO_COOKIE

if TYPE_CHECKING:
    from batchudp_handler.core.wire.ack import Ack

__all__ = ["Peer", "Verdict"]

REMEMBERED_EPOCHS = 16


class Verdict(Enum):
    """What an ACK or a CHALLENGE is worth, before its contents are looked at."""

    CURRENT = "current"
    """News from the receiver we know."""
    NEW_RECEIVER = "new_receiver"
    """A CHALLENGE: a receiver that we have not met. An ACK: its first answer."""
    STALE = "stale"
    """From a receiver that is gone, or that never challenged us."""
    REPLAYED = "replayed"
    """Not newer than what was heard before."""


class Peer:
    """The receiver as its answers show it."""

    def __init__(self) -> None:
        self.epoch = 0
        """The epoch of the receiver that our datagrams are for; 0 if none has answered yet."""
        self.cookie = NO_COOKIE
        self.credit = 0
        self.floor = 0
        self.rejected_records = 0
        self.delivered_records = 0
        """Both in this epoch, as last told."""
        self.has_no_place = False
        """Whether the receiver has no place for one more stream: its ACK says closing and offers
        no credit, which no closing receiver does."""
        self.unanswered_since: float | None = None
        """When the first SYNC since the receiver was last heard was sent."""
        self._counter = -1
        self._challenged: list[int] = []
        """Epochs in the order of their first challenges, from the current one on."""
        self._retired: deque[int] = deque(maxlen=REMEMBERED_EPOCHS)

    @property
    def is_new(self) -> bool:
        """Whether a challenge was taken up whose receiver has not answered yet."""
        return bool(self._challenged) and self._challenged[-1] != self.epoch

    def on_challenge(self, ack: Ack) -> Verdict:
        """Take the cookie of a CHALLENGE, unless a receiver sent it that is gone."""
        if ack.receiver_epoch in self._retired:
            return Verdict.STALE
        assert ack.cookie is not None
        self.cookie = ack.cookie
        if ack.receiver_epoch in self._challenged:
            return Verdict.CURRENT
        if len(self._challenged) == REMEMBERED_EPOCHS:
            del self._challenged[self._challenged[0] == self.epoch]
        self._challenged.append(ack.receiver_epoch)
        return Verdict.NEW_RECEIVER

    def judge(self, counter: int, ack: Ack) -> Verdict:
        """Return whether an ACK counts, and why."""
        if ack.receiver_epoch == self.epoch:
            return Verdict.CURRENT if counter > self._counter else Verdict.REPLAYED
        if ack.receiver_epoch in self._challenged:
            return Verdict.NEW_RECEIVER
        return Verdict.STALE

    def has_forgotten(self, ack: Ack) -> bool:
        """Return whether the receiver has evicted the stream: its counts begin again."""
        delivered = (ack.delivered_records - self.delivered_records) % MODULUS
        rejected = (ack.rejected_records - self.rejected_records) % MODULUS
        return max(delivered, rejected) >= MODULUS // 2

    def adopt(self, epoch: int) -> None:
        """Start again with a receiver's first answer, and forget what an earlier one said."""
        place = self._challenged.index(epoch)
        self._retired.extend(self._challenged[:place])
        del self._challenged[:place]
        self.epoch = epoch
        self._counter = -1
        self.floor = 0
        self.rejected_records = 0
        self.delivered_records = 0

    def update(self, counter: int, ack: Ack) -> int:
        """Take an answer that counts; return how many more records it says were rejected."""
        rejected = (ack.rejected_records - self.rejected_records) % MODULUS
        self._counter = counter
        self.credit = ack.credit
        self.has_no_place = ack.closing and not ack.credit
        self.floor = max(self.floor, ack.floor)
        self.rejected_records = ack.rejected_records
        self.delivered_records = ack.delivered_records
        return rejected

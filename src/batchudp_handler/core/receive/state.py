"""The state that the parts of one receiving machine share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchudp_handler.core.receive.clock import Clock
from batchudp_handler.core.receive.counters import ReceiverCounters
from batchudp_handler.core.receive.events import BatchReceived, Event
from batchudp_handler.core.receive.reassembly import Budget, SharedBudgets
from batchudp_handler.core.receive.shared_address import SharedAddress
from batchudp_handler.core.receive.streams import StreamTable
from batchudp_handler.core.receive.work_queue import WorkQueue
from batchudp_handler.core.trace import Trace

if TYPE_CHECKING:
    from batchudp_handler.core.receive.settings import ReceiverSettings
    from batchudp_handler.core.receive.stats import Address
    from batchudp_handler.core.receive.stream import CompleteBatch, Stream
    from batchudp_handler.core.wire.datagram import Baseline, Header

__all__ = ["ReceiverState"]

GAP_LIMIT = 65_536
"""Gaps that all streams together keep, beyond the few that each may have."""


class ReceiverState:
    """The streams, the work queue, the counters, the time, and the events not told yet."""

    def __init__(
        self, settings: ReceiverSettings, *, epoch: int, secret: bytes, now: float, wall: float
    ) -> None:
        self.settings = settings
        self.epoch = epoch
        self.is_closing = False
        self.clock = Clock(now, wall)
        self.counters = ReceiverCounters()
        self.events: list[Event] = []
        self.queue = WorkQueue(settings.work_queue_bytes)
        self.sharing = SharedAddress()
        self.streams = StreamTable(settings.max_streams, settings.remembered_streams, secret, now)
        self.trace = None if settings.trace is None else Trace(settings.trace, stream_id=0)
        limits = settings.reassembly
        self.budgets = SharedBudgets(limits, Budget(limits.total_bytes), Budget(GAP_LIMIT))

    def hand_out(
        self, stream: Stream, header: Header, batch: CompleteBatch, address: Address
    ) -> None:
        """Hand a batch of a stream to the handlers."""
        event = BatchReceived(
            stream.stream_id,
            batch.seq,
            header.n_rec,
            header.codec,
            batch.body,
            address,
            header.key_id,
            self.clock.wall,
        )
        self.queue.add(event)
        self.events.append(event)
        if self.trace is not None:
            self.trace(
                self.clock.now,
                "batch_received",
                of_stream=stream.stream_id,
                seq=batch.seq,
                records=header.n_rec,
            )

    def hand_out_baseline(self, baseline: Baseline, address: Address) -> None:
        """Hand a batch that belongs to no stream to the handlers."""
        codec, body = baseline
        event = BatchReceived(None, 0, 0, codec, body, address, 0, self.clock.wall)
        self.queue.add(event)
        self.events.append(event)

"""The receiving machine: datagrams and the time in; events, replies and the next deadline out.

`ReceiverProtocol` opens nothing, waits for nothing and never raises on what the network sent: what
it does not take it counts, by reason. Each datagram meets the same checks in the same order, see
`gates`; behind them `one_way` and `acknowledged` find its stream, which keeps the numbers.

    shell: receive_datagram -> datagrams_to_send -> events_received -> next_timeout, and, when the
    socket has been read empty, on_socket_drained before datagrams_to_send
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.receive.acknowledged import AcknowledgedReception
from batchudp_handler.core.receive.acknowledged_stream import AcknowledgedStream
from batchudp_handler.core.receive.admission import source_of
from batchudp_handler.core.receive.census import Census, Progress
from batchudp_handler.core.receive.events import BatchReceived, DatagramsRefused, Event
from batchudp_handler.core.receive.gates import Gates
from batchudp_handler.core.receive.gelf import GelfReception
from batchudp_handler.core.receive.gelf_chunks import MessageRefused
from batchudp_handler.core.receive.lifecycle import Lifecycle
from batchudp_handler.core.receive.one_way import OneWayReception
from batchudp_handler.core.receive.refusals import Refusals
from batchudp_handler.core.receive.replies import Replies
from batchudp_handler.core.receive.settings import ReceiverSettings
from batchudp_handler.core.receive.state import ReceiverState
from batchudp_handler.core.wire.datagram import Baseline, DatagramType, Header, parse
from batchudp_handler.core.wire.gelf import is_gelf
from batchudp_handler.core.wire.sync import decode_sync

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batchudp_handler.core.receive.stats import Address, ReceiverStats

__all__ = ["ReceiverProtocol", "ReceiverSettings"]

CHECK_INTERVAL = 0.05
"""Shortest time between two walks over all streams for their deadlines."""
_DATA, _DATA_ACKNOWLEDGED, _SYNC, _ = map(int, DatagramType)
"""Plain numbers, because comparing members of an enumeration shows in every datagram."""


class ReceiverProtocol:
    """The receiving machine.

    Args:
        settings: see `ReceiverSettings`.
        epoch: random 64 bits, not 0, new at each start.
        secret: random bytes for cookies and tables, new at each start.
        now: on a clock that never goes back.
        wall: Unix time.
    """

    def __init__(
        self, settings: ReceiverSettings, *, epoch: int, secret: bytes, now: float, wall: float
    ) -> None:
        if not 0 < epoch < 1 << 64:
            raise ValueError("the epoch has 64 bits and is not 0")
        self._state = ReceiverState(settings, epoch=epoch, secret=secret, now=now, wall=wall)
        self._gates = Gates(self._state)
        self._replies = Replies(self._state, self._gates.ring, secret)
        self._lifecycle = Lifecycle(self._state, self._replies)
        self._one_way = OneWayReception(self._state, self._lifecycle)
        self._acknowledged = AcknowledgedReception(self._state, self._lifecycle, self._replies)
        self._gelf = GelfReception(self._state, self._gates) if settings.gelf else None
        self._refusals = Refusals()
        self._started = now
        self._checked = -inf

    # inputs

    def receive_datagram(self, data: bytes, address: Address, now: float, wall: float) -> None:
        """Take a datagram; never raises on what it is."""
        state = self._state
        if state.is_closing:
            return
        state.clock.set(now, wall)
        if len(data) > state.settings.longest_datagram:
            self._refuse(Reason.TRUNCATED_READ, address)
            return
        state.counters.datagrams_received += 1
        state.counters.bytes_received += len(data)
        try:
            self._gates.check_source(address)
            if self._gelf is not None and is_gelf(data):
                self._gelf.receive(data, address)
                return
            parsed = parse(data)
            if isinstance(parsed, Baseline):
                self._receive_baseline(parsed, address)
            else:
                self._receive_frame(parsed, data, address)
        except MessageRefused as error:
            self._refuse(error.reason, address, error.datagrams)
        except DecodeError as error:
            self._refuse(error.reason, address)

    def on_batch_handled(
        self, event: BatchReceived, delivered: int, rejected: Mapping[str, int], now: float
    ) -> None:
        """Settle a batch, because the handlers have returned from it.

        Args:
            event: as it came out of `events_received`.
            delivered: records that were handed to local logging (or that no logger wanted).
            rejected: the others by reason. Records of a stream's batch that are in neither are
                rejected as `record_count`.
            now: the time.

        Raises:
            ValueError: the numbers are impossible, or the batch was not waiting.
        """
        state = self._state
        state.clock.advance(now)
        if event.stream_id is None:
            self._settle_baseline(event, delivered, rejected)
            return
        stream = state.streams.get(event.stream_id)
        if stream is None or event.seq not in stream.records.batches:
            raise ValueError("this batch is not waiting to be handled")
        if isinstance(stream, AcknowledgedStream):
            self._acknowledged.on_handled(stream, event.seq, delivered, rejected)
        else:
            stream.on_handled(event.seq, delivered, rejected)
        state.queue.remove(event)
        if state.trace is not None:
            count = sum(rejected.values())
            state.trace(
                state.clock.now,
                "batch_handled",
                of_stream=event.stream_id,
                seq=event.seq,
                delivered=delivered,
                rejected=count,
            )
        self._lifecycle.end_if_settled(stream)

    def on_socket_drained(self, now: float) -> None:
        """Answer whoever was heard, because nothing more is waiting in the socket."""
        self._state.clock.advance(now)
        self._replies.on_socket_drained()

    def handle_timeout(self, now: float) -> None:
        """Do what has become due: losses, vanished and idle streams."""
        self._state.clock.advance(now)
        if now < self.next_check:
            return
        self._checked = now
        self._lifecycle.handle_timeout()
        if self._gelf is not None:
            for address, chunks in self._gelf.expired(now):
                self._refuse(Reason.GELF_INCOMPLETE, address, chunks)
        self._report_refusals()

    def close(self, now: float) -> None:
        """Take no more datagrams, tell the senders, and let the handlers finish."""
        state = self._state
        if state.is_closing:
            return
        state.clock.advance(now)
        state.is_closing = True
        state.events.extend(map(DatagramsRefused, self._refusals.rest(now)))
        for stream in state.streams:
            if isinstance(stream, AcknowledgedStream):
                self._replies.answer_now(stream)
        # the streams that are with the handlers end when these return
        self._lifecycle.end_all()

    # outputs

    def events_received(self) -> list[Event]:
        """Return what has happened since the last call, in order."""
        events = self._state.events
        self._state.events = []
        return events

    def datagrams_to_send(self) -> list[tuple[bytes, Address]]:
        """Return challenges and acks, each with the address to send it to."""
        return self._replies.take()

    @property
    def next_check(self) -> float:
        """When `handle_timeout` has something to do; infinite: never."""
        due = min(self._lifecycle.next_deadline, self._refusals.next_due)
        if self._gelf is not None:
            due = min(due, self._gelf.next_deadline)
        return max(due, self._checked + CHECK_INTERVAL)

    def next_timeout(self) -> float | None:
        """Return when to call `handle_timeout`; None: no need."""
        time = self.next_check
        return None if time == inf else time

    # datagrams

    def _receive_baseline(self, baseline: Baseline, address: Address) -> None:
        self._gates.check_baseline()
        if not self._state.queue.has_room(baseline.body):
            raise DecodeError(Reason.NO_ROOM)
        self._state.hand_out_baseline(baseline, address)

    def _receive_frame(self, header: Header, data: bytes, address: Address) -> None:
        body, seal = self._gates.open(header, data)
        kind = header.type
        if self._state.trace is not None:
            self._trace_received(header, len(data))
        if kind == _DATA:
            self._one_way.receive_data(header, body, len(data), address)
        elif kind == _DATA_ACKNOWLEDGED:
            self._acknowledged.receive_data(header, body, len(data), address, seal)
        elif kind == _SYNC:
            sync = decode_sync(body, seal.overhead)
            if sync.acknowledged:
                self._acknowledged.receive_sync(header, sync, address, seal)
            else:
                self._one_way.receive_sync(header, sync, address)
        else:
            raise DecodeError(Reason.UNSUPPORTED_TYPE, "ACK")

    def _trace_received(self, header: Header, size: int) -> None:
        assert self._state.trace is not None
        self._state.trace(
            self._state.clock.now,
            "datagram_received",
            of_stream=header.stream_id,
            type=header.type,
            seq=header.seq,
            size=size,
        )

    def _settle_baseline(
        self, event: BatchReceived, delivered: int, rejected: Mapping[str, int]
    ) -> None:
        """Settle a batch without a header, which does not say how many records it has."""
        self._state.queue.check_waiting(event)
        if min(0, delivered, *rejected.values()) < 0:
            raise ValueError("a number of records is negative")
        counters = self._state.counters
        counters.delivered += delivered
        counters.rejected.update({str(key): count for key, count in rejected.items()})
        self._state.queue.remove(event)

    def _refuse(self, reason: Reason, address: Address, datagrams: int = 1) -> None:
        state = self._state
        state.counters.refused[reason] += datagrams
        if state.trace is not None:
            state.trace(state.clock.now, "datagram_refused", reason=str(reason))
        self._refusals.add(reason, source_of(address), datagrams)
        if self._refusals.next_due <= state.clock.now:
            self._report_refusals()

    def _report_refusals(self) -> None:
        due = self._refusals.due(self._state.clock.now)
        self._state.events.extend(map(DatagramsRefused, due))

    # numbers

    @property
    def is_settled(self) -> bool:
        """Whether no batch is with the handlers."""
        return not self._state.queue.used

    def census(self, now: float) -> Census:
        """Return all counters at this moment; those of the streams are copied later."""
        return Census(self._state, uptime=now - self._started, now=now)

    def progress(self) -> Progress:
        """Return the records delivered, and lost or missing, of all streams."""
        return Progress(self._state.streams, self._state.counters.delivered)

    def stats(self, now: float) -> ReceiverStats:
        """Return a snapshot of all counters."""
        census = self.census(now)
        census.copy_some(len(self._state.streams))
        return census.stats()

"""The lives of streams: they begin, vanish, come back, end and are forgotten."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from batchudp_handler.core.receive.events import (
    RecordsLost,
    SenderDropped,
    StreamEnded,
    StreamStarted,
)
from batchudp_handler.core.receive.stats import EndReason
from batchudp_handler.core.receive.streams import PROTECTED_SECONDS

if TYPE_CHECKING:
    from batchudp_handler.core.receive.replies import Replies
    from batchudp_handler.core.receive.state import ReceiverState
    from batchudp_handler.core.receive.stream import Stream
    from batchudp_handler.core.trace import TraceValue
    from batchudp_handler.core.wire.sync import Sync

__all__ = ["Lifecycle"]


class Lifecycle:
    """Moves streams through their lives, and tells of it by events.

    Args:
        state: Shared with the other parts of the machine.
        replies: Forgets to answer streams that are forgotten.
    """

    def __init__(self, state: ReceiverState, replies: Replies) -> None:
        self._state = state
        self._replies = replies
        self.next_deadline = inf
        """When a stream has something to do; infinite: none has."""

    # begin

    def make_room(self) -> None:
        """Forget a stream if there is no room for another one.

        Raises:
            DecodeError: None may be forgotten now.
        """
        victim = self._state.streams.victim(self._state.clock.now)
        if victim is not None:
            self._forget(victim, EndReason.EVICTED)

    def add(self, stream: Stream) -> None:
        """Let a stream begin; the caller has made room."""
        self._state.streams.add(stream)
        self._announce(stream)
        self.reschedule(stream)

    def _announce(self, stream: Stream) -> None:
        self._state.events.append(
            StreamStarted(stream.stream_id, stream.address, stream.key_id, stream.acknowledged)
        )
        self._trace(stream, "stream_started", acknowledged=stream.acknowledged)

    # live

    def on_heard(self, stream: Stream, size: int) -> None:
        """Note a datagram of a stream; one that had vanished comes back with it."""
        stream.touch(size, self._state.clock.now)
        if stream.ended is EndReason.VANISHED:
            stream.ended = None
            self._announce(stream)
            self.reschedule(stream)

    def apply_sync(self, stream: Stream, counter: int, sync: Sync) -> None:
        """Let a stream learn where its sender stands."""
        try:
            dropped = stream.receive_sync(counter, sync, self._state.clock.now)
        finally:
            self.reschedule(stream)
        if dropped:
            self._state.events.append(SenderDropped(stream.stream_id, stream.address, dropped))
        self.end_if_settled(stream)

    def reschedule(self, stream: Stream) -> None:
        """Work out when a stream has something to do next."""
        self._report_losses(stream)
        deadline = min(stream.next_timeout(), self._idle_time(stream))
        if stream.ended is None:
            deadline = min(deadline, _vanish_time(stream))
        stream.deadline = deadline
        self.next_deadline = min(self.next_deadline, deadline)

    def handle_timeout(self) -> None:
        """Do what has become due in any stream."""
        now = self._state.clock.now
        streams = self._state.streams
        for stream in [each for each in streams if each.deadline <= now]:
            self._on_deadline(stream, now)
        self.next_deadline = min((stream.deadline for stream in streams), default=inf)

    def _on_deadline(self, stream: Stream, now: float) -> None:
        stream.handle_timeout(now)
        self._report_losses(stream)
        self.end_if_settled(stream)
        if self._state.streams.get(stream.stream_id) is not stream:
            return
        if not stream.records.batches and now >= self._idle_time(stream):
            self._forget(stream, EndReason.IDLE)
            return
        if now >= _vanish_time(stream):
            self._end(stream, EndReason.VANISHED)
        self.reschedule(stream)

    def _report_losses(self, stream: Stream) -> None:
        records = stream.records
        if records.unreported_lost:
            lost, records.unreported_lost = records.unreported_lost, 0
            self._state.events.append(RecordsLost(stream.stream_id, stream.address, lost))
            self._trace(stream, "records_lost", records=lost)

    def _idle_time(self, stream: Stream) -> float:
        return stream.last_seen + max(self._state.settings.stream_idle, PROTECTED_SECONDS)

    # end

    def end_all(self) -> None:
        """End every stream because the receiver closes, those with the handlers later."""
        for stream in list(self._state.streams):
            self.end_if_settled(stream)

    def end_if_settled(self, stream: Stream) -> None:
        """End a stream whose sender or receiver closes, when nothing of it is open any more."""
        if stream.report.closing and stream.is_settled:
            self._end(stream, EndReason.CLOSED)
        elif self._state.is_closing and not stream.records.batches:
            self._end(stream, EndReason.SHUTDOWN)
        if stream.ended is EndReason.CLOSED and stream.is_complete:
            # its last ack may be due still; everything else is in the tombstone
            self._replies.on_complete(stream.stream_id)
            self._state.streams.forget(stream, self._state.clock.now)

    def _end(self, stream: Stream, reason: EndReason) -> None:
        """Announce the end of a stream, once."""
        if stream.ended is not None:
            return
        stream.ended = reason
        state = self._state
        state.streams.ended[reason] += 1
        stats = stream.stats(state.clock.now)
        state.events.append(StreamEnded(stream.stream_id, stream.address, stats, reason))
        self._trace(stream, "stream_ended", reason=str(reason))

    def _trace(self, stream: Stream, name: str, **values: TraceValue) -> None:
        if self._state.trace is not None:
            self._state.trace(self._state.clock.now, name, of_stream=stream.stream_id, **values)

    def _forget(self, stream: Stream, reason: EndReason) -> None:
        stream.release()
        self._report_losses(stream)
        self._end(stream, reason)
        self._replies.forget(stream.stream_id)
        self._state.streams.forget(stream, self._state.clock.now)


def _vanish_time(stream: Stream) -> float:
    """Return when a stream will have been silent for longer than its sender promised."""
    return stream.report.vanish_time(stream.last_seen)

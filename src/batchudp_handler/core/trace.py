"""Events by which the machines tell what they do, for people who look for a fault.

A machine that was given a callable hands it one small event for each thing that happens; without
one it costs a comparison. The names and what they mean stand in `EVENTS`. An event is one line of
JSON in a file: `batchudp-receive decode` shows such files.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchudp_handler.core.errors import DecodeError, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["EVENTS", "Trace", "TraceEvent", "TraceValue"]

TraceValue = int | float | str | bool | None

EVENTS: Mapping[str, str] = {
    # the sending machine
    "state_changed": "The delivery went from one state to another (acknowledged).",
    "datagram_sent": "The socket took a DATA datagram for the first time.",
    "datagram_retransmitted": "The socket took a DATA datagram that it had taken before.",
    "datagram_acked": "The receiver has a datagram, or has handled it, and said so.",
    "datagram_lost": "A datagram that was overtaken is overdue and will be sent again.",
    "sync_sent": "The socket took a SYNC.",
    "send_failed": "The socket refused a datagram.",
    "ack_received": "An ACK was taken.",
    "challenge_received": "A receiver asked for a proof of the sender's address.",
    "answer_ignored": "A datagram was received and not used.",
    "probe_timeout": "Nothing was heard for a while.",
    # the receiving machine; its stream is 0 where there is none
    "datagram_received": "A datagram with a right trailer was read: DATA, or a SYNC.",
    "datagram_refused": "A datagram was refused, by reason.",
    "batch_received": "A batch is complete and goes to the handlers.",
    "batch_handled": "The handlers have returned from a batch.",
    "ack_sent": "An ACK was made.",
    "challenge_sent": "A sender was asked to prove its address.",
    "stream_started": "A stream was met, or has come back.",
    "stream_ended": "A stream has ended.",
    "records_lost": "Missing records of a one-way stream were declared lost.",
}
"""The name of each event, and what it says."""


@dataclass(frozen=True, slots=True)
class TraceEvent:
    """One thing that a machine did."""

    time: float
    """The machine's clock, in seconds."""
    name: str
    """One of `EVENTS`."""
    stream_id: int
    """The stream that it belongs to."""
    values: Mapping[str, TraceValue]
    """Numbers and words that go with it."""

    def to_json(self) -> str:
        """Return the event as one line of JSON, without the end of the line."""
        head = {"time": self.time, "event": self.name, "stream": f"{self.stream_id:016x}"}
        return json.dumps({**head, **self.values}, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str | bytes) -> TraceEvent:
        """Return the event that a line of JSON holds.

        Raises:
            DecodeError: The line holds none.
        """
        try:
            values = json.loads(line)
            time, name = float(values.pop("time")), str(values.pop("event"))
            stream_id = int(values.pop("stream"), 16)
        except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
            raise DecodeError(Reason.SHAPE, "not an event") from error
        return cls(time, name, stream_id, values)


class Trace:
    """Hands the events of a machine to a callable, until that fails.

    Args:
        take: What gets each event. It is called by the machine's thread and must not call back.
        stream_id: The stream that events belong to, unless they say another one.
    """

    __slots__ = ("_stream_id", "_take")

    def __init__(self, take: Callable[[TraceEvent], object], stream_id: int) -> None:
        self._take: Callable[[TraceEvent], object] | None = take
        self._stream_id = stream_id

    def __call__(
        self, time: float, name: str, *, of_stream: int | None = None, **values: TraceValue
    ) -> None:
        """Hand over one event. A callable that raises is not called again."""
        if self._take is None:
            return
        stream_id = self._stream_id if of_stream is None else of_stream
        try:
            self._take(TraceEvent(time, name, stream_id, values))
        except Exception:  # noqa: BLE001  # whoever watches must not stop what is watched
            self._take = None

"""Events of the machines, as objects and as lines of JSON."""

from __future__ import annotations

import pytest

from batchudp_handler.core.errors import DecodeError
from batchudp_handler.core.trace import Trace, TraceEvent

EVENT = TraceEvent(1.5, "datagram_sent", 0xABC, {"seq": 4, "size": 1200, "why": None})


def test_an_event_survives_its_line() -> None:
    """What was written can be read."""
    line = EVENT.to_json()
    assert "\n" not in line
    assert TraceEvent.from_json(line) == EVENT


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[1]",
        "{}",
        "nonsense",
        "[" * 100_000,
        '{"time": "soon", "event": "x", "stream": "1"}',
        '{"time": 1, "event": "x", "stream": 7}',
        '{"time": 1, "event": "x", "stream": "seven"}',
    ],
)
def test_other_lines_are_no_events(line: str) -> None:
    """Whatever the line holds, the error is the decoder's own."""
    with pytest.raises(DecodeError):
        TraceEvent.from_json(line)


def test_the_callable_gets_each_event() -> None:
    """With the stream that the trace was made for."""
    events: list[TraceEvent] = []
    Trace(events.append, 0xABC)(1.5, "datagram_sent", seq=4, size=1200, why=None)
    assert events == [EVENT]


def test_a_callable_that_raises_is_called_once() -> None:
    """It stops nothing but itself."""
    calls: list[TraceEvent] = []

    def fail(event: TraceEvent) -> None:
        calls.append(event)
        raise OSError("disk full")

    trace = Trace(fail, 1)
    trace(0.0, "sync_sent")
    trace(1.0, "sync_sent")
    assert len(calls) == 1

"""Files of events that the machines told of, one line of JSON each, as text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchudp_handler.console import escape
from batchudp_handler.core.errors import DecodeError
from batchudp_handler.core.trace import TraceEvent

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["describe_events", "holds_events"]


def holds_events(content: bytes) -> bool:
    """Return whether a file is one of events: its first line is one."""
    return _event_in(content.partition(b"\n")[0]) is not None


def describe_events(content: bytes) -> Iterator[str]:
    """Yield a line of text for each event, with its number, time and stream."""
    for number, line in enumerate(content.splitlines(), 1):
        event = _event_in(line)
        yield f"{number}  not an event" if event is None else _described(number, event)


def _event_in(line: bytes) -> TraceEvent | None:
    try:
        return TraceEvent.from_json(line)
    except DecodeError:
        return None


def _described(number: int, event: TraceEvent) -> str:
    values = "".join(f" {name}={value}" for name, value in event.values.items())
    return f"{number}  {event.time:.6f}  {event.stream_id:016x}  " + escape(event.name + values)

"""What is handed out is charged to the queue and told once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchudp_handler.core.receive.events import BatchReceived
from batchudp_handler.core.receive.settings import ReceiverSettings
from batchudp_handler.core.receive.state import ReceiverState
from batchudp_handler.core.wire.datagram import Baseline
from tests.core.receive.bench import HOME, WALL, Bench, Source

if TYPE_CHECKING:
    from batchudp_handler.core.trace import TraceEvent


def test_a_baseline_batch_is_charged_and_told() -> None:
    """It belongs to no stream and promises no number of records."""
    state = ReceiverState(ReceiverSettings(), epoch=1, secret=b"s", now=0.0, wall=WALL)
    state.hand_out_baseline(Baseline(0, b"[]"), HOME)
    assert state.events == [BatchReceived(None, 0, 0, 0, b"[]", HOME, 0, WALL)]
    assert state.queue.used == 2 + 512


def test_a_batch_of_a_stream_is_charged_and_told() -> None:
    """Its event has everything that the shell needs."""
    bench, source = Bench(), Source()
    bench.feed(source.data(3, b"body"))
    assert bench.events[-1] == BatchReceived(1, 0, 3, 1, b"body", HOME, 0, WALL)
    assert bench.stats().queued_bytes == 4 + 512


def test_a_batch_is_traced() -> None:
    """With its first datagram and its number of records."""
    events: list[TraceEvent] = []
    bench = Bench(trace=events.append)
    bench.feed(Source().data(3))
    (event,) = [event for event in events if event.name == "batch_received"]
    assert (event.stream_id, event.values) == (1, {"seq": 0, "records": 3})

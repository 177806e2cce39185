"""The events that a whole sending machine tells of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchudp_handler.core.send.retry import SendFailure
from batchudp_handler.core.trace import EVENTS
from tests.core.send.bench import COOKIE, STREAM, Bench

if TYPE_CHECKING:
    from batchudp_handler.core.trace import TraceEvent


def traced(**settings: object) -> tuple[Bench, list[TraceEvent]]:
    events: list[TraceEvent] = []
    return Bench(trace=events.append, **settings), events


def names(events: list[TraceEvent]) -> list[str]:
    found = [event.name for event in events]
    assert set(found) <= set(EVENTS)
    assert {event.stream_id for event in events} == {STREAM}
    events.clear()
    return found


def test_an_acknowledged_stream_from_its_first_record_to_its_end() -> None:
    """What is sent, heard and lost, in the order in which it happens."""
    bench, events = traced(acknowledged=True)
    bench.log(*range(4))
    bench.send()
    assert names(events) == ["state_changed", "sync_sent"]
    bench.ack(cookie=COOKIE)
    bench.until(0.06)
    assert names(events) == ["challenge_received", "sync_sent"]
    bench.ack()
    bench.send()
    assert names(events) == ["ack_received", "state_changed", "datagram_sent"]
    bench.until(5.0)
    assert {"probe_timeout", "datagram_retransmitted"} <= set(names(events))
    bench.ack(floor=1)
    assert names(events) == ["ack_received", "datagram_acked"]
    bench.sender.close()
    bench.until(5.1)
    bench.ack(floor=1)
    assert [event.values for event in events if event.name == "state_changed"] == [
        {"old": "open", "new": "closed", "event": "farewell"}
    ]


def test_a_lost_datagram_is_named() -> None:
    """It was overtaken by the one whose ack is told before."""
    bench, events = traced(acknowledged=True)
    bench.log(0)
    bench.open()
    bench.send()
    bench.log(1)
    bench.send()
    bench.now += 0.01
    bench.ack(floor=0, bitmap=0b10)
    bench.now += 1.0
    bench.sender.handle_timeout(bench.now)
    acked, lost = (
        next(event for event in events if event.name == name)
        for name in ("datagram_acked", "datagram_lost")
    )
    assert (acked.values, lost.values) == ({"seq": 1}, {"seq": 0})
    assert acked.time < lost.time


def test_a_one_way_stream() -> None:
    """Each transmission, and each refusal."""
    bench, events = traced()
    bench.log(0)
    bench.send()
    assert names(events) == ["sync_sent", "datagram_sent"]
    bench.log(1)
    bench.fail(SendFailure.WOULD_BLOCK)
    bench.until(0.5)
    assert names(events) == ["send_failed", "datagram_retransmitted"]


def test_what_is_ignored_is_told_with_its_reason() -> None:
    """An answer that came from nobody we asked."""
    bench, events = traced(acknowledged=True)
    bench.log(0)
    bench.send()
    bench.sender.receive_datagram(b"[]", 1.0)
    assert events[-1].name == "answer_ignored"
    assert events[-1].values == {"reason": "unsupported_type"}

"""Files of events of the machines, as text."""

from __future__ import annotations

from batchudp_handler.core.trace import TraceEvent
from batchudp_handler.decode.events import describe_events, holds_events
from tests.decode.files import conversation
from tests.decode.test_command import decode

EVENTS = (
    TraceEvent(1.25, "datagram_sent", 0xABC, {"seq": 4, "size": 1_200}),
    TraceEvent(1.5, "state_changed", 0xABC, {"old": "open", "new": "away"}),
)
CONTENT = "".join(event.to_json() + "\n" for event in EVENTS).encode()
LINES = [
    "1  1.250000  0000000000000abc  datagram_sent seq=4 size=1200",
    "2  1.500000  0000000000000abc  state_changed old=open new=away",
]


def test_each_event_is_a_line():
    """With its time and stream, and what goes with it."""
    assert list(describe_events(CONTENT)) == LINES


def test_a_line_that_is_none_is_named():
    """The file may end in the middle of one."""
    assert list(describe_events(CONTENT[:-9]))[1] == "2  not an event"


def test_an_event_cannot_act_on_a_terminal():
    """Nor forge a line."""
    event = TraceEvent(0.0, "x\x1b[2J", 1, {"why": "a\nb"})
    (line,) = describe_events(event.to_json().encode())
    assert line.isprintable()


def test_files_of_events_are_told_from_others():
    """By their first line."""
    assert holds_events(CONTENT)
    for other in (b"", b'[{"msg": "hi"}]\n', b'{"msg": "hi"}', *conversation()):
        assert not holds_events(other)


def test_the_command_reads_events(tmp_path):
    """As it reads captures."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(CONTENT)

    done = decode(str(path))

    assert (done.returncode, done.stdout.decode().splitlines()) == (0, LINES)

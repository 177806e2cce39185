"""The table of states of acknowledged delivery, and the machine that follows it."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from batchudp_handler.core.send.states import (
    TRANSITIONS,
    DeliveryState,
    Event,
    ImpossibleEventError,
    State,
)
from batchudp_handler.core.trace import Trace, TraceEvent

WIRE_FORMAT = Path(__file__).parents[3] / "docs" / "protocol" / "states.md"


def machine(state: State) -> DeliveryState:
    made = DeliveryState()
    made.state = state
    return made


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_the_machine_follows_the_table(state: State, event: Event) -> None:
    """Each event leads where the table says, or is an error that changes nothing."""
    made = machine(state)
    target = TRANSITIONS[event].get(state)
    if target is None:
        with pytest.raises(ImpossibleEventError, match=f"{event.value} while {state.value}"):
            made.on(event, 0.0)
        assert made.state is state
    else:
        assert made.on(event, 0.0) is (target is not state)
        assert made.state is target


def test_every_event_has_a_row_and_every_state_a_way_in_and_out() -> None:
    """Nothing is named that cannot happen, and only the end has no way out."""
    assert list(TRANSITIONS) == list(Event)
    moves = [(a, b) for row in TRANSITIONS.values() for a, b in row.items() if a is not b]
    assert {target for _, target in moves} == set(State) - {State.IDLE}
    assert {origin for origin, _ in moves} == set(State) - {State.CLOSED}


@pytest.mark.parametrize("state", State)
def test_what_a_state_allows(state: State) -> None:
    """DATA is sent while open only; nothing is asked before the start and after the end."""
    assert machine(state).is_open is (state is State.OPEN)
    assert machine(state).is_running is (state not in (State.IDLE, State.CLOSED))


def test_a_change_is_told_with_its_reason() -> None:
    """Events that change nothing are not."""
    events: list[TraceEvent] = []
    made = DeliveryState(Trace(events.append, 7))
    made.on(Event.RECORDS, 1.0)
    made.on(Event.RECORDS, 2.0)
    made.on(Event.ANSWER, 3.0)
    assert [(each.time, each.values) for each in events] == [
        (1.0, {"old": "idle", "new": "syncing", "event": "records"}),
        (3.0, {"old": "syncing", "new": "open", "event": "answer"}),
    ]


def test_the_wire_format_names_the_same_states() -> None:
    """Its table is written by hand, for those who write another sender."""
    table = WIRE_FORMAT.read_text("utf-8").partition("## Sender, acknowledged")[2]
    table = table.partition("## ")[0]
    names = {line[4:] for line in table.splitlines() if line.startswith("* - ")} - {"State"}
    assert names - {"CLOSING"} == {state.name for state in State} - {"CLOSED"}
    assert "CLOSED" in table

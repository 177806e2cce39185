"""The states of acknowledged delivery, and the events that lead from one to another.

`TRANSITIONS` is the whole truth: an event that is not listed for a state cannot happen in it, and
`DeliveryState` raises if it does. The table in `docs/architecture.md` is made from this one.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batchudp_handler.core.trace import Trace

__all__ = ["TRANSITIONS", "DeliveryState", "Event", "ImpossibleEventError", "State"]


class State(Enum):
    """Where an acknowledged stream stands."""

    IDLE = "idle"
    """Nothing was ever to be sent."""
    SYNCING = "syncing"
    """Asking for an answer, growing rarer; no DATA, because nobody may be there."""
    OPEN = "open"
    """Sending DATA within the window, and again what is lost."""
    AWAY = "away"
    """As SYNCING, after the receiver was silent or refused; its name is looked up again."""
    CLOSED = "closed"
    """Everything is settled, or given up."""


class Event(Enum):
    """What can happen to an acknowledged stream."""

    RECORDS = "records"
    """There are records to send, or datagrams of another process."""
    CHALLENGE = "challenge"
    """A receiver that is not the current one asks for a proof of the address."""
    ANSWER = "answer"
    """An ACK that counts."""
    REFUSAL = "refusal"
    """An ACK that says that the receiver is closing, or has no place for the stream."""
    UNREACHABLE = "unreachable"
    """The socket refuses so often that nobody can be there."""
    SILENCE = "silence"
    """Nothing was heard for too long."""
    CLOSE = "close"
    """No more records will come."""
    FAREWELL = "farewell"
    """The goodbye is answered, or was said often enough."""
    GIVE_UP = "give_up"
    """What is not settled is counted and left."""


_IDLE, _SYNCING, _OPEN, _AWAY, _CLOSED = State

TRANSITIONS: Mapping[Event, Mapping[State, State]] = {
    Event.RECORDS: {
        _IDLE: _SYNCING, _SYNCING: _SYNCING, _OPEN: _OPEN, _AWAY: _AWAY, _CLOSED: _CLOSED,
    },
    Event.CHALLENGE: {_SYNCING: _SYNCING, _OPEN: _SYNCING, _AWAY: _SYNCING},
    Event.ANSWER: {_SYNCING: _OPEN, _OPEN: _OPEN, _AWAY: _OPEN},
    Event.REFUSAL: {_SYNCING: _SYNCING, _OPEN: _AWAY, _AWAY: _AWAY},
    Event.UNREACHABLE: {_SYNCING: _SYNCING, _OPEN: _AWAY, _AWAY: _AWAY, _CLOSED: _CLOSED},
    Event.SILENCE: {_OPEN: _AWAY},
    Event.CLOSE: {
        _IDLE: _CLOSED, _SYNCING: _SYNCING, _OPEN: _OPEN, _AWAY: _AWAY, _CLOSED: _CLOSED,
    },
    Event.FAREWELL: {_SYNCING: _CLOSED, _OPEN: _CLOSED, _AWAY: _CLOSED},
    Event.GIVE_UP: {
        _IDLE: _CLOSED, _SYNCING: _CLOSED, _OPEN: _CLOSED, _AWAY: _CLOSED, _CLOSED: _CLOSED,
    },
}  # fmt: skip


class ImpossibleEventError(RuntimeError):
    """An event happened in a state in which it cannot: a fault of this library."""


class DeliveryState:
    """The state of one acknowledged stream, which changes by `TRANSITIONS` only."""

    def __init__(self, trace: Trace | None = None) -> None:
        self.state = State.IDLE
        self._trace = trace

    @property
    def is_open(self) -> bool:
        """Whether DATA may be sent."""
        return self.state is State.OPEN

    @property
    def is_running(self) -> bool:
        """Whether the receiver may be asked, and may answer."""
        return self.state not in (State.IDLE, State.CLOSED)

    def on(self, event: Event, now: float) -> bool:
        """Follow an event; return whether the state is another one than before."""
        old = self.state
        try:
            self.state = TRANSITIONS[event][old]
        except KeyError:
            raise ImpossibleEventError(f"{event.value} while {old.value}") from None
        has_changed = self.state is not old
        if has_changed and self._trace is not None:
            self._trace(
                now, "state_changed", old=old.value, new=self.state.value, event=event.value
            )
        return has_changed

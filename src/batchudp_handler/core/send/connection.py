"""What an acknowledged stream knows of itself and its receiver, shared by the parts that act.

`Answers` changes it when something was received, `Transmitter` and `SyncSender` when something is
sent, `AcknowledgedDelivery` when time passes.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from batchudp_handler.core.send.alternation import Alternation
from batchudp_handler.core.send.handshake import Handshake
from batchudp_handler.core.send.path import Path
from batchudp_handler.core.send.peer import Peer
from batchudp_handler.core.send.retry import SocketTrouble
from batchudp_handler.core.send.states import DeliveryState, Event
from batchudp_handler.core.send.sync_schedule import SyncSchedule

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchudp_handler.core.send.counters import SenderCounters
    from batchudp_handler.core.send.outbox import Outbox
    from batchudp_handler.core.send.outgoing import OutgoingStream
    from batchudp_handler.core.send.window import RetainedDatagram, SendWindow
    from batchudp_handler.core.trace import Trace

__all__ = ["Connection"]


class Connection:
    """The state of one acknowledged stream."""

    def __init__(
        self,
        stream: OutgoingStream,
        outbox: Outbox,
        counters: SenderCounters,
        random: Callable[[], float],
        trace: Trace | None,
    ) -> None:
        self.stream = stream
        self.outbox = outbox
        self.counters = counters
        self.trace = trace
        self.state = DeliveryState(trace)
        self.peer = Peer()
        self.alternation = Alternation()
        self.handshake = Handshake()
        self.syncs = SyncSchedule(random)
        self.path = Path(counters, outbox.size)
        self.trouble = SocketTrouble(random)
        self.probes: deque[RetainedDatagram] = deque()
        """Datagrams that are sent again without being lost, because nothing is heard."""
        self.goodbyes = 0
        """SYNCs that said goodbye."""
        self.is_closing = False
        self.wants_new_socket = False

    @property
    def window(self) -> SendWindow:
        """What is sealed and not settled."""
        return self.outbox.window

    @property
    def is_idle(self) -> bool:
        """Whether everything is settled."""
        return not len(self.window) and not len(self.outbox.splitter)

    @property
    def is_saying_goodbye(self) -> bool:
        """Whether nothing is left to do but to part."""
        return self.is_closing and self.is_idle

    @property
    def has_untold_floor(self) -> bool:
        """Whether the receiver waits for numbers that will not come."""
        return self.window.floor > self.peer.floor

    def leave(self, event: Event, now: float) -> None:
        """Stop sending DATA after an event that says that nobody takes it."""
        if self.state.on(event, now):
            self.wants_new_socket = True
            self.probes.clear()
            self.trouble.unblock()
            self.syncs.probe(now)

    def open(self, now: float) -> None:
        """Send DATA from now on."""
        self.wants_new_socket = False
        self.path.timer.on_progress(now)
        self.trouble.unblock()
        self.syncs.beat(now)

    def detect_lost(self, now: float) -> None:
        """Queue what is lost."""
        lost = self.path.detect_lost(self.window, now)
        if self.trace is not None:
            for each in lost:
                self.trace(now, "datagram_lost", seq=each.seq)

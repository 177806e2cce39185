"""The receiving host: what it does with datagrams, and when it dies.

A kernel buffer that charges more than a datagram's bytes and drops what does not fit, a reader
that takes its time, a worker that runs the handlers, an end at any moment and another life
afterwards. Handlers count as having had a batch when they begin with it, so that a kill in
between is the worst case.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from functools import lru_cache
from math import inf
from random import Random
from typing import TYPE_CHECKING

from batchudp_handler.core.receive.events import BatchReceived
from batchudp_handler.core.receive.receiver import ReceiverProtocol, ReceiverSettings
from batchudp_handler.core.wire.auth import HmacKey

from .case import wall_time
from .encodings import ENCODINGS

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchudp_handler.core.receive.stats import Address, ReceiverStats

    from .case import Case, Restart

READ_AT_ONCE = 32
"""Datagrams that the reader takes before it looks at what the handlers have finished."""

KEY = HmacKey(1, bytes(range(32)))
"""Of all senders and the receiver, where a case has keys."""
RECEIVER = -1
"""The number of this host among the clocks of a case."""

# bytes of a datagram, and what Linux charges a receive buffer for it (measured on loopback)
_SIZES = (1, 100, 512, 1_400, 8_192, 65_507)
_COSTS = (832, 832, 1_283, 2_315, 17_749, 70_997)


@lru_cache(maxsize=4096)
def kernel_cost(size: int) -> int:
    """What a datagram takes of the kernel's buffer, interpolated."""
    at = min(max(bisect_left(_SIZES, size), 1), len(_SIZES) - 1)
    low, high = _SIZES[at - 1], _SIZES[at]
    share = (size - low) / (high - low)
    return int(_COSTS[at - 1] + share * (_COSTS[at] - _COSTS[at - 1]))


class Host:
    """The machine with the receiver on it."""

    def __init__(self, case: Case, reply: Callable[[bytes, Address, float], None]) -> None:
        self.delivered: Counter[int] = Counter()
        """How often the handlers had each record."""
        self.rejected: Counter[int] = Counter()
        self.arrived = 0
        self.kernel_drops = 0
        self.lives: list[ReceiverStats] = []
        """The last numbers of each receiver that ended."""
        self.receiver: ReceiverProtocol | None = None
        self._case = case
        self._encoding = ENCODINGS[case.encoding]
        self._reply = reply
        self._random = Random(f"{case.seed}/host")
        self._script = deque(_script(case.restarts))
        self._starts_when_ended = False
        self._garbage = False
        self._stall_at = case.stall_at if case.stall_time else inf
        self._clear()
        self._start(0.0)

    def _clear(self) -> None:
        self._socket: deque[tuple[bytes, Address]] = deque()
        self._charged = 0
        self._read_at = inf
        self._batches: deque[BatchReceived] = deque()
        self._working: tuple[BatchReceived, int, dict[str, int]] | None = None
        self._done_at = inf
        self._is_closing = False

    # life and death

    def _start(self, now: float) -> None:
        self._clear()
        self._garbage = False
        settings = ReceiverSettings(
            receive_buffer=self._case.receive_buffer,
            work_queue_bytes=self._case.work_queue_bytes,
            keys=[KEY] if self._case.keyed else [],
            max_streams=self._case.max_streams,
        )
        self.receiver = ReceiverProtocol(
            settings,
            epoch=self._random.randrange(1, 1 << 64),
            secret=self._random.randbytes(32),
            now=now,
            wall=wall_time(self._case, RECEIVER, now),
        )

    def _end(self, now: float) -> None:
        assert self.receiver is not None
        self.lives.append(self.receiver.stats(now))
        self.receiver = None
        self._clear()
        if self._starts_when_ended:
            self._starts_when_ended = False
            self._start(now)

    def _follow_script(self, now: float) -> None:
        while self._script and self._script[0][0] <= now:
            _, action, restart = self._script.popleft()
            if action == "start":
                if self.receiver is None:
                    self._start(now)
                else:
                    self._starts_when_ended = True
            elif self.receiver is not None:
                self._garbage = restart.garbage
                if restart.graceful:
                    self._close(now)
                else:
                    self._end(now)

    def _close(self, now: float) -> None:
        assert self.receiver is not None
        self._is_closing = True
        self._socket.clear()
        self._charged = 0
        self._read_at = inf
        self.receiver.close(now)
        self._transmit(now)
        self._end_if_settled(now)

    def _end_if_settled(self, now: float) -> None:
        if self._is_closing and self._working is None and not self._batches:
            self._end(now)

    @property
    def is_up(self) -> bool:
        """Whether a socket is bound to the port."""
        return self.receiver is not None and not self._is_closing

    @property
    def is_quiet(self) -> bool:
        """Whether nothing waits in the socket or with the handlers."""
        return not (self._socket or self._batches or self._working)

    # work

    def arrive(self, data: bytes, address: Address, now: float) -> None:
        """A datagram comes out of the network."""
        if not self.is_up:
            if self._garbage:
                self._answer_with_garbage(data, address, now)
            return
        self.arrived += 1
        cost = kernel_cost(len(data))
        if self._socket and self._charged + cost > self._case.receive_buffer:
            self.kernel_drops += 1
            return
        self._socket.append((data, address))
        self._charged += cost
        if self._read_at == inf:
            self._read_at = now + self._case.read_time

    def _answer_with_garbage(self, data: bytes, address: Address, now: float) -> None:
        random = self._random
        answers = (
            random.randbytes(random.randrange(1, 100)),
            data,
            data[: random.randrange(len(data) + 1)],
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
        )
        self._reply(random.choice(answers), address, now)

    def next_time(self) -> float:
        """When to be called next."""
        script = self._script[0][0] if self._script else inf
        timeout = None if self.receiver is None else self.receiver.next_timeout()
        return min(script, self._read_at, self._done_at, inf if timeout is None else timeout)

    def step(self, now: float) -> None:
        """Do what is due."""
        self._follow_script(now)
        if self.receiver is None:
            return
        if self._done_at <= now:
            self._finish_batch(now)
        if self.receiver is not None and self._read_at <= now:
            self._read(now)
        if self.receiver is None:
            return
        self.receiver.handle_timeout(now)
        self._transmit(now)
        self._take_events()
        self._begin_batch(now)
        self._end_if_settled(now)

    def _read(self, now: float) -> None:
        assert self.receiver is not None
        count = min(len(self._socket), READ_AT_ONCE)
        for _ in range(count):
            data, address = self._socket.popleft()
            self._charged -= kernel_cost(len(data))
            wall = wall_time(self._case, RECEIVER, now)
            self.receiver.receive_datagram(data, address, now, wall)
        if self._socket:
            self._read_at = now + count * self._case.read_time
        else:
            self._read_at = inf
            self.receiver.on_socket_drained(now)

    def _transmit(self, now: float) -> None:
        assert self.receiver is not None
        for data, address in self.receiver.datagrams_to_send():
            self._reply(data, address, now)

    def _take_events(self) -> None:
        assert self.receiver is not None
        for event in self.receiver.events_received():
            if isinstance(event, BatchReceived):
                self._batches.append(event)

    def _begin_batch(self, now: float) -> None:
        if self._working is not None or not self._batches:
            return
        event = self._batches.popleft()
        numbers = self._encoding.numbers(event.codec, event.body)
        every = self._case.reject_every
        if every and event.seq % every == 0:
            self.rejected.update(numbers)
            self._working = event, 0, {"shape": len(numbers)}
        else:
            self.delivered.update(numbers)
            self._working = event, len(numbers), {}
        self._done_at = now + self._case.handler_time
        if now >= self._stall_at:
            self._stall_at = inf
            self._done_at += self._case.stall_time

    def _finish_batch(self, now: float) -> None:
        assert self.receiver is not None
        assert self._working is not None
        event, delivered, rejected = self._working
        self._working = None
        self._done_at = inf
        self.receiver.on_batch_handled(event, delivered, rejected, now)
        self._transmit(now)


def _script(restarts: tuple[Restart, ...]) -> list[tuple[float, str, Restart]]:
    found = []
    for each in restarts:
        found.append((each.at, "end", each))
        found.append((each.at + each.downtime, "start", each))
    return found

"""The clock of a simulated run: what happens, in which order, and what is known at its end.

Nodes and the host tell when they want to be called next; the world calls the earliest one and
moves the clock there. A run is fixed by its case.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from .host import Host
from .node import Node

if TYPE_CHECKING:
    from batchudp_handler.core.receive.stats import Address

    from .case import Case

MAX_STEPS = 5_000_000
AFTERMATH = 6.0
"""Seconds for what is still on its way after the last sender has closed, and for losses that are
declared after two seconds."""


class Unfinished(AssertionError):
    """A run did not come to its end."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How much work a run was."""

    time: float
    """Seconds until the last sender was closed."""
    datagrams: int
    """DATA, each counted once."""
    transmissions: int
    """Of DATA."""
    acks: int
    spurious: int
    kernel_drops: int
    arrived: int
    delivered: int
    extra: int
    """Deliveries beyond the first of each record."""
    resent: int
    """The bound on them that the senders know."""


class World:
    """One run."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.now = 0.0
        self.replies = 0
        self.host = Host(case, self._reply)
        self.nodes = [Node(case, index, self.host) for index in range(case.senders)]
        self._by_name = {f"host{node.index}": node for node in self.nodes}
        self._all: list[Host | Node] = [self.host, *self.nodes]
        self._number = {id(each): number for number, each in enumerate(self._all)}
        self._planned = [inf] * len(self._all)
        self._heap: list[tuple[float, int]] = []
        self._steps = 0

    def run(self) -> Outcome:
        """Run until every sender is closed and nothing is on its way any more."""
        for each in self._all:
            self._plan(each)
        self._run_until(lambda: all(node.sender.is_closed for node in self.nodes))
        end = self.now + AFTERMATH
        self._run_until(lambda: self.now >= end and self.host.is_quiet)
        return self._outcome()

    def _run_until(self, is_done: object) -> None:
        assert callable(is_done)
        while not is_done():
            if not self._heap:
                return
            time, number = heapq.heappop(self._heap)
            if time != self._planned[number]:
                continue
            self._planned[number] = inf
            self.now = max(self.now, time)
            self._check_patience()
            each = self._all[number]
            each.step(self.now)
            self._plan(each)
            if each is not self.host:
                self._plan(self.host)

    def _check_patience(self) -> None:
        self._steps += 1
        if self.now > self.case.time_limit or self._steps > MAX_STEPS:
            waiting = [node.index for node in self.nodes if not node.sender.is_closed]
            raise Unfinished(f"at {self.now:.3f} s senders {waiting[:5]} were not closed")

    def _plan(self, each: Host | Node) -> None:
        number = self._number[id(each)]
        time = each.next_time()
        if time < self._planned[number] or self._planned[number] < time < inf:
            self._planned[number] = time
            heapq.heappush(self._heap, (time, number))

    def _reply(self, data: bytes, address: Address, now: float) -> None:
        node = self._by_name[str(address[0])]
        self.replies += 1
        node.receive(data, address, now)
        self._plan(node)

    def _outcome(self) -> Outcome:
        counters = [node.sender.counters for node in self.nodes]
        sent = sum(each.datagrams_sent - each.syncs_sent for each in counters)
        again = sum(each.retransmissions + each.retries for each in counters)
        return Outcome(
            time=max(node.finished_at for node in self.nodes),
            datagrams=sent - again,
            transmissions=sent,
            acks=self.replies,
            spurious=sum(each.spurious for each in counters),
            kernel_drops=self.host.kernel_drops,
            arrived=self.host.arrived,
            delivered=len(self.host.delivered),
            extra=sum(self.host.delivered.values()) - len(self.host.delivered),
            resent=sum(each.resent_to_new_receiver + each.resealed for each in counters),
        )

"""A sending process, with its socket and its path through the network."""

from __future__ import annotations

from math import inf
from random import Random
from typing import TYPE_CHECKING

from batchudp_handler.core.send.deliveries import make_delivery
from batchudp_handler.core.send.retry import SendFailure
from batchudp_handler.core.send.settings import SenderSettings
from batchudp_handler.core.wire.datagram import CHECKSUM
from batchudp_handler.testing.faultproxy import FaultyPath

from .case import wall_time
from .encodings import ENCODINGS
from .host import KEY

if TYPE_CHECKING:
    from batchudp_handler.core.receive.stats import Address

    from .case import Case
    from .host import Host

NEW_SOCKET_INTERVAL = 1.0


class Node:
    """One sender, and the path between it and the receiving host."""

    def __init__(self, case: Case, index: int, host: Host) -> None:
        self.index = index
        self.finished_at = inf
        self.started_at = case.stagger * index / case.senders
        self.accepted = [(index << 20) + number for number in range(case.records)]
        self.path: FaultyPath[Address] = FaultyPath(case.network, now=0.0)
        self._case = case
        self._host = host
        self._encoding = ENCODINGS[case.encoding]
        random = Random(f"{case.seed}/{index}")
        settings = SenderSettings(
            acknowledged=case.delivery == "acknowledged",
            max_datagram_size=case.max_datagram_size,
            encoder=self._encoding.encoder,
            seal=KEY.sender if case.keyed else CHECKSUM,
            own_seal=KEY.receiver if case.keyed else None,
        )
        self.sender = make_delivery(
            settings, stream_id=random.getrandbits(64), random=random.random
        )
        if index:  # the same faults for each sender, in another order
            for link in (self.path.to_receiver, self.path.to_sender):
                link._random.seed(f"{case.seed}/{index}/{link._random.random()}")
        self._logged = 0
        self._next_log = self.started_at
        self._waiting: list[int] = []
        self._sockets = 0
        self._opened_at = -inf
        self._has_error = False
        self._is_closing = False

    @property
    def address(self) -> Address:
        """Where the receiver sees this sender."""
        return f"host{self.index}", 1000 + self._sockets + 100 * self.path.rebinds

    # time

    def next_time(self) -> float:
        """When to be called next."""
        sender, path = self.sender.next_timeout(), self.path.next_timeout()
        time = self._next_log if sender is None else min(self._next_log, sender)
        return time if path is None else min(time, path)

    def step(self, now: float) -> None:
        """Do what is due."""
        self.path.handle_timeout(now)
        for data, address in self.path.to_receiver.datagrams_to_send(now):
            self._host.arrive(data, address, now)
        for data, address in self.path.to_sender.datagrams_to_send(now):
            if address == self.address:
                self.sender.receive_datagram(data, now)
        self._log(now)
        self.sender.handle_timeout(now)
        while (datagram := self.sender.datagram_to_send(now)) is not None:
            self._send(datagram, now)
        self._renew_socket(now)
        if self.sender.is_closed and self.finished_at == inf:
            self.finished_at = now

    # records

    def _log(self, now: float) -> None:
        if now >= self._next_log:
            self._log_portion(now)
        if self._waiting and self.sender.can_send:
            snapshots = [self._snapshot(number) for number in self._waiting]
            self._waiting.clear()
            self.sender.send_batch(snapshots, now, wall_time(self._case, self.index, now))
        if self._logged == self._case.records and not self._waiting and not self._is_closing:
            self._is_closing = True
            self.sender.close()

    def _log_portion(self, now: float) -> None:
        left = self._case.records - self._logged
        count = (
            min(left, max(1, self._case.records // self._case.portions))
            if self._case.rate
            else left
        )
        self._waiting += self.accepted[self._logged : self._logged + count]
        self._logged += count
        done = self._logged == self._case.records
        self._next_log = inf if done else now + count / self._case.rate

    def _snapshot(self, number: int) -> tuple[object, ...]:
        every = self._case.large_every
        size = self._case.record_size
        if every and number % every == every - 1:
            size = 3 * self._case.max_datagram_size
        return self._encoding.snapshot(number, size)

    # the socket

    def _send(self, data: bytes, now: float) -> None:
        limit = self._path_limit(now)
        if self._has_error:
            self._has_error = False
            self.sender.on_send_failed(SendFailure.REFUSED, now)
        elif len(data) > limit and self._case.path_tells:
            self.sender.on_send_failed(SendFailure.TOO_BIG, now, limit)
        else:
            if self._case.refuses and not self._host.is_up:
                self._has_error = True
            elif len(data) <= limit:
                self.path.to_receiver.receive_datagram(data, self.address, now)
            self.sender.on_datagram_sent(now)

    def _path_limit(self, now: float) -> int:
        passed = [size for at, size in self._case.path_limit if at <= now]
        return passed[-1] if passed else 1 << 16

    def _renew_socket(self, now: float) -> None:
        if self.sender.wants_new_socket and now - self._opened_at >= NEW_SOCKET_INTERVAL:
            self._opened_at = now
            self._sockets += 1
            self._has_error = False
            self.sender.on_new_socket()

    def receive(self, data: bytes, address: Address, now: float) -> None:
        """An answer enters the network."""
        self.path.to_sender.receive_datagram(data, address, now)

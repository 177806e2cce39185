"""Two receivers behind one address: noticed on both ends, in virtual time, and only then."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler.core.payload.encoded import Encoded
from batchudp_handler.core.receive.events import AddressShared, BatchReceived
from batchudp_handler.core.receive.receiver import ReceiverProtocol, ReceiverSettings
from batchudp_handler.core.receive.shared_address import REMEMBERED_STREAMS, SharedAddress
from batchudp_handler.core.send.alternation import Alternation
from batchudp_handler.core.send.deliveries import make_delivery
from batchudp_handler.core.send.settings import SenderSettings

if TYPE_CHECKING:
    from collections.abc import Callable

HOME = ("192.0.2.1", 5000)
WALL = 1.8e9


class Balanced:
    """A sender, a balancer, and the receivers that it deals datagrams out to."""

    def __init__(self, pick: Callable[[int], int], receivers: int = 2, **settings: Any) -> None:
        self.now = 1000.0
        self.sent = 0
        self.pick = pick
        self.signs = [0] * receivers
        self.sender = make_delivery(
            SenderSettings(encoder=_encode, **settings),
            stream_id=7,
            random=Random(7).random,
        )
        self.receivers = [
            ReceiverProtocol(
                ReceiverSettings(), epoch=11 + n, secret=bytes([n] * 32), now=self.now, wall=WALL
            )
            for n in range(receivers)
        ]

    def log(self, records: int) -> None:
        snapshots: list[Any] = [(number,) for number in range(records)]  # stand-ins
        self.sender.send_batch(snapshots, self.now, WALL + self.now)

    def run(self, seconds: float, *, step: float = 0.01) -> None:
        """Let time pass; answers take no time, and handlers return at once."""
        end = self.now + seconds
        while self.now < end:
            self.sender.handle_timeout(self.now)
            while (datagram := self.sender.datagram_to_send(self.now)) is not None:
                self.sender.on_datagram_sent(self.now)
                self._arrive(datagram, self.pick(self.sent))
                self.sent += 1
            self.now += step

    def _arrive(self, datagram: bytes, number: int) -> None:
        receiver, wall = self.receivers[number], WALL + self.now
        receiver.receive_datagram(datagram, HOME, self.now, wall)
        receiver.on_socket_drained(self.now)
        for event in receiver.events_received():
            if isinstance(event, BatchReceived):
                receiver.on_batch_handled(event, event.n_rec, {}, self.now)
            self.signs[number] += isinstance(event, AddressShared)
        receiver.on_socket_drained(self.now)
        for answer, _ in receiver.datagrams_to_send():
            self.sender.receive_datagram(answer, self.now)


def _encode(snapshots: Any) -> Encoded:
    body = json.dumps([each[0] for each in snapshots]).encode()
    return Encoded(0, body, len(body))


def test_acknowledged_by_turns_is_told_by_all() -> None:
    """Nothing is confirmed; the sender says why, and each receiver does, within five seconds."""
    bench = Balanced(lambda n: n % 2, acknowledged=True)
    bench.log(10)
    bench.run(5.0)
    assert bench.sender.meets_two_receivers
    assert bench.sender.alternations >= 4
    assert all(bench.signs)


@pytest.mark.parametrize("seed", range(8))
def test_acknowledged_by_chance_is_told_by_the_sender(seed: int) -> None:
    """Some datagrams get through; the receivers may take it for loss, the sender does not."""
    chance = Random(seed)
    bench = Balanced(lambda _: chance.randrange(2), acknowledged=True)
    for _ in range(150):
        bench.log(10)
        bench.run(0.1)
    assert bench.sender.meets_two_receivers


def test_a_receiver_is_told_that_it_was_left_for_another() -> None:
    """A sender that has named it names another one, and goes on to send here."""
    chance = Random(2)
    bench = Balanced(lambda _: chance.randrange(2), acknowledged=True)
    for _ in range(150):
        bench.log(10)
        bench.run(0.1)
    assert any(bench.signs)


def test_acknowledged_by_one_is_nothing_to_tell() -> None:
    """Nor is a receiver that is there alone for long."""
    bench = Balanced(lambda _: 0, acknowledged=True)
    for _ in range(100):
        bench.log(10)
        bench.run(0.3)
    assert not bench.sender.meets_two_receivers
    assert bench.sender.alternations == 0
    assert bench.signs == [0, 0]


def test_a_receiver_that_takes_over_is_nothing_to_tell() -> None:
    """Ten restarts, each a new epoch."""
    life = [0]
    bench = Balanced(lambda _: life[0], receivers=10, acknowledged=True)
    for number in range(10):
        life[0] = number
        bench.log(10)
        bench.run(7.0)
    assert not bench.sender.meets_two_receivers
    assert not any(bench.signs)


@pytest.mark.parametrize("receivers", [2, 3])
def test_one_way_by_turns_is_seen_by_each_receiver(receivers: int) -> None:
    """Exactly every second datagram is missing, or two of three."""
    bench = Balanced(lambda n: n % receivers, receivers=receivers)
    for _ in range(80):
        bench.log(10)
        bench.run(0.05)
    assert all(bench.signs)
    assert bench.sender.alternations == 0


def test_one_way_loss_is_not_taken_for_it() -> None:
    """Half of all datagrams get lost, by chance: gaps of all lengths."""
    chance = Random(5)
    bench = Balanced(lambda _: chance.randrange(2), receivers=2)
    for _ in range(500):
        bench.log(1)
        bench.run(0.02)
    assert bench.signs == [0, 0]


# --- the counts --------------------------------------------------------------------------------


def test_late_answers_of_a_dead_receiver_do_not_alternate_for_long() -> None:
    """Reordered around a restart, within a second."""
    seen = Alternation()
    for number in range(50):
        seen.on_answer(1 + number % 2, number * 0.02)
    assert seen.count == 48
    assert not seen.is_suspected


def test_answers_by_turns_for_long() -> None:
    """Two seconds of it are enough, few answers are not."""
    seen = Alternation()
    for number in range(50):
        seen.on_answer(1 + number % 2, number * 0.1)
    assert seen.is_suspected


def test_many_epochs_take_bounded_memory() -> None:
    """A receiver that is restarted for ever, and streams that strangers invent."""
    seen, signs = Alternation(), SharedAddress()
    for number in range(10_000):
        seen.on_answer(number + 1, float(number))
        assert not signs.on_foreign(number, float(number))
        assert not signs.on_gap(number, 2, 1)
    assert not seen.is_suspected
    assert len(seen._returns) <= 16
    assert len(signs._foreign._values) == len(signs._gaps._values) == REMEMBERED_STREAMS

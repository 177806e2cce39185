"""Checks that the numbers add up, and that every record is where the numbers say.

The identities: S for each sender, R for each stream of each life of the receiver, X for one life
of the receiver (exactly once), X' for several (at least once, extra copies bounded), O one-way.
Records are compared as sets of their numbers, not as counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchudp_handler.core.receive.stats import ReceiverStats

    from .node import Node
    from .world import Outcome, World

__all__ = ["check", "check_bounds"]


def check(world: World, outcome: Outcome) -> None:
    """Raise AssertionError where an identity does not hold."""
    for node in world.nodes:
        check_sender(node)
    for stats in lives(world):
        check_streams(stats)
    if world.case.delivery == "acknowledged":
        check_acknowledged(world, outcome)
    else:
        check_one_way(world)


def lives(world: World) -> list[ReceiverStats]:
    """The numbers of all lives of the receiver, the last one included."""
    last = [] if world.host.receiver is None else [world.host.receiver.stats(world.now)]
    return [*world.host.lives, *last]


def check_sender(node: Node) -> None:
    """Identity S, with nothing left over after the close."""
    counters = node.sender.counters
    settled = (
        counters.sent
        + counters.confirmed
        + counters.rejected_by_receiver
        + counters.unconfirmed
        + sum(counters.dropped.values())
    )
    assert not node.sender.meets_two_receivers, "there is one receiver at a time"
    held = node.sender.pending_records + node.sender.retained_records + node.sender.spooled_records
    assert held == 0, f"sender {node.index} still holds {held} records"
    assert settled == len(node.accepted), f"S: sender {node.index} accounts for {settled}"


def check_streams(stats: ReceiverStats) -> None:
    """Identity R for each stream."""
    for name, stream in stats.streams.items():
        known = stream.next_rec - stream.first_rec
        found = (
            stream.delivered
            + sum(stream.rejected.values())
            + stream.lost
            + stream.missing
            + stream.abandoned
            + stream.pending
        )
        assert known == found, f"R: stream {name} knows {known} records and accounts for {found}"


def check_acknowledged(world: World, outcome: Outcome) -> None:
    """X and X': every record once, or with restarts at least once."""
    host = world.host
    accepted = {number for node in world.nodes for number in node.accepted}
    received = host.delivered.keys() | host.rejected.keys()
    missing = accepted - received
    assert not missing, f"X: {len(missing)} records confirmed and never delivered: {min(missing)}"
    assert received == accepted, "X: records that nobody sent"
    assert outcome.extra <= outcome.resent, (
        f"X': {outcome.extra} extra deliveries, {outcome.resent} explained"
    )
    for node in world.nodes:
        counters = node.sender.counters
        assert not counters.dropped, f"dropped: {counters.dropped}"
        assert not counters.unconfirmed
    if not world.case.restarts and not outcome.resent:
        confirmed = sum(node.sender.counters.confirmed for node in world.nodes)
        rejected = sum(node.sender.counters.rejected_by_receiver for node in world.nodes)
        assert confirmed == sum(host.delivered.values()), "X: confirmed is not delivered"
        assert rejected == sum(host.rejected.values()), "X: rejections differ"


def check_one_way(world: World) -> None:
    """O: nothing twice, nothing invented, and what a stream lost is what is not there."""
    host = world.host
    accepted = {number for node in world.nodes for number in node.accepted}
    received = host.delivered + host.rejected
    assert received.keys() <= accepted
    assert max(received.values(), default=1) == 1, "O: a record was delivered twice"
    (stats,) = lives(world)
    assert "stale" not in stats.refused, "a clock has silenced a stream"
    for node in world.nodes:
        stream = stats.streams.get(f"{node.sender.stream_id:016x}")
        own = sum(number >> 20 == node.index for number in received)
        if stream is None:
            assert own == 0
        elif stream.ended == "closed":
            told = own + stream.lost + stream.missing + stream.unseen_before_start
            assert stream.pending == 0
            assert told == node.sender.counters.sent, (
                f"O: sender {node.index} sent {node.sender.counters.sent}, receiver knows {told}"
            )


def check_bounds(world: World, outcome: Outcome) -> None:
    """Raise AssertionError where the run took more than its case allows."""
    case = world.case
    datagrams = max(outcome.datagrams, 1)
    bounds = (
        ("time", outcome.time, case.max_time),
        ("transmissions per datagram", outcome.transmissions / datagrams, case.max_transmissions),
        ("acks per datagram", outcome.acks / datagrams, case.max_acks),
        ("spurious share", outcome.spurious / datagrams, case.max_spurious),
    )
    for name, value, bound in bounds:
        assert not bound or value <= bound, f"{name}: {value:.3f} > {bound}"
    if case.max_kernel_drops >= 0:
        share = outcome.kernel_drops / max(outcome.arrived, 1)
        assert share <= case.max_kernel_drops, f"kernel drops: {share:.4f}"

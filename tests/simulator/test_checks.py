"""The checks notice faults: each is given a world in which something went wrong."""

from __future__ import annotations

import pytest

from batchudp_handler.testing.faultproxy import Faults, Scenario

from .case import Case, Restart, case_from_mapping
from .checks import check, check_bounds
from .world import Outcome, Unfinished, World


def finished(**values: object) -> tuple[World, Outcome]:
    world = World(case_from_mapping(values))
    outcome = world.run()
    check(world, outcome)
    return world, outcome


def test_a_record_that_was_not_delivered() -> None:
    """Confirmed and not there is the worst that can happen."""
    world, outcome = finished()
    del world.host.delivered[7]
    with pytest.raises(AssertionError, match="never delivered: 7"):
        check(world, outcome)


def test_a_record_that_nobody_sent() -> None:
    """What arrives must have been accepted."""
    world, outcome = finished()
    world.host.delivered[1 << 30] = 1
    with pytest.raises(AssertionError, match="nobody sent"):
        check(world, outcome)


def test_a_record_delivered_twice() -> None:
    """Extra deliveries must be explained by restarts or a smaller path."""
    world = World(Case())
    world.run()
    world.host.delivered[3] += 1
    with pytest.raises(AssertionError, match="extra deliveries"):
        check(world, world._outcome())


def test_a_sender_that_counts_wrongly() -> None:
    """Identity S."""
    world, outcome = finished()
    world.nodes[0].sender.counters.confirmed -= 1
    with pytest.raises(AssertionError, match="S: sender 0"):
        check(world, outcome)


def test_confirmed_must_be_delivered() -> None:
    """X compares both ends, also where each end is right by itself."""
    world, outcome = finished()
    counters = world.nodes[0].sender.counters
    counters.confirmed -= 1
    counters.rejected_by_receiver += 1
    with pytest.raises(AssertionError, match="X: confirmed"):
        check(world, outcome)


def test_one_way_loss_that_nobody_counted() -> None:
    """O: what is missing must be known to the receiver."""
    lossy = {"phases": [{"both": {"loss": 0.2}}]}
    world, outcome = finished(delivery="one_way", records=2_000, seed=4, network=lossy)
    assert sum(world.host.delivered.values()) < 2_000
    number = next(iter(world.host.delivered))
    del world.host.delivered[number]
    with pytest.raises(AssertionError, match="O: sender 0"):
        check(world, outcome)


def test_a_run_without_an_end() -> None:
    """A sender that can never be done is reported with its number."""
    nothing = Faults(blackhole=True)
    case = Case(network=Scenario.steady(nothing, nothing), time_limit=100.0)
    with pytest.raises(Unfinished, match=r"senders \[0\]"):
        World(case).run()


@pytest.mark.parametrize(
    ("bound", "words"),
    [
        ({"max_time": 0.1}, "time"),
        ({"max_transmissions": 0.9}, "transmissions"),
        ({"max_acks": 0.01}, "acks"),
    ],
)
def test_bounds_are_bounds(bound: dict[str, float], words: str) -> None:
    """A run that takes more than its case allows fails."""
    world, outcome = finished(network={"phases": [{"both": {"delay": 0.2}}]}, **bound)
    with pytest.raises(AssertionError, match=words):
        check_bounds(world, outcome)


def test_a_receiver_killed_in_the_middle_of_its_work() -> None:
    """Records are delivered again to the next life, and not more often than was announced."""
    case = Case(records=400, rate=400.0, handler_time=0.05, restarts=(Restart(0.5),))
    world = World(case)
    outcome = world.run()
    check(world, outcome)
    assert 0 < outcome.extra <= outcome.resent


def test_unknown_names_in_a_case() -> None:
    """A misspelt bound would never fail."""
    with pytest.raises(ValueError, match="max_tim"):
        case_from_mapping({"max_tim": 1})

"""Scripts of phases, in virtual time and from files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from batchudp_handler.testing.faultproxy import Faults, FaultyPath, Phase, Scenario

if TYPE_CHECKING:
    from pathlib import Path


TOML = """
seed = 7

[[phases]]
both = { delay = 0.01 }
to_receiver = { loss = 0.3 }

[[phases]]
start = 5.0
to_sender = { blackhole = true }

[[phases]]
start = 8
rebind_interval = 1.0
"""
SCENARIO = Scenario(
    (
        Phase(0.0, Faults(loss=0.3, delay=0.01), Faults(delay=0.01)),
        Phase(5.0, Faults(), Faults(blackhole=True)),
        Phase(8.0, Faults(), Faults(), 1.0),
    ),
    seed=7,
)


def test_load_toml(tmp_path: Path) -> None:
    """A scenario is read from TOML."""
    path = tmp_path / "scenario.toml"
    path.write_text(TOML)
    assert Scenario.load(path) == SCENARIO


def test_load_json(tmp_path: Path) -> None:
    """A scenario is read from JSON."""
    path = tmp_path / "scenario.json"
    path.write_text(json.dumps({"seed": 3, "phases": [{"both": {"loss": 1, "rate": None}}]}))
    assert Scenario.load(path) == Scenario.steady(Faults(loss=1), Faults(loss=1), seed=3)


def test_empty_scenario_does_nothing() -> None:
    """All has a default."""
    assert Scenario.from_mapping({}) == Scenario()


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"phase": []}, "unknown name 'phase' in a scenario"),
        ({"phases": [{"begin": 1}]}, "unknown name 'begin' in a phase"),
        ({"phases": [3]}, "a phase must be a table"),
        ({"phases": 3}, "phases a list"),
        ({"seed": "x"}, "seed must be an int"),
        ({"phases": []}, "phases start at 0"),
        ({"phases": [{"start": 1}]}, "phases start at 0"),
        ({"phases": [{}, {"start": 2}, {"start": 1}]}, "follow one another"),
        ({"phases": [{}, {}]}, "follow one another"),
        ({"phases": [{"rebind_interval": 0}]}, "rebind_interval must be more than 0"),
        ({"phases": [{"both": {"los": 1}}]}, "unknown fault 'los'"),
        ({"phases": [{"both": 3}]}, "both must be a table"),
        ({"phases": [{"start": "now"}]}, "start must be a number"),
    ],
)
def test_bad_scenarios_are_refused(values: dict[str, object], complaint: str) -> None:
    """A wrong name or value says what is wrong."""
    with pytest.raises(ValueError, match=complaint):
        Scenario.from_mapping(values)


def test_phases_follow_the_time() -> None:
    """Each phase replaces the faults of both directions at its start."""
    path: FaultyPath[None] = FaultyPath(SCENARIO, now=100.0)
    assert path.to_receiver.faults == SCENARIO.phases[0].to_receiver
    assert path.next_timeout() == 105.0
    path.handle_timeout(104.9)
    assert not path.to_sender.faults.blackhole
    path.handle_timeout(105.0)
    assert path.to_sender.faults.blackhole
    assert path.next_timeout() == 108.0
    path.handle_timeout(200.0)
    assert not path.to_sender.faults.blackhole


def test_rebinds_come_at_their_interval() -> None:
    """The source port changes every rebind_interval seconds, also when nobody looked in time."""
    path: FaultyPath[None] = FaultyPath(Scenario.steady(rebind_interval=2.0), now=0.0)
    assert path.next_timeout() == 2.0
    path.handle_timeout(1.9)
    assert path.rebinds == 0
    path.handle_timeout(7.0)
    assert path.rebinds == 3
    assert path.next_timeout() == 8.0


def test_change_replaces_the_script() -> None:
    """A change lasts; what was on its way still arrives."""
    path: FaultyPath[None] = FaultyPath(SCENARIO, now=0.0)
    path.to_sender.receive_datagram(b"x", None, 0.0)
    path.change(Phase(0.0, Faults(blackhole=True), Faults(), 3.0), now=1.0)
    path.handle_timeout(1.5)
    path.handle_timeout(2.5)
    assert path.to_receiver.faults.blackhole
    assert path.to_sender.datagrams_to_send(2.5) == [(b"x", None)]
    assert path.next_timeout() == 4.0
    path.handle_timeout(50.0)
    assert path.to_receiver.faults.blackhole


def test_directions_do_not_disturb_each_other() -> None:
    """The fate of the records is the same, however many acknowledgements come back."""
    scenario = Scenario.steady(Faults(loss=0.5), Faults(loss=0.5), seed=9)

    def arrived(acks: int) -> list[bytes]:
        path: FaultyPath[None] = FaultyPath(scenario, now=0.0)
        for n in range(200):
            path.to_receiver.receive_datagram(bytes([n]), None, 0.0)
            for _ in range(acks):
                path.to_sender.receive_datagram(b"ack", None, 0.0)
        return [data for data, _ in path.to_receiver.datagrams_to_send(0.0)]

    assert arrived(0) == arrived(3)

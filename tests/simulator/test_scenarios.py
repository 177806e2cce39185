"""The described scenarios: what must hold, and what it may cost."""

from __future__ import annotations

from pathlib import Path

import pytest

from .case import Case, load_cases
from .checks import check, check_bounds
from .world import World

CASES = load_cases(Path(__file__).parent.parent / "scenarios")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_scenario(case: Case) -> None:
    """The identities hold as sets of records, within the bounds of the scenario."""
    world = World(case)
    outcome = world.run()
    check(world, outcome)
    check_bounds(world, outcome)

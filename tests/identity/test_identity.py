"""Every record that a sender accepts stands in the receiver's output or in a counter.

Thirty scenarios, or as many as `BATCHUDP_IDENTITY_RUNS` says; a failed one names its seed.
"""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.identity.__main__ import run_one
from tests.identity.preload import build
from tests.identity.scenario import FAULTS, scenario

pytestmark = pytest.mark.xdist_group("identity")
"""All in one process, which runs a few at a time."""

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from tests.identity.run import Row

RUNS = int(os.environ.get("BATCHUDP_IDENTITY_RUNS", "30"))
JOBS = 3


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[int, Future[Row]]]:
    """All scenarios that were selected, a few at a time: most of a run is waiting."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    preload = build(tmp_path_factory.mktemp("preload"))
    calls = [getattr(item, "callspec", None) for item in request.session.items]
    seeds = {call.params["seed"] for call in calls if call and "seed" in call.params}
    with ThreadPoolExecutor(JOBS) as pool:
        wanted = sorted(seed for seed in seeds if isinstance(seed, int))
        yield {seed: pool.submit(run_one, seed, preload) for seed in wanted if seed < RUNS}
        pool.shutdown(cancel_futures=True)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(RUNS))
def test_all_that_is_accepted_is_written_or_counted(
    runs: dict[int, Future[Row]], seed: int
) -> None:
    """And what is confirmed is written; whatever happens meanwhile."""
    row = runs[seed].result()
    again = f"python -m tests.identity --first {seed} --runs 1"
    assert row.problems == [], f"{row.scenario}: {row.problems}; again: {again}"
    assert row.difference == 0
    assert row.accepted > 0


def test_every_kind_of_fault_is_tried() -> None:
    """Twice in thirty seeds, and every output and delivery somewhere."""
    made = [scenario(seed) for seed in range(30)]
    assert {each.fault for each in made} == {fault.name for fault in FAULTS}
    assert {each.outlet for each in made} >= {"file", "stdout", "workers"}
    assert {each.delivery for each in made} == {"one_way", "acknowledged"}
    assert scenario(7) == scenario(7)

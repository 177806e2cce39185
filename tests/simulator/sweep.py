"""The seeds that fail.

    cd tests; python -m simulator 0 1000000

runs the cases of these seeds and prints a line for each that fails, with the seed, so that it can
be run alone and written into `regressions.txt`.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from .case import random_case
from .checks import check
from .world import World

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["failures", "main"]


def failures(seeds: Iterable[int]) -> Iterator[str]:
    """Run the cases of some seeds; yield one line for each that fails."""
    for seed in seeds:
        try:
            world = World(random_case(seed))
            check(world, world.run())
        except AssertionError as error:
            yield f"seed {seed}: {error}"
        except Exception as error:  # noqa: BLE001  # whatever a core raises is a failure
            place = traceback.extract_tb(error.__traceback__)[-1]
            yield f"seed {seed}: {error!r} in {place.name}, line {place.lineno}"


def main(arguments: list[str]) -> int:
    """Run the seeds from the first argument up to the second; every `step`th of them."""
    first, end, *rest = map(int, arguments)
    found = 0
    for line in failures(range(first, end, *rest)):
        print(line, flush=True)
        found += 1
    return min(found, 1)

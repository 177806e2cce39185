"""Runs one target under the fuzzer, in a process of its own. `run.py` starts it."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

SLACK = 8.0
"""Coverage instrumentation makes pure Python several times slower."""


def main() -> None:
    """Fuzz `argv[1]`; all that follows goes to libFuzzer."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    atheris: Any = import_module("atheris")  # has no types
    with atheris.instrument_imports(include=["batchudp_handler"]):
        targets = import_module("fuzz.targets")
        guard = import_module("fuzz.guard")
    guard.set_slack(SLACK)
    target = targets.TARGETS[sys.argv[1]]
    options: dict[str, Any] = {}
    if target.mutate is not None:

        def mutate(data: bytes, most: int, seed: int) -> bytes:
            changed: bytes = target.mutate(data, most, seed, atheris.Mutate)
            return changed

        options["custom_mutator"] = mutate
    atheris.Setup([sys.argv[0], *sys.argv[2:]], target.run, **options)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

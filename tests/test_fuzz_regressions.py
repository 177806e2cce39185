"""Every input that the fuzzer begins with, or that once broke something, without the fuzzer."""

from __future__ import annotations

import importlib
import sys
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

TRIES = 4
"""A garbage collection may make one run of an input slow, not each."""
MOST_MEMORY = 64 << 20

NAMES = (
    *("datagrams", "payloads", "documents", "logger_names", "sender", "receiver", "reassembly"),
    "gelf",
    *("segments", "key_files", "configuration", "environment"),
)


@pytest.fixture(scope="module")
def fuzz(repository: Path) -> Any:
    """The table of targets; the folder is no part of the package."""
    sys.path.insert(0, str(repository))
    try:
        return importlib.import_module("fuzz.targets")
    finally:
        sys.path.remove(str(repository))


def test_all_targets_are_replayed(fuzz: Any) -> None:
    """The names here are those of the table."""
    assert sorted(fuzz.TARGETS) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_inputs(name: str, fuzz: Any) -> None:
    """No exception but the package's own, at most 50 ms each."""
    target = fuzz.TARGETS[name]
    inputs = list(fuzz.inputs_of(target))
    assert inputs, "no corpus: run fuzz/make_corpus.py"
    for path in inputs:
        replay(target, path)


def replay(target: Any, path: Path) -> None:
    for attempt in range(TRIES):
        try:
            target.run(path.read_bytes())
        except AssertionError as error:
            if type(error).__name__ != "TooSlow" or attempt == TRIES - 1:
                error.add_note(str(path))
                raise
        except BaseException as error:
            error.add_note(str(path))
            raise
        else:
            return


def test_payloads_take_bounded_memory(fuzz: Any) -> None:
    """Bombs included, decoding a datagram never takes more than a fixed amount."""
    target = fuzz.TARGETS["payloads"]
    guard = sys.modules["fuzz.guard"]
    guard.set_slack(100.0)  # tracing takes time
    tracemalloc.start()
    try:
        for path in fuzz.inputs_of(target):
            data = path.read_bytes()
            tracemalloc.reset_peak()
            target.run(data)
            assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY, path.name
    finally:
        tracemalloc.stop()
        guard.set_slack(1.0)

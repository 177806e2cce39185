"""Fixtures of the receiver's tests: local logging that is put back as it was."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

from tests.receiver.bench import Collector


@pytest.fixture
def collected() -> Iterator[Collector]:
    """What reaches the root logger."""
    collector, root = Collector(), logging.getLogger()
    level = root.level
    root.addHandler(collector)
    root.setLevel(logging.NOTSET)
    yield collector
    root.removeHandler(collector)
    root.setLevel(level)


@pytest.fixture
def own_loggers() -> Iterator[None]:
    """Loggers that a test makes do not outlive it."""
    manager = logging.Logger.manager
    before = dict(manager.loggerDict)
    yield
    manager.loggerDict.clear()
    manager.loggerDict.update(before)

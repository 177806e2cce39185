"""Handlers that ship to the collector of the test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler import BatchUDPHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from batchudp_handler.testing.collector import DatagramCollector


@pytest.fixture
def make(collector: DatagramCollector) -> Iterator[Callable[..., BatchUDPHandler]]:
    """Make handlers that ship to the collector and are closed at the end."""
    made: list[BatchUDPHandler] = []

    def make_handler(**settings: Any) -> BatchUDPHandler:
        host, port = collector.address
        made.append(BatchUDPHandler(host, port, **settings))
        return made[-1]

    yield make_handler
    for handler in made:
        handler.close()

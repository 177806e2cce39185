"""Handlers of the test's process and programs of their own, which ship to its collector."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler import BatchUDPHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

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


@pytest.fixture
def launch(
    collector: DatagramCollector, tmp_path: Path
) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start programs that ship to the collector, or to another target, and end them."""
    processes: list[subprocess.Popen[str]] = []

    def launch_program(
        text: str, *before: str, target: tuple[str, int] | None = None, warnings: str = "ignore"
    ) -> subprocess.Popen[str]:
        path = tmp_path / "program.py"
        path.write_text(text, "utf-8")
        host, port = target or collector.address
        command = [*before, sys.executable, "-W", warnings, str(path), host, str(port)]
        processes.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
        return processes[-1]

    yield launch_program
    for process in processes:
        process.kill()
        process.communicate()

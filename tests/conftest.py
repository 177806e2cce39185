"""Fixtures of all tests: tools that may be missing, a collector, a logger, a table of records."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from batchudp_handler.testing.collector import DatagramCollector
from tests.table import Table, table_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """The top of the source tree."""
    return REPOSITORY


@pytest.fixture(scope="session")
def require() -> Callable[..., str]:
    """Give the path of a command; without it skip, or fail where BATCHUDP_REQUIRE is set.

    BATCHUDP_REQUIRE=packages asks only for what pip installs, and not for tools of the system.
    """

    def find(command: str, *, is_of_system: bool = False) -> str:
        places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        found = shutil.which(command, path=places)
        needed = os.environ.get("BATCHUDP_REQUIRE", "")
        if found is None and needed and not (is_of_system and needed == "packages"):
            pytest.fail(f"{command} is not installed, and BATCHUDP_REQUIRE forbids to skip")
        if found is None:
            pytest.skip(f"{command} is not installed")
        return found

    return find


@pytest.fixture
def collector() -> Iterator[DatagramCollector]:
    """Collect the datagrams that handlers of this test send."""
    with DatagramCollector() as made:
        yield made


@pytest.fixture
def logger(request: pytest.FixtureRequest) -> Iterator[logging.Logger]:
    """Make a logger for this test alone, and close its handlers at the end."""
    made = logging.getLogger(f"test.{request.node.name}")
    made.setLevel(logging.DEBUG)
    made.propagate = False
    yield made
    for handler in made.handlers[:]:
        made.removeHandler(handler)
        handler.close()


def pytest_configure(config: pytest.Config) -> None:
    """Make room for the table, and let programs that are started here be interrupted.

    What a shell starts in the background ignores SIGINT, and so do all of its children.
    """
    config.stash[table_key] = Table()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the table, if a test has put something into it."""
    made = config.stash[table_key]
    if made.rows:
        terminalreporter.section("records")
        for line in made.lines():
            terminalreporter.write_line(line)


@pytest.fixture
def table(request: pytest.FixtureRequest) -> Table:
    """Where a test says how many records were logged, and what came of them."""
    return request.config.stash[table_key]

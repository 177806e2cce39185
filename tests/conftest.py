"""Fixtures of all tests: tools that may be missing, a collector, a logger, a table of records."""

from __future__ import annotations

import logging
import os
import platform
import shutil
import signal
import sys
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler.testing.collector import DatagramCollector
from tests.table import Row, Table, table_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
REPOSITORY = HERE.parent
SEEDS = os.environ.get("BATCHUDP_SIMULATOR_SEEDS", "20000")
left_out_key: pytest.StashKey[int] = pytest.StashKey()
SERVERS = ("attacks", "engines", "faults", "integration", "network")
"""Folders whose tests start servers and networks: they are left to `make test-all`."""


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


@pytest.fixture
def table(request: pytest.FixtureRequest) -> Table:
    """Where a test says how many records were logged, and what came of them."""
    return request.config.stash[table_key]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option by which `make test` leaves out what takes long."""
    words = f"leave out tests marked slow, and the folders {', '.join(SERVERS)}"
    parser.addoption("--quick", action="store_true", help=words)


def pytest_configure(config: pytest.Config) -> None:
    """Make room for the table, and let programs that are started here be interrupted.

    What a shell starts in the background ignores SIGINT, and so do all of its children.
    """
    config.stash[table_key] = Table()
    config.stash[left_out_key] = 0
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the folders that start servers and networks."""
    is_left_out = collection_path.parent == HERE and collection_path.name in SERVERS
    return True if is_left_out and config.getoption("quick") else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests marked slow."""
    if config.getoption("quick"):
        slow = [item for item in items if item.get_closest_marker("slow")]
        items[:] = [item for item in items if item not in slow]
        config.stash[left_out_key] = len(slow)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let a process of pytest-xdist tell the first one what only it knows."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["left_out"] = session.config.stash[left_out_key]
        output["rows"] = [astuple(row) for row in session.config.stash[table_key].rows]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take what another process tells."""
    output = getattr(node, "workeroutput", {})
    node.config.stash[left_out_key] = output.get("left_out", 0)
    for row in output.get("rows", ()):
        node.config.stash[table_key].add_row(Row(*row))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the table, if a test has put something into it, and what was left out."""
    made = config.stash[table_key]
    if made.rows:
        terminalreporter.section("records")
        for line in made.lines():
            terminalreporter.write_line(line)
    if config.getoption("quick"):
        terminalreporter.section("make test")
        for line in _summary(terminalreporter, config.stash[left_out_key]):
            terminalreporter.write_line(line)


def _summary(reporter: pytest.TerminalReporter, slow: int) -> Iterator[str]:
    """Say what ran, and what `make test-all` runs beside it."""
    outcomes = ("passed", "failed", "error", "skipped")
    counts = {each: len(reporter.getreports(each)) for each in outcomes}
    ran = ", ".join(f"{number:,} {each}" for each, number in counts.items() if number)
    yield f"{ran} on Python {platform.python_version()}, the simulator with {SEEDS} seeds."
    yield f"`make test-all` adds: {slow} tests that take longer than three seconds;"
    yield f"the folders {', '.join(SERVERS)}; every other Python that is installed; the"
    yield "simulator with 20,000 seeds; the model; fuzzing; the package; the guard against costs."

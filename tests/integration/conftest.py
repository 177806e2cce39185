"""Did each record arrive once?  Counted for each framework, and printed as a table."""

from __future__ import annotations

import platform
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.integration.support import EXAMPLES, Shop

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from batchudp_handler.testing.log_receiver import LogReceiver


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table at the end of the run."""

    case: str
    logged: int
    delivered: int
    lost: int
    duplicated: int
    seconds: float

    def __str__(self) -> str:
        counts = f"{self.logged:>7} {self.delivered:>9} {self.lost:>5} {self.duplicated:>10}"
        return f"{self.case:<44} {platform.python_version():<11} {counts} {self.seconds:>7.1f}"


HEADINGS = (
    f"{'case':<44} {'interpreter':<11} {'logged':>7} {'delivered':>9} {'lost':>5} "
    f"{'duplicated':>10} {'seconds':>7}"
)

rows: pytest.StashKey[list[Row]] = pytest.StashKey()


def pytest_configure(config: pytest.Config) -> None:
    """Make room for the table."""
    config.stash[rows] = []


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the table."""
    if config.stash[rows]:
        terminalreporter.section("records through real programs")
        for line in (HEADINGS, *config.stash[rows]):
            terminalreporter.write_line(str(line))


@pytest.fixture
def shop(log_receiver: LogReceiver, tmp_path: Path) -> Callable[[str], Shop]:
    """Make a `Shop` for the example in a folder of `examples/frameworks`."""

    def make(name: str) -> Shop:
        return Shop(log_receiver, EXAMPLES / name, tmp_path / "output.txt")

    return make


@pytest.fixture
def settle(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Count what arrived, put it into the table, and require each record exactly once."""

    def count(
        shop: Shop, case: str, expected: Sequence[object], records: list[logging.LogRecord]
    ) -> None:
        seen = Counter(str(record.args[0]) for record in records if isinstance(record.args, tuple))
        lost = sum(str(each) not in seen for each in expected)
        duplicated = seen.total() - len(seen)
        row = Row(
            case, len(expected), seen.total(), lost, duplicated, time.monotonic() - shop.began
        )
        request.config.stash[rows].append(row)
        stats = shop.log_receiver.stats()
        assert (lost, duplicated) == (0, 0), row
        assert set(seen) == set(map(str, expected))
        assert (stats.lost, stats.missing, sum(stats.rejected.values())) == (0, 0, 0), stats

    return count

"""What did each network do to the records?  Counted for each case, and printed as a table."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import socket
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.network.support import Calls, Far, Names, Network, inside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


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
        counts = f"{self.logged:>7} | {self.delivered:>9} | {self.lost:>5} | {self.duplicated:>10}"
        python = platform.python_version()
        return f"| {self.case:<58} | {python:<11} | {counts} | {self.seconds:>7.1f} |"


HEADINGS = (
    f"| {'case':<58} | {'interpreter':<11} | {'logged':>7} | {'delivered':>9} | {'lost':>5} "
    f"| {'duplicated':>10} | {'seconds':>7} |"
)

rows: pytest.StashKey[list[Row]] = pytest.StashKey()


def pytest_configure(config: pytest.Config) -> None:
    """Make room for the table."""
    config.stash[rows] = []


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the table."""
    found = config.stash.get(rows, [])
    if found:
        terminalreporter.section("records over networks that move")
        for line in (HEADINGS, *found):
            terminalreporter.write_line(str(line))


@pytest.fixture
def logger(request: pytest.FixtureRequest) -> Iterator[logging.Logger]:
    """A logger of this test alone, whose handlers are closed at the end."""
    made = logging.getLogger(f"network.{request.node.name}")
    made.setLevel(logging.DEBUG)
    made.propagate = False
    yield made
    for handler in made.handlers[:]:
        made.removeHandler(handler)
        handler.close()


@pytest.fixture
def calls(logger: logging.Logger) -> Calls:
    """Log calls that are timed."""
    return Calls(logger)


@pytest.fixture
def far() -> Iterator[Far]:
    """A receiver on the loopback."""
    with Far() as made:
        yield made


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    """Host names whose addresses the test decides about."""
    made = Names()
    monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
    yield made
    made.is_held = False


@pytest.fixture
def network(require: Callable[[str], str]) -> Iterator[Network]:
    """Two hosts and a cable; needs the right to make network namespaces."""
    require("ip")
    with contextlib.ExitStack() as stack:
        try:
            made = stack.enter_context(Network())
            with inside(made.near):
                pass
        except (AssertionError, OSError) as error:
            message = f"no network namespaces here: {error}"
            if os.environ.get("BATCHUDP_REQUIRE") and os.geteuid() == 0:
                pytest.fail(message)
            pytest.skip(message)
        yield made


@pytest.fixture
def settle(request: pytest.FixtureRequest) -> Callable[..., Row]:
    """Put what came of the records into the table, and require quick log calls."""

    def count(case: str, calls: Calls, messages: list[str]) -> Row:
        seen = Counter(messages)
        lost = len(set(calls.messages) - set(seen))
        duplicated = seen.total() - len(seen)
        seconds = time.monotonic() - calls.began
        row = Row(case, calls.logged, seen.total(), lost, duplicated, seconds)
        request.config.stash[rows].append(row)
        assert set(seen) <= set(calls.messages), "records that nobody logged"
        assert calls.is_quick, "the usual round had a log call that waited"
        return row

    return count

"""A table of what the attacks did, at the end of the session."""

from __future__ import annotations

import pytest

from tests.attacks.support import HEADINGS, REPLAY_HEADINGS, TABLE
from tests.faults.support import IS_SOAK


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the table after a long run, or when asked to say more."""
    if not (IS_SOAK or terminalreporter.verbosity > 0):
        return
    tables = ("attacks", HEADINGS, TABLE.rows), ("replays", REPLAY_HEADINGS, TABLE.replays)
    for title, headings, rows in tables:
        if rows:
            terminalreporter.write_sep("-", title)
            for row in (headings, tuple("---" for _ in headings), *rows):
                terminalreporter.write_line(f"| {' | '.join(row)} |")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long runs may take longer."""
    for item in items:
        if "attacks" in item.path.parts:
            item.add_marker(pytest.mark.timeout(900 if IS_SOAK else 300))

"""A table of what the runs with real processes cost, at the end of the session."""

from __future__ import annotations

import pytest

from tests.faults.support import HEADINGS, IS_SOAK, TABLE


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the table after a long run, or when asked to say more."""
    if not TABLE.rows or not (IS_SOAK or terminalreporter.verbosity > 0):
        return
    terminalreporter.write_sep("-", "faults")
    dashes = tuple("---" for _ in HEADINGS)
    for row in (HEADINGS, dashes, *TABLE.rows):
        terminalreporter.write_line(f"| {' | '.join(row)} |")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Processes that lose datagrams take their time on a machine with much else to do."""
    for item in items:
        if "faults" in item.path.parts:
            item.add_marker(pytest.mark.timeout(900 if IS_SOAK else 400))

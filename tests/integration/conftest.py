"""An example that runs for a test, which counts whether each record arrived once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.support import EXAMPLES, Shop

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from batchudp_handler.testing.log_receiver import LogReceiver
    from tests.table import Table


@pytest.fixture
def shop(log_receiver: LogReceiver, tmp_path: Path) -> Callable[[str], Shop]:
    """Make a `Shop` for the example in a folder of `examples/frameworks`."""

    def make(name: str) -> Shop:
        return Shop(log_receiver, EXAMPLES / name, tmp_path / "output.txt")

    return make


@pytest.fixture
def settle(table: Table) -> Callable[..., None]:
    """Count what arrived, put it into the table, and require each record exactly once."""

    def count(
        shop: Shop, case: str, expected: Sequence[object], records: list[logging.LogRecord]
    ) -> None:
        came = [str(record.args[0]) for record in records if isinstance(record.args, tuple)]
        row = table.add(case, [str(each) for each in expected], came, shop.began)
        stats = shop.log_receiver.stats()
        assert (row.lost, row.duplicated) == (0, 0), row
        assert set(came) == set(map(str, expected))
        assert (stats.lost, stats.missing, sum(stats.rejected.values())) == (0, 0, 0), stats

    return count

"""The children of billiard, Celery's fork of multiprocessing, are heard to the end."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from batchudp_handler.testing.collector import DatagramCollector
from tests.integration.support import PYTHON, RUN_LIMIT, require_module

if TYPE_CHECKING:
    from pathlib import Path

    from tests.table import Table

PROGRAM = """
import logging, sys
import billiard
from batchudp_handler import BatchUDPHandler, drain_on_sigterm

logger = logging.getLogger("program")
logger.setLevel(logging.INFO)
settings = {{"batch_size": 1_000_000, "flush_interval": 600.0, "shutdown_timeout": 30.0}}
logger.addHandler(BatchUDPHandler("127.0.0.1", int(sys.argv[1]), **settings))

def work(task):
    for number in range(5):
        logger.info("task %d/%d", task, number)

if __name__ == "__main__":
    logger.info("main")
{body}
"""
"""With these settings, only the end of a process sends more than its first record."""

BODIES = {
    "process": """
    workers = [billiard.Process(target=work, args=(n,)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
""",
    "pool joined": """
    pool = billiard.Pool(2)
    pool.map(work, range(4), chunksize=1)
    pool.close()
    pool.join()
""",
    "pool terminated": """
    with billiard.Pool(2, drain_on_sigterm) as pool:
        pool.map(work, range(4), chunksize=1)
""",
}


@pytest.mark.parametrize("how", BODIES)
def test_billiard(tmp_path: Path, table: Table, how: str) -> None:
    """The last record of each child arrives, though its pools run no exit hook at all."""
    require_module("billiard")
    began = time.monotonic()
    path = tmp_path / "program.py"
    path.write_text(PROGRAM.format(body=BODIES[how]))
    expected = {"main", *(f"task {task}/{number}" for task in range(4) for number in range(5))}
    with DatagramCollector() as collector:
        done = subprocess.run(
            [PYTHON, str(path), str(collector.address[1])],
            capture_output=True,
            text=True,
            timeout=RUN_LIMIT,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    row = table.add(f"billiard, {how}", expected, collector.messages, began)
    assert set(collector.messages) == expected
    assert (row.lost, row.duplicated) == (0, 0)

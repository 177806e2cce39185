"""A full disk under the script's output, as the sender and the operator see it."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from batchudp_handler import BatchUDPHandler, BatchUDPReceiver
from batchudp_handler.core.errors import UnfinishedBatch
from tests.support import wait_until

if TYPE_CHECKING:
    import pathlib

SECONDS = 60.0
COMMAND = (sys.executable, "-m", "batchudp_handler")


def acknowledged(host: str, port: int) -> tuple[logging.Logger, BatchUDPHandler]:
    handler = BatchUDPHandler(host, port, delivery="acknowledged", shutdown_timeout=0.2)
    logger = logging.Logger("sender")
    logger.addHandler(handler)
    return logger, handler


def test_an_unfinished_batch_is_not_confirmed() -> None:
    """Whoever writes whole batches may say that one is not written."""

    def refuse() -> None:
        raise UnfinishedBatch

    with BatchUDPReceiver("127.0.0.1", 0, after_batch=refuse) as receiver:
        logger, handler = acknowledged(*receiver.address)
        logger.info("one")
        wait_until(lambda: receiver.stats().pending == 1)
        assert not handler.flush(1.0)
        assert handler.stats().confirmed == 0
        assert receiver.stats().delivered == receiver.stats().handler_errors == 0
        handler.close()
    assert handler.stats().unconfirmed == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_everybody_is_told(tmp_path: pathlib.Path) -> None:
    """Nothing is confirmed; the log, `health`, `top` and the summary say the same."""
    ready, control = tmp_path / "ready", tmp_path / "control"
    where = ("--host", "127.0.0.1", "--port", "0", "--ready-file", str(ready))
    asking = ("--control-socket", str(control))
    stderr = tmp_path / "stderr"
    with stderr.open("wb") as err:
        receiver = subprocess.Popen(
            [*COMMAND, *where, *asking, "--output", "/dev/full", "--shutdown-timeout", "0.5"],
            stderr=err,
        )
    try:
        wait_until(ready.exists)
        host, _, port = ready.read_text().strip().rpartition(":")
        logger, handler = acknowledged(host, int(port))
        logger.info("one")
        words = "No space left on device: /dev/full; free some space, records wait meanwhile"
        wait_until(lambda: f"WARNING: {words}" in stderr.read_text())
        health = run("health", *asking)
        assert (health.returncode, health.stdout) == (1, f"not healthy: {words}\n")
        assert words in run("top", "--once", "--interval", "0.1", *asking).stdout
        assert not handler.flush(0.5)
        assert handler.stats().confirmed == 0
    finally:
        receiver.send_signal(signal.SIGTERM)
        assert receiver.wait(SECONDS) == 0
        handler.close()
    assert "not written 1" in stderr.read_text()
    assert "writes refused" in stderr.read_text().splitlines()[-1]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=SECONDS, check=False
    )

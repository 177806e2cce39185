"""Everything is loaded when a handler has been made.

Its first record may come in a forked child, in a signal handler, or while the interpreter ends.
An import there may wait for a lock that a thread of the parent held, or fail.
"""

from __future__ import annotations

import os
import subprocess
import sys
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

NEVER_FOR_SENDERS = {
    "batchudp_handler.core.payload.compact_decode",
    "batchudp_handler.core.receive.receiver",
    "batchudp_handler.core.receive.stats",
    "batchudp_handler.receiver",
}
NOT_FOR_EVERY_SENDER = {
    "batchudp_handler.core.send.acknowledged",
    "batchudp_handler.core.wire.auth",
    "batchudp_handler.core.payload.rows",
    "batchudp_handler.flusher.spooling",
}

USED = """
import json, os, sys, logging
from batchudp_handler import BatchUDPHandler

settings = json.loads(sys.argv[1])
handler = BatchUDPHandler("127.0.0.1", 9, shutdown_timeout=0.2, **settings)
loaded = set(sys.modules)

def use():
    log = logging.getLogger("late")
    log.addHandler(handler)
    try:
        log.error("%s %d", "a", 1, extra={"a": [1]})
        1 / 0
    except ZeroDivisionError:
        log.exception("b")
    handler.flush(0.05)
    handler.stats()
    handler.close()
    log.error("late")
    print(*sorted(set(sys.modules) - loaded))

child = os.fork()
if child:
    os.waitpid(child, 0)
use()
sys.stdout.flush()
if not child:
    os._exit(0)
"""

KINDS: dict[str, str] = {
    "one-way": "{}",
    "rows": '{"encoding": "json"}',
    "acknowledged": '{"delivery": "acknowledged"}',
    "spooled": '{"delivery": "acknowledged", "spool_directory": "FOLDER/spool"}',
    "keyed": '{"key_file": "FOLDER/key"}',
}


def printed(code: str, *arguments: str) -> str:
    """What a fresh interpreter prints; no coverage is measured in it, which imports modules."""
    environment = {name: os.environ[name] for name in os.environ if not name.startswith("COV")}
    command = [sys.executable, "-I", "-c", code, *arguments]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_a_handler_imports_nothing_after_it_was_made(kind: str, tmp_path: Path) -> None:
    """First records, flush, counters, close and late records load no module, forked or not."""
    (tmp_path / "key").write_text(f"1 hmac-sha256 {b64encode(bytes(32)).decode()}")
    (tmp_path / "key").chmod(0o600)

    modules = printed(USED, KINDS[kind].replace("FOLDER", str(tmp_path))).splitlines()

    assert modules == ["", ""]


def test_a_plain_sender_loads_nothing_that_it_does_not_need() -> None:
    """Decoders, receivers, and deliveries that were not asked for stay on the disk."""
    code = "import sys, batchudp_handler; batchudp_handler.BatchUDPHandler(); print(*sys.modules)"

    loaded = set(printed(code).split())

    assert "batchudp_handler.handler" in loaded
    assert loaded & (NEVER_FOR_SENDERS | NOT_FOR_EVERY_SENDER) == set()

"""Records are kept while a process has no descriptor left, and all leave when it has again."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from batchudp_handler import BatchUDPReceiver

if TYPE_CHECKING:
    from pathlib import Path

NO_DESCRIPTORS = """
import logging, os, resource, sys, time
from batchudp_handler import BatchUDPHandler

handler = BatchUDPHandler("127.0.0.1", int(sys.argv[1]), **eval(sys.argv[2]))
log = logging.getLogger("descriptors")
log.setLevel(logging.INFO)
log.propagate = False
log.addHandler(handler)
complaints = []
handler.handleError = complaints.append
if sys.argv[3] == "late":
    log.info("n -1")
    assert handler.flush(60)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
ours = [int(name) for name in os.listdir("/dev/fd") if int(name) > 2]
taken = []
while True:
    try:
        taken.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        break
if sys.argv[3] == "late":
    # the socket and the pair go, and in no moment is there a descriptor for others
    for each in set(ours) - set(taken):
        os.dup2(taken[0], each)
        taken.append(each)
for number in range(50):
    log.info("n %d", number)
end = time.monotonic() + 30
while not handler.stats().send_errors.get("EMFILE", 0) > 2:
    assert time.monotonic() < end, handler.stats()
    time.sleep(0.01)
for each in taken:
    os.close(each)
assert handler.flush(60)
handler.close()
print(len(complaints), handler.stats().dropped)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit to set")
@pytest.mark.parametrize("kind", ["one_way", "acknowledged", "spool"])
@pytest.mark.parametrize("when", ["first", "late"])
def test_without_descriptors_records_wait(kind: str, when: str, tmp_path: Path) -> None:
    """No call fails for want of a descriptor; when there are some again, everything leaves."""
    settings = {"delivery": "one_way" if kind == "one_way" else "acknowledged"}
    if kind == "spool":
        settings["spool_directory"] = f"{tmp_path}/spool"
    kept: list[str] = []
    logger = logging.getLogger("descriptors")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    handler = Keep(kept)
    logger.addHandler(handler)
    try:
        with BatchUDPReceiver("127.0.0.1", 0) as receiver:
            port = str(receiver.address[1])
            done = subprocess.run(
                [sys.executable, "-c", NO_DESCRIPTORS, port, repr(settings), when],
                capture_output=True,
                text=True,
                timeout=150,
                check=False,
            )
            told = [line for line in done.stderr.splitlines() if "spool" not in line]
            assert (done.returncode, told) == (0, [])
            first = 0 if when == "first" else -1
            end = time.monotonic() + 30
            while len(kept) < 50 - first:
                assert time.monotonic() < end, kept
                time.sleep(0.01)
    finally:
        logger.removeHandler(handler)
    assert kept == [f"n {number}" for number in range(first, 50)]
    assert done.stdout == "0 {}\n"


class Keep(logging.Handler):
    """Keeps the messages."""

    def __init__(self, kept: list[str]) -> None:
        super().__init__()
        self.kept = kept

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self.kept.append(record.getMessage())

"""Files that get the numbers of our descriptors stay whole, and sends that fail are repeated."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler import BatchUDPHandler
from tests.network.support import LONGEST_CALL, PATIENCE

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from tests.network.support import Calls, Far

DAEMON = """
import json, logging, os, sys, time
from batchudp_handler import BatchUDPHandler

port, folder, is_reused = int(sys.argv[1]), sys.argv[2], sys.argv[3] == "True"
handler = BatchUDPHandler("127.0.0.1", port, batch_size=1, max_retries=10)
log = logging.getLogger("daemon")
log.setLevel(logging.INFO)
log.addHandler(handler)
worst = []

def write(first, last):
    for number in range(first, last):
        if number % 30 == 0:
            worst.append(0.0)
        began = time.perf_counter()
        log.info("n %d", number)
        worst[-1] = max(worst[-1], time.perf_counter() - began)
        time.sleep(0.001)

write(0, 60)
handler.flush()
os.closerange(3, 256)
files = []
if is_reused:  # as many as may have been ours
    files = [os.open(f"{folder}/{n}", os.O_RDWR | os.O_CREAT) for n in range(12)]
write(60, 150)
assert handler.flush(60.0)
logging.shutdown()
for number, descriptor in enumerate(files):
    os.write(descriptor, b"mine")  # EBADF, had it been closed
stats = handler.stats()
print(json.dumps([sorted(worst)[len(worst) // 2], stats.sent, stats.send_errors]))
"""


@pytest.mark.parametrize("is_reused", [False, True])
def test_a_program_that_closes_every_descriptor(
    far: Far, calls: Calls, is_reused: bool, tmp_path: Path, settle: Callable[..., Any]
) -> None:
    """All records arrive, and files under the old numbers are neither written to nor closed."""
    arguments = [str(far.port), str(tmp_path), str(is_reused)]
    done = subprocess.run(
        [sys.executable, "-c", DAEMON, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    longest, sent, errors = json.loads(done.stdout)
    calls.log(150, pause=0.0)  # to nobody: they stand for what the program logged
    far.wait_for(150)
    case = "os.closerange, numbers reused" if is_reused else "os.closerange (EBADF)"
    row = settle(case, calls, far.messages)
    assert (row.lost, row.duplicated, sent) == (0, 0, 150)
    assert longest <= LONGEST_CALL
    assert errors.get("EBADF", 0) >= 1
    contents = {path.read_bytes() for path in tmp_path.iterdir()}
    assert contents == ({b"mine"} if is_reused else set())


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOBUFS, errno.ENOMEM, errno.ENETDOWN])
def test_errors_that_no_namespace_offers(
    calls: Calls,
    far: Far,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    settle: Callable[..., Any],
) -> None:
    """A firewall or a driver that refuses for a while delays records and loses none."""
    handler = BatchUDPHandler("127.0.0.1", far.port, max_retries=20, flush_interval=0.05)
    calls.logger.addHandler(handler)
    transport = type(handler._flusher._get_loop().transport)
    checked = transport._checked
    is_refusing = True

    def refusing(self: Any) -> socket.socket:
        if is_refusing:
            raise OSError(code, os.strerror(code))
        return checked(self)

    monkeypatch.setattr(transport, "_checked", refusing)
    name = errno.errorcode[code]
    calls.log_until(lambda: handler.stats().send_errors.get(name, 0) >= 3)
    is_refusing = False
    calls.log(60)
    assert handler.flush(PATIENCE)
    far.wait_for(calls.logged)
    row = settle(f"{name} for a while", calls, far.messages)
    assert (row.lost, row.duplicated) == (0, 0)
    assert handler.stats().max_datagram_size == 65_507, "smaller datagrams were no remedy"

"""Records per second of several workers of one receiver.

`batchudp-receive --workers N` as it is started in production, into a `NullHandler` and into one
file. The datagrams of many senders were made before, so that nearly all of the processors is the
receiver's; whoever sends them waits while the kernel holds more than a little. The time runs from
the first datagram until the script, told to end, has handled everything and is gone.
"""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from lab import interleaved, medians

from suites.receive import captured

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lab import Plan, Row

WORKERS = (1, 2, 4)
OUTPUTS = ("null", "file")
STREAMS = 64
DATAGRAM_SIZE = 65_507
WAITING_BYTES = 262_144
"""So much may wait in a socket, as the kernel counts it, before the sending pauses."""
QUEUE_BYTES = 1 << 30
READY_SECONDS = 30.0
NULL = {
    "version": 1,
    "handlers": {"null": {"class": "logging.NullHandler"}},
    "root": {"level": "DEBUG", "handlers": ["null"]},
}


def measure(
    workers: int, output: str, datagrams: Sequence[bytes], records: int
) -> dict[str, float]:
    """Start the script, send everything, let it end."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script = started(workers, output, folder)
        port = _port(folder / "ready", script)
        began = time.perf_counter()
        _send(datagrams, port)
        script.send_signal(signal.SIGTERM)
        _, told = script.communicate(timeout=120)
        seconds = time.perf_counter() - began
    delivered = _delivered(told)
    return {"rate": delivered / seconds, "delivered": delivered / records}


def started(workers: int, output: str, folder: Path) -> subprocess.Popen[str]:
    """The console script, by its module."""
    config = folder / "logging.json"
    config.write_text(json.dumps(NULL), "utf-8")
    into = {"null": ("--config", config), "file": ("--output", folder / "app.log")}[output]
    options = ("--host=127.0.0.1", "--port=0", f"--workers={workers}", "--summary=json")
    room = (f"--queue-size={QUEUE_BYTES}", "--shutdown-timeout=60")
    ready = ("--ready-file", folder / "ready")
    return subprocess.Popen(
        [sys.executable, "-m", "batchudp_handler.cli.receive", *options, *room, *ready, *into],
        stderr=subprocess.PIPE,
        text=True,
    )


def _port(ready: Path, script: subprocess.Popen[str]) -> int:
    until = time.monotonic() + READY_SECONDS
    while not ready.exists():
        if script.poll() is not None or time.monotonic() > until:
            script.kill()
            raise RuntimeError(script.communicate()[1])
        time.sleep(0.01)
    return int(ready.read_text("utf-8").rpartition(":")[2])


def _send(datagrams: Sequence[bytes], port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        for number, datagram in enumerate(datagrams):
            if number % 4 == 0:
                _wait_below(port, WAITING_BYTES)
            udp.sendto(datagram, ("127.0.0.1", port))
    _wait_below(port, 0)


def _wait_below(port: int, size: int) -> None:
    while any(waiting > size for waiting in _waiting(port)):
        time.sleep(0.0005)


def _waiting(port: int) -> Iterator[int]:
    """What each socket of that port has not been asked for yet."""
    for line in Path("/proc/net/udp").read_text("ascii").splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) == port:
            yield int(fields[4].rpartition(":")[2], 16)


def _delivered(told: str) -> int:
    """From the counters that the script leaves behind."""
    found = re.findall(r'"delivered": ?(\d+)', told)
    if not found:
        raise RuntimeError(told)
    return int(found[0])


def of_many(share: int) -> list[bytes]:
    """The datagrams of all senders, one of each in turn."""
    streams = [captured("template", share, DATAGRAM_SIZE) for _ in range(STREAMS)]
    return [each for each in chain.from_iterable(zip_longest(*streams)) if each]


def run(plan: Plan) -> list[Row]:
    """Each number of workers, into each output."""
    share = plan.records_of(320_000, 1_280_000) // STREAMS
    datagrams = of_many(share)
    cases = [(output, workers) for output in OUTPUTS for workers in WORKERS]

    def one(case: tuple[str, int]) -> Mapping[str, float]:
        return measure(case[1], case[0], datagrams, share * STREAMS)

    seen = interleaved(plan.rounds_of(2, 5), cases, one)
    rows: list[Row] = []
    for (output, workers), figures in seen.items():
        own, alone = medians(figures), medians(seen[output, WORKERS[0]])
        faster = round(own["rate"] / alone["rate"], 2)
        rows.append({"output": output, "workers": workers, **own, "faster": faster})
    return rows

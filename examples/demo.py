"""A receiver, three sample clients and a summary.  `make demo` runs this.

A receiver and three clients, each a process of its own, as they would run on different machines.
The receiver prints what arrives. In the end both sides' counters are compared: the exit code is 0
only if every record that the clients accepted was delivered.

python examples/demo.py [SECONDS]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CLIENTS = {"shop": 12, "intranet": 8, "billing": 5}
"""Loggers, and how many records each client makes in a second."""
RUN_TIME = 7.0
PATIENCE = 20.0


def start(script: str, *flags: str) -> "subprocess.Popen[str]":
    """One of the two scripts, with its counters as JSON on standard error."""
    command = [str(Path(sys.executable).parent / script), *flags, "--summary", "json"]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def counters(process: "subprocess.Popen[str]") -> dict[str, int]:
    """What the script said last, when it has ended."""
    _, errors = process.communicate(timeout=PATIENCE)
    lines = errors.strip().splitlines()
    if not lines or not lines[-1].startswith("{"):
        sys.exit(f"no counters from {process.args!r}:\n{errors}")
    return dict(json.loads(lines[-1]))


def wait_for_address(ready: Path, receiver: "subprocess.Popen[str]") -> str:
    """Where the receiver listens; it writes that to a file when it does."""
    deadline = time.monotonic() + PATIENCE
    while not ready.exists():
        if receiver.poll() is not None or time.monotonic() > deadline:
            receiver.kill()
            sys.exit(f"the receiver did not start:\n{receiver.communicate()[1]}")
        time.sleep(0.02)
    return ready.read_text("utf-8").strip()


def main() -> int:
    """Run everything and compare."""
    parser = argparse.ArgumentParser(description="A receiver, three clients, a summary.")
    parser.add_argument("seconds", nargs="?", type=float, default=RUN_TIME)
    run_time = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready"
        receiver = start(
            "batchudp-receive", "--host", "127.0.0.1", "--port", "0", "--ready-file", str(ready)
        )
        address = wait_for_address(ready, receiver)
        print(
            f"a receiver on {address}, {len(CLIENTS)} clients for {run_time:g} seconds", flush=True
        )
        clients = [
            start(
                "batchudp-send",
                *("--target-host", address, "--logger", name),
                *("--logs-per-second", str(rate), "--run-time", str(run_time)),
                *("--batch-interval", "1"),
            )
            for name, rate in CLIENTS.items()
        ]
        sent = [counters(client) for client in clients]
        receiver.terminate()
        got = counters(receiver)
    return report(sent, got)


def report(sent: list[dict[str, int]], got: dict[str, int]) -> int:
    """Print the sums; 0 if they agree."""
    accepted = sum(each["accepted"] for each in sent)
    lost = got["lost"] + got["missing"]
    bytes_sent = sum(each["bytes_sent"] for each in sent)
    datagrams = sum(each["datagrams_sent"] for each in sent)
    print()
    for name, each in zip(CLIENTS, sent, strict=True):
        print(f"  {name:12} accepted {each['accepted']:4}   sent {each['sent']:4}")
    print(f"  {'receiver':12} delivered {got['delivered']:3}   lost {lost}")
    print(f"{accepted} records in {datagrams} datagrams, {bytes_sent / accepted:.0f} bytes each")
    is_complete = accepted == got["delivered"] and lost == 0
    print("everything arrived" if is_complete else "SOMETHING IS MISSING")
    return 0 if is_complete else 1


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())

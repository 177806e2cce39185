"""Servers that framework tests run, and customers that they send."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from batchudp_handler.testing.log_receiver import LogReceiver

EXAMPLES = Path(__file__).parents[2] / "examples" / "frameworks"
PYTHON = sys.executable
ORDERS = 400
CUSTOMERS = 8
PATIENCE = 90.0
SHUTDOWN_LIMIT = 90.0
RUN_LIMIT = 100.0


@dataclass(slots=True)
class Shop:
    """One framework example, the orders that it gets, and the records that come of them."""

    log_receiver: LogReceiver
    folder: Path
    output: Path
    began: float = field(default_factory=time.monotonic)

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """What the example's process sees."""
        host, port = self.log_receiver.address
        return {
            **os.environ,
            "BATCHUDP_TARGET_HOST": f"{host}:{port}",
            "PYTHONUNBUFFERED": "1",
            "PYTHONFAULTHANDLER": "1",
            **more,
        }

    @contextlib.contextmanager
    def running(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run a server of the example; at the end ask it to stop, and see that it does."""
        with self.output.open("ab") as output:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment(environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            yield process
            process.send_signal(signal.SIGTERM)
            process.wait(SHUTDOWN_LIMIT)
            assert "Traceback" not in self.output.read_text(errors="replace")
        except BaseException:
            print(self.output.read_text(errors="replace"))
            for record in self.log_receiver.records:
                if record.levelno >= logging.WARNING:
                    print(logging.Formatter().format(record))
            raise
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def run(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Run a program of the example to its end."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(environment or {}),
            capture_output=True,
            text=True,
            timeout=RUN_LIMIT,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def orders(self) -> list[logging.LogRecord]:
        """The records of orders, one for each that was taken."""
        return [
            record
            for record in self.log_receiver.records
            if record.name == "shop" and record.getMessage().startswith("order ")
        ]

    def count(self, message: str) -> int:
        """How many records with this message have arrived."""
        return sum(str(record.msg) == message for record in self.log_receiver.records)

    def wait_for_orders(self, count: int) -> None:
        """Wait until so many different orders have arrived, or patience ends."""
        wait_until(lambda: len({each.args for each in self.orders()}) >= count)


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for_server(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a server accepts connections."""

    def answers() -> bool:
        assert process.poll() is None, "the server has ended"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    wait_until(answers, "an answer of the server", PATIENCE)


def wait_for_idle_workers(port: int) -> None:
    """Wait until all workers of uWSGI have loaded the application and none is busy.

    Its stats server tells.
    """

    def are_idle() -> bool:
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
            answer = json.loads(b"".join(iter(lambda: sock.recv(65_536), b"")))
        return all(each["apps"] and each["status"] == "idle" for each in answer["workers"])

    wait_until(are_idle)


def visit(port: int, orders: Sequence[int] = range(ORDERS)) -> None:
    """Order over HTTP, as several customers at a time, each on connections of its own."""

    def order(number: int) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        try:
            connection.request("GET", f"/order/{number}")
            return connection.getresponse().status
        finally:
            connection.close()

    with ThreadPoolExecutor(CUSTOMERS) as customers:
        assert set(customers.map(order, orders)) == {200}


def require_module(name: str) -> None:
    """Skip without a module, or fail where BATCHUDP_REQUIRE is set."""
    if importlib.util.find_spec(name) is None:
        if os.environ.get("BATCHUDP_REQUIRE"):
            pytest.fail(f"{name} is not installed, and BATCHUDP_REQUIRE forbids to skip")
        pytest.skip(f"{name} is not installed")

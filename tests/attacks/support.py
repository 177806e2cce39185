"""What attacks share: the attacked, the attacker, and the table of what came of it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from base64 import b64decode, b64encode
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.faults.support import (
    DEADLINE,
    Id,
    Receiver,
    clean_environment,
    id_of,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

HONEST = "honest"
MEBIBYTE = 1 << 20
MAX_GROWTH = 128 * MEBIBYTE
MAX_REPLY_RATIO = 0.8
AT_ONCE = 32
"""Datagrams between two looks at the clock and at the replies."""
TICKS = os.sysconf("SC_CLK_TCK")


class Attacked(Receiver):
    """A receiver whose output holds the honest senders' records and those of strangers."""

    runs = frozenset({HONEST})
    """The names of the honest senders."""

    def lines(self) -> tuple[Counter[Id], list[str]]:
        """The honest records with the times that each is there, and all other lines."""
        honest: Counter[Id] = Counter()
        strange: list[str] = []
        for life in range(1, self._lives + 1):
            *lines, torn = self._file("log", life).read_text("utf-8").split("\n")
            assert not torn or life == self._lives
            for line in lines:
                if line.partition(" ")[0] in self.runs:
                    honest[id_of(line)] += 1
                else:
                    strange.append(line)
        return honest, strange

    def written(self) -> Counter[Id]:
        """The honest sender's records."""
        return self.lines()[0]

    def restart(self, *arguments: str) -> None:
        """End it, and begin another life on the same port with other arguments."""
        self.end()
        self._arguments = arguments
        self.start()

    def said(self) -> str:
        """Its standard error, in all lives."""
        lives = range(1, self._lives + 1)
        return "".join(self._file("err", life).read_text("utf-8") for life in lives)

    def peak_memory(self) -> int:
        """The most that it ever had, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text("ascii")
        return next(int(line.split()[1]) << 10 for line in status.splitlines() if "VmHWM" in line)

    def cpu_seconds(self) -> float:
        """Spent in it and, for it, in the kernel."""
        text = Path(f"/proc/{self.process.pid}/stat").read_text("utf-8")
        user, system = text.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / TICKS

    def waiting_bytes(self) -> int:
        """In the kernel's queue."""
        port = f":{self.port:04X}"
        for row in Path("/proc/net/udp").read_text("ascii").splitlines()[1:]:
            _, local, _, _, queues, *_ = row.split()
            if local.endswith(port):
                return int(queues.partition(":")[2], 16)
        return 0

    def settle(self) -> None:
        """Wait until it has digested what was sent."""
        wait_until(lambda: self.waiting_bytes() == 0)
        before = -1.0
        while before != (before := self.cpu_seconds()):
            time.sleep(0.2)


def make_key(path: Path, key_id: int = 1, algorithm: str = "hmac-sha256") -> str:
    """A new key file, as a person makes it."""
    command = [
        *(sys.executable, "-m", "batchudp_handler", "genkey", "--output", str(path)),
        *("--id", str(key_id), "--algorithm", algorithm),
    ]
    subprocess.run(command, check=True, env=clean_environment(), timeout=DEADLINE)
    return str(path)


def shows_secret(key_file: str, process: subprocess.Popen[bytes], *texts: str) -> bool:
    """Whether a secret can be read in a process's arguments and environment, or in a text."""
    secret = b64decode(Path(key_file).read_text("ascii").split()[2])
    forms = (b64encode(secret), secret.hex().encode(), repr(secret)[2:-1].encode(), secret)
    places = [Path(f"/proc/{process.pid}/{name}").read_bytes() for name in ("cmdline", "environ")]
    places += [text.encode() for text in texts]
    return any(form in place for form in forms for place in places)


@dataclass
class Attacker:
    """Sockets with addresses of their own, which send and count what comes back."""

    target: tuple[str, int]
    sources: int
    sent: int = 0
    sockets: list[socket.socket] = field(default_factory=list)
    bytes_sent: Counter[int] = field(default_factory=Counter)
    bytes_back: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """One address of the loopback network for each."""
        for number in range(self.sources):
            each = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            each.bind((f"127.0.{1 + number // 250}.{1 + number % 250}", 0))
            each.connect(self.target)
            each.setblocking(False)
            self.sockets.append(each)

    def send(self, datagrams: Iterable[bytes], amount: int, rate: float) -> None:
        """Send so many, not faster than so many per second."""
        began = time.monotonic()
        for number, datagram in enumerate(islice(datagrams, amount)):
            source = number % self.sources
            self._send(source, datagram)
            if number % AT_ONCE == 0:
                self.listen()
                early = began + number / rate - time.monotonic()
                if early > 0:
                    time.sleep(early)
        self.sent += amount

    def _send(self, source: int, datagram: bytes) -> None:
        while True:
            try:
                self.bytes_sent[source] += self.sockets[source].send(datagram)
            except BlockingIOError:
                time.sleep(0.001)
            else:
                return

    def listen(self) -> None:
        """Count what has come back."""
        for source, each in enumerate(self.sockets):
            try:
                while True:
                    self.bytes_back[source] += len(each.recv(65_536))
            except BlockingIOError:
                continue

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.sockets:
            each.close()


@dataclass
class Table:
    """One row for each attack, shown at the end of the session."""

    rows: list[tuple[str, ...]] = field(default_factory=list)
    replays: list[tuple[str, ...]] = field(default_factory=list)


TABLE = Table()
HEADINGS = (
    "attack", "key", "datagrams", "memory MiB", "CPU s", "accepted from strangers",
    "delivered falsely", "honest records lost", "reply bytes per byte", "dropped by the kernel",
)  # fmt: skip
REPLAY_HEADINGS = (
    "recorded session", "key", "datagrams replayed", "extra records after its end",
    "after eviction", "after a restart",
)  # fmt: skip

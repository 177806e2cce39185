"""How tests of moving networks log, receive, name hosts and make networks."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import logging
import os
import socket
import statistics
import subprocess
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

from batchudp_handler import BatchUDPReceiver
from tests.support import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


LONGEST_CALL = 0.05
"""Seconds that no log call may take, whatever the network does."""
LONGEST_PAUSE = 2.0
"""Seconds for which a busy machine may stop a thread once; failures here last until the test ends
them."""
ROUND = 30
"""Log calls of which the longest counts."""
PATIENCE = 80.0
CLONE_NEWNET = 0x40000000

_numbers = itertools.count()


class Calls:
    """Log calls of numbered records, and how long the longest of each round took.

    A machine with other work to do stops any thread for longer than 50 ms now and then, so one
    such call proves nothing. It is the median of the rounds that must be short.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self.logger = logger
        self.logged = 0
        self.began = time.monotonic()
        self._worst: list[float] = []

    def log(self, number: int, *, pause: float = 0.001, level: int = logging.INFO) -> None:
        """Log so many records, with a pause after each."""
        for _ in range(number):
            if not self._worst or self.logged % ROUND == 0:
                self._worst.append(0.0)
            began = time.perf_counter()
            self.logger.log(level, "n %d", self.logged)
            self._worst[-1] = max(self._worst[-1], time.perf_counter() - began)
            self.logged += 1
            time.sleep(pause)

    def log_until(self, condition: Callable[[], object], *, pause: float = 0.002) -> None:
        """Log one by one until something is true."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, "it did not happen in time"
            self.log(1, pause=pause)

    @property
    def messages(self) -> list[str]:
        """What was logged."""
        return [f"n {number}" for number in range(self.logged)]

    @property
    def is_quick(self) -> bool:
        """Whether the longest call of the usual round, and of all of them, was short enough."""
        return self.usual_longest <= LONGEST_CALL and max(self._worst) <= LONGEST_PAUSE

    @property
    def usual_longest(self) -> float:
        """Seconds that the longest call of the usual round took."""
        return statistics.median(self._worst)


class _Keeper(logging.Handler):
    def __init__(self, kept: list[logging.LogRecord]) -> None:
        super().__init__()
        self.kept = kept

    def handle(self, record: logging.LogRecord) -> bool:
        self.kept.append(record)
        return True


class Far:
    """The real receiver, with a logger of its own that keeps what comes."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, **settings: Any) -> None:
        self._name = f"far{next(_numbers)}"
        self.records: list[logging.LogRecord] = []
        self.logger = logging.getLogger(self._name)
        self.logger.propagate = False
        self.logger.setLevel(1)
        self.logger.addHandler(_Keeper(self.records))
        self.receiver = BatchUDPReceiver(host, port, logger_prefix=self._name + ".", **settings)

    @property
    def messages(self) -> list[str]:
        """The texts, in the order of their arrival."""
        return [record.getMessage() for record in self.records]

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.receiver.address[1])

    def wait_for(self, number: int) -> None:
        """Wait for so many different records."""
        wait_until(lambda: len(set(self.messages)) >= number)

    def __enter__(self) -> Self:
        self.receiver.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self.receiver.close()
        self.logger.handlers.clear()
        logging.Logger.manager.loggerDict.pop(self._name, None)


class Names:
    """Answers for some host names in the place of the resolver.

    An answer is a list of addresses with ports, or None: there is no such name. While `hold` is
    set, questions about these names get no answer.
    """

    def __init__(self) -> None:
        self.answers: dict[str, list[tuple[str, int]] | None] = {}
        self.asked: Counter[str] = Counter()
        self.is_held = False
        self._real = socket.getaddrinfo

    def getaddrinfo(self, host: str | bytes, port: int, *args: Any, **options: Any) -> Any:
        """As `socket.getaddrinfo`."""
        name = host.decode() if isinstance(host, bytes) else host
        if name not in self.answers:
            return self._real(host, port, *args, **options)
        if options.get("flags", 0) & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "not a number")
        self.asked[name] += 1
        end = time.monotonic() + PATIENCE
        while self.is_held:
            assert time.monotonic() < end
            time.sleep(0.005)
        addresses = self.answers[name]
        if addresses is None:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [found for each in addresses for found in self._real(*each, *args, **options)]


# --- network namespaces ------------------------------------------------------------------------


def ip(*words: str, namespace: str | None = None) -> None:
    """Run `ip`, in a namespace if one is named."""
    inside = () if namespace is None else ("-n", namespace)
    command, plain = ["ip", *inside, *words], {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(command, env=plain, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Let this thread, and those that it starts meanwhile, make their sockets in a namespace."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    other = os.open(f"/run/netns/{namespace}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _enter(other)
        try:
            yield
        finally:
            _enter(own)
    finally:
        os.close(own)
        os.close(other)


def _enter(descriptor: int) -> None:
    # `os.setns` came with Python 3.12
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


class Network:
    """Two namespaces with a cable between them: `near` is 10.77.0.1, `far` is 10.77.0.2."""

    near_address, far_address = "10.77.0.1", "10.77.0.2"

    def __init__(self) -> None:
        name = f"batchudp{os.getpid()}x{next(_numbers)}"
        self.near, self.far = name + "n", name + "f"

    def __enter__(self) -> Self:
        for namespace in (self.near, self.far):
            ip("netns", "add", namespace)
            ip("link", "set", "lo", "up", namespace=namespace)
        cable = ("type", "veth", "peer", "name", "cable", "netns", self.far)
        ip("link", "add", "cable", *cable, namespace=self.near)
        self.connect(self.near, self.near_address)
        self.connect(self.far, self.far_address)
        return self

    def connect(self, namespace: str, address: str) -> None:
        """Give an end its address, and switch it on."""
        ip("address", "add", f"{address}/24", "dev", "cable", namespace=namespace)
        ip("link", "set", "cable", "up", namespace=namespace)

    def set_mtu(self, size: int, *ends: str) -> None:
        """Let ends of the cable carry packets of at most so many bytes."""
        for end in ends or (self.near, self.far):
            ip("link", "set", "cable", "mtu", str(size), namespace=end)

    def fragments(self) -> int:
        """How many fragments the near end's kernel has made."""
        # of this thread's namespace
        with inside(self.near), open("/proc/thread-self/net/snmp", encoding="ascii") as file:
            text = file.read()
        names, values = (line.split() for line in text.splitlines() if line.startswith("Ip:"))
        return int(dict(zip(names, values, strict=True))["FragCreates"])

    def __exit__(self, *exception: object) -> None:
        for namespace in (self.near, self.far):
            ip("netns", "delete", namespace)

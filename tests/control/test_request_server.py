"""Other clients never keep an operator from being answered.

Followers, slow clients, half requests and clients that never read, two hundred at a time, on the
control socket and the metrics page: `health` answers within a second meanwhile, one thread serves
each server, and who is sent away is told and counted.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler.control import request_server, server
from batchudp_handler.control.client import NobodyAnswers, ask, follow
from batchudp_handler.control.server import MOST_FOLLOWERS, ControlServer
from batchudp_handler.control.tap import Tap
from batchudp_handler.core.receive.stats import ReceiverStats
from batchudp_handler.receiver.guard import Guard
from tests.support import wait_until

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

MANY = 200
SOON = 1.0
FOLLOW = b'{"follow": {}}\n'


@pytest.fixture
def guard() -> Guard:
    """Where the doors count."""
    return Guard()


@pytest.fixture
def tap() -> Tap:
    """Where records come from."""
    return Tap()


@pytest.fixture
def place(tmp_path: pathlib.Path, guard: Guard, tap: Tap) -> Iterator[str]:
    """A control socket that is served."""
    path = str(tmp_path / "control.sock")
    answers = {
        "health": lambda: '{"healthy": true}',
        "stats": lambda: '{"x": "' + "y" * 100 + '"}',
    }
    control = ControlServer(path, answers=answers, tap=tap, guard=guard)
    control.start()
    yield path
    control.close()


def client_of(place: str | tuple[str, int], said: bytes = b"") -> socket.socket:
    family = socket.AF_UNIX if isinstance(place, str) else socket.AF_INET
    client = socket.socket(family, socket.SOCK_STREAM)
    client.settimeout(60)
    client.connect(place)
    with contextlib.suppress(OSError):  # it was sent away meanwhile
        client.sendall(said)
    return client


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("n", logging.INFO, "p", 1, text, (), None)


@contextlib.contextmanager
def crowd(place: str | tuple[str, int], said: bytes) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as open_ones:
        yield [open_ones.enter_context(client_of(place, said)) for _ in range(MANY)]


CROWDS = {
    "followers": FOLLOW,
    "silent": b"",
    "half": b'{"get": "hea',
    "huge": b"x" * 100_000,
    "never reads": b'{"get": "stats"}\n' * 1_000,
    "nonsense": b"\x00\xff\n",
}


@pytest.mark.parametrize("said", CROWDS.values(), ids=CROWDS)
def test_health_is_answered_beside_a_crowd(said: bytes, place: str, tap: Tap) -> None:
    """Two hundred clients of one kind, and who asks for `health` waits less than a second."""
    with crowd(place, said):
        for number in range(20):
            tap.offer([record("x" * 1000)] * 50)
            begun = time.monotonic()
            assert ask([place], "health", timeout=SOON) == {"healthy": True}, number
            assert time.monotonic() - begun < SOON
    assert [t.name for t in threading.enumerate()].count("batchudp-control") == 1


def test_followers_beyond_the_bound_are_told(place: str, guard: Guard, tap: Tap) -> None:
    """Sixteen follow; the others are told so, and counted; a place that is left is free."""
    with contextlib.ExitStack() as following:
        first = follow([place], {})
        for _ in range(MOST_FOLLOWERS - 1):
            one = following.enter_context(client_of(place, FOLLOW))
            assert json.loads(one.recv(100)) == {"following": True}
        begin(first, tap)
        with pytest.raises(NobodyAnswers, match="too many clients follow, 16 may"):
            next(follow([place], {}))
        assert guard.clients_refused() == {"followers_full": 1}
    wait_until(lambda: can_follow(place))


def begin(lines: Iterator[str], tap: Tap) -> None:
    """Read a first line, which is offered until it comes."""
    has_come = threading.Event()

    def offer() -> None:
        while not has_come.wait(0.01):
            tap.offer([record("first")])

    offering = threading.Thread(target=offer)
    offering.start()
    next(lines)
    has_come.set()
    offering.join()


def can_follow(place: str) -> bool:
    with client_of(place, FOLLOW) as one:
        return bool(json.loads(one.recv(1000)).get("following"))


def test_a_stuck_follower_gives_its_place(
    place: str, guard: Guard, tap: Tap, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that reads nothing keeps its place only as long as nobody else wants it."""
    monkeypatch.setattr(server, "STUCK_SECONDS", 0.1)
    with contextlib.ExitStack() as stuck:
        for _ in range(MOST_FOLLOWERS):
            one = stuck.enter_context(client_of(place, FOLLOW))
            assert json.loads(one.recv(100)) == {"following": True}
        for _ in range(40):
            tap.offer([record("x" * 100_000)])
            ask([place], "health")
        wait_until(lambda: can_follow(place))
    assert guard.clients_refused()["control_stuck"] >= 1


def test_who_says_nothing_is_sent_away_in_time(
    place: str, guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silent and half requests end after seconds, with a word."""
    monkeypatch.setattr(request_server, "REQUEST_SECONDS", 0.2)
    with client_of(place) as silent, client_of(place, b'{"get') as half:
        for one in (silent, half):
            assert "no request within" in json.loads(one.makefile().readline())["error"]
            assert one.recv(1) == b""
    assert guard.clients_refused() == {"control_late": 2}


def test_a_client_that_trickles_is_sent_away_in_time(
    place: str, guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte now and then does not prolong the time of a request."""
    monkeypatch.setattr(request_server, "REQUEST_SECONDS", 0.5)
    with client_of(place) as slow:
        begun = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - begun < 30:
                slow.sendall(b"x")
                time.sleep(0.01)
        assert time.monotonic() - begun < 10
    assert guard.clients_refused() == {"control_late": 1}


# --- the metrics page --------------------------------------------------------------------------


@pytest.fixture
def page(guard: Guard) -> Iterator[tuple[str, int]]:
    """A metrics page that is served."""
    pytest.importorskip("prometheus_client")
    from batchudp_handler.control.metrics import MetricsServer

    metrics = MetricsServer("127.0.0.1", 0, ReceiverStats, lambda: True, guard=guard)
    metrics.start()
    yield "127.0.0.1", metrics.port
    metrics.close()


def get(page: tuple[str, int], path: str = "/metrics", **headers: str) -> Any:
    request = urllib.request.Request(f"http://{page[0]}:{page[1]}{path}", headers=headers)
    with urllib.request.urlopen(request, timeout=SOON) as answer:
        return answer.status, answer.headers, answer.read()


HTTP_CROWDS = {
    "silent": b"",
    "half": b"GET /metrics HTTP/1.1\r\nHost: x\r\n",
    "slowloris": b"GET /metrics HTTP/1.1\r\nX: ",
    "huge": b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 100_000,
    "never reads": b"GET /metrics HTTP/1.1\r\n\r\n",
    "nonsense": b"\x16\x03\x01\r\n\r\n",
}


@pytest.mark.parametrize("said", HTTP_CROWDS.values(), ids=HTTP_CROWDS)
def test_the_page_is_served_beside_a_crowd(said: bytes, page: tuple[str, int]) -> None:
    """Two hundred clients that do not behave cost one thread and no scrape."""
    with crowd(page, said):
        for _ in range(10):
            status, _, body = get(page)
            assert (status, b"batchudp_receiver_delivered_records_total" in body) == (200, True)
    assert [t.name for t in threading.enumerate()].count("batchudp-metrics") == 1


def test_a_refused_client_of_the_page_is_told(
    page: tuple[str, int], guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 for want of room, 408 for want of a request."""
    monkeypatch.setattr(request_server, "MOST_CLIENTS", 2)
    monkeypatch.setattr(request_server, "REQUEST_SECONDS", 0.5)
    with client_of(page) as first, client_of(page) as second, client_of(page):
        assert first.recv(1000).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert second.recv(1000).startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        wait_until(lambda: sum(guard.clients_refused().values()) == 3)
    assert guard.clients_refused() == {"metrics_full": 1, "metrics_late": 2}


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET / HTTP/1.1", 200),
        (b"GET /metrics HTTP/1.0", 200),
        (b"GET /metrics?x=1 HTTP/1.1", 200),
        (b"HEAD /metrics HTTP/1.1", 200),
        (b"GET /other HTTP/1.1", 404),
        (b"POST /metrics HTTP/1.1", 405),
        (b"GET", 400),
        (b"\xff\xfe", 400),
    ],
)
def test_what_the_page_answers(page: tuple[str, int], request_line: bytes, status: int) -> None:
    """Enough of HTTP for Prometheus, a browser and a health check."""
    with client_of(page, request_line + b"\r\nHost: x\r\n\r\n") as client:
        answer = b"".join(iter(lambda: client.recv(65_536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    (length,) = [line for line in head.split(b"\r\n") if line.startswith(b"Content-Length: ")]
    sent = 0 if request_line.startswith(b"HEAD") else int(length.partition(b": ")[2])
    assert len(body) == sent


def test_the_page_speaks_what_the_client_understands(page: tuple[str, int]) -> None:
    """OpenMetrics for those who ask for it, the text form for others."""
    assert get(page)[1]["Content-Type"].startswith("text/plain")
    accepted = "application/openmetrics-text; version=1.0.0"
    assert get(page, Accept=accepted)[1]["Content-Type"].startswith("application/openmetrics-text")


def test_a_closed_door_lets_everybody_go(tmp_path: pathlib.Path) -> None:
    """Closing takes no longer for clients that are there."""
    control = ControlServer(str(tmp_path / "c.sock"), answers={}, tap=Tap())
    control.start()
    with crowd(str(tmp_path / "c.sock"), b"") as clients:
        begun = time.monotonic()
        control.close()
        assert time.monotonic() - begun < SOON
        for client in clients:
            with contextlib.suppress(ConnectionResetError):  # it was not let in yet
                while client.recv(1000):
                    pass

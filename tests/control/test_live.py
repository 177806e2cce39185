"""An operator can look into a receiver that runs, without disturbing it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler.control.client import NobodyAnswers, ask, follow
from batchudp_handler.control.request_server import MOST_CLIENTS
from tests.cli.test_receive import COMMAND, Running, environment, run
from tests.support import wait_until

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

TIME_LIMIT = 60.0


@pytest.fixture
def place(tmp_path: pathlib.Path) -> str:
    """Where the control socket is."""
    return str(tmp_path / "control.sock")


@pytest.fixture
def receiver(tmp_path: pathlib.Path, place: str) -> Iterator[Running]:
    """One with a control socket."""
    with Running(tmp_path, "--control-socket", place) as running:
        yield running


class Follower:
    """A `tap` in a thread: its lines so far."""

    def __init__(self, place: str, **wanted: object) -> None:
        self.lines: list[dict[str, Any]] = []
        lines = follow([place], wanted)
        self._thread = threading.Thread(target=self._read, args=(lines,), daemon=True)
        self._thread.start()

    def _read(self, lines: Iterator[str]) -> None:
        self.lines.extend(map(json.loads, lines))

    def messages(self) -> list[str]:
        return [line["msg"] for line in self.lines]


def following(place: str, receiver: Running, **wanted: object) -> Follower:
    """A follower that has seen its first record, which is left out."""
    follower = Follower(place, **wanted)
    probe = {"message": "probe", "level": 60, "logger": "shop.cart"}

    def has_begun() -> bool:
        receiver.send(probe)
        return bool(follower.lines)

    wait_until(has_begun, "the first record")
    return follower


# --- the socket --------------------------------------------------------------------------------


def test_only_its_owner_may_use_the_socket(receiver: Running, place: str) -> None:
    """It has mode 0600 while the receiver runs, and is gone afterwards."""
    assert stat.S_IMODE(os.stat(place).st_mode) == 0o600

    assert receiver.end() == 0
    assert not os.path.exists(place)


def test_a_dead_socket_is_replaced(tmp_path: pathlib.Path, place: str) -> None:
    """What a receiver that was killed left behind does not keep the next one from starting."""
    with Running(tmp_path, "--control-socket", place) as first:
        first.end(signal.SIGKILL)
    assert os.path.exists(place)

    with Running(tmp_path, "--control-socket", place):
        assert ask([place], "health")["healthy"]


def test_a_living_socket_and_a_file_are_not(
    tmp_path: pathlib.Path, receiver: Running, place: str
) -> None:
    """Neither another receiver's socket nor a file that lies there is touched."""
    second = run("--host", "127.0.0.1", "--port", "0", "--control-socket", place)
    assert second.returncode == 78
    assert "control_socket" in second.stderr
    assert ask([place], "health")["healthy"]

    file = tmp_path / "file"
    file.write_text("mine")
    third = run("--host", "127.0.0.1", "--port", "0", "--control-socket", str(file))
    assert third.returncode == 78
    assert file.read_text() == "mine"


def test_by_default_it_is_in_the_runtime_directory(tmp_path: pathlib.Path) -> None:
    """systemd's directory, then the session's, then none; and `off` is off."""
    ours = tmp_path / "runtime"
    ours.mkdir()
    variables: dict[str, Any] = {"RUNTIME_DIRECTORY": str(ours)}
    with Running(tmp_path, **variables) as first:
        assert [path.name for path in ours.iterdir()] == ["control.sock"]
        assert run("health", **variables).returncode == 0
        with Running(tmp_path, **variables) as second:  # is not kept from receiving
            wait_until(lambda: "no control socket" in second.stderr, "a word about it")
        first.end()
    with Running(tmp_path, "--control-socket", "off", **variables):
        assert list(ours.iterdir()) == []
    with Running(tmp_path, XDG_RUNTIME_DIR=str(ours)):
        assert [path.name for path in ours.iterdir()] == ["batchudp-control.sock"]


def test_whatever_is_asked_it_answers_or_hangs_up(receiver: Running, place: str) -> None:
    """Garbage, other types and endless lines get an error, and the next client its answer."""
    for nonsense in (
        b"{}",
        b"[1]",
        b"5",
        b"\xff\xfe",
        b'{"follow": 5}',
        b'{"get": []}',
        b"x" * 9000,
    ):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(TIME_LIMIT)
            client.connect(place)
            client.sendall(nonsense + b"\n")
            assert "error" in json.loads(client.makefile().readline())
    assert ask([place], "health")["healthy"]


def test_clients_are_bounded(receiver: Running, place: str) -> None:
    """The first of more clients than there are places is sent away; who asks is answered."""
    with contextlib.ExitStack() as idle:
        first = idle.enter_context(socket.socket(socket.AF_UNIX))
        first.connect(place)
        for _ in range(MOST_CLIENTS):
            idle.enter_context(socket.socket(socket.AF_UNIX)).connect(place)
        assert ask([place], "health", timeout=1.0)["healthy"]
        first.settimeout(TIME_LIMIT)
        assert json.loads(first.recv(1000)) == {"error": "too many clients"}
    assert ask([place], "stats")["clients_refused"]["control_full"] >= 1


def test_an_answer_that_comes_before_the_question_is_heard(tmp_path: pathlib.Path) -> None:
    """A receiver with no room for a client says so and hangs up, however soon."""
    place = str(tmp_path / "control.sock")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(place)
        server.listen()
        connect_plainly = socket.socket.connect

        def connect(client: socket.socket, address: str) -> None:
            connect_plainly(client, address)
            with server.accept()[0] as accepted:
                accepted.sendall(b'{"error": "too many clients"}\n')

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(socket.socket, "connect", connect)
            for question in (lambda: ask([place], "health"), lambda: next(follow([place], {}))):
                with pytest.raises(NobodyAnswers, match="too many clients"):
                    question()


# --- tap ---------------------------------------------------------------------------------------


def test_tap_shows_what_is_wanted(receiver: Running, place: str) -> None:
    """Loggers with those below them, levels and senders are told apart by the receiver."""
    everything = following(place, receiver)
    shop = following(place, receiver, logger="shop")
    loud = following(place, receiver, level=40)
    nobody = Follower(place, sender="10.9.8.7")
    local = following(place, receiver, sender="127.0.0.1", logger="shop.cart")

    receiver.send(
        {"message": "one", "level": "info", "logger": "shop"},
        {"message": "two", "level": "error", "logger": "shop.cart"},
        {"message": "three", "level": "error", "logger": "shopping"},
        {"message": "end", "level": 60, "logger": "shop.cart"},
    )
    followers = (everything, shop, loud, local)
    wait_until(lambda: all("end" in one.messages() for one in followers), "the last record")

    def shown(one: Follower) -> list[str]:
        return [text for text in one.messages() if text != "probe"]

    assert shown(everything) == ["one", "two", "three", "end"]
    assert shown(shop) == ["one", "two", "end"]
    assert shown(loud) == ["two", "three", "end"]
    assert shown(local) == ["two", "end"]
    assert nobody.lines == []


def test_a_follower_that_does_not_read_costs_the_receiver_nothing(
    receiver: Running, place: str
) -> None:
    """All records are delivered, and the follower is told in the end how many it missed."""
    with socket.socket(socket.AF_UNIX) as stuck:
        stuck.settimeout(TIME_LIMIT)
        stuck.connect(place)
        stuck.sendall(b'{"follow": {}}\n')
        lines = stuck.makefile()
        assert json.loads(lines.readline()) == {"following": True}
        total = 20_000
        records = b"x" * 200
        shipping = subprocess.run(
            [*COMMAND, "send", "--target-host", receiver.address],
            env=environment(),
            input=(records + b"\n") * total,
            capture_output=True,
            timeout=TIME_LIMIT,
            check=False,
        )
        assert shipping.returncode == 0, shipping.stderr
        assert ask([place], "stats")["delivered"] == total
        has_ended = threading.Event()

        def send_more() -> None:  # a count is told with the next record
            while not has_ended.wait(0.05):
                receiver.send({"message": "one more"})

        sending = threading.Thread(target=send_more)
        sending.start()
        try:
            seen = skipped = 0
            while seen + skipped < total:
                line = json.loads(lines.readline())
                skipped += line.get("skipped", 0)
                seen += line.get("msg", "").startswith("xxx")
        finally:
            has_ended.set()
            sending.join()
    assert skipped > 0
    assert seen + skipped >= total


def test_tap_as_a_command(receiver: Running, place: str) -> None:
    """One JSON object a line on standard output, until it is interrupted."""
    command = [*COMMAND, "tap", "--control-socket", place, "--logger", "shop", "--level", "ERROR"]
    with subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as tap:
        assert tap.stdout is not None
        told = threading.Event()

        def send_until_told() -> None:
            while not told.wait(0.05):
                receiver.send({"message": "low", "level": "info", "logger": "shop"})
                receiver.send({"message": "high", "level": "error", "logger": "shop"})

        sending = threading.Thread(target=send_until_told)
        sending.start()
        line = json.loads(tap.stdout.readline())
        told.set()
        sending.join()
        tap.send_signal(signal.SIGTERM)
        _, stderr = tap.communicate(timeout=TIME_LIMIT)
    assert (line["msg"], line["level"], line["logger"]) == ("high", "ERROR", "shop")
    assert (tap.returncode, stderr) == (0, "")


def test_tap_refuses_a_level_that_is_none(place: str) -> None:
    """A wrong level is a wrong usage, said before anything is asked."""
    ended = run("tap", "--control-socket", place, "--level", "LOUD")
    assert ended.returncode == 64
    assert "level" in ended.stderr


# --- top ---------------------------------------------------------------------------------------


def test_top_shows_each_sender(receiver: Running, place: str) -> None:
    """`top --once` prints a line for each sender, with what it sends and loses."""
    with subprocess.Popen(
        [
            *(*COMMAND, "send", "--target-host", receiver.address, "--run-time", "0"),
            *("--logs-per-second", "100", "--flush-interval", "0.1"),
        ],
        env=environment(),
        stderr=subprocess.DEVNULL,
    ) as sender:
        try:
            wait_until(lambda: ask([place], "stats")["delivered"] > 0, "a record")
            ended = run("top", "--once", "--control-socket", place, "--interval", "0.5")
        finally:
            sender.terminate()
    assert ended.returncode == 0, ended.stderr
    title, _, header, row = ended.stdout.splitlines()
    assert title.startswith("1 senders, ")
    assert header.split()[:5] == ["sender", "records/s", "delivered", "lost", "late"]
    address, rate, delivered, lost = row.split()[:4]
    assert address.startswith("127.0.0.1:")
    assert float(rate) > 0
    assert int(delivered) > 0
    assert lost == "0"


@pytest.mark.parametrize("has_rich", [True, False], ids=["rich", "plain"])
def test_top_draws_on_a_terminal(receiver: Running, place: str, has_rich: bool) -> None:
    """With rich and without, a terminal shows the table again and again."""
    main, other = os.openpty()
    hide = "" if has_rich else "import sys; sys.modules['rich.live'] = None; "
    code = f"{hide}from batchudp_handler.cli.receive import main; raise SystemExit(main())"
    command = [sys.executable, "-c", code, "top", "--control-socket", place, "--interval", "0.1"]
    variables = environment(TERM="xterm", COLUMNS="120", LINES="30")
    with subprocess.Popen(command, env=variables, stdout=other, stdin=other) as top:
        os.close(other)
        drawn = b""
        deadline = time.monotonic() + TIME_LIMIT
        while drawn.count(b"records/s,") < 3 and time.monotonic() < deadline:
            drawn += os.read(main, 65_536)
        top.send_signal(signal.SIGINT)
        assert top.wait(TIME_LIMIT) == 0
    os.close(main)
    assert drawn.count(b"records/s,") >= 3


# --- health ------------------------------------------------------------------------------------


def test_health_is_one_line_and_a_code(receiver: Running, place: str) -> None:
    """0 and `ok` while it receives, 1 and the reason when nobody answers."""
    living = run("health", "--control-socket", place)
    assert (living.returncode, living.stdout.count("\n")) == (0, 1)
    assert living.stdout.startswith("ok: listening on 127.0.0.1:")

    receiver.end()
    dead = run("health", "--control-socket", place)
    assert (dead.returncode, dead.stdout.count("\n")) == (1, 1)
    assert dead.stdout.startswith("not healthy: nobody answers: ")


def test_health_follows_the_engine(tmp_path: pathlib.Path, place: str) -> None:
    """A receiver that passes batches on is not healthy while the engine is away."""
    pytest.importorskip("nats")
    with socket.socket() as taken:  # nobody listens behind it
        taken.bind(("127.0.0.1", 0))
        url = f"nats://127.0.0.1:{taken.getsockname()[1]}/LOGS"
        with Running(tmp_path, "--forward", url, "--control-socket", place):
            ended = run("health", "--control-socket", place)
            tapped = run("tap", "--control-socket", place)
    assert (ended.returncode, "engine" in ended.stdout) == (1, True), ended.stdout
    assert (tapped.returncode, "unread" in tapped.stderr) == (69, True), tapped.stderr

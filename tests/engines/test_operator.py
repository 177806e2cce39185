"""An operator sees how an edge and a consumer of an engine fare."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from batchudp_handler.control.client import NobodyAnswers, ask, follow
from tests.cli.test_receive import COMMAND, Running, environment, run
from tests.support import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engines.conftest import NatsServer

TIME_LIMIT = 60.0


def is_healthy(place: str) -> bool:
    try:
        return bool(ask([place], "health")["healthy"])
    except NobodyAnswers:
        return False


def test_health_and_check_follow_the_engine(nats_server: NatsServer, tmp_path: Path) -> None:
    """An edge is healthy while the engine answers, and `check` says which stream it has."""
    url, place = f"nats://127.0.0.1:{nats_server.port}/LOGS", str(tmp_path / "control")
    flags = ("--forward", url, "--host", "127.0.0.1", "--port", "0")
    without = run("check", *flags)
    assert (without.returncode, "NotFoundError" in without.stderr) == (69, True), without.stderr

    with Running(tmp_path, *flags[:2], "--create-stream", "--control-socket", place):
        wait_until(lambda: is_healthy(place), "the engine to be found")
        assert run("health", "--control-socket", place).returncode == 0
        checked = run("check", *flags)
        assert checked.returncode == 0, checked.stderr
        assert "has the stream LOGS" in checked.stdout
        nats_server.kill()
        wait_until(lambda: not is_healthy(place), "the engine to be missed")
        assert run("health", "--control-socket", place).returncode == 1


def test_a_consumer_can_be_looked_into(nats_server: NatsServer, tmp_path: Path) -> None:
    """Health, counters and tap work for `--from` as for a receiver."""
    url, place = f"nats://127.0.0.1:{nats_server.port}/LOGS", str(tmp_path / "control")
    (tmp_path / "edge").mkdir()
    consume = [*COMMAND, "--from", url, "--create-stream", "--control-socket", place]
    with (
        Running(tmp_path / "edge", "--forward", url, "--create-stream") as edge,
        subprocess.Popen(
            consume, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as consumer,
    ):
        try:
            wait_until(lambda: is_healthy(place), "the consumer")
            lines: list[str] = []
            tap = follow([place], {"logger": "shop"})
            threading.Thread(target=lambda: lines.extend(tap), daemon=True).start()

            def has_arrived() -> bool:
                edge.send({"message": "one", "logger": "shop"})
                return bool(lines)

            wait_until(has_arrived, "a record")
            assert json.loads(lines[0])["msg"] == "one"
            assert ask([place], "stats")["delivered"] > 0
        finally:
            consumer.terminate()
            assert consumer.wait(TIME_LIMIT) == 0


def test_an_edge_without_its_engine_says_what_it_refuses(tmp_path: Path) -> None:
    """The operator hears of strangers although nothing can be passed on yet."""
    pytest.importorskip("nats")
    flags = ("--forward", "nats://127.0.0.1:1/LOGS", "--allow", "192.0.2.0/24")
    with Running(tmp_path, *flags) as edge:
        edge.send({"message": "m"})
        wait_until(lambda: "refused 1 datagram from 127.0.0.1" in edge.stderr, "the warning")


@pytest.mark.parametrize("flag", ["--from", "--forward"])
def test_an_engine_that_is_away_is_told(flag: str, tmp_path: Path) -> None:
    """Without an engine nothing comes in or is confirmed, and standard error says why."""
    pytest.importorskip("nats")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"nats://me:hidden@127.0.0.1:{taken.getsockname()[1]}/LOGS"
        stderr = tmp_path / "stderr"
        with (
            stderr.open("wb") as err,
            subprocess.Popen(
                [*COMMAND, flag, url, "--port", "0", "--shutdown-timeout", "0.5"],
                env=environment(),
                stderr=err,
            ) as consumer,
        ):
            try:
                wait_until(
                    lambda: "WARNING: the engine did not answer" in stderr.read_text(),
                    "the operator to be told",
                )
            finally:
                consumer.terminate()
    assert "hidden" not in stderr.read_text()
    assert "taking batches" not in stderr.read_text()

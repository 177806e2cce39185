"""`batchudp-send --doctor` finds what keeps records from arriving."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import threading
import time
from typing import TYPE_CHECKING, Self

import pytest

from batchudp_handler import BatchUDPReceiver
from batchudp_handler.cli.doctor import PATIENCE, findings
from batchudp_handler.cli.probe import RESOLVE_SECONDS
from batchudp_handler.config import HandlerConfig
from batchudp_handler.core.wire.ack import Ack, encode_ack
from batchudp_handler.core.wire.datagram import CHECKSUM, Header, parse
from batchudp_handler.platform import usable_buffer
from tests.cli.test_receive import Running, run

if TYPE_CHECKING:
    import pathlib
    import subprocess


def examine(target: str, *flags: str) -> subprocess.CompletedProcess[str]:
    """The doctor's findings, and how long they took in its own words."""
    return run("send", "--doctor", "--target-host", target, *flags)


def line_of(done: subprocess.CompletedProcess[str], topic: str) -> str:
    """The first finding about this."""
    lines = [line for line in done.stdout.splitlines() if line[6:].startswith(topic)]
    assert lines, done.stdout + done.stderr
    return lines[0]


def key_file(path: pathlib.Path, number: int, secret: bytes) -> str:
    path.write_text(f"{number} hmac-sha256 {base64.b64encode(secret * 32).decode()}\n")
    path.chmod(0o600)
    return str(path)


class Stub:
    """A receiver's address at the end of a path that drops large datagrams, with its own clock."""

    def __init__(self, *, largest: int = 65_507, ahead: int = 0, is_mute: bool = False) -> None:
        self._largest, self._ahead, self._is_mute = largest, ahead, is_mute
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.1)
        self.target = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._answer)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._has_ended.set()
        self._thread.join()
        self._socket.close()

    def _answer(self) -> None:
        while not self._has_ended.is_set():
            with contextlib.suppress(TimeoutError):
                datagram, address = self._socket.recvfrom(65_536)
                header = parse(datagram)
                if (
                    self._is_mute
                    or len(datagram) > self._largest
                    or not isinstance(header, Header)
                ):
                    continue
                now = int(time.time()) + self._ahead
                ack = Ack(receiver_epoch=1, cookie=bytes(16))
                answer = encode_ack(
                    CHECKSUM, ack, stream_id=header.stream_id, counter=1, sealed_at=now
                )
                self._socket.sendto(answer, address)


def test_all_is_well(tmp_path: pathlib.Path) -> None:
    """With a receiver nothing is bad, and nothing of the examination stays there."""
    with Running(tmp_path) as receiver:
        done = examine(receiver.address)
        receiver.end()
        summary = receiver.stderr
    assert done.returncode == 0, done.stdout + done.stderr
    assert "BAD" not in done.stdout
    topics = {line[6:14].strip() for line in done.stdout.splitlines() if "->" not in line}
    assert topics == {"name", "reach", "key", "clock", "path", "buffers"}
    assert "questions answered, round trip" in line_of(done, "reach")
    assert "as many as the interface takes" in line_of(done, "path")
    assert "delivered 0, lost 0, rejected 0" in summary
    assert "datagrams refused 0" in summary
    assert "senders 0" in summary


def test_over_a_unix_socket(tmp_path: pathlib.Path) -> None:
    """A path in the file system is examined as well."""
    place = f"unix://{tmp_path}/records"
    with Running(tmp_path, host=place):
        done = examine(place)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nobody_listens() -> None:
    """It says so at once, in words that name the address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    done = examine(f"127.0.0.1:{port}")

    assert done.returncode == 69
    assert line_of(done, "reach") == f"BAD   reach     nobody listens on 127.0.0.1:{port}"


def test_nobody_answers() -> None:
    """Silence is told from a refusal, and the whole wait for it has less than ten seconds."""
    assert RESOLVE_SECONDS + 2 * sum(PATIENCE) < 10
    with Stub(is_mute=True) as stub:
        done = examine(stub.target)
    assert done.returncode == 69
    assert "no answer" in line_of(done, "reach")
    assert "firewall" in done.stdout


def test_a_name_without_address() -> None:
    """Nothing else is tried."""
    done = examine("nowhere.invalid")
    assert done.returncode == 69
    assert "has no address" in line_of(done, "name")
    assert "reach" not in done.stdout


@pytest.mark.parametrize(
    ("theirs", "ours", "code", "words"),
    [
        ((1, b"a"), (1, b"a"), 0, "key 1 is accepted"),
        ((1, b"a"), (1, b"b"), 69, "another key"),
        ((1, b"a"), (2, b"a"), 69, "another key"),
        ((1, b"a"), None, 69, "another key"),
        (None, (1, b"a"), 69, "does not accept key 1"),
        (None, None, 0, "answers without"),
    ],
)
def test_keys(
    tmp_path: pathlib.Path,
    theirs: tuple[int, bytes] | None,
    ours: tuple[int, bytes] | None,
    code: int,
    words: str,
) -> None:
    """The same key is accepted; another one, none, or one too many is told."""
    at_receiver = ("--key-file", key_file(tmp_path / "theirs", *theirs)) if theirs else ()
    at_sender = ("--key-file", key_file(tmp_path / "ours", *ours)) if ours else ()
    with Running(tmp_path, *at_receiver) as receiver:
        done = examine(receiver.address, *at_sender)
    assert (done.returncode, words in done.stdout) == (code, True), done.stdout + done.stderr


@pytest.mark.slow
def test_a_narrow_path() -> None:
    """The size that arrives is found, and a larger setting is called too large."""
    with Stub(largest=1_400) as stub:
        done = examine(stub.target)
        too_large = examine(stub.target, "--max-datagram-size", "1400")
    assert done.returncode == 0
    assert line_of(done, "path") == "hint  path      datagrams of 1,372 bytes arrive"
    assert "--max-datagram-size 1372" in done.stdout
    assert too_large.returncode == 69
    assert "too large" in too_large.stdout


@pytest.mark.parametrize(("ahead", "words"), [(100, "ahead of"), (-100, "behind")])
def test_clocks_that_differ(ahead: int, words: str) -> None:
    """It says by how much, and in which direction."""
    with Stub(ahead=ahead) as stub:
        done = examine(stub.target)
    assert done.returncode == 0
    clock = line_of(done, "clock")
    assert clock.startswith("hint")
    assert words in clock
    assert "100 s" in clock or "101 s" in clock or "99 s" in clock


def test_a_key_file_that_cannot_be_used(tmp_path: pathlib.Path) -> None:
    """That is a wrong configuration."""
    done = examine("127.0.0.1:9", "--key-file", str(tmp_path / "missing"))
    assert done.returncode == 78


def test_giving_up_can_be_sooner() -> None:
    """With nobody listening the wait for progress is as long as --give-up-after says."""
    with Stub(is_mute=True) as stub:
        flags = ("--give-up-after", "0.2", "--shutdown-timeout", "0.2", "--summary", "json")
        done = run("send", "--target-host", stub.target, "--file", __file__, *flags)
    assert done.returncode == 69
    stats = json.loads(done.stderr.splitlines()[-1])
    assert sum(stats["dropped"].values()) == stats["accepted"] > 0
    assert stats["uptime"] < 10  # more than ten without the flag


def test_no_advice_about_a_buffer_that_nobody_uses(tmp_path: pathlib.Path) -> None:
    """A unix socket has none, another machine has its own; and the grant is what was granted."""
    path = tmp_path / "log.sock"
    with BatchUDPReceiver(f"unix://{path}") as receiver:
        found = list(findings(HandlerConfig.from_mapping({"host": receiver.address})))
    assert [each.text[:7] for each in found if each.topic == "buffers"] == ["sending"]
    with BatchUDPReceiver("127.0.0.1", 0) as receiver:
        host, port = receiver.address
        found = list(findings(HandlerConfig.from_mapping({"host": host, "port": port})))
        (receiving,) = [each for each in found if each.text.startswith("receiving")]
        granted = usable_buffer(receiver.stats().receive_buffer)
    assert f"{granted:,} bytes of 8,388,608 bytes asked for" in receiving.text
    assert bool(receiving.advice) == (granted < 8_388_608)

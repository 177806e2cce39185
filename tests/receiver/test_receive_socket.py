"""The socket is read, counted, found again and closed, whatever kind it is."""

from __future__ import annotations

import socket
import time
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler.config import ConfigError
from batchudp_handler.core.receive.receiver import ReceiverProtocol
from batchudp_handler.core.wire.auth import HmacKey
from batchudp_handler.core.wire.datagram import encode_data
from batchudp_handler.receiver import BatchUDPReceiver, receive_socket
from batchudp_handler.receiver.receive_socket import ReceiveSocket
from tests.support import wait_until

if TYPE_CHECKING:
    import pathlib

    from batchudp_handler.core.receive.events import BatchReceived
from tests.receiver.bench import Collector, connected, entry, version_1


def test_kernel_drops_are_counted(collected: Collector) -> None:
    """What found the kernel's queue full is counted in datagrams, and a warning says so."""
    receiver = BatchUDPReceiver("127.0.0.1", 0, receive_buffer=4096)
    with connected(receiver.address) as plain:
        for number in range(500):
            plain.send(entry(str(number)))
    with receiver:
        wait_until(lambda: receiver.stats().delivered)
    stats = receiver.stats()
    assert stats.kernel_drops
    assert stats.delivered + stats.kernel_drops == 500
    assert stats.lost == 0
    assert any("dropped by the kernel" in message for message in collected.messages)


def test_drops_are_counted_without_meminfo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel lacks SO_MEMINFO, the counter that comes with datagrams is used."""
    monkeypatch.setattr("batchudp_handler.platform._SO_MEMINFO", 9999)
    own = ReceiveSocket("127.0.0.1", 0, receive_buffer=4096, buffer_size=1000)
    assert own.kernel_drops() == 0
    with connected(own.address) as plain:
        for _ in range(100):
            plain.send(b"x" * 500)
        read = len(own.receive(1000))
        plain.send(b"this one carries the counter")
        assert len(own.receive(10)) == 1
    assert own.kernel_drops() == 100 - read > 0
    own.close()
    assert own.kernel_drops() == 100 - read


def test_unreadable_drops_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing tells about drops, the count is None and not 0."""
    monkeypatch.setattr("batchudp_handler.platform._SO_MEMINFO", 9999)
    monkeypatch.setattr(receive_socket, "SO_RXQ_OVFL", 9998)
    with BatchUDPReceiver("127.0.0.1", 0) as receiver:
        assert receiver.stats().kernel_drops is None


def test_longer_datagrams_are_counted_not_cut(collected: Collector) -> None:
    """A datagram of exactly `buffer_size` is read; one byte more is refused whole."""
    with (
        BatchUDPReceiver("127.0.0.1", 0, buffer_size=1000) as receiver,
        connected(receiver.address) as plain,
    ):
        plain.send(entry("x" * (1000 - len(entry("")))))
        plain.send(entry("y" * (1001 - len(entry("")))))
        wait_until(lambda: receiver.stats().refused and collected.records)
    assert receiver.stats().refused == {"truncated_read": 1}
    assert receiver.stats().delivered == 1


def test_the_granted_buffer_is_shown() -> None:
    """The kernel's answer is reported, whatever was asked for."""
    with BatchUDPReceiver("127.0.0.1", 0, receive_buffer=100_000) as receiver:
        assert receiver.stats().receive_buffer >= 100_000


def test_a_socket_error_ends_nothing(collected: Collector) -> None:
    """The loop goes on after an error that the kernel reports on reading."""
    own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    own.bind(("127.0.0.1", 0))
    gone = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    gone.bind(("127.0.0.1", 0))
    own.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR: errors of sends are read back
    address = gone.getsockname()
    gone.close()
    with BatchUDPReceiver("127.0.0.1", 0, inherited=own) as receiver:
        own.sendto(b"x", address)
        wait_until(lambda: "receiving failed 1 times, latest ECONNREFUSED" in collected.messages)
        with connected(receiver.address) as plain:
            plain.send(entry("after"))
            wait_until(lambda: "after" in collected.messages)


def test_a_mistake_of_ours_ends_nothing(
    collected: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug behind the reader or the worker costs a datagram, is told, and the loops go on."""
    take = ReceiverProtocol.receive_datagram
    handled = ReceiverProtocol.on_batch_handled

    def fail_once(self: ReceiverProtocol, data: bytes, *rest: Any) -> None:
        if data == b"poison":
            raise ZeroDivisionError
        take(self, data, *rest)

    def fail_for_one(self: ReceiverProtocol, event: BatchReceived, *rest: Any) -> None:
        handled(self, event, *rest)
        if b"second" in event.body:
            raise KeyError

    monkeypatch.setattr(ReceiverProtocol, "receive_datagram", fail_once)
    monkeypatch.setattr(ReceiverProtocol, "on_batch_handled", fail_for_one)
    with BatchUDPReceiver("127.0.0.1", 0) as receiver, connected(receiver.address) as plain:
        plain.send(b"poison")
        wait_until(lambda: receiver.stats().internal_errors == {"reader": 1})
        plain.send(entry("second"))
        plain.send(entry("third"))
        wait_until(lambda: "third" in collected.messages)
    assert receiver.stats().delivered == 2
    assert receiver.stats().internal_errors == {"reader": 1, "worker": 1}
    told = [text for text in collected.messages if "internal error" in text]
    words = "1 internal errors in the loop"
    assert [text.partition(",")[0] for text in told] == [f"{words} reader", f"{words} worker"]
    assert "ZeroDivisionError" in told[0]
    assert "KeyError" in told[1]


def test_ipv6(collected: Collector) -> None:
    """An IPv6 address listens, and is shown with brackets."""
    try:
        receiver = BatchUDPReceiver("[::1]:0")
    except OSError:
        pytest.skip("no IPv6 on this machine")
    with receiver, connected(receiver.address) as plain:
        plain.send(entry("six"))
        wait_until(lambda: collected.records)
    assert vars(collected.records[0])["remote_addr"].startswith("[::1]:")


def test_unix_socket(tmp_path: pathlib.Path, collected: Collector) -> None:
    """A unix datagram socket works as an address does, and its path goes with the receiver."""
    path = tmp_path / "log.sock"
    with (
        BatchUDPReceiver(f"unix://{path}", allow=("192.0.2.0/24",)) as receiver,
        connected(receiver.address) as plain,
    ):
        assert receiver.address == f"unix://{path}"
        plain.send(entry("local"))
        wait_until(lambda: collected.records)
    assert collected.messages == ["local"]
    assert not path.exists()


def test_unix_path_of_a_dead_receiver_is_taken_over(tmp_path: pathlib.Path) -> None:
    """A path that nobody listens on is replaced; a living one or a file is not."""
    path = tmp_path / "log.sock"
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    dead.bind(str(path))
    dead.close()
    with (
        BatchUDPReceiver(f"unix://{path}"),
        pytest.raises(OSError, match="in use"),
    ):
        BatchUDPReceiver(f"unix://{path}")
    path.write_text("precious")
    with pytest.raises(OSError, match="in use"):
        BatchUDPReceiver(f"unix://{path}")
    assert path.read_text() == "precious"


def test_a_replaced_unix_path_is_left_alone(tmp_path: pathlib.Path) -> None:
    """At close a path is removed only if it still is the one that was made."""
    path = tmp_path / "log.sock"
    with BatchUDPReceiver(f"unix://{path}"):
        path.unlink()
        path.write_text("somebody else's")
    assert path.exists()


def test_allow_list(collected: Collector) -> None:
    """Who is not on the list is counted and not heard."""
    with (
        BatchUDPReceiver("127.0.0.1", 0, allow=("192.0.2.0/24",)) as receiver,
        connected(receiver.address) as plain,
    ):
        plain.send(entry("stranger"))
        wait_until(lambda: receiver.stats().refused)
    assert receiver.stats().refused == {"not_allowed": 1}
    assert [record.name for record in collected.records] == ["batchudp.receiver"]


def test_keys(tmp_path: pathlib.Path, collected: Collector) -> None:
    """With a key file only what a key sealed is taken, and the record says so."""
    secret = bytes(range(32))
    path = tmp_path / "keys"
    path.write_text(f"# the only one\n7 hmac-sha256 {b64encode(secret).decode()}\n")
    path.chmod(0o600)
    payload = b'[{"message": "sealed"}]'
    sealed = encode_data(
        HmacKey(7, secret).sender,
        payload,
        acknowledged=False,
        codec=0,
        stream_id=5,
        seq=0,
        rec=0,
        sealed_at=int(time.time()),
        n_rec=1,
    )
    with (
        BatchUDPReceiver("127.0.0.1", 0, key_file=str(path)) as receiver,
        connected(receiver.address) as plain,
    ):
        plain.send(entry("plain"))
        plain.send(version_1("checksum"))
        plain.send(sealed[:-1] + bytes([sealed[-1] ^ 1]))
        plain.send(sealed)
        wait_until(lambda: "sealed" in collected.messages)
    record = collected.records[collected.messages.index("sealed")]
    assert vars(record)["authenticated"] is True
    assert receiver.stats().refused == {"unauthenticated": 2, "auth_failed": 1}


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        ("1 hmac-sha256 " + b64encode(bytes(32)).decode(), 0o640, "chmod 600"),
        ("1 hmac-sha256 " + b64encode(bytes(31)).decode(), 0o600, "shorter than 32"),
        ("0 hmac-sha256 " + b64encode(bytes(32)).decode(), 0o600, "from 1 to 65535"),
        ("1 rot13 " + b64encode(bytes(32)).decode(), 0o600, "each line must be"),
        ("1 hmac-sha256 SECRET!", 0o600, "each line must be"),
        ("SECRET", 0o600, "each line must be"),
        ("SECRET\u00e9", 0o600, "each line must be"),
        ("# nothing\n", 0o600, "no key"),
    ],
    ids=["mode", "short", "number", "algorithm", "base64", "parts", "not-ascii", "empty"],
)
def test_bad_key_files(tmp_path: pathlib.Path, text: str, mode: int, words: str) -> None:
    """A key file that others may read, or that holds no good key, stops the start."""
    path = tmp_path / "keys"
    path.write_text(text)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=words) as caught:
        BatchUDPReceiver("127.0.0.1", 0, key_file=str(path))
    assert "SECRET" not in str(caught.value)


def test_missing_key_file() -> None:
    """A key file that is not there is an error, not a receiver without keys."""
    with pytest.raises(ConfigError, match="cannot be read"):
        BatchUDPReceiver("127.0.0.1", 0, key_file="/nonexistent/keys")

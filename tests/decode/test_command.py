"""`batchudp-receive decode`, and Wireshark with the dissector, read what was captured."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.decode.files import conversation, ethernet, pcap, udp

if TYPE_CHECKING:
    from collections.abc import Callable

DISSECTOR = Path(__file__).parents[2] / "deploy" / "wireshark" / "batchudp.lua"


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    path = tmp_path / "talk.pcap"
    path.write_bytes(pcap([ethernet(udp(each)) for each in conversation()]))
    return path


def decode(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "batchudp_handler.cli.receive", "decode", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, check=False)


def test_a_capture(capture):
    """Times and addresses stand before what the datagram says."""
    done = decode(str(capture))

    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode().splitlines()
    assert lines[0].startswith("1  1700000000.000000  127.0.0.1:40001 > 127.0.0.1:9999  128 bytes")
    assert "      2023-11-14 22:13:20.000 WARNING shop: hi" in lines


def test_standard_input():
    """`-` reads it."""
    assert b"WARNING shop: hi" in decode("-", stdin=conversation()[1]).stdout


def test_a_file_that_is_not_there(tmp_path):
    """It is named, and the others are read."""
    path = tmp_path / "empty"
    path.touch()
    done = decode(str(tmp_path / "nothing"), str(path))

    assert done.returncode == 66
    assert b"nothing: No such file or directory" in done.stderr
    assert done.stdout == b"no datagrams\n"


def test_wireshark(capture, require: Callable[[str], str]):
    """The dissector shows the same fields."""
    fields = ("type", "seq", "n_rec", "promise", "credit", "delivered")
    chosen = [word for name in fields for word in ("-e", f"batchudp.{name}")]
    command = [require("tshark"), "-X", f"lua_script:{DISSECTOR}", "-r", str(capture)]

    done = subprocess.run(
        [*command, "-T", "fields", "-E", "separator=,", *chosen],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines() == ["3,0,0,1000,,", "2,0,2,,,", "4,0,0,,4096,2", ",,,,,"]
    assert "Lua" not in done.stderr

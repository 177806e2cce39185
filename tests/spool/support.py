"""Datagrams, a clock and dying processes for the tests of the spool."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

from batchudp_handler.core.wire.datagram import CHECKSUM, encode_data
from batchudp_handler.core.wire.spool_frame import FRAME_OVERHEAD

if TYPE_CHECKING:
    from batchudp_handler.spool import Spool, SpoolDirectory

STREAM = 0x0123456789ABCDEF
NAME = "0123456789abcdef"


def seal(seq: int, *, n_rec: int = 1, size: int = 400, stream: int = STREAM) -> bytes:
    """A sealed datagram; its body depends on its number."""
    body = bytes((seq * 7 + i * 13) % 256 for i in range(size))
    return encode_data(
        CHECKSUM, body, acknowledged=True, codec=1, stream_id=stream, seq=seq, rec=seq,
        sealed_at=1_700_000_000, n_rec=n_rec,
    )  # fmt: skip


FRAME_SIZE = FRAME_OVERHEAD + len(seal(0))


class Clock:
    """A clock that goes when told."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def fill(spool: Spool, count: int, *, first: int = 0) -> None:
    for seq in range(first, first + count):
        assert spool.append(seal(seq, stream=spool.stream_id))


def die(directory: SpoolDirectory) -> None:
    """Leave the files as a killed process does: descriptors closed, nothing tidied."""
    directory.abandon()


def segment_paths(home: SpoolDirectory, name: str = NAME) -> list[str]:
    folder = os.path.join(home.path, name)
    return sorted(os.path.join(folder, n) for n in os.listdir(folder) if n.endswith(".seg"))


def run_python(code: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE)


def open_descriptors() -> set[int]:
    return {fd for fd in range(256) if _is_open(fd)}


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def adopted_numbers(home: SpoolDirectory) -> list[int]:
    """What an adopter finds; it leaves the files where they are."""
    numbers = [seq for spool in home.adopt() for seq, _ in spool.load()]
    home.abandon()
    return numbers

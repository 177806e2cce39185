"""A recorded session that somebody plays again is not delivered again.

Real processes and a tap between them. The receiver follows one sender only, so that a second one
makes it forget the first; its clock jumps, because nobody is forgotten within a minute.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.attacks.support import HONEST, TABLE, Attacked, make_key
from tests.attacks.tap import Tap
from tests.faults.support import Sender, clean_environment, ids, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

RECORDS = 300
OTHER = "other"
RESTART_SECONDS = "10"
"""How long the restart seems to take. Within 5 s of it the one promise ends that is told under
`What is not promised`."""


class Jumping(Attacked):
    """A receiver whose clock can jump."""

    runs = frozenset({HONEST, OTHER})
    wall_ahead = "0"

    def start(self) -> None:
        """Begin another life, with the clocks of `jumping.py`."""
        self._lives += 1
        ready = self._file("ready")
        command = [
            *(sys.executable, str(Path(__file__).with_name("jumping.py")), self.wall_ahead),
            *("--host", "127.0.0.1", "--port", str(self.port), "--ready-file", str(ready)),
            *("--summary", "json", "--output", str(self._file("log"))),
            *("--pattern", "%(message)s", *self._arguments),
        ]
        with open(self._file("err"), "wb") as err:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stderr=err, env=clean_environment()
            )
        wait_until(lambda: ready.exists() or self.process.poll() is not None)
        assert self.process.poll() is None, self._file("err").read_text()
        self.port = int(ready.read_text().rpartition(":")[2])

    def jump(self) -> None:
        """Take its clock past the minute in which no stream is forgotten."""
        self.process.send_signal(signal.SIGUSR2)

    def count(self) -> int:
        """Records that are written once all is digested."""
        self.settle()
        return sum(self.written().values())


def session(
    folder: Path, address: tuple[str, int], run: str, settings: Mapping[str, object]
) -> None:
    """A sender that ships its records and ends."""
    with Sender(folder, address, runs=[run], count=RECORDS, settings=settings) as sender:
        assert sender.end().flushed


def extra_after(receiver: Jumping, tap: Tap) -> int:
    """Records that a replay adds."""
    before = receiver.count()
    tap.replay()
    return receiver.count() - before


@pytest.mark.parametrize(
    ("delivery", "algorithm"),
    [
        ("acknowledged", "hmac-sha256"),
        ("one_way", "hmac-sha256"),
        ("acknowledged", "chacha20-poly1305"),
        ("one_way", "chacha20-poly1305"),
        ("acknowledged", None),
    ],
)
def test_a_recorded_session_is_delivered_once(
    tmp_path: Path, delivery: str, algorithm: str | None
) -> None:
    """Nothing more after its end, after the receiver has forgotten it, and after a restart."""
    arguments, settings = ["--max-streams", "1"], {"delivery": delivery}
    if algorithm is not None:
        if algorithm.startswith("chacha"):
            pytest.importorskip("cryptography")
        key = make_key(tmp_path / "test.key", algorithm=algorithm)
        arguments, settings = [*arguments, "--key-file", key], {**settings, "key_file": key}
    with Jumping(tmp_path, *arguments) as receiver, Tap(receiver.address) as tap:
        session(tmp_path, tap.address, HONEST, settings)
        wait_until(lambda: sum(receiver.written().values()) >= RECORDS)
        tap.stop()
        assert len(tap.to_receiver) > 3
        after_end = extra_after(receiver, tap)
        receiver.jump()
        session(tmp_path, receiver.address, OTHER, settings)  # takes the only place
        wait_until(lambda: sum(receiver.written().values()) >= 2 * RECORDS)
        assert receiver.count() == 2 * RECORDS
        receiver.jump()
        after_eviction = extra_after(receiver, tap)
        first = receiver.end()
        receiver.wall_ahead = RESTART_SECONDS
        receiver.start()
        after_restart = extra_after(receiver, tap)
        second = receiver.end()
        written = receiver.written()
    extra = (after_end, after_eviction, after_restart)
    replayed = 3 * 2 * (2 * len(tap.to_receiver) + len(tap.to_sender))
    note = (delivery, algorithm or "none", str(replayed), *map(str, extra))
    TABLE.replays.append(note)
    assert extra == (0, 0, 0)
    assert written == dict.fromkeys(ids([HONEST, OTHER], RECORDS), 1)
    assert first["streams_seen"] >= 2  # so the first one was forgotten: there is room for one
    assert second["datagrams_received"] >= len(tap.to_receiver)
    assert second["delivered"] == 0

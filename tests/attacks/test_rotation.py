"""Keys can be changed while everything runs."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

from tests.attacks.support import Attacked, make_key, shows_secret
from tests.faults.support import Sender, copies, ids, wait_until

if TYPE_CHECKING:
    from pathlib import Path

RECORDS = 400
RATE = 400.0
STAYS, MOVED, LATE, KEYLESS = "stays", "moved", "late", "keyless"


class Rotated(Attacked):
    """A receiver with senders on both sides of the change."""

    runs = frozenset({STAYS, MOVED})

    def has(self, run: str, count: int) -> bool:
        """Whether so many records of a sender are written."""
        return sum(name == run for name, _ in self.written()) >= count


def refused(folder: Path, receiver: Rotated, run: str, **settings: object) -> None:
    """A sender that is not let in; it says so at its end."""
    options: dict[str, Any] = {
        "runs": [run], "count": 20, "flush_timeout": 1.0, "is_flushed": True,
        "settings": {"shutdown_timeout": 1.0, **settings},
    }  # fmt: skip
    with Sender(folder, receiver.address, **options) as sender:
        ended = sender.end()
    assert not ended.flushed
    assert ended.total("confirmed") == 0


def test_keys_change_without_a_gap(tmp_path: Path) -> None:
    """Receiver with both, senders move over, the old key goes: nothing lost, no stranger heard.

    No secret is in any process's arguments, environment or messages.
    """
    old, new = make_key(tmp_path / "old.key", 1), make_key(tmp_path / "new.key", 2)
    logging: dict[str, Any] = {"count": RECORDS, "rate": RATE, "is_told_to_end": True}
    with Rotated(tmp_path, "--key-file", old) as receiver:
        where = receiver.address
        with Sender(tmp_path, where, runs=[STAYS], settings={"key_file": old}, **logging) as one:
            wait_until(lambda: receiver.has(STAYS, 50))
            receiver.restart("--key-file", old, "--key-file", new)
            settings = {"key_file": new}
            with Sender(tmp_path, where, runs=[MOVED], settings=settings, **logging) as two:
                wait_until(lambda: receiver.has(MOVED, 50))
                before = one.end()
                receiver.restart("--key-file", new)
                after = two.end()
        refused(tmp_path, receiver, LATE, key_file=old)
        refused(tmp_path, receiver, KEYLESS)
        receiver.settle()
        receiver.process.send_signal(signal.SIGUSR1)  # writes all counters
        said, process = receiver.said, receiver.process
        wait_until(lambda: "unauthenticated" in said())
        texts = (said(), before.stderr, after.stderr)
        assert not any(shows_secret(key, process, *texts) for key in (old, new))
        stats = receiver.end()
        written, strange = receiver.lines()
    assert before.flushed
    assert after.flushed
    assert before.total("confirmed") == after.total("confirmed") == RECORDS
    assert set(written) == ids([STAYS, MOVED], RECORDS)
    resent = before.total("resent_to_new_receiver") + after.total("resent_to_new_receiver")
    assert copies(written) <= resent
    assert strange == []
    assert set(stats["key_last_used"]) == {"2"}
    assert {"unknown_key", "unauthenticated"} <= set(stats["refused"])

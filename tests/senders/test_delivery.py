"""Each sender against the real receiver: what arrives, what is lost, and that both ends agree."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from batchudp_handler import BatchUDPReceiver
from batchudp_handler.core.wire.auth import HmacKey
from batchudp_handler.testing.faultproxy import FaultProxy, Faults, Scenario
from batchudp_handler.testing.log_receiver import LogReceiver
from tests.support import free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.senders.conftest import Driver
    from tests.table import Table

HAVE_KEYS = pytest.mark.parametrize("driver", ["python", "javascript"], indirect=True)
HAVE_BASELINE = HAVE_CAPACITY = HAVE_KEYS
SENDERS = Path(__file__).parents[2] / "senders"
NASTY = 'a "quote", a \\ backslash,\ta tab,\na line, \x01 and Größe 日本 😀'


def messages(receiver: LogReceiver) -> list[str]:
    return [record.getMessage() for record in receiver.records]


def test_records_arrive_in_order(driver: Driver) -> None:
    """Text, level, logger and process of 1,000 records are right, and the stream is closed."""
    texts = [f"record {n}" for n in range(999)] + [NASTY]
    with LogReceiver() as receiver:
        driver.open(receiver.address)
        driver.log(*texts[:-1])
        driver.log(texts[-1], level=40)
        counts = driver.close()
        records = receiver.wait_for(len(texts))
        wait_until(lambda: receiver.stats().pending == 0, "the handlers")
    assert (counts.accepted, counts.sent, counts.dropped, counts.waiting) == (1_000, 1_000, 0, 0)
    assert [record.getMessage() for record in records] == texts
    assert {record.levelname for record in records} == {"INFO", "ERROR"}
    assert records[0].name == "driver"
    assert (records[0].process or 0) > 1
    assert vars(records[0])["hostname"] == socket.gethostname()
    assert abs(records[0].created - time.time()) < 60
    assert receiver.stats().duplicates == receiver.stats().lost == 0


def test_a_large_record_travels_in_fragments(driver: Driver) -> None:
    """What does not fit one datagram comes out whole."""
    text = " ".join(f"{n * 7_919 % 10_007}" for n in range(1_500))
    with LogReceiver() as receiver:
        driver.open(receiver.address, largest=508)
        driver.log("small", text, "small")
        assert driver.close().sent == 3
        wait_until(lambda: len(messages(receiver)) == 3, "three records")
        assert messages(receiver) == ["small", text, "small"]
        assert receiver.stats().datagrams_received > 10


def test_losses_are_counted(driver: Driver, table: Table) -> None:
    """On a network that loses, doubles and reorders: delivered + lost = sent, and none twice."""
    began = time.monotonic()
    texts = [f"record {n}" for n in range(2_000)]
    bad = Faults(loss=0.2, duplicate=0.1, reorder=0.2, reorder_delay=0.02)
    with LogReceiver() as receiver:
        with FaultProxy(receiver.address, Scenario.steady(bad, seed=7)) as proxy:
            driver.open(proxy.address, largest=700)
            driver.log(*texts)
            counts = driver.close()
            wait_until(lambda: settled(receiver) == len(texts), "every record to be accounted for")
        stats, arrived = receiver.stats(), messages(receiver)
    case = f"{driver.language} sender, a fifth lost"
    table.add(case, [(0, n) for n in range(2_000)], [(0, int(t[7:])) for t in arrived], began)
    assert counts.sent == counts.accepted == len(texts)
    assert max(Counter(arrived).values()) == 1
    assert stats.delivered == len(arrived)
    assert stats.lost == len(texts) - len(arrived) > 0
    assert stats.duplicate_datagrams > 0


def settled(receiver: LogReceiver) -> int:
    stats = receiver.stats()
    return 0 if stats.missing or stats.pending else stats.delivered + stats.lost


@HAVE_CAPACITY
def test_dropped_records_are_told(driver: Driver) -> None:
    """What did not fit the queue is counted, and the receiver is told how much it was."""
    with LogReceiver() as receiver:
        driver.open(receiver.address, capacity=0)
        driver.log(*[f"too much {n}" for n in range(10)])
        assert driver.close().dropped == 10
        wait_until(lambda: receiver.stats().sender_dropped == 10, "the message about drops")
        driver.open(receiver.address)
        driver.row('{"message":"' + "x" * 1_100_000 + '"}')
        driver.log("it fits")
        counts = driver.close()
        assert (counts.accepted, counts.sent, counts.dropped) == (2, 1, 1)
        wait_until(lambda: receiver.stats().sender_dropped == 11, "the second message")
        assert messages(receiver) == ["it fits"]


@pytest.mark.parametrize("driver", ["c"], indirect=True)
def test_the_c_sender_tells_what_it_dropped(driver: Driver) -> None:
    """A row above its buffer is dropped, counted and told."""
    with LogReceiver() as receiver:
        driver.open(receiver.address)
        driver.row('{"message":"' + "x" * 70_000 + '"}')
        driver.log("it fits")
        counts = driver.close()
        assert (counts.accepted, counts.sent, counts.dropped) == (2, 1, 1)
        wait_until(lambda: receiver.stats().sender_dropped == 1, "the message about drops")


def test_nobody_listens(driver: Driver) -> None:
    """Without a receiver a sender ends, and what it sent is sent as far as it can know."""
    driver.open(("127.0.0.1", free_port()))
    driver.log("into the dark", "once more")
    driver.flush()
    driver.log("and again")
    counts = driver.close()
    assert counts.accepted == 3 == counts.sent + counts.dropped
    assert counts.waiting == 0


def test_what_cannot_be_sent_is_counted(driver: Driver) -> None:
    """The system refuses every datagram: a sender ends, and says that it dropped all records."""
    driver.open(("255.255.255.255", 9))  # a broadcast, which nobody has allowed
    driver.log("one", "two")
    driver.flush()
    driver.log("three")
    counts = driver.close()
    assert (counts.accepted, counts.sent, counts.dropped, counts.waiting) == (3, 0, 3, 0)


@HAVE_KEYS
def test_signed_datagrams_are_accepted(driver: Driver, caplog: pytest.LogCaptureFixture) -> None:
    """A receiver with keys takes what the sender signs."""
    key = HmacKey(7, bytes(range(32)))
    caplog.set_level(logging.INFO)
    with BatchUDPReceiver("127.0.0.1", 0, keys=[key]) as receiver:
        host, port = receiver.address[:2]
        driver.open((str(host), int(port)), key=(7, bytes(range(32))))
        driver.log("signed")
        driver.close()
        wait_until(lambda: receiver.stats().delivered == 1, "the record")
        assert receiver.stats().refused == {}
    assert "signed" in caplog.messages


@HAVE_BASELINE
def test_baseline_datagrams_arrive(driver: Driver) -> None:
    """Without numbers the records arrive, and the receiver knows of no stream."""
    with LogReceiver() as receiver:
        driver.open(receiver.address, numbered=False)
        driver.log(*[f"record {n}" for n in range(100)])
        assert driver.close().sent == 100
        assert len(receiver.wait_for(100)) == 100
        assert not receiver.stats().streams


def test_shell_functions(require: Callable[[str], str]) -> None:
    """The functions for a shell send texts and lines as they are."""
    require("nc")
    with LogReceiver() as receiver:
        program = (
            f". {SENDERS / 'shell' / 'batchudp.sh'}\n"
            'batchudp_log warning "$TEXT"\n'
            "printf '%s\\n' one two | batchudp_lines error backup\n"
        )
        target = "{} {}".format(*receiver.address)
        done = subprocess.run(
            ["sh", "-euc", program],
            env={**os.environ, "BATCHUDP_TARGET": target, "TEXT": NASTY, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        records = receiver.wait_for(3)
    found = [(record.levelname, record.name, record.getMessage()) for record in records]
    assert found == [
        ("WARNING", "shell", NASTY),
        ("ERROR", "backup", "one"),
        ("ERROR", "backup", "two"),
    ]


FORK = """
import logging, os, sys
sys.path.insert(0, {folder!r})
from batchudp_sender import BatchSender
log = logging.getLogger("shop")
log.addHandler(BatchSender({host!r}, {port}))
log.warning("of the parent")
child = os.fork()
log.warning("of the child" if child == 0 else "of the parent again")
if child:
    os.waitpid(child, 0)
"""


def test_a_forked_child_is_a_stream_of_its_own(require: Callable[[str], str]) -> None:
    """Parent and child of the Python sender lose nothing and send nothing twice."""
    with LogReceiver() as receiver:
        host, port = receiver.address
        code = FORK.format(folder=str(SENDERS / "python"), host=host, port=port)
        subprocess.run([require("python3"), "-c", code], check=True, timeout=30)
        arrived = Counter(record.getMessage() for record in receiver.wait_for(3))
        assert receiver.stats().lost == receiver.stats().duplicates == 0
    assert arrived == {"of the parent": 1, "of the child": 1, "of the parent again": 1}


OLD_PYTHONS = sorted(
    Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob(
        "versions/3.[789].*/bin/python"
    )
)


@pytest.mark.skipif(not OLD_PYTHONS, reason="there is no Python older than 3.10 here")
@pytest.mark.parametrize("python", OLD_PYTHONS, ids=lambda path: str(path.parts[-3]))
def test_old_pythons_send_as_well(python: Path) -> None:
    """The Python sender runs where the package does not."""
    with LogReceiver() as receiver:
        host, port = receiver.address
        code = FORK.format(folder=str(SENDERS / "python"), host=host, port=port)
        subprocess.run([python, "-W", "error", "-B", "-c", code], check=True, timeout=30)
        arrived = Counter(record.getMessage() for record in receiver.wait_for(3))
    assert arrived == {"of the parent": 1, "of the child": 1, "of the parent again": 1}


def test_senders_stay_small() -> None:
    """Each sender can be read in one sitting, and copied without a second thought."""
    limit = 300
    files = (
        "python/batchudp_sender.py",
        "javascript/index.js",
        "c/batchudp.h",
        "shell/batchudp.sh",
    )
    for file in files:
        assert len((SENDERS / file).read_text("utf-8").splitlines()) < limit, file

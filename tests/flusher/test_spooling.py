"""Records survive on disk while the receiver is away, and whatever happens to the sender.

Senders that are killed are programs of their own; the receiver is a real one, in this process.
"""

from __future__ import annotations

import logging
import logging.config
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from base64 import b64encode
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from batchudp_handler import BatchUDPHandler, BatchUDPReceiver
from tests.support import balance, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


DEADLINE = 90.0

PROGRAM = """\
import faulthandler, logging, os, sys, time
faulthandler.dump_traceback_later(100, exit=True)
from batchudp_handler import BatchUDPHandler
handler = BatchUDPHandler(
    "127.0.0.1", int(sys.argv[1]), delivery="acknowledged", spool_directory=sys.argv[2]
)
log = logging.getLogger("spooling")
log.setLevel(logging.DEBUG)
log.propagate = False
log.addHandler(handler)

def write(first, last):
    for number in range(first, last):
        log.info("n %d", number)

def wait_until(condition):
    end = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < end, handler.stats()
        time.sleep(0.01)

def balance():
    stats = handler.stats()
    settled = stats.sent + stats.confirmed + stats.rejected_by_receiver + stats.unconfirmed
    waiting = stats.waiting + stats.retained + stats.spooled
    assert stats.accepted == settled + waiting + sum(stats.dropped.values()), stats

"""


class Kept(logging.Handler):
    """Keeps the messages."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self.messages.append(record.getMessage())


@pytest.fixture
def port() -> int:
    """A port where nobody listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        number: int = sock.getsockname()[1]
        return number


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def kept() -> Iterator[Kept]:
    """Where records of the receiver end."""
    handler = Kept()
    logger = logging.getLogger("spooling")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


@pytest.fixture
def source() -> Iterator[logging.Logger]:
    """A logger for handlers of this process."""
    logger = logging.getLogger("spooling.here")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield logger
    for handler in logger.handlers[:]:
        logger.removeHandler(handler)
        handler.close()


@contextmanager
def receiving(port: int, logger_prefix: str = "") -> Iterator[BatchUDPReceiver]:
    with BatchUDPReceiver("127.0.0.1", port, logger_prefix=logger_prefix) as receiver:
        yield receiver


def run(text: str, port: int, spool: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a sender to its end."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM + textwrap.dedent(text), str(port), str(spool)],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert ended.returncode == code, ended.stderr
    return ended


def numbers(first: int, last: int) -> set[str]:
    return {f"n {number}" for number in range(first, last)}


def segments(spool: Path) -> list[Path]:
    return list(spool.glob("*/*.seg"))


def make(port: int, spool: Path, **settings: object) -> BatchUDPHandler:
    return BatchUDPHandler.from_config(
        BatchUDPHandler(
            "127.0.0.1",
            port,
            delivery="acknowledged",
            spool_directory=str(spool),
            shutdown_timeout=0.5,
        ).config.replace(settings)
    )


SEND_THE_REST = """
write(5_000, 5_001)
wait_until(lambda: handler.stats().adopted)
wait_until(lambda: handler.stats().spooled == handler.stats().waiting == 0)
handler.close()
balance()
print(handler.stats().adopted, handler.stats().confirmed)
"""


def test_a_killed_sender_is_continued_by_the_next(port: int, spool: Path, kept: Kept) -> None:
    """What was spooled when the process was killed arrives from another one."""
    run(
        """
        write(0, 2_000)
        wait_until(lambda: handler.stats().spooled == 2_000)
        balance()
        os.kill(os.getpid(), 9)
        """,
        port,
        spool,
        -signal.SIGKILL,
    )
    assert segments(spool)
    with receiving(port):
        ended = run(SEND_THE_REST, port, spool)
        wait_until(lambda: len(kept.messages) >= 2_001)
    assert set(kept.messages) == numbers(0, 2_000) | {"n 5000"}
    assert ended.stdout.split() == ["2000", "2001"]
    assert list(spool.iterdir()) == []


def test_a_sender_killed_at_work_is_continued(port: int, spool: Path, kept: Kept) -> None:
    """The receiver has had more than the spool ever held; the rest is sent, and it ends."""
    with receiving(port):
        run(
            """
            from batchudp_handler.spool import Spool
            Spool.release = lambda self, floor: None
            write(0, 200)
            wait_until(lambda: handler.stats().confirmed == 200)
            write(200, 2_000)
            wait_until(lambda: handler.stats().confirmed == 2_000)
            os.kill(os.getpid(), 9)
            """,
            port,
            spool,
            -signal.SIGKILL,
        )
        assert segments(spool)
        run(SEND_THE_REST, port, spool)
    assert set(kept.messages) == numbers(0, 2_000) | {"n 5000"}
    assert list(spool.iterdir()) == []


def test_what_is_left_at_close_is_spooled(port: int, spool: Path, kept: Kept) -> None:
    """With no receiver at the end nothing is unconfirmed; the second run delivers it."""
    ended = run(
        """
        write(0, 3_000)
        handler.close()
        balance()
        stats = handler.stats()
        print(stats.spooled, stats.unconfirmed, sum(stats.dropped.values()))
        """,
        port,
        spool,
    )
    assert (ended.stdout.split(), ended.stderr) == (["3000", "0", "0"], "")
    with receiving(port):
        run(SEND_THE_REST, port, spool)
    assert set(kept.messages) == numbers(0, 3_000) | {"n 5000"}


def test_a_short_run_sends_what_others_left(port: int, spool: Path, kept: Kept) -> None:
    """The end of a program waits, within its deadline, for the records of a dead one."""
    run("write(0, 2_000)\nhandler.close()", port, spool)
    with receiving(port):
        run("write(2_000, 2_001)\nhandler.close()\nbalance()", port, spool)
    assert set(kept.messages) == numbers(0, 2_001)
    assert list(spool.iterdir()) == []


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no process can be stopped here")
@pytest.mark.slow
def test_a_receiver_that_falls_silent_before_the_close(port: int, spool: Path, kept: Kept) -> None:
    """What was sent and not confirmed is spooled too, though the receiver is not known gone."""
    script = "from batchudp_handler.cli.receive import main; import sys; sys.exit(main())"
    receiver = subprocess.Popen(
        [sys.executable, "-c", script, "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        ended = run(
            f"""
            write(0, 10)
            wait_until(lambda: handler.stats().confirmed == 10)
            os.kill({receiver.pid}, {signal.SIGSTOP.value})
            write(10, 1_000)
            handler.reconfigure(shutdown_timeout=0.1)
            handler.close()
            balance()
            print(handler.stats().spooled, handler.stats().unconfirmed)
            """,
            port,
            spool,
        )
    finally:
        receiver.kill()
        receiver.wait()
    assert ended.stdout.split() == ["990", "0"]
    with receiving(port):
        run(SEND_THE_REST, port, spool)
    assert set(kept.messages) == numbers(10, 1_000) | {"n 5000"}


def test_the_spool_is_emptied_when_the_receiver_is_back(
    port: int, spool: Path, kept: Kept, source: logging.Logger
) -> None:
    """Within one process: stored while nobody is there, sent and deleted when somebody is."""
    handler = make(port, spool)
    source.addHandler(handler)
    for number in range(2_000):
        source.info("n %d", number)
    wait_until(lambda: handler.stats().spooled == 2_000)
    assert segments(spool)
    with receiving(port, "spooling.far"):
        wait_until(lambda: handler.stats().confirmed == 2_000)
        wait_until(lambda: not segments(spool))
        handler.close()
    assert set(kept.messages) == numbers(0, 2_000)
    assert list(spool.iterdir()) == []
    assert balance(handler.stats()) == handler.stats().accepted == 2_000


def test_the_oldest_go_when_the_room_is_used_up(
    port: int, spool: Path, source: logging.Logger
) -> None:
    """What leaves for want of room is counted, and the sum stays right."""
    handler = make(
        port, spool, compress=False, max_datagram_size=1_200,
        spool_size_bytes=65_536, capacity_bytes=65_536,
    )  # fmt: skip
    source.addHandler(handler)
    for number in range(2_000):
        source.info("n %d %s", number, os.urandom(50).hex())
        if not number % 100:
            time.sleep(0.01)
    wait_until(lambda: handler.stats().dropped.get("spool_full"))
    handler.close()
    stats = handler.stats()
    assert 0 < sum(path.stat().st_size for path in segments(spool)) <= 65_536
    assert stats.spooled + stats.unconfirmed + sum(stats.dropped.values()) == 2_000
    assert balance(stats) == stats.accepted == 2_000


def _has_spooled(handler: BatchUDPHandler) -> bool:
    return handler.stats().spooled > 0


def test_on_request_each_batch_survives_a_loss_of_power(
    port: int, spool: Path, source: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file and its name are synced when a batch was stored, not only when the file is full."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    for policy in ("off", "batch"):
        handler = make(port, spool, spool_fsync=policy)
        source.handlers = [handler]
        source.info("n %d", 1)
        wait_until(partial(_has_spooled, handler))
        assert bool(synced) == (policy == "batch")
        handler.close()


def test_the_settings_of_the_spool_cannot_change_while_it_is_used(port: int, spool: Path) -> None:
    """They are the directory's; another handler may have others."""
    handler = make(port, spool, spool_age_seconds=60.0)
    with pytest.raises(ValueError, match="spool_age_seconds cannot change"):
        handler.reconfigure(spool_age_seconds=30.0)
    handler.close()


@pytest.mark.slow
def test_a_directory_that_cannot_be_used(
    port: int,
    tmp_path: Path,
    source: logging.Logger,
    kept: Kept,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """One line on stderr, a counter, and records are delivered from memory."""
    blocked = tmp_path / "file"
    blocked.mkdir()
    handler = make(port, blocked / "spool")
    blocked.rmdir()
    blocked.write_text("")
    source.addHandler(handler)
    source.info("n 0")
    wait_until(lambda: handler.stats().send_errors.get("spool_ENOTDIR"))
    with receiving(port, "spooling.far"):
        source.info("n 1")
        wait_until(lambda: handler.stats().confirmed == 2)
        handler.close()
    assert set(kept.messages) == numbers(0, 2)
    assert capfd.readouterr().err.count("cannot be used") == 1
    assert balance(handler.stats()) == handler.stats().accepted == 2


def test_a_path_with_a_mistake_in_it_is_refused(port: int, tmp_path: Path) -> None:
    """Only the last directory is made, so the one above must be there."""
    with pytest.raises(ValueError, match="misspelt is no directory; make it first"):
        make(port, tmp_path / "misspelt" / "spool")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_directory_that_is_removed_and_usable_again(
    port: int, spool: Path, source: logging.Logger, kept: Kept
) -> None:
    """What memory still has is stored again in the new one; at the end all is there or sent."""
    handler = make(port, spool)
    source.addHandler(handler)
    for number in range(500):
        source.info("n %d", number)
    wait_until(lambda: handler.stats().spooled == 500)
    shutil.rmtree(spool)
    source.info("n 500")
    wait_until(lambda: handler.stats().spooled == 501)
    handler.close()
    assert balance(handler.stats()) == handler.stats().accepted == handler.stats().spooled == 501
    with receiving(port, "spooling.far"):
        run(SEND_THE_REST, port, spool)
    assert set(kept.messages) == numbers(0, 501) | {"n 5000"}
    assert len(kept.messages) == 502


@pytest.mark.parametrize("kind", ["FIFO", "link", "file"])
@pytest.mark.slow
def test_a_path_that_is_no_directory_holds_nothing_up(
    port: int, spool: Path, source: logging.Logger, kept: Kept, kind: str
) -> None:
    """Records are delivered from memory; when it becomes a directory, it is used."""
    make_it = {"FIFO": os.mkfifo, "link": lambda p: p.symlink_to("/tmp"), "file": Path.touch}[kind]
    make_it(spool)
    handler = make(port, spool)
    source.addHandler(handler)
    source.info("n 0")
    wait_until(lambda: handler.stats().send_errors.get("spool_ENOTDIR"))
    assert handler.stats().retained + handler.stats().waiting == 1
    spool.unlink()
    wait_until(lambda: handler.stats().spooled == 1)
    with receiving(port, "spooling.far"):
        source.info("n 1")
        wait_until(lambda: handler.stats().confirmed == 2)
        handler.close()
    assert set(kept.messages) == numbers(0, 2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.slow
def test_a_forked_child_leaves_the_files_of_its_parent(port: int, spool: Path, kept: Kept) -> None:
    """The child has a stream of its own; the parent goes on storing, and stays the owner."""
    ended = run(
        """
        import warnings
        warnings.simplefilter("ignore")
        write(0, 500)
        wait_until(lambda: handler.stats().spooled == 500)
        mine = set(os.listdir(sys.argv[2]))
        pid = os.fork()
        if not pid:
            write(500, 600)
            handler.close()
            balance()
            assert handler.stats().spooled == 100, handler.stats()
            assert mine < set(os.listdir(sys.argv[2]))
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        write(600, 700)
        wait_until(lambda: handler.stats().spooled == 600)
        handler.close()
        balance()
        print(handler.stats().spooled)
        """,
        port,
        spool,
    )
    assert ended.stdout.split() == ["600"]
    assert len(list(spool.iterdir())) == 2
    with receiving(port):
        run(SEND_THE_REST, port, spool)
    assert set(kept.messages) == numbers(0, 700) | {"n 5000"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_does_not_hold_the_stream_of_its_dead_parent(
    port: int, spool: Path, kept: Kept
) -> None:
    """The next process takes over what a killed one left, though a child of that one lives."""
    run(
        """
        import warnings
        warnings.simplefilter("ignore")
        write(0, 500)
        wait_until(lambda: handler.stats().spooled == 500)
        reading, writing = os.pipe()
        if not os.fork():
            os.write(writing, b"x")
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(1, 2)
            for _ in range(600):
                if os.path.exists(sys.argv[2] + ".end"):
                    break
                time.sleep(0.1)
            os._exit(0)
        os.read(reading, 1)
        os.kill(os.getpid(), 9)
        """,
        port,
        spool,
        -signal.SIGKILL,
    )
    with receiving(port):
        run(SEND_THE_REST, port, spool)
    spool.with_suffix(".end").touch()
    assert set(kept.messages) == numbers(0, 500) | {"n 5000"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_does_not_tidy_up_for_its_parent(port: int, spool: Path) -> None:
    """A directory that is empty at the fork stays: the parent may store in it again."""
    with receiving(port):
        ended = run(
            """
            import warnings
            warnings.simplefilter("ignore")
            write(0, 500)
            wait_until(lambda: handler.stats().confirmed == 500)
            mine = os.listdir(sys.argv[2])
            pid = os.fork()
            if not pid:
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
            print(len(mine), os.listdir(sys.argv[2]) == mine)
            """,
            port,
            spool,
        )
    assert ended.stdout.split() == ["1", "True"]


def test_the_spool_comes_with_a_dict_config(
    port: int, spool: Path, kept: Kept, source: logging.Logger
) -> None:
    """`spool_directory` is a keyword like any other of `logging.config.dictConfig`."""
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {
            "far": {
                "class": "batchudp_handler.BatchUDPHandler",
                "host": "127.0.0.1",
                "port": port,
                "delivery": "acknowledged",
                "spool_directory": str(spool),
            }
        },
        "loggers": {"spooling.here": {"handlers": ["far"], "level": "DEBUG", "propagate": False}},
    }
    logging.config.dictConfig(config)
    (handler,) = source.handlers
    assert isinstance(handler, BatchUDPHandler)
    for number in range(300):
        source.info("n %d", number)
    wait_until(lambda: handler.stats().spooled == 300)
    assert segments(spool)
    with receiving(port, "spooling.far"):
        wait_until(lambda: handler.stats().confirmed == 300)
        handler.close()
    assert set(kept.messages) == numbers(0, 300)
    assert handler.stats().spooled == handler.stats().adopted == 0


def test_a_stream_is_handed_down_with_a_key(
    port: int, spool: Path, tmp_path: Path, kept: Kept
) -> None:
    """What the dead process sealed with its key is accepted from its heir."""
    keys = tmp_path / "keys"
    keys.write_text("1 hmac-sha256 " + b64encode(bytes(range(32))).decode())
    keys.chmod(0o600)
    handler = make(port, spool, key_file=str(keys))
    log = logging.getLogger("spooling.keyed")
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    log.propagate = False
    for number in range(500):
        log.info("n %d", number)
    handler.close()
    assert handler.stats().spooled == 500
    heir = make(port, spool, key_file=str(keys), shutdown_timeout=60.0)
    log.handlers = [heir]
    with BatchUDPReceiver(
        "127.0.0.1", port, key_file=[str(keys)], logger_prefix="spooling.far."
    ) as receiver:
        log.info("n 500")
        assert heir.flush(DEADLINE)
        heir.close()
        refused = receiver.stats().refused
    log.handlers = []
    assert set(kept.messages) == numbers(0, 501)
    assert (heir.stats().adopted, heir.stats().confirmed) == (500, 501)
    assert set(refused) <= {"unproven_address"}  # what any first SYNC is answered with
    assert balance(heir.stats()) == heir.stats().accepted == 501

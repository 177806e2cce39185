"""The setting `drain_on_sigterm`, in real programs that get a real SIGTERM."""

from __future__ import annotations

import os
import signal
import subprocess
import textwrap
from typing import TYPE_CHECKING

import pytest

from batchudp_handler import BatchUDPHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from batchudp_handler.testing.collector import DatagramCollector

PATIENCE = 90.0
"""Seconds for a program that ends at once, on a machine with other things to do."""

PREAMBLE = """\
import logging, logging.config, os, signal, sys, threading, time
from batchudp_handler import BatchUDPHandler

log = logging.getLogger("program")
log.setLevel(logging.DEBUG)

SETTINGS = {
    "host": sys.argv[1],
    "port": int(sys.argv[2]),
    "batch_size": 1_000_000,
    "flush_interval": 600.0,
    "shutdown_timeout": 30.0,
    "drain_on_sigterm": True,
}

def make(**settings):
    handler = BatchUDPHandler(**{**SETTINGS, **settings})
    log.addHandler(handler)
    return handler

def log_ten(name="n"):
    for number in range(10):
        log.info("%s %d", name, number)
        if not number:  # after a quiet time it leaves at once, with what has come by then
            shipping = [*log.handlers, *logging.getLogger().handlers]
            while any(handler.stats().waiting for handler in shipping):
                time.sleep(0.001)

def wait():
    print("ready", flush=True)
    time.sleep(60)

"""
"""With these settings only the end of the process sends more than the first record."""


def ten(name: str = "n") -> set[str]:
    return {f"{name} {number}" for number in range(10)}


@pytest.fixture
def start(launch: Callable[..., subprocess.Popen[str]]) -> Callable[..., subprocess.Popen[str]]:
    """Start a program behind the preamble."""
    return lambda text, *before: launch(PREAMBLE + textwrap.dedent(text), *before)


def terminate(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Send SIGTERM when it is ready; its exit code and what it said on stderr."""
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    _, said = process.communicate(timeout=PATIENCE)
    return process.returncode, said


def test_what_waits_is_sent_and_the_process_ends_by_the_signal(
    start: Callable[..., subprocess.Popen[str]], collector: DatagramCollector
) -> None:
    """As a parent expects that has sent it."""
    assert terminate(start("make(); log_ten(); wait()")) == (-signal.SIGTERM, "")
    assert set(collector.wait_for(10)) == ten()


def test_without_the_setting_what_waits_is_lost(
    start: Callable[..., subprocess.Popen[str]], collector: DatagramCollector
) -> None:
    """Off is the default, because signals belong to the program."""
    process = start("make(drain_on_sigterm=False); log_ten(); wait()")
    assert terminate(process)[0] == -signal.SIGTERM
    assert len(collector.messages) < 10


def test_a_handler_of_the_program_is_called_afterwards(
    start: Callable[..., subprocess.Popen[str]], collector: DatagramCollector
) -> None:
    """It may log, and decides how the process ends."""
    code, said = terminate(
        start(
            """
            def stop(number, frame):
                log.info("stopping")
                sys.exit(5)
            signal.signal(signal.SIGTERM, stop)
            make()
            log_ten()
            wait()
            """
        )
    )
    assert (code, said) == (5, "")
    assert set(collector.wait_for(11)) == ten() | {"stopping"}


def test_a_handler_that_comes_before_the_first_record_is_called(
    start: Callable[..., subprocess.Popen[str]], collector: DatagramCollector
) -> None:
    """Servers configure logging, and then install theirs."""
    process = start(
        """
        make()
        signal.signal(signal.SIGTERM, lambda *_: os._exit(6))
        log_ten()
        wait()
        """
    )
    assert terminate(process) == (6, "")
    assert set(collector.wait_for(10)) == ten()


def test_an_ignored_signal_stays_ignored(
    start: Callable[..., subprocess.Popen[str]], collector: DatagramCollector
) -> None:
    """The setting makes no program mortal that chose not to be."""
    process = start(
        """
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        make()
        log_ten()
        print("ready", flush=True)
        while not os.path.exists(__file__ + ".end"):
            time.sleep(0.01)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        """
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    program = str(process.args[-3])  # type: ignore[index]  # a list
    open(program + ".end", "w").close()
    _, said = process.communicate(timeout=PATIENCE)
    assert (process.returncode, said) == (0, "")
    assert set(collector.wait_for(10)) == ten()


def test_off_the_main_thread_it_says_what_to_do(
    start: Callable[..., subprocess.Popen[str]], collector: DatagramCollector
) -> None:
    """One line on stderr; the handler works, and the disposition is untouched."""
    process = start(
        """
        def work():
            make()
            log_ten()
            log.info("no second note")
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        wait()
        """
    )
    code, said = terminate(process)
    assert code == -signal.SIGTERM
    assert said.count("drain_on_sigterm needs the main thread") == 1
    assert len(said.splitlines()) == 1


def test_made_on_another_thread_and_used_on_the_main_one(
    start: Callable[..., subprocess.Popen[str]], collector: DatagramCollector
) -> None:
    """The first record installs it."""
    process = start(
        """
        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        log_ten()
        wait()
        """
    )
    assert terminate(process) == (-signal.SIGTERM, "")
    assert set(collector.wait_for(10)) == ten()


CONFIGURED = """
def configure():
    logging.config.dictConfig({
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"ship": {"class": "batchudp_handler.BatchUDPHandler", **SETTINGS}},
        "root": {"level": "INFO", "handlers": ["ship"]},
    })

"""


def test_dict_config_twice(
    start: Callable[..., subprocess.Popen[str]], collector: DatagramCollector
) -> None:
    """The second handler stands in for the first; there is one installation."""
    text = """
configure()
log_ten("first")
configure()
log_ten("second")
assert signal.getsignal(signal.SIGTERM).previous is signal.SIG_DFL
wait()
"""
    assert terminate(start(CONFIGURED + text)) == (-signal.SIGTERM, "")
    assert set(collector.wait_for(20)) == ten("first") | ten("second")


def test_parent_and_child_of_a_fork(
    start: Callable[..., subprocess.Popen[str]], collector: DatagramCollector
) -> None:
    """Each drains its own records, and ends by its own signal."""
    process = start(
        """
        make()
        log_ten("parent")
        child = os.fork()
        if not child:
            log_ten("child")
            open(__file__ + ".child", "w").close()
            time.sleep(60)
        while not os.path.exists(__file__ + ".child"):
            time.sleep(0.01)
        os.kill(child, signal.SIGTERM)
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGTERM
        wait()
        """
    )
    assert terminate(process) == (-signal.SIGTERM, "")
    assert set(collector.wait_for(20)) == ten("parent") | ten("child")


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_a_process_that_multiprocessing_terminates(
    start: Callable[..., subprocess.Popen[str]], collector: DatagramCollector, method: str
) -> None:
    """By whatever method it was started."""
    text = f"""
import multiprocessing
configure()
def work(place):
    log_ten("child")
    open(place, "w").close()
    time.sleep(60)
if __name__ == "__main__":
    context = multiprocessing.get_context("{method}")
    place = __file__ + ".child"
    child = context.Process(target=work, args=(place,))
    child.start()
    while not os.path.exists(place):
        time.sleep(0.01)
    child.terminate()
    child.join()
    assert child.exitcode == -signal.SIGTERM
    log_ten("parent")
    wait()
"""
    assert terminate(start(CONFIGURED + text)) == (-signal.SIGTERM, "")
    assert set(collector.wait_for(20)) == ten("parent") | ten("child")


def test_the_first_process_of_a_container_goes_on(
    start: Callable[..., subprocess.Popen[str]], collector: DatagramCollector
) -> None:
    """The kernel spares it from a SIGTERM without a handler; what waits is sent all the same."""
    alone = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no new namespaces for processes here")
    process = start(
        """
        make()
        log_ten()
        os.kill(os.getpid(), signal.SIGTERM)
        log.info("still here")
        assert os.getpid() == 1
        """,
        *alone,
    )
    _, said = process.communicate(timeout=PATIENCE)
    assert (process.returncode, said) == (0, "")
    assert set(collector.wait_for(11)) == ten() | {"still here"}


# --- in one process ----------------------------------------------------------------------------


@pytest.fixture
def before() -> Iterator[object]:
    """The disposition before, which has to be there again."""
    present = signal.getsignal(signal.SIGTERM)
    yield present
    assert signal.getsignal(signal.SIGTERM) is present


def test_several_handlers_share_one_installation(before: object) -> None:
    """The last one that is closed takes it away."""
    first, second = (BatchUDPHandler(drain_on_sigterm=True) for _ in range(2))
    shared = signal.getsignal(signal.SIGTERM)
    assert shared is not before
    first.close()
    assert signal.getsignal(signal.SIGTERM) is shared
    second.close()
    second.close()


def test_the_setting_changes_while_the_handler_lives(before: object) -> None:
    """`reconfigure` installs and takes away."""
    handler = BatchUDPHandler()
    assert signal.getsignal(signal.SIGTERM) is before
    handler.reconfigure(drain_on_sigterm=True)
    assert signal.getsignal(signal.SIGTERM) is not before
    handler.reconfigure(drain_on_sigterm=False)
    assert signal.getsignal(signal.SIGTERM) is before
    handler.close()
    handler.reconfigure(drain_on_sigterm=True)


def test_a_handler_installed_on_top_stays(before: object) -> None:
    """Closing ours takes away nothing that others have installed since."""
    handler = BatchUDPHandler(drain_on_sigterm=True)
    called: list[int] = []
    mine = signal.signal(signal.SIGTERM, lambda number, _: called.append(number))
    theirs = signal.getsignal(signal.SIGTERM)
    handler.close()
    assert signal.getsignal(signal.SIGTERM) is theirs
    os.kill(os.getpid(), signal.SIGTERM)
    assert called == [signal.SIGTERM]
    signal.signal(signal.SIGTERM, mine)
    signal.signal(signal.SIGTERM, before)  # type: ignore[arg-type]  # what `getsignal` gave


def test_a_handler_that_is_forgotten_holds_nothing(before: object) -> None:
    """One that nobody closed goes with its last reference."""
    handler = BatchUDPHandler(drain_on_sigterm=True)
    del handler
    BatchUDPHandler(drain_on_sigterm=True).close()

"""The last record arrives, however a process ends and whoever started it.

Each case is a program of its own, run by this Python with a watchdog: a program that hangs prints
the stacks of all its threads and fails. The receiver is in the test's process.
"""

from __future__ import annotations

import os
import signal
import sys
import textwrap
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from batchudp_handler.flusher.note import INTERVAL
from batchudp_handler.testing.collector import DatagramCollector
from tests.table import Row

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from tests.table import Table

FORKS = int(os.environ.get("BATCHUDP_FORKS", "40"))
"""Children in the fork storm; the framework tests' environment asks for a thousand."""
WATCHDOG = 90
"""Seconds after which a program prints its stacks and dies."""

PREAMBLE = f"""\
import atexit, faulthandler, functools, os, signal, sys, threading, time
faulthandler.register(signal.SIGALRM, chain=True)
signal.alarm({WATCHDOG})
os.register_at_fork(after_in_child=functools.partial(signal.alarm, {WATCHDOG}))
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
import logging
from batchudp_handler import BatchUDPHandler, drain_on_sigterm
logger = logging.getLogger("program")
logger.setLevel(logging.DEBUG)

def make(**settings):
    handler = BatchUDPHandler(
        sys.argv[1],
        int(sys.argv[2]),
        **{{
            "batch_size": 1_000_000,
            "flush_interval": 600.0,
            "shutdown_timeout": 30.0,  # a busy machine needs more than the default
            **settings,
        }},
    )
    logger.addHandler(handler)
    return handler

def say(text):
    print(text, flush=True)

"""
"""With these settings, only the end of the process sends more than the first record."""


@dataclass(frozen=True)
class Ended:
    """How a program ended."""

    code: int
    out: str
    err: str
    seconds: float


@pytest.fixture
def start(
    launch: Callable[..., subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., subprocess.Popen[str]]:
    """Start a program behind the preamble, which ships to the collector or to nobody."""
    monkeypatch.setenv("FORKS", str(FORKS))
    # a fork while another thread holds coverage's lock leaves a child that waits for ever; and in
    # a subinterpreter coverage cannot measure, and says so on stderr
    for name in [name for name in os.environ if name.startswith("COVERAGE")]:
        monkeypatch.delenv(name)

    def start_program(text: str, target: tuple[str, int] | None = None) -> subprocess.Popen[str]:
        text = PREAMBLE + textwrap.dedent(text)
        return launch(text, target=target, warnings="ignore::DeprecationWarning")

    return start_program


@pytest.fixture
def run(start: Callable[..., subprocess.Popen[str]]) -> Callable[..., Ended]:
    """Run a program to its end."""

    def run_program(text: str, target: tuple[str, int] | None = None) -> Ended:
        began = time.monotonic()
        process = start(text, target)
        out, err = process.communicate(timeout=WATCHDOG + 10)
        return Ended(process.returncode, out, err, time.monotonic() - began)

    return run_program


@pytest.fixture
def settle(collector: DatagramCollector, table: Table) -> Callable[[str, set[str]], None]:
    """Every record has come, none twice, whatever the stream; counted in the table."""
    began = time.monotonic()

    def count(case: str, expected: set[str]) -> None:
        with suppress(AssertionError):
            collector.wait_for(len(expected))
        collector.close()  # when it has read what is left
        row = table.add(case, expected, collector.messages, began)
        assert set(collector.messages) == expected
        assert (row.lost, row.duplicated) == (0, 0)

    return count


def quickest(run: Callable[[], float], limit: float) -> float:
    """The shortest of up to three runs: a busy machine stops any program for a while."""
    took = run()
    for _ in range(2):
        if took > limit:
            took = min(took, run())
    return took


# --- one process -------------------------------------------------------------------------------


ENDINGS = {
    "its last line": ("", 0),
    "sys.exit": ("sys.exit(3)", 3),
    "an exception": ("raise RuntimeError('end')", 1),
    "SIGINT": ("signal.raise_signal(signal.SIGINT)", -signal.SIGINT),
    "logging.shutdown, twice": ("logging.shutdown(); logging.shutdown()", 0),
    "close, twice": ("handler.close(); handler.close()", 0),
}


@pytest.mark.parametrize("how", ENDINGS)
def test_the_end_of_a_program_sends_what_waits(
    run: Callable[..., Ended],
    collector: DatagramCollector,
    how: str,
    settle: Callable[[str, set[str]], None],
) -> None:
    """A normal end, an exit, an exception, Ctrl-C, a shutdown: the tail arrives."""
    ending, code = ENDINGS[how]
    ended = run(
        f"""
        handler = make()
        for number in range(100):
            logger.info("n %d", number)
        {ending}
        """
    )
    assert ended.code == code, ended.err
    settle(f"a program ends: {how}", {f"n {number}" for number in range(100)})
    collector.wait_until(lambda: any(sync.closing for _, sync in collector.syncs))


def test_records_of_atexit_hooks_arrive(
    run: Callable[..., Ended],
    collector: DatagramCollector,
    settle: Callable[[str, set[str]], None],
) -> None:
    """Whether the hook runs before `logging.shutdown` or after it."""
    ended = run(
        """
        import atexit
        logging_shutdown = logging.shutdown
        atexit.unregister(logging_shutdown)
        atexit.register(logger.info, "after the shutdown")
        atexit.register(logging_shutdown)
        atexit.register(logger.info, "before the shutdown")
        make()
        logger.info("first")
        """
    )
    assert (ended.code, ended.err) == (0, "")
    settle(
        "atexit hooks, before and after logging.shutdown",
        {"first", "before the shutdown", "after the shutdown"},
    )


def test_a_first_record_at_exit_arrives(
    run: Callable[..., Ended],
    collector: DatagramCollector,
    settle: Callable[[str, set[str]], None],
) -> None:
    """Even where no thread can be started any more (Python 3.12)."""
    ended = run(
        """
        make()
        def work():
            for number in range(50):
                logger.info("n %d", number)
        atexit.register(work)
        """
    )
    assert (ended.code, ended.err) == (0, "")
    settle(
        "first record from an atexit hook (no new threads)",
        {f"n {number}" for number in range(50)},
    )


def test_records_of_destructors_at_the_very_end_do_no_harm(
    run: Callable[..., Ended], collector: DatagramCollector
) -> None:
    """Objects that log when the interpreter takes itself apart end the program cleanly."""
    ended = run(
        """
        class Loud:
            def __init__(self, name):
                self.name = name
            def __del__(self, info=logger.info):
                info("goodbye from %s", self.name)
        make()
        kept = Loud("a global")
        circle = [Loud("a circle")]
        circle.append(circle)
        logger.info("first")
        """
    )
    assert (ended.code, ended.err) == (0, "")
    collector.wait_until(lambda: "goodbye from a global" in collector.messages)
    assert Counter(collector.messages)["goodbye from a global"] == 1


def test_a_thread_that_outlives_main_is_heard(
    run: Callable[..., Ended],
    collector: DatagramCollector,
    settle: Callable[[str, set[str]], None],
) -> None:
    """The interpreter waits for such threads, and so do we."""
    ended = run(
        """
        make()
        def work():
            for number in range(50):
                logger.info("n %d", number)
                time.sleep(0.01)
        threading.Thread(target=work).start()
        """
    )
    assert (ended.code, ended.err) == (0, "")
    settle("a thread that outlives main", {f"n {number}" for number in range(50)})


def test_daemon_threads_that_log_to_the_end_do_no_harm(run: Callable[..., Ended]) -> None:
    """Threads that are cut off in the middle of a log call neither hang nor crash the end."""
    ended = run(
        """
        make(batch_size=10, shutdown_timeout=1.0)  # all of which is used: the work never ends
        def work():
            while True:
                logger.info("again and again")
        for _ in range(4):
            threading.Thread(target=work, daemon=True).start()
        time.sleep(0.2)
        """
    )
    assert ended.code == 0, ended.err
    # the first loss, all losses at the end, and what waits when the thread does not stop in time
    assert len(ended.err.splitlines()) <= 3 + ended.seconds // INTERVAL, ended.err


@pytest.mark.parametrize("records", [0, 1, 25])
def test_the_end_is_bounded_without_a_way_out(run: Callable[..., Ended], records: int) -> None:
    """With an unknown host, a program ends within `shutdown_timeout`, with one line at most."""

    def last() -> float:
        ended = run(
            f"""
            make(shutdown_timeout=1.0)
            for number in range({records}):
                logger.info("n %d", number)
            began = time.monotonic()
            atexit.unregister(logging.shutdown)
            atexit.register(lambda: say(time.monotonic() - began))
            atexit.register(logging.shutdown)
            """,
            ("unresolvable.invalid", 9),
        )
        assert ended.code == 0
        target = "unresolvable.invalid:9"
        line = f"batchudp-handler: {records} records for {target} were lost so far: "
        assert ended.err.startswith(f"{line}closed {records}; " if records else "")
        assert ended.err.count("\n") == bool(records)
        return float(ended.out)

    assert quickest(last, 1.5) <= 1.5


def test_a_receiver_that_is_away_is_reported_once(run: Callable[..., Ended]) -> None:
    """Refused datagrams are tried again and then counted; the end is not held up by it."""
    with DatagramCollector() as gone:
        target = gone.address

    def last() -> float:
        ended = run(
            """
            make(shutdown_timeout=2.0)
            for number in range(25):
                logger.info("n %d", number)
            began = time.monotonic()
            atexit.unregister(logging.shutdown)
            atexit.register(lambda: say(time.monotonic() - began))
            atexit.register(logging.shutdown)
            """,
            target,
        )
        assert ended.code == 0
        assert len(ended.err.splitlines()) <= 1
        return float(ended.out)

    assert quickest(last, 2.5) <= 2.5


def test_without_threads_the_callers_send(
    run: Callable[..., Ended],
    collector: DatagramCollector,
    settle: Callable[[str, set[str]], None],
) -> None:
    """Under uWSGI without threads (here: a module that looks like it) no thread is started."""
    ended = run(
        """
        import types
        sys.modules["uwsgi"] = types.SimpleNamespace(has_threads=0)
        handler = make()
        for number in range(50):
            logger.info("n %d", number)
        assert threading.active_count() == 1 + 0
        assert handler.flush(30.0)
        say(handler.stats().sent)
        """
    )
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == "50\n"
    settle("no threads, as under uWSGI", {f"n {number}" for number in range(50)})


@pytest.mark.skipif(
    sys.version_info < (3, 13),
    reason="isolated subinterpreters are newer, and 3.12's crash on zlib and hashlib",
)
def test_a_subinterpreter_is_heard(
    run: Callable[..., Ended],
    collector: DatagramCollector,
    settle: Callable[[str, set[str]], None],
) -> None:
    """Where daemon threads are not allowed, the callers send."""
    ended = run(
        """
        import _interpreters as interpreters
        inner = interpreters.create()
        interpreters.run_string(inner, f'''
        import sys
        sys.path[:] = {sys.path!r}
        import logging
        from batchudp_handler import BatchUDPHandler
        handler = BatchUDPHandler({sys.argv[1]!r}, {int(sys.argv[2])})
        logger = logging.getLogger()
        logger.addHandler(handler)
        for number in range(5):
            logger.warning("n %d", number)
        handler.close()
        '''.replace("\\n        ", "\\n"))
        interpreters.destroy(inner)
        """
    )
    assert (ended.code, ended.err) == (0, "")
    settle("isolated subinterpreter", {f"n {number}" for number in range(5)})


# --- signals -----------------------------------------------------------------------------------


def terminate(process: subprocess.Popen[str]) -> Ended:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    began = time.monotonic()
    process.terminate()
    out, err = process.communicate(timeout=WATCHDOG + 10)
    return Ended(process.returncode, out, err, time.monotonic() - began)


LOG_AND_WAIT = """
logger.info("n 0")
while not handler.stats().sent:
    time.sleep(0.001)
for number in range(1, 100):
    logger.info("n %d", number)
say("ready")
time.sleep(60)
"""


def test_sigterm_by_default_loses_what_waits(
    start: Callable[..., subprocess.Popen[str]], collector: DatagramCollector
) -> None:
    """That is the kernel's doing: the documentation says so, and what helps."""
    ended = terminate(start("handler = make()" + LOG_AND_WAIT))
    assert ended.code == -signal.SIGTERM
    assert collector.wait_for(1)[0] == "n 0"
    assert len(collector.messages) < 100


def test_sigterm_with_our_handler_loses_nothing(
    start: Callable[..., subprocess.Popen[str]],
    collector: DatagramCollector,
    settle: Callable[[str, set[str]], None],
) -> None:
    """`drain_on_sigterm` sends what waits, and the process still ends by the signal."""
    ended = terminate(start("handler = make()\ndrain_on_sigterm()" + LOG_AND_WAIT))
    assert (ended.code, ended.err) == (-signal.SIGTERM, "")
    settle("SIGTERM, drain_on_sigterm", {f"n {number}" for number in range(100)})


def test_sigterm_calls_the_handler_that_was_there(
    start: Callable[..., subprocess.Popen[str]],
    collector: DatagramCollector,
    settle: Callable[[str, set[str]], None],
) -> None:
    """A program's own handler runs after the flush, and may log, and decides how to end."""
    ended = terminate(
        start(
            """
handler = make()
def stop(number, frame):
    logger.info("stopping")
    sys.exit(5)
signal.signal(signal.SIGTERM, stop)
drain_on_sigterm()
"""
            + LOG_AND_WAIT
        )
    )
    assert (ended.code, ended.err) == (5, "")
    expected = {"stopping", *(f"n {number}" for number in range(100))}
    settle("SIGTERM, drain_on_sigterm, own handler", expected)


def test_an_ignored_sigterm_stays_ignored(
    start: Callable[..., subprocess.Popen[str]],
    collector: DatagramCollector,
    settle: Callable[[str, set[str]], None],
) -> None:
    """`drain_on_sigterm` does not make a program mortal that chose not to be."""
    process = start(
        """
        make()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        drain_on_sigterm()
        logger.info("one")
        say("ready")
        time.sleep(0.3)
        logger.info("two")
        """
    )
    ended = terminate(process)
    assert (ended.code, ended.err) == (0, "")
    settle("SIGTERM ignored", {"one", "two"})


# --- configurations ----------------------------------------------------------------------------


def test_dict_config_under_load(
    run: Callable[..., Ended], collector: DatagramCollector, table: Table
) -> None:
    """Logging is configured twenty times while four threads log: no deadlock, full books.

    `dictConfig` closes the old handlers with the lock of `logging` held. What is logged while
    there is no handler goes nowhere, so the handlers say what they were given.
    """
    began = time.monotonic()
    ended = run(
        """
        import logging.config
        made = []
        class Counted(BatchUDPHandler):
            def __init__(self, **settings):
                super().__init__(sys.argv[1], int(sys.argv[2]), **settings)
                made.append(self)
        config = {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"ship": {"()": Counted, "shutdown_timeout": 30.0}},
            "root": {"level": "INFO", "handlers": ["ship"]},
        }
        is_over = threading.Event()
        def work(worker):
            number = 0
            while not is_over.is_set():
                logger.info("%d/%d", worker, number)
                logging.getLogger(f"new.{worker}.{number % 50}").info("%d.%d", worker, number)
                number += 1
                time.sleep(0.0002)
        workers = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        logging.config.dictConfig(config)
        for worker in workers:
            worker.start()
        for _ in range(20):
            time.sleep(0.02)
            logging.config.dictConfig(config)
        is_over.set()
        for worker in workers:
            worker.join()
        logging.shutdown()
        stats = [handler.stats() for handler in made]
        assert len(made) == 21 and not any(each.dropped or each.waiting for each in stats), stats
        say(f"{sum(each.accepted for each in stats)} {sum(each.sent for each in stats)}")
        """
    )
    assert (ended.code, ended.err) == (0, "")
    accepted, sent = map(int, ended.out.split())
    with suppress(AssertionError):
        collector.wait_for(sent)
    collector.close()
    came = collector.messages
    lost, duplicated = max(accepted - len(came), 0), len(came) - len(set(came))
    seconds = time.monotonic() - began
    row = Row("dictConfig 20 times under load", accepted, len(came), lost, duplicated, seconds)
    table.add_row(row)
    assert accepted == sent == len(came) == len(set(came)) > 20


# --- fork --------------------------------------------------------------------------------------


def test_forks_under_load(
    run: Callable[..., Ended],
    collector: DatagramCollector,
    settle: Callable[[str, set[str]], None],
) -> None:
    """While eight threads log, children are forked: each is heard to its last record, once."""
    ended = run(
        """
        forks = int(os.environ["FORKS"])
        handler = make(batch_size=100, flush_interval=0.05, overflow="block")
        is_over = threading.Event()
        logged = [0] * 8
        def work(worker):
            while not is_over.is_set():
                logger.info("parent %d/%d", worker, logged[worker])
                logged[worker] += 1
                time.sleep(0.0005 * forks / 40)
        workers = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for worker in workers:
            worker.start()
        children, codes = [], set()
        def reap():
            codes.add(os.waitstatus_to_exitcode(os.waitpid(children.pop(0), 0)[1]))
        for child in range(forks):
            pid = os.fork()
            if pid == 0:
                for number in range(5):
                    logger.info("child %d/%d", child, number)
                logging.shutdown()
                os._exit(0)
            children.append(pid)
            time.sleep(0.01)
            if len(children) > 20:
                reap()
        while children:
            reap()
        is_over.set()
        for worker in workers:
            worker.join()
        say(codes)
        say(" ".join(map(str, logged)))
        """
    )
    assert (ended.code, ended.err) == (0, "")
    codes, logged = ended.out.splitlines()
    assert codes == "{0}"
    expected = {f"child {child}/{number}" for child in range(FORKS) for number in range(5)}
    for worker, number in enumerate(map(int, logged.split())):
        expected |= {f"parent {worker}/{n}" for n in range(number)}
    settle(f"fork storm, {FORKS} children, eight threads log", expected)
    assert len(collector.streams) == FORKS + 1


def test_a_fork_takes_no_waiting_record_along(
    run: Callable[..., Ended],
    collector: DatagramCollector,
    settle: Callable[[str, set[str]], None],
) -> None:
    """What waits at the fork is the parent's to send; the child begins empty and unharmed."""
    ended = run(
        """
        handler = make()
        for number in range(50):
            logger.info("before %d", number)
        descriptors = set(os.listdir("/proc/self/fd")) if sys.platform == "linux" else set()
        pid = os.fork()
        if pid == 0:
            assert handler.stats().accepted == 0
            assert handler.flush(30.0)
            logger.info("child")
            sys.exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        logger.info("parent")
        """
    )
    assert (ended.code, ended.err) == (0, "")
    settle(
        "fork with 50 records waiting", {"child", "parent", *(f"before {n}" for n in range(50))}
    )
    assert len(collector.streams) == 2


def test_a_grandchild_is_heard(
    run: Callable[..., Ended],
    collector: DatagramCollector,
    settle: Callable[[str, set[str]], None],
) -> None:
    """Forks of forks, as daemons do it, with all descriptors closed on the way."""
    ended = run(
        """
        make()
        logger.info("parent")
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.closerange(3, 256)
                logger.info("daemon")
                logging.shutdown()
            os._exit(0)
        os.wait()
        """
    )
    assert (ended.code, ended.err) == (0, "")
    settle("double fork, descriptors closed", {"parent", "daemon"})


def test_a_fork_after_the_close_stays_closed(
    run: Callable[..., Ended],
    collector: DatagramCollector,
    settle: Callable[[str, set[str]], None],
) -> None:
    """A child of a process whose handler was closed sends its records at once."""
    ended = run(
        """
        make().close()
        if os.fork() == 0:
            logger.info("late child")
            assert threading.active_count() == 1
            os._exit(0)
        os.wait()
        """
    )
    assert (ended.code, ended.err) == (0, "")
    settle("fork after the close", {"late child"})


# --- process pools -----------------------------------------------------------------------------

POOLS = {
    "process": """
workers = [context.Process(target=work, args=(n,)) for n in range(4)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
""",
    "pool_joined": """
pool = context.Pool(2)
pool.map(work, range(4), chunksize=1)
pool.close()
pool.join()
""",
    "pool_terminated": """
with context.Pool(4, drain_on_sigterm) as pool:
    for task in range(4):
        pool.apply_async(work_on, (task,))
    while len(glob.glob(__file__ + ".*")) < 4:
        time.sleep(0.01)
""",
    "pool_executor": """
with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
    list(executor.map(work, range(4)))
""",
}

WORKERS = """
import concurrent.futures, glob, multiprocessing
make()
def work(task):
    for number in range(5):
        logger.info("task %d/%d", task, number)
def work_on(task):
    # idle workers fight for the lock of their pool when it ends, see drain_on_sigterm
    work(task)
    open(f"{{__file__}}.{{task}}", "w").close()
    time.sleep(600)
if __name__ == "__main__":
    logger.info("main")
    context = multiprocessing.get_context("{method}")
{pool}
"""


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
@pytest.mark.parametrize("pool", POOLS)
def test_worker_processes_are_heard_to_the_end(
    run: Callable[..., Ended],
    collector: DatagramCollector,
    pool: str,
    method: str,
    settle: Callable[[str, set[str]], None],
) -> None:
    """The last record of each child arrives, though children leave through `os._exit`."""
    ended = run(WORKERS.format(method=method, pool=textwrap.indent(POOLS[pool], "    ")))
    assert (ended.code, ended.err) == (0, "")
    tasks = {f"task {task}/{number}" for task in range(4) for number in range(5)}
    settle(f"{pool}, {method}", {"main", *tasks})

"""Each record arrives once from the programs that people really run.

The examples of the documentation are run as they are, by the frameworks' own servers, with four
workers and real HTTP requests. Their records come back to this process, and are counted.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.integration.support import (
    ORDERS,
    PYTHON,
    Shop,
    free_port,
    require_module,
    visit,
    wait_for_idle_workers,
    wait_for_server,
)
from tests.support import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def serve(
    shop: Shop, command: list[str], port: int, is_ready: Callable[[], object] = lambda: True
) -> None:
    """Run a web server, send the customers, and stop it."""
    with shop.running(command) as process:
        wait_for_server(port, process)
        wait_until(is_ready)
        visit(port)


@pytest.mark.parametrize("preload", [False, True], ids=["no-preload", "preload"])
@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent"])
def test_gunicorn(
    shop: Callable[[str], Shop],
    settle: Callable[..., None],
    require: Callable[[str], str],
    worker: str,
    preload: bool,
) -> None:
    """Four workers, forked from a master that has logged before; their last words arrive too."""
    if worker == "gevent":
        require_module("gevent")
    example, port = shop("gunicorn"), free_port()
    command = [require("gunicorn"), "--config", "gunicorn_conf.py", "--worker-class", worker]
    command += ["--threads", "4"] if worker == "gthread" else []
    command += ["--preload"] if preload else []
    command += ["--bind", f"127.0.0.1:{port}", "app"]
    # one that is told to stop before it is ready misses it and stays for half a minute
    serve(example, command, port, lambda: example.count("worker %d begins") == 4)

    orders = example.orders()
    case = f"gunicorn, {worker}{', preload' if preload else ''}"
    settle(example, case, range(ORDERS), orders)
    assert len({record.process for record in orders}) > 1
    ends = [r for r in example.log_receiver.records if str(r.msg) == "worker %d ends"]
    assert len({record.process for record in ends}) == len(ends) == 4
    assert all(record.args == (record.process,) for record in ends)


def test_uvicorn(
    shop: Callable[[str], Shop], settle: Callable[..., None], require: Callable[[str], str]
) -> None:
    """Two spawned workers that read the same file with --log-config."""
    example, port = shop("uvicorn"), free_port()
    command = [require("uvicorn"), "app:application", "--workers", "2", "--port", str(port)]
    serve(example, [*command, "--log-config", "logging.json"], port)

    settle(example, "uvicorn, 2 workers, --log-config", range(ORDERS), example.orders())
    access = [r for r in example.log_receiver.records if r.name == "uvicorn.access"]
    assert len(access) == ORDERS


def test_celery_prefork(
    shop: Callable[[str], Shop],
    settle: Callable[..., None],
    require: Callable[[str], str],
    tmp_path: Path,
) -> None:
    """Four children of a Celery worker; tasks come over a broker of files."""
    example = shop("celery")
    broker = {"BROKER_FOLDER": str(tmp_path / "broker")}
    command = [require("celery"), "--app", "tasks", "worker", "--concurrency", "4"]
    command += ["--pool", "prefork", "--without-gossip", "--without-mingle"]
    with example.running(command, broker):
        example.run([PYTHON, "order.py", "100"], broker)
        example.wait_for_orders(100)

    orders = example.orders()
    settle(example, "celery, prefork, 4 children", range(100), orders)
    assert len({record.process for record in orders}) > 1


def test_celery_restarted_children(
    shop: Callable[[str], Shop],
    settle: Callable[..., None],
    require: Callable[[str], str],
    tmp_path: Path,
) -> None:
    """Children that end after ten tasks each, with a record as the last thing that they do."""
    example = shop("celery")
    broker = {"BROKER_FOLDER": str(tmp_path / "broker")}
    command = [require("celery"), "--app", "tasks", "worker", "--concurrency", "4"]
    command += ["--max-tasks-per-child", "10", "--without-gossip", "--without-mingle"]
    with example.running(command, broker):
        example.run([PYTHON, "order.py", "100"], broker)
        example.wait_for_orders(100)

    orders = example.orders()
    settle(example, "celery, prefork, 10 tasks per child", range(100), orders)
    assert len({record.process for record in orders}) >= 10


def test_django(
    shop: Callable[[str], Shop], settle: Callable[..., None], require: Callable[[str], str]
) -> None:
    """LOGGING in settings.py, under four workers."""
    require_module("django")
    example, port = shop("django"), free_port()
    command = [require("gunicorn"), "--workers", "4", "--bind", f"127.0.0.1:{port}", "wsgi"]
    with example.running(command) as process:
        wait_for_server(port, process)
        visit(port, range(1, ORDERS + 1))
        with pytest.raises(AssertionError):
            visit(port, [0])

    orders = [record for record in example.orders() if record.args != (0,)]
    settle(example, "django, LOGGING, gunicorn", range(1, ORDERS + 1), orders)
    assert example.log_receiver.has_record(logger="django.request", match="Not Found: /order/0")


def test_flask(
    shop: Callable[[str], Shop], settle: Callable[..., None], require: Callable[[str], str]
) -> None:
    """app.logger, under four workers; a failure arrives with its traceback."""
    require_module("flask")
    example, port = shop("flask"), free_port()
    command = [require("gunicorn"), "--workers", "4", "--bind", f"127.0.0.1:{port}", "app:app"]
    with example.running(command) as process:
        wait_for_server(port, process)
        visit(port, range(1, ORDERS + 1))
        with pytest.raises(AssertionError):
            visit(port, [0])

    records = [r for r in example.log_receiver.records if str(r.msg) == "order %d"]
    orders = [record for record in records if record.args != (0,)]
    settle(example, "flask, app.logger, gunicorn", range(1, ORDERS + 1), orders)
    [failure] = [r for r in example.log_receiver.records if r.levelname == "ERROR"]
    assert "RuntimeError: nobody orders nothing" in (failure.exc_text or "")


@pytest.mark.parametrize("lazy", [False, True], ids=["fork", "lazy-apps"])
@pytest.mark.parametrize("threads", [True, False], ids=["threads", "no-threads"])
def test_uwsgi(
    shop: Callable[[str], Shop],
    settle: Callable[..., None],
    require: Callable[[str], str],
    tmp_path: Path,
    threads: bool,
    lazy: bool,
) -> None:
    """Four processes, with Python threads and without.

    Since 2.0.30 uWSGI always lets threads run; the oldest Python is tested with an older one.
    """
    version = subprocess.check_output([require("uwsgi"), "--version"], text=True)
    if not threads and tuple(map(int, version.split(".")[:3])) >= (2, 0, 30):
        pytest.skip(f"uWSGI {version.strip()} always lets threads run")
    example, port = shop("uwsgi"), free_port()
    configuration = (example.folder / "uwsgi.ini").read_text()
    if not threads:
        configuration = re.sub(r"(?m)^enable-threads.*\n", "", configuration)
    file = tmp_path / "uwsgi.ini"
    file.write_text(configuration)
    command = [require("uwsgi"), "--ini", str(file), "--http-socket", f"127.0.0.1:{port}"]
    # it brings an interpreter of its own, which does not know the environment it was installed in
    command += ["--virtualenv", os.path.dirname(os.path.dirname(PYTHON))]
    command += ["--lazy-apps"] if lazy else []
    stats_port = free_port()
    with example.running([*command, "--stats", f"127.0.0.1:{stats_port}"]) as process:
        wait_for_server(port, process)
        visit(port, [0])
        if threads:
            wait_until(example.orders, "sending while the workers are idle")
        visit(port, range(1, ORDERS))
        # without threads every call sends: most are here before the end
        wait_until(lambda: len(example.orders()) > ORDERS // 2)
        # uWSGI skips the exit hooks of a worker that is busy, or not yet ready, when it is told
        # to stop
        wait_for_idle_workers(stats_port)

    orders = example.orders()
    case = f"uwsgi, {'' if threads else 'no '}threads{', lazy-apps' if lazy else ''}"
    settle(example, case, range(ORDERS), orders)


def test_xdist(
    shop: Callable[[str], Shop],
    settle: Callable[..., None],
    tmp_path: Path,
) -> None:
    """Four workers of pytest-xdist."""
    require_module("xdist")
    example = shop("xdist")
    command = [PYTHON, "-m", "pytest", "-q", "-n", "4", "--rootdir", str(example.folder)]
    command += ["-c", "/dev/null", "-p", "no:cacheprovider", str(example.folder)]
    example.run(command)

    orders = example.orders()
    settle(example, "pytest-xdist, -n 4", range(100), orders)
    assert {vars(record)["worker"] for record in orders} == {"gw0", "gw1", "gw2", "gw3"}


@pytest.mark.parametrize("script", ["patched_first.py", "patched_later.py"])
@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_green_threads(
    shop: Callable[[str], Shop], settle: Callable[..., None], library: str, script: str
) -> None:
    """Four green threads, patched before the package was imported and after it had sent."""
    require_module(library)
    example = shop(library)
    example.run([PYTHON, script])

    expected = range(200 if script == "patched_first.py" else 201)
    case = f"{library}, {script.removesuffix('.py').replace('_', ' ')}"
    settle(example, case, expected, example.orders())


FLUSH_AFTER_PATCH = """
import importlib, logging, os, sys, time
from batchudp_handler import BatchUDPHandler

target = os.environ["BATCHUDP_TARGET_HOST"]
handler = BatchUDPHandler(target, delivery="acknowledged", flush_interval=60.0)
logging.basicConfig(level=logging.INFO, handlers=[handler])
log = logging.getLogger("shop")
log.info("order %d", 0)
assert handler.flush(60.0)
if sys.argv[1] == "gevent":
    from gevent import monkey
    monkey.patch_all()
else:
    import eventlet
    eventlet.monkey_patch()
log.info("order %d", 1)
began = time.monotonic()
assert handler.flush(60.0)
log.info("order %d", 2)
handler.close()
assert time.monotonic() - began < 30.0
"""


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_a_flush_after_a_late_patch(
    shop: Callable[[str], Shop], settle: Callable[..., None], library: str
) -> None:
    """The caller learns from the real thread that it is done, and does not wait in vain."""
    require_module(library)
    example = shop(library)
    example.run([PYTHON, "-c", FLUSH_AFTER_PATCH, library])
    settle(example, f"{library}, flush and close after a late patch", range(3), example.orders())


def test_gunicorn_reload(
    shop: Callable[[str], Shop], settle: Callable[..., None], require: Callable[[str], str]
) -> None:
    """SIGHUP while customers order: logging is set up again, old workers drain."""
    example, port = shop("gunicorn"), free_port()
    command = [require("gunicorn"), "--config", "gunicorn_conf.py"]
    with example.running([*command, "--bind", f"127.0.0.1:{port}", "app"]) as process:
        wait_for_server(port, process)
        wait_until(lambda: example.count("worker %d begins") == 4)
        visit(port, range(ORDERS // 2))
        process.send_signal(signal.SIGHUP)
        visit(port, range(ORDERS // 2, ORDERS))
        ends = "worker %d ends"
        wait_until(lambda: example.count(ends) >= 4)
        wait_until(lambda: example.count("worker %d begins") == 8)

    settle(example, "gunicorn, sync, SIGHUP", range(ORDERS), example.orders())

"""Records find a receiver whose name moves, vanishes, or cannot be asked for."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler import BatchUDPHandler
from tests.network.support import LONGEST_CALL, PATIENCE, Calls, Far, Names
from tests.support import balance, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

HOST = "service.example"
DEFAULTS = {"flush_interval": 0.05, "shutdown_timeout": 0.3}


def attach(calls: Calls, host: str = HOST, port: int = 9999, **settings: Any) -> BatchUDPHandler:
    """A handler for the calls, which the `logger` fixture closes."""
    handler = BatchUDPHandler(host, port, **{**DEFAULTS, **settings})
    calls.logger.addHandler(handler)
    return handler


def test_a_name_that_moves(calls: Calls, names: Names, settle: Callable[..., Any]) -> None:
    """Both addresses listen: each record arrives at one of them, and the new one takes over."""
    with Far() as old, Far() as new:
        names.answers[HOST] = [("127.0.0.1", old.port)]
        handler = attach(calls, resolve_interval=0.1)
        calls.log(90)
        old.wait_for(1)
        names.answers[HOST] = [("127.0.0.1", new.port)]
        calls.log_until(lambda: new.messages)
        calls.log(90)
        assert handler.flush(PATIENCE)
        wait_until(lambda: len(old.messages) + len(new.messages) >= calls.logged)
        row = settle("name changes its address, one_way", calls, old.messages + new.messages)
        assert (row.lost, row.duplicated) == (0, 0)
        assert calls.messages[-1] in new.messages
        assert handler.stats().sent == calls.logged


def test_a_name_that_moves_away_from_the_dead(
    calls: Calls, names: Names, settle: Callable[..., Any]
) -> None:
    """Acknowledged, and the old receiver gone: what it did not confirm reaches the new one."""
    with Far() as new:
        with Far() as old:
            names.answers[HOST] = [("127.0.0.1", old.port)]
            handler = attach(calls, resolve_interval=0.2, delivery="acknowledged")
            calls.log(90)
            old.wait_for(1)
        calls.log(90)
        names.answers[HOST] = [("127.0.0.1", new.port)]
        calls.log(90)
        assert handler.flush(PATIENCE)
        row = settle("name changes its address, acknowledged", calls, old.messages + new.messages)
        assert row.lost == 0
        assert row.duplicated <= handler.stats().resent_to_new_receiver
        assert handler.stats().confirmed == calls.logged


def test_a_name_that_is_unknown_for_a_while(
    calls: Calls, names: Names, far: Far, settle: Callable[..., Any]
) -> None:
    """Records wait while there is no such name, and arrive once when there is."""
    names.answers[HOST] = None
    handler = attach(calls)
    calls.log_until(lambda: names.asked[HOST] >= 4, pause=0.005)
    assert handler.stats().send_errors["name_not_resolved"] >= 3
    assert not far.messages
    names.answers[HOST] = [("127.0.0.1", far.port)]
    far.wait_for(calls.logged)
    row = settle("NXDOMAIN for a while", calls, far.messages)
    assert (row.lost, row.duplicated) == (0, 0)


def test_a_resolver_that_hangs_at_first(
    calls: Calls, names: Names, far: Far, settle: Callable[..., Any]
) -> None:
    """Records wait for its answer, one question is open at a time, and all arrive."""
    names.answers[HOST] = [("127.0.0.1", far.port)]
    names.is_held = True
    handler = attach(calls)
    calls.log(300)
    assert names.asked[HOST] == 1
    assert not handler.flush(0.1)
    names.is_held = False
    far.wait_for(calls.logged)
    row = settle("resolver hangs at the start", calls, far.messages)
    assert (row.lost, row.duplicated) == (0, 0)


def test_the_first_call_waits_for_no_resolver(calls: Calls, names: Names) -> None:
    """It starts the thread and the look-up; in the usual of three handlers, within 50 ms."""
    names.answers[HOST] = None
    names.is_held = True
    took = []
    for _ in range(3):
        with closing(attach(calls, shutdown_timeout=0.1)) as handler:
            began = time.perf_counter()
            calls.logger.error("first")
            took.append(time.perf_counter() - began)
            wait_until(lambda: names.asked[HOST] == len(took))
            calls.logger.removeHandler(handler)
    assert statistics.median(took) <= LONGEST_CALL


def test_a_resolver_that_hangs_later_on(
    calls: Calls, names: Names, far: Far, settle: Callable[..., Any]
) -> None:
    """The address of before is used while a look-up gets no answer."""
    names.answers[HOST] = [("127.0.0.1", far.port)]
    attach(calls, resolve_interval=0.1)
    calls.log(30)
    far.wait_for(30)
    names.is_held = True
    asked = names.asked[HOST]
    calls.log_until(lambda: names.asked[HOST] > asked)
    calls.log(90)
    far.wait_for(calls.logged)
    assert names.is_held
    row = settle("resolver hangs at a later look-up", calls, far.messages)
    assert (row.lost, row.duplicated) == (0, 0)


HANGING = """
import json, logging, socket, sys, time

def hang(*arguments, flags=0, **options):
    if flags:
        raise socket.gaierror(socket.EAI_NONAME, "not a number")
    time.sleep(30)

socket.getaddrinfo = hang
from batchudp_handler import BatchUDPHandler

handler = BatchUDPHandler("slow.example", shutdown_timeout=0.5)
logging.getLogger().addHandler(handler)
longest = []
for part in range(3):
    worst = 0.0
    for number in range(30):
        began = time.perf_counter()
        logging.warning("n %d", number)
        worst = max(worst, time.perf_counter() - began)
        time.sleep(0.001)
    longest.append(worst)
print(json.dumps(sorted(longest)[1]), flush=True)
began = time.monotonic()
logging.shutdown()
print(time.monotonic() - began, flush=True)
"""


def test_a_hanging_resolver_does_not_hold_the_end_of_a_process() -> None:
    """Thirty seconds of silence cost `shutdown_timeout`, and one line on stderr."""
    runs = [_run_hanging() for _ in range(3)]
    longest, closing_took, took = (statistics.median(each) for each in zip(*runs, strict=True))
    assert longest <= LONGEST_CALL
    assert closing_took <= 1.0
    assert took < 15.0


def _run_hanging() -> tuple[float, float, float]:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", HANGING],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    longest, closing_took = (json.loads(line) for line in done.stdout.split())
    assert done.stderr == (
        "batchudp-handler: 90 records for slow.example:9999 were lost so far: closed 90; "
        "the name slow.example is still being looked up. To find the cause: "
        "batchudp-send --doctor --target-host slow.example --target-port 9999\n"
    )
    return longest, closing_took, time.monotonic() - began


@pytest.mark.parametrize("delivery", ["one_way", "acknowledged"])
def test_a_receiver_that_comes_up_late(
    calls: Calls, delivery: str, settle: Callable[..., Any]
) -> None:
    """Refused datagrams are sent again, and all of them arrive when somebody listens."""
    port = free_port()
    handler = attach(calls, "127.0.0.1", port, delivery=delivery, max_retries=20)
    calls.log_until(lambda: handler.stats().send_errors.get("ECONNREFUSED", 0) >= 2)
    with Far(port=port) as far:
        calls.log(90)
        assert handler.flush(PATIENCE)
        far.wait_for(calls.logged)
        row = settle(f"receiver comes up late (ECONNREFUSED), {delivery}", calls, far.messages)
    assert (row.lost, row.duplicated) == (0, 0)


def test_ipv6(calls: Calls, settle: Callable[..., Any]) -> None:
    """`[::1]:port` is a host like any other."""
    try:
        far = Far("::1")
    except OSError:
        pytest.skip("no IPv6 here")
    with far:
        handler = attach(calls, f"[::1]:{far.port}")
        calls.log(300)
        far.wait_for(calls.logged)
        row = settle("IPv6, ::1", calls, far.messages)
        assert (row.lost, row.duplicated) == (0, 0)
        assert handler.stats().max_datagram_size == 65_488


@pytest.mark.parametrize("delivery", ["one_way", "acknowledged"])
def test_the_next_of_several_addresses(
    calls: Calls, names: Names, far: Far, delivery: str, settle: Callable[..., Any]
) -> None:
    """Where the first two refuse, the third gets everything, also after it has moved."""
    names.answers[HOST] = [
        ("127.0.0.1", free_port()),
        ("127.0.0.2", free_port()),
        ("127.0.0.1", far.port),
    ]
    handler = attach(calls, delivery=delivery, max_retries=20)
    calls.log(300)
    assert handler.flush(PATIENCE)
    far.wait_for(calls.logged)
    row = settle(f"several addresses, two refuse, {delivery}", calls, far.messages)
    assert (row.lost, row.duplicated) == (0, 0)


@pytest.mark.parametrize("is_named", [True, False])
def test_a_steady_sender_changes_its_source_port(
    calls: Calls, names: Names, far: Far, is_named: bool, settle: Callable[..., Any]
) -> None:
    """Each interval brings a fresh socket, so no address translation keeps to a dead target."""
    names.answers[HOST] = [("127.0.0.1", far.port)]
    host, port = (HOST, 9999) if is_named else ("127.0.0.1", far.port)
    handler = attach(calls, host, port, resolve_interval=0.1)
    calls.log_until(lambda: handler.stats().reconnects >= 4)
    assert handler.flush(PATIENCE)
    far.wait_for(calls.logged)
    sources = {record.__dict__["remote_addr"] for record in far.records}
    assert len(sources) >= 3
    assert len(far.receiver.stats().streams) == 1
    case = "fresh source port each interval, " + ("name" if is_named else "number")
    row = settle(case, calls, far.messages)
    assert (row.lost, row.duplicated) == (0, 0)


def test_counters_add_up_when_no_address_ever_answers(calls: Calls, names: Names) -> None:
    """Identity S holds after the close; every record has a cause."""
    names.answers[HOST] = None
    with closing(attach(calls, shutdown_timeout=0.2)) as handler:
        calls.log(90)
    stats = handler.stats()
    assert stats.accepted == balance(stats) == 90
    assert stats.dropped == {"closed": 90}

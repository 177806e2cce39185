"""`batchudp-send` as its users meet it: lines in, the same lines out, and numbers that add up."""

from __future__ import annotations

import json
import logging
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler import BatchUDPReceiver
from batchudp_handler.cli import shipping
from batchudp_handler.cli.input import LONGEST_LINE, Pace, lines_of
from tests.support import wait_until

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

COMMAND = (sys.executable, "-m", "batchudp_handler", "send")
PATIENCE = 90.0
"""Seconds for whatever a process does; many run at once on a machine that tests everything."""
TIMING = {"datagrams_sent", "bytes_sent", "send_errors", "flushes", "uptime"}
"""Counters that differ from run to run."""
PLAIN_NAMES = (
    *("TARGET_HOST", "TARGET_PORT", "BATCH_SIZE", "FLUSH_INTERVAL", "COMPRESS", "MAX_RETRIES"),
    *("LOGS_PER_SECOND", "RUN_TIME"),
)


def environment(**changes: str) -> dict[str, str]:
    """Ours, without settings that somebody may have exported."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("BATCHUDP_") and name not in PLAIN_NAMES
    }
    return {**kept, **changes}


def run(
    *arguments: str, text: bytes | None = None, **variables: str
) -> subprocess.CompletedProcess[bytes]:
    """The command to its end, with something piped in or nothing at all."""
    given: dict[str, Any] = {"stdin": subprocess.DEVNULL} if text is None else {"input": text}
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment(**variables),
        capture_output=True,
        timeout=PATIENCE,
        check=False,
        **given,
    )


@contextmanager
def started(*arguments: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """The command while it runs."""
    options = {"stdin": subprocess.DEVNULL, "stderr": subprocess.PIPE, **options}
    process = subprocess.Popen([*COMMAND, *arguments], env=environment(), **options)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal by now."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        (caught,) = (line.split()[1] for line in file if line.startswith("SigCgt:"))
    return bool(int(caught, 16) >> (number - 1) & 1)


class Received:
    """A receiver in this process and what it was sent."""

    def __init__(self) -> None:
        self.records: list[logging.LogRecord] = []
        self.receiver = BatchUDPReceiver("127.0.0.1", 0)
        host, port = self.receiver.address
        self.target = ("--target-host", f"{host}:{port}")

    @property
    def messages(self) -> list[str]:
        return [record.getMessage() for record in self.records]


@pytest.fixture
def received() -> Iterator[Received]:
    """A receiver whose records are collected, without those about itself."""
    collected = Received()

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.name != "batchudp.receiver":
                collected.records.append(record)

    collector, root = Collector(), logging.getLogger()
    root.addHandler(collector)
    level = root.level
    root.setLevel(1)
    with collected.receiver:
        yield collected
    root.removeHandler(collector)
    root.setLevel(level)


def numbers(ended: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    """The counters of `--summary json`."""
    stats = json.loads(ended.stderr.decode().splitlines()[-1])
    assert stats["accepted"] == (
        sum(stats[name] for name in ("sent", "confirmed", "rejected_by_receiver", "unconfirmed"))
        + sum(stats[name] for name in ("waiting", "retained", "spooled"))
        + sum(stats["dropped"].values())
    ), "identity S"
    return dict(stats)


AWKWARD = [
    "plain",
    "",
    "  spaces  ",
    "tab\tand % and %s and %(x)d and {braces}",
    "é 漢字 👩‍💻",
    '{"message": "json"}',
    "carriage\r",
    "\x1b[31mred\x00",
    "\u202egnp",
    "x" * 100_000,
]


# --- lines -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", ["512", "1472", "65507"])
def test_files_arrive_line_by_line(tmp_path: pathlib.Path, received: Received, size: str) -> None:
    """Every line of every file, in order, whatever is in it, at any datagram size."""
    lines = [f"{number} {AWKWARD[number % 7]}" for number in range(20_000)] + AWKWARD
    path, other = tmp_path / "a.log", tmp_path / "b.log"
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())
    other.write_bytes(b"no line feed at the end")
    flags = ("--file", str(path), "--file", str(other), "--max-datagram-size", size)
    ended = run(*flags, "--summary", "json", *received.target)
    assert ended.returncode == 0, ended.stderr
    assert received.messages == [*lines, "no line feed at the end"]
    stats = numbers(ended)
    assert stats["confirmed"] == stats["accepted"] == len(lines) + 1
    assert stats["max_datagram_size"] <= int(size)
    assert {record.levelname for record in received.records} == {"INFO"}


def test_one_way_lines_are_held_back(tmp_path: pathlib.Path, received: Received) -> None:
    """With nobody to confirm, a rate keeps the receiver's buffer from running over."""
    lines = [f"line {number}" for number in range(5_000)]
    path = tmp_path / "a.log"
    path.write_text("\n".join(lines))
    started_at = time.monotonic()
    ended = run(
        *("--file", str(path), "--delivery", "one_way", "--max-rate", "10000"),
        *("--summary", "json", *received.target),
    )
    assert time.monotonic() - started_at >= 0.49
    assert numbers(ended)["sent"] == 5_000
    wait_until(lambda: len(received.records) == 5_000)
    assert received.messages == lines


def test_standard_input(received: Received) -> None:
    """What is piped in is shipped, with the level and the logger that are asked for."""
    flags = ("--line-level", "warning", "--logger", "kernel")
    ended = run(*flags, *received.target, text=b"one\ntwo\xff\n\nfour")
    assert ended.returncode == 0
    assert received.messages == ["one", "two\\xff", "", "four"]
    assert {(record.levelname, record.name) for record in received.records} == {
        ("WARNING", "kernel")
    }
    # no code made them: a formatter that asks for the function prints nothing, and not "None"
    assert {record.funcName for record in received.records} == {""}


def test_lines_below_the_level_are_not_shipped(received: Received) -> None:
    """`--level` is the handler's level, for lines, too."""
    ended = run("--level", "error", "--summary", "json", *received.target, text=b"one\n")
    assert numbers(ended)["accepted"] == 0


def test_a_dash_is_standard_input(received: Received) -> None:
    """`--file -` reads standard input even where settings ask for samples."""
    ended = run("--file", "-", *received.target, text=b"one\n", LOGS_PER_SECOND="1")
    assert ended.returncode == 0
    assert received.messages == ["one"]


def test_very_long_lines_go_on_in_the_next_record(tmp_path: pathlib.Path) -> None:
    """A file without line ends neither fills the memory nor loses a character."""
    path = tmp_path / "long"
    path.write_bytes(b"x" * (2 * LONGEST_LINE) + b"y\nz")
    parts = list(lines_of(str(path), follow=False))
    assert parts == ["x" * LONGEST_LINE, "x" * LONGEST_LINE, "y", "z"]


def test_follow(tmp_path: pathlib.Path, received: Received) -> None:
    """As `tail -F`: lines as they are finished, on in the new file after a rotation."""
    path = tmp_path / "a.log"
    path.write_text("one\nhalf")
    flags = ("--file", str(path), "--follow", "--batch-size", "1", *received.target)
    with started(*flags) as process:
        wait_until(lambda: received.messages == ["one"])
        with path.open("a") as file:
            file.write(" done\ntwo\n")
        wait_until(lambda: received.messages == ["one", "half done", "two"])
        path.rename(tmp_path / "a.log.1")
        path.write_text("new\n")
        wait_until(lambda: received.messages[3:] == ["new"])
        path.write_text("")
        # the follower has seen that: it has opened the file anew
        wait_until(lambda: position_in(path, process.pid) == 0)
        path.write_text("again\n")
        wait_until(lambda: received.messages[4:] == ["again"])
        process.terminate()
        assert process.wait(PATIENCE) == 0
        assert process.stderr is not None
        assert b"accepted 5, sent 0, confirmed 5" in process.stderr.read()


def position_in(path: pathlib.Path, pid: int) -> int | None:
    """How far a process has read a file; None: it does not have it open."""
    for descriptor in os.listdir(f"/proc/{pid}/fd"):
        with suppress(OSError):  # closed meanwhile
            if os.readlink(f"/proc/{pid}/fd/{descriptor}") == str(path):
                with open(f"/proc/{pid}/fdinfo/{descriptor}", encoding="ascii") as file:
                    return int(file.readline().split()[1])
    return None


# --- samples -----------------------------------------------------------------------------------


def test_samples_at_a_rate(received: Received) -> None:
    """Rate times run time records, real ones: several loggers and levels, exceptions, extras."""
    ended = run(
        *("--logs-per-second", "500", "--run-time", "1", "--summary", "json", *received.target)
    )
    stats = numbers(ended)
    assert 1 <= stats["accepted"] <= 500  # fewer on a busy machine: no burst makes up for it
    wait_until(lambda: received.receiver.stats().delivered == stats["accepted"])
    assert {record.levelname for record in received.records} >= {"INFO", "WARNING"}
    assert {record.name for record in received.records} >= {
        "batchudp.send.web",
        "batchudp.send.orders",
    }
    assert all(record.pathname.endswith("input.py") for record in received.records)


def test_settings_of_the_environment_are_used(received: Received) -> None:
    """The names that container users know decide what is sent, where, and for how long."""
    _, target = received.target
    host, _, port = target.partition(":")
    ended = run(
        *("--summary", "json"),
        TARGET_HOST=host,
        TARGET_PORT=port,
        LOGS_PER_SECOND="50",
        RUN_TIME="0.5",
        BATCH_SIZE="5",
        FLUSH_INTERVAL="0.1",
        COMPRESS="false",
        MAX_RETRIES="1",
    )
    stats = numbers(ended)
    assert 1 <= stats["accepted"] <= 25
    wait_until(lambda: len(received.records) == stats["accepted"])


@pytest.mark.parametrize("flag", ["--compress", "--no-compress"])
def test_compression(tmp_path: pathlib.Path, received: Received, flag: str) -> None:
    """Without compression, more bytes travel than the payloads have; with it, far fewer."""
    path = tmp_path / "a.log"
    path.write_text("the same line again\n" * 2_000)
    ended = run("--file", str(path), flag, "--summary", "json", *received.target)
    stats = numbers(ended)
    assert (stats["bytes_sent"] > stats["bytes_raw"]) is (flag == "--no-compress")


def test_pace_keeps_to_the_rate() -> None:
    """At most rate times time; lost time is not made up for in a burst."""
    pace = Pace(1000)
    begin = time.monotonic()
    for _ in range(100):
        pace.wait()
    assert time.monotonic() - begin >= 0.09
    time.sleep(0.3)
    begin = time.monotonic()
    for _ in range(100):
        pace.wait()
    assert time.monotonic() - begin >= 0.09


# --- settings ----------------------------------------------------------------------------------


def shown(output: bytes, name: str) -> tuple[str, str]:
    """A setting's value and origin as `print-config` shows them."""
    (line,) = [each for each in output.decode().splitlines() if each.startswith(f"{name} = ")]
    value, _, origin = line.removeprefix(f"{name} = ").rpartition(" # ")
    return value.strip(), origin


@pytest.mark.parametrize(
    ("flag", "variable", "name", "default"),
    [
        ("--target-host", "TARGET_HOST", "host", '"localhost"'),
        ("--target-port", "TARGET_PORT", "port", "9999"),
        ("--batch-size", "BATCH_SIZE", "batch_size", "10"),
        ("--batch-interval", "FLUSH_INTERVAL", "flush_interval", "5.0"),
        ("--max-retries", "MAX_RETRIES", "max_retries", "3"),
        ("--logs-per-second", "LOGS_PER_SECOND", "logs_per_second", "5.0"),
        ("--run-time", "RUN_TIME", "run_time", "30.0"),
    ],
)
def test_names_of_settings(flag: str, variable: str, name: str, default: str) -> None:
    """Flag, both environment names and default of every setting that has a fixed name."""
    assert shown(run("print-config").stdout, name) == (default, "default")
    plain: dict[str, Any] = {variable: "3"}
    prefixed: dict[str, Any] = {f"BATCHUDP_{variable}": "2"}
    assert shown(run("print-config", **plain).stdout, name)[1] == variable
    both = run("print-config", **plain, **prefixed)
    assert shown(both.stdout, name)[1] == f"BATCHUDP_{variable}"
    value, origin = shown(run("print-config", flag, "1", **plain, **prefixed).stdout, name)
    assert (value.strip('"').removesuffix(".0"), origin) == ("1", flag)


@pytest.mark.parametrize("script", [("send",), ()])
def test_print_config_without_a_reader(script: tuple[str, ...]) -> None:
    """As in `print-config | head -1`: no traceback, exit code 0."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = subprocess.run(
            [*COMMAND[:-1], *script, "print-config"],
            env=environment(),
            stdout=writer,
            stderr=subprocess.PIPE,
            timeout=PATIENCE,
            check=False,
        )
    finally:
        os.close(writer)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_no_compress_and_its_variable() -> None:
    """`--no-compress` and `COMPRESS=false` say the same."""
    assert shown(run("print-config", "--no-compress").stdout, "compress")[0] == "false"
    assert shown(run("print-config", COMPRESS="false").stdout, "compress")[0] == "false"


def test_settings_from_a_file(tmp_path: pathlib.Path) -> None:
    """The `[send]` table gives what neither flag nor environment does."""
    path = tmp_path / "settings.toml"
    path.write_text("[send]\nbatch_size = 7\nstatic_fields = {service = 'web'}\n[receive]\n")
    ended = run("print-config", "--config", str(path))
    assert shown(ended.stdout, "batch_size") == ("7", str(path))
    assert shown(ended.stdout, "static_fields") == ('{"service" = "web"}', str(path))


def test_lines_are_safe_unless_told_otherwise(tmp_path: pathlib.Path) -> None:
    """Files are acknowledged and never dropped by default; what is set explicitly stays."""
    path = tmp_path / "a.log"
    path.write_text("x\n")
    by_default = run("print-config", "--file", str(path)).stdout
    assert shown(by_default, "delivery") == ('"acknowledged"', "default for lines")
    assert shown(by_default, "overflow") == ('"block"', "default for lines")
    assert shown(run("print-config").stdout, "delivery") == ('"one_way"', "default")
    explicit = ("--delivery", "one_way", "--overflow", "drop_newest")
    told = run("print-config", "--file", str(path), *explicit).stdout
    assert shown(told, "delivery") == ('"one_way"', "--delivery")
    assert shown(told, "overflow") == ('"drop_newest"', "--overflow")
    as_json = run("print-config", "--file", str(path), "--encoding", "json").stdout
    assert shown(as_json, "delivery")[0] == '"one_way"'


@pytest.mark.parametrize(
    ("arguments", "variables", "code", "words"),
    [
        (("--bach-size", "1"), {}, 64, "unrecognized arguments: --bach-size"),
        (("--batch-size", "0"), {}, 64, "batch_size must be a whole number"),
        (("--follow",), {}, 64, "--follow needs exactly one --file"),
        (("--follow", "--file", "-"), {}, 64, "--follow needs exactly one --file"),
        ((), {"TARGET_PORT": "0"}, 78, "TARGET_PORT: port must be"),
        (("--spool-directory", "/x"), {}, 78, "spool_directory needs"),
        (("--file", "/nonexistent"), {}, 66, "/nonexistent: No such file"),
        (("--file", "/"), {}, 66, "/: Is a directory"),
    ],
)
def test_exit_codes(
    arguments: tuple[str, ...], variables: dict[str, Any], code: int, words: str
) -> None:
    """Usage 64, missing input 66, configuration 78, each with the reason."""
    ended = run(*arguments, **variables)
    assert ended.returncode == code
    assert words in ended.stderr.decode()
    assert b"Traceback" not in ended.stderr


# --- the end -----------------------------------------------------------------------------------


def test_summary(received: Received) -> None:
    """Accepted, sent, dropped, sizes, times and triggers on one line of standard error."""
    ended = run(*received.target, text=b"line\n" * 100)
    assert ended.stdout == b""
    (line,) = ended.stderr.decode().splitlines()
    assert re.fullmatch(
        r"batchudp-send: accepted 100, sent 0, confirmed 100, rejected by the receiver 0, "
        r"unconfirmed 0, spooled 0, waiting 0, retained 0, dropped 0, truncated 0, "
        r"datagrams \d+, bytes \d+, send errors 0, batch size p50 [\d.]+ p95 [\d.]+, "
        r"send time in seconds p50 [\d.e-]+ p95 [\d.e-]+, flushes \d+ \([\w ,]+\), seconds [\d.]+",
        line,
    )


def numbers_in(summary: str) -> dict[str, int]:
    """The counts of a summary in words; what stands in brackets are parts of them."""
    plain = re.sub(r" \([^)]*\)", "", summary.partition(": ")[2])
    found = (re.fullmatch(r"(.+) (\d+)", part) for part in plain.split(", "))
    return {match[1]: int(match[2]) for match in found if match}


@pytest.mark.parametrize("where", ["nowhere", "receiver", "spool"])
def test_both_summaries_hold_the_same_sums(
    received: Received, tmp_path: pathlib.Path, where: str
) -> None:
    """Under every word, in every end of the records; and the words add up."""
    target = received.target if where == "receiver" else ("--target-host", "127.0.0.1:1")
    spool = ("--spool-directory", str(tmp_path)) if where == "spool" else ()
    arguments = (*target, *spool, "--give-up-after", "0.2", "--shutdown-timeout", "0.5")
    text = run(*arguments, text=b"line\n" * 50).stderr.decode().splitlines()[-1]
    if where == "spool":
        arguments = (*arguments[:-5], str(tmp_path / "another"), *arguments[-4:])
    as_json = run(*arguments, "--summary", "json", text=b"line\n" * 50).stderr.splitlines()[-1]
    stats = json.loads(as_json)
    words = numbers_in(text)
    for word, name in shipping.SUMMARY.items():
        counted = sum(stats[name].values()) if isinstance(stats[name], dict) else stats[name]
        if name not in {*TIMING, "batch_size", "send_time"}:
            assert words[word] == counted, word
    ends = list(shipping.SUMMARY)[1:9]
    assert words["accepted"] == 50 == sum(words[word] for word in ends)
    ended_as = {"nowhere": "dropped", "receiver": "confirmed", "spool": "spooled"}[where]
    assert words[ended_as] == 50


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ("unix:///nonexistent/log.sock", "the unix socket does not exist (ENOENT)"),
        ("no-such-host.invalid:9", "the name no-such-host.invalid cannot be looked up: "),
        ("127.0.0.1:1", "no receiver is listening at this address (ECONNREFUSED)"),
        (None, "no answer from the receiver within "),
    ],
)
def test_the_cause_is_said_in_words(target: str | None, error: str) -> None:
    """Not only that records were dropped at the close, but why nothing got away."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        where = target or "{}:{}".format(*mute.getsockname())
        times = ("--give-up-after", "1", "--shutdown-timeout", "0.5")
        ended = run("--target-host", where, *times, text=b"line\n")
    note, summary = ended.stderr.decode().splitlines()
    assert ended.returncode == 69
    assert error in note
    assert f"To find the cause: batchudp-send --doctor --target-host {where[:6]}" in note
    assert f"; latest error: {error}" in summary


def test_drops_are_told_and_are_a_failure() -> None:
    """Where nobody listens, samples are dropped, counted by cause, and the exit code is 69."""
    with BatchUDPReceiver("127.0.0.1", 0) as gone:
        host, port = gone.address
    ended = run(
        *("--target-host", f"{host}:{port}", "--logs-per-second", "100", "--run-time", "0.2"),
        *("--max-retries", "0", "--summary", "json"),
    )
    assert ended.returncode == 69
    stats = numbers(ended)
    assert sum(stats["dropped"].values()) > 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_with_a_summary(received: Received, number: int) -> None:
    """What was accepted is still sent; then the counters are told."""
    flags = ("--logs-per-second", "200", "--run-time", "0", "--summary", "json")
    with started(*flags, *received.target) as process:
        wait_until(lambda: len(received.records) >= 50)
        process.send_signal(number)
        assert process.wait(PATIENCE) == 0
        assert process.stderr is not None
        stats = json.loads(process.stderr.read().splitlines()[-1])
    assert stats["accepted"] == stats["sent"] >= 50
    wait_until(lambda: len(received.records) == stats["accepted"])


def test_a_signal_ends_waiting_for_a_receiver(tmp_path: pathlib.Path) -> None:
    """Lines wait for a receiver without end, but not longer than the user does."""
    path = tmp_path / "a.log"
    path.write_text("".join(f"{os.urandom(100).hex()}\n" for _ in range(100_000)))
    with BatchUDPReceiver("127.0.0.1", 0) as gone:
        host, port = gone.address
    flags = ("--target-host", f"{host}:{port}", "--file", str(path), "--shutdown-timeout", "0.2")
    with started(*flags) as process:
        wait_until(lambda: catches(process.pid, signal.SIGTERM))
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2.0)
        process.terminate()
        assert process.wait(PATIENCE) == 69
        assert process.stderr is not None
        assert b"unconfirmed" in process.stderr.read()


def test_progress_on_a_terminal_only(received: Received) -> None:
    """A terminal on standard error shows how far it is; a file gets the summary alone."""
    master, slave = pty.openpty()
    flags = ("--logs-per-second", "50", "--run-time", "1.2", *received.target)
    with started(*flags, stderr=slave):
        os.close(slave)
        shown_text = _read_terminal(master)
    os.close(master)
    assert re.search(r"\r\x1b\[K\d+ of \d+ sent, \d+/s, 0 dropped", shown_text)
    assert "accepted" in shown_text.splitlines()[-1]


def _read_terminal(master: int) -> str:
    """Everything until the other side is closed."""
    text = b""
    while select.select([master], [], [], PATIENCE)[0]:
        try:
            text += os.read(master, 4096)
        except OSError:  # how Linux says that the other side is closed
            break
    return text.decode()

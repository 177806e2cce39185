"""`batchudp-receive` as its users meet it: a process with flags, variables, files and signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
from typing import IO, TYPE_CHECKING, Any, Self

import pytest

from tests.support import wait_until

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator, Mapping

COMMAND = (sys.executable, "-m", "batchudp_handler")
PATIENCE = 90.0
"""Seconds for whatever a process does; many run at once on a machine that tests everything."""
PLAIN_NAMES = ("SERVER_HOST", "SERVER_PORT", "BUFFER_SIZE", "NO_COLOR", "FORCE_COLOR")


def environment(**changes: str) -> dict[str, str]:
    """Ours, without settings that somebody may have exported."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("BATCHUDP_") and name not in PLAIN_NAMES
    }
    return {**kept, **changes}


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


class Running:
    """A receiver process on a free port, with its output in files."""

    def __init__(
        self,
        directory: pathlib.Path,
        *arguments: str,
        host: str = "127.0.0.1",
        stdout: IO[bytes] | int | None = None,
        **variables: str,
    ) -> None:
        self._ready = directory / "ready"
        self._stdout, self._stderr = directory / "stdout", directory / "stderr"
        for left in (self._ready, self._stdout, self._stderr):
            left.unlink(missing_ok=True)
        where = ("--host", host, "--port", "0", "--ready-file", str(self._ready))
        with open(self._stdout, "ab") as out, open(self._stderr, "ab") as err:
            self.process = subprocess.Popen(
                [*COMMAND, *where, *arguments],
                env=environment(**variables),
                stdin=subprocess.DEVNULL,
                stdout=out if stdout is None else stdout,
                stderr=err,
            )
        try:
            wait_until(lambda: self._ready.exists() or self.process.poll() is not None)
            self.address = self._ready.read_text().strip()
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def send(self, *datagrams: bytes | Mapping[str, Any]) -> None:
        host, _, port = self.address.rpartition(":")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
            plain.connect((host, int(port)))
            for datagram in datagrams:
                plain.send(
                    datagram if isinstance(datagram, bytes) else json.dumps(datagram).encode()
                )

    @property
    def stdout(self) -> str:
        return self._stdout.read_text("utf-8")

    @property
    def stderr(self) -> str:
        return self._stderr.read_text("utf-8")

    def lines(self, count: int) -> list[str]:
        """The lines on standard output, once there are so many."""
        wait_until(lambda: self.stdout.count("\n") >= count)
        return self.stdout.splitlines()

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@pytest.fixture
def receiver(tmp_path: pathlib.Path) -> Iterator[Running]:
    """One that prints the level, the logger and the message."""
    with Running(tmp_path, "--pattern", "%(levelname)s %(name)s: %(message)s") as running:
        yield running


# --- receiving ---------------------------------------------------------------------------------


def test_prints_what_nc_would_send(receiver: Running) -> None:
    """An object, an array, and both behind the magic bytes are lines on standard output."""
    receiver.send(
        {"message": "hi", "level": "warning"},
        b'[{"message": "one", "level": "error", "logger": "app"}, {"msg": "two"}]',
        b'\xcb\xf2\x00{"message": "three"}',
    )
    assert receiver.lines(4) == [
        "WARNING root: hi",
        "ERROR app: one",
        "INFO root: two",
        "INFO root: three",
    ]


def test_default_line(tmp_path: pathlib.Path) -> None:
    """Time, level, host, logger and message, without colour into a file."""
    with Running(tmp_path) as running:
        running.send({"message": "hi", "level": "warning", "logger": "app", "created": 86400.5})
        (line,) = running.lines(1)
    expected = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(86400)) + ".500"
    assert line == f"{expected} WARNING  - app: hi"


def test_standard_output_is_pure(tmp_path: pathlib.Path) -> None:
    """With garbage, warnings and counters around, every line on stdout is a record."""
    with Running(tmp_path, "--format", "json", "--stats-interval", "0.05") as running:
        running.send(b"\xff\xff", b"\xcb\xf2\x01garbage", {"message": "a\nb\x1b[2J"})
        (line,) = running.lines(1)
        wait_until(lambda: "so far:" in running.stderr)
        assert running.end() == 0
        assert running.stdout.splitlines() == [line]
    assert json.loads(line)["msg"] == "a\nb\x1b[2J"
    assert "\x1b" not in line


def test_hostile_text_is_escaped_and_raw_is_not(tmp_path: pathlib.Path) -> None:
    """One record is one line; `--raw` writes what came."""
    hostile = {"message": "a\nforged \x1b[31m \u202e"}
    with Running(tmp_path, "--pattern", "%(message)s") as running:
        running.send(hostile)
        assert running.lines(1) == [r"a\nforged \x1b[31m \u202e"]
    with Running(tmp_path, "--pattern", "%(message)s", "--raw") as running:
        running.send(hostile)
        running.lines(2)
        assert running.stdout == hostile["message"] + "\n"


@pytest.mark.parametrize(
    ("variables", "is_coloured"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_colour(tmp_path: pathlib.Path, variables: dict[str, Any], is_coloured: bool) -> None:
    """No colour into a file, unless asked for and not forbidden."""
    with Running(tmp_path, **variables) as running:
        running.send({"message": "hi"})
        (line,) = running.lines(1)
    assert ("\x1b[" in line) is is_coloured


def test_levels(tmp_path: pathlib.Path) -> None:
    """Records below `--level` are left out, and delivered all the same."""
    with Running(tmp_path, "--level", "warning", "--pattern", "%(message)s") as running:
        running.send({"message": "low", "level": "info"}, {"message": "high", "level": "error"})
        assert running.lines(1) == ["high"]
        running.end()
        assert "delivered 2" in running.stderr


def written(output: pathlib.Path) -> str:
    """The text of a file that may be on its way to another name."""
    try:
        return output.read_text()
    except FileNotFoundError:
        return ""


def test_output_file_with_rotation(tmp_path: pathlib.Path) -> None:
    """Records go to the file and its older parts, and none to standard output."""
    output = tmp_path / "app.log"
    flags = ("--output", str(output), "--max-bytes", "100", "--backups", "20")
    with Running(tmp_path, *flags, "--pattern", "%(message)s") as running:
        running.send(*({"message": f"record number {number}"} for number in range(50)))
        wait_until(lambda: "number 49" in written(output))
        assert running.end() == 0
        assert running.stdout == ""
    older = [tmp_path / f"app.log.{number}" for number in range(1, 21)]
    parts = [output, *(path for path in older if path.exists())]
    assert len(parts) > 5
    assert all(part.stat().st_size <= 100 for part in parts)
    lines = [line for part in reversed(parts) for line in part.read_text().splitlines()]
    assert lines == [f"record number {number}" for number in range(50)]


def test_a_reader_that_leaves_ends_it_quietly(tmp_path: pathlib.Path) -> None:
    """As in `batchudp-receive | head -1`: no traceback, exit code 0."""
    reading, writing = os.pipe()
    with Running(tmp_path, stdout=writing) as running:
        os.close(writing)
        running.send({"message": "one"})
        assert os.read(reading, 1000).endswith(b": one\n")
        os.close(reading)
        running.send({"message": "two"})
        assert running.process.wait(PATIENCE) == 0
        assert "Traceback" not in running.stderr
        assert "Broken" not in running.stderr


def test_remote_names_reach_the_nearest_logger(tmp_path: pathlib.Path) -> None:
    """The prefix is put before the name that is printed."""
    flags = ("--logger-prefix", "remote.", "--pattern", "%(name)s")
    with Running(tmp_path, *flags) as running:
        running.send({"message": "m", "logger": "app.web"})
        assert running.lines(1) == ["remote.app.web"]


# --- logging configurations --------------------------------------------------------------------

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"short": {"format": "%(name)s %(message)s"}},
    "handlers": {
        "all": {"class": "logging.FileHandler", "filename": "all.log", "formatter": "short"},
        "shop": {"class": "logging.FileHandler", "filename": "shop.log", "formatter": "short"},
    },
    "loggers": {"shop": {"level": "WARNING", "handlers": ["shop"]}},
    "root": {"level": "INFO", "handlers": ["all"]},
}


def as_toml(value: Mapping[str, Any], path: str = "") -> str:
    """Enough of TOML for these tests."""
    plain = {k: v for k, v in value.items() if not isinstance(v, dict)}
    lines = [f"[{path}]"] if path and plain else []
    lines += [f"{name} = {json.dumps(one)}" for name, one in plain.items()]
    for name, one in value.items():
        if isinstance(one, dict):
            lines.append(as_toml(one, f"{path}.{name}" if path else name))
    return "\n".join(lines)


def write_config(path: pathlib.Path, value: Mapping[str, Any]) -> str:
    """The value as a file of the kind that its name says."""
    text = as_toml(value) if path.suffix == ".toml" else json.dumps(value)  # YAML holds JSON
    path.write_text(text)
    return str(path)


def with_paths(directory: pathlib.Path, **changes: Any) -> dict[str, Any]:
    config = json.loads(json.dumps(LOGGING))
    for handler in config["handlers"].values():
        handler["filename"] = str(directory / handler["filename"])
    config.update(changes)
    return dict(config)


@pytest.mark.parametrize("name", ["log.toml", "log.json", "log.yaml", "log.yml"])
@pytest.mark.parametrize("is_nested", [False, True])
def test_logging_configuration(tmp_path: pathlib.Path, name: str, is_nested: bool) -> None:
    """Any dictConfig, alone in a file or under `logging` beside settings."""
    config = with_paths(tmp_path)
    if is_nested:
        config = {"logging": config, "receive": {"logger_prefix": "shop."}}
    with Running(tmp_path, "--config", write_config(tmp_path / name, config)) as running:
        running.send(
            {"message": "quiet", "logger": "shop.web", "level": "info"},
            {"message": "loud", "logger": "shop.web", "level": "error"},
            {"message": "other", "logger": "news", "level": "info"},
        )
        wait_until(lambda: "loud" in (tmp_path / "shop.log").read_text())
        assert running.end() == 0
        assert running.stdout == ""
        assert "delivered 3" in running.stderr
    shop, both = (tmp_path / "shop.log").read_text(), (tmp_path / "all.log").read_text()
    if is_nested:
        assert shop == both == "shop.shop.web loud\n"
    else:
        assert shop == "shop.web loud\n"
        assert both == "shop.web loud\nnews other\n"


def test_yaml_without_its_library(tmp_path: pathlib.Path) -> None:
    """Without PyYAML a YAML file is an error that says what helps."""
    path = write_config(tmp_path / "log.yaml", LOGGING)
    code = (
        "import sys; sys.modules['yaml'] = None\n"
        "from batchudp_handler.cli.receive import main\n"
        f"sys.exit(main(['--config', {path!r}]))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert ended.returncode == 78
    assert "needs PyYAML" in ended.stderr


def test_own_messages_can_be_configured(tmp_path: pathlib.Path) -> None:
    """A configuration that names the receiver's logger gets its messages instead of stderr."""
    config = with_paths(tmp_path, loggers={"batchudp.receiver": {"level": "INFO"}})
    with Running(tmp_path, "--config", write_config(tmp_path / "log.json", config)) as running:
        running.send(b"\xcb\xf2\x00[5, 6]")
        wait_until(lambda: "rejected 2 records" in (tmp_path / "all.log").read_text())
        running.end()
        assert "could not be decoded" not in running.stderr


# --- settings ----------------------------------------------------------------------------------


def shown(output: str, name: str) -> tuple[str, str]:
    """A setting's value and origin as `print-config` shows them."""
    (line,) = [each for each in output.splitlines() if each.startswith(f"{name} = ")]
    value, _, origin = line.removeprefix(f"{name} = ").rpartition(" # ")
    return value.strip(), origin


def test_precedence(tmp_path: pathlib.Path) -> None:
    """Flag, then BATCHUDP_X, then X, then the file, then the default."""
    path = tmp_path / "settings.toml"
    path.write_text("[receive]\nport = 5\n")
    sources: list[tuple[tuple[str, ...], dict[str, str], str, str]] = [
        (("--port", "1"), {}, "1", "--port"),
        ((), {"BATCHUDP_SERVER_PORT": "2"}, "2", "BATCHUDP_SERVER_PORT"),
        ((), {"SERVER_PORT": "3"}, "3", "SERVER_PORT"),
        (("--config", str(path)), {}, "5", str(path)),
        ((), {}, "9999", "default"),
    ]
    for first in range(len(sources)):
        arguments = [flag for flags, *_ in sources[first:] for flag in flags]
        variables = {k: v for _, given, *_ in sources[first:] for k, v in given.items()}
        ended = run("print-config", *arguments, **variables)
        assert ended.returncode == 0, ended.stderr
        assert shown(ended.stdout, "port") == sources[first][2:]


def test_config_file_from_the_environment(tmp_path: pathlib.Path) -> None:
    """BATCHUDP_CONFIG names the file as `--config` does."""
    path = tmp_path / "settings.json"
    path.write_text('{"receive": {"max_streams": 7}}')
    ended = run("print-config", BATCHUDP_CONFIG=str(path))
    assert shown(ended.stdout, "max_streams") == ("7", str(path))


def test_flags_before_the_subcommand() -> None:
    """Settings may stand on either side of the subcommand."""
    ended = run("--port", "1", "--raw", "print-config", "--host", "::1")
    assert shown(ended.stdout, "port")[0] == "1"
    assert shown(ended.stdout, "raw")[0] == "true"
    assert shown(ended.stdout, "host")[0] == '"::1"'


def test_print_config_is_a_config_file(tmp_path: pathlib.Path) -> None:
    """What `print-config` prints can be used as the file that gives these settings."""
    flags = ("--port", "1", "--allow", "10.0.0.0/8", "--allow", "::1", "--no-raw")
    first = run("print-config", *flags, "--pattern", '%(message)s "\\"')
    path = tmp_path / "printed.toml"
    path.write_text(first.stdout)
    second = run("print-config", "--config", str(path))
    assert second.returncode == 0, second.stderr
    before, after = tomllib.loads(first.stdout), tomllib.loads(second.stdout)
    assert after["receive"].pop("config") == str(path)
    assert after == before
    assert before["receive"]["allow"] == ["10.0.0.0/8", "::1/128"]


@pytest.mark.parametrize(
    ("arguments", "variables", "code", "words"),
    [
        (("--colour",), {}, 64, "--colour"),
        (("--por", "1"), {}, 64, "--por"),
        (("--port", "x"), {}, 64, "port must be a whole number"),
        (("--format", "xml"), {}, 64, "'text' or 'json'"),
        (("--allow", "nonsense"), {}, 64, "networks"),
        (("unknown-command",), {}, 64, "unknown-command"),
        ((), {"SERVER_PORT": "x"}, 78, "SERVER_PORT: port must be"),
        ((), {"BATCHUDP_RAW": "maybe"}, 78, "BATCHUDP_RAW: raw must be true or false"),
        (("--config", "/nonexistent.toml"), {}, 78, "/nonexistent.toml"),
        (("--config", "/etc/hostname"), {}, 78, "must end in one of .toml, .json, .yaml, .yml"),
        (("--key-file", "/nonexistent"), {}, 78, "cannot be read"),
        (("--output", "/nonexistent/x"), {}, 78, "/nonexistent/x"),
        (("--pattern", "%(nothing"), {}, 78, "pattern: '%(nothing' cannot be printed"),
        (("--pattern", "%(message)d"), {}, 78, "message is no value for %d"),
        (("--host", "192.0.2.1"), {}, 73, "cannot listen on 192.0.2.1:"),
        (("--host", "no.such.host.invalid"), {}, 73, "cannot listen on no.such.host.invalid:"),
    ],
)
def test_exit_codes(
    arguments: tuple[str, ...], variables: dict[str, str], code: int, words: str
) -> None:
    """A wrong flag is 64, any other wrong setting 78, an address that cannot be bound 73."""
    ended = run(*arguments, **variables)
    assert ended.returncode == code
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[receive]\nprot = 5\n", "no setting 'prot'; known are accept_unauthenticated"),
        ("[receive]\nport = 'x'\n", "port must be a whole number"),
        ("receive = 5\n", "must be a table"),
        ("[sink]\nport = 5\n", "'sink' is neither receive, send, logging nor a dictConfig"),
        ("port = ", "settings.toml:"),
        ("version = 2\n", "logging configuration:"),
        ("[logging]\n", "logging configuration:"),
        ("logging = 5\n", "logging configuration:"),
        ("version = 1\n[root]\nhandlers = ['none']\n", "logging configuration:"),
        ("version = 1\n[handlers.x]\nclass = 'no.Such'\n", "logging configuration:"),
        ("version = 1\n[receive]\noutput = 'x'\n", "exclude each other"),
    ],
)
def test_wrong_files(tmp_path: pathlib.Path, text: str, words: str) -> None:
    """A file that cannot be used stops the start and says what is wrong with it."""
    path = tmp_path / "settings.toml"
    path.write_text(text)
    for command in ((), ("check", "--no-bind")):
        ended = run(*command, "--config", str(path))
        assert ended.returncode == 78
        assert words in ended.stderr
        assert "Traceback" not in ended.stderr


def test_check(tmp_path: pathlib.Path) -> None:
    """`check` tries everything, listens for a moment, and empties no file."""
    precious = tmp_path / "all.log"
    precious.write_text("precious\n")
    config = with_paths(tmp_path)
    config["handlers"]["all"]["mode"] = "w"
    path = write_config(tmp_path / "log.json", config)
    ended = run("check", "--host", "127.0.0.1", "--port", "0", "--config", path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "configuration ok" in ended.stdout
    assert precious.read_text() == "precious\n"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        where = ("--host", f"127.0.0.1:{taken.getsockname()[1]}")
        assert run("check", *where).returncode == 73
        assert run("check", "--no-bind", *where).returncode == 0


def test_version_and_help() -> None:
    """`--version` and `--help` exit with 0; the help has examples and exit codes."""
    assert run("--version").stdout.startswith("batchudp-receive 0.")
    ended = run("--help")
    assert ended.returncode == 0
    assert "examples:" in ended.stdout
    assert "--stats-interval" in ended.stdout


# --- the process -------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_with_a_summary(receiver: Running, number: int) -> None:
    """What has arrived is printed, the counters are told, and the exit code is 0."""
    receiver.send(*({"message": str(n)} for n in range(500)), b"garbage")
    assert receiver.end(number) == 0
    assert len(receiver.stdout.splitlines()) == 500
    summary = receiver.stderr.splitlines()[-1]
    assert "ended: delivered 500, lost 0, rejected 0, missing 0" in summary
    assert "datagrams refused 1 (malformed 1), kernel drops 0" in summary


def test_summary_as_json(tmp_path: pathlib.Path) -> None:
    """Programs get every counter as one line of JSON."""
    with Running(tmp_path, "--summary", "json") as running:
        running.send({"message": "m"})
        running.lines(1)
        running.end()
        stats = json.loads(running.stderr.splitlines()[-1])
    assert (stats["delivered"], stats["lost"], stats["streams"]) == (1, 0, {})


def test_reports(tmp_path: pathlib.Path) -> None:
    """Counters at an interval, and at once on SIGUSR1."""
    with Running(tmp_path) as running:
        running.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: running.stderr.count("so far: delivered 0") == 1)
    with Running(tmp_path, "--stats-interval", "0.05") as running:
        running.send({"message": "m"})
        wait_until(lambda: running.stderr.count("so far: delivered 1") >= 2)


def test_ready_file_lives_as_long_as_it_listens(tmp_path: pathlib.Path) -> None:
    """The file holds the address while the receiver listens, and goes with it."""
    with Running(tmp_path) as running:
        assert running.address.startswith("127.0.0.1:")
        assert f"listening on {running.address}, receive buffer" in running.stderr
        running.end()
    assert not (tmp_path / "ready").exists()


@pytest.mark.parametrize(
    ("host", "flags", "warns"),
    [
        ("0.0.0.0", (), True),
        ("0.0.0.0", ("--allow", "127.0.0.0/8"), False),
        ("127.0.0.1", (), False),
    ],
)
def test_warns_when_anyone_may_send(
    tmp_path: pathlib.Path, host: str, flags: tuple[str, ...], warns: bool
) -> None:
    """Listening beyond this machine with neither key nor allow-list is worth a warning."""
    with Running(tmp_path, *flags, host=host) as running:
        running.end()
        assert ("neither key_file nor allow is set" in running.stderr) is warns


def test_reload_changes_the_output(tmp_path: pathlib.Path) -> None:
    """SIGHUP reads the file again; a wrong one is told and changes nothing."""
    path = tmp_path / "settings.toml"
    path.write_text('[receive]\npattern = "old %(message)s"\n')
    with Running(tmp_path, "--config", str(path)) as running:
        running.send({"message": "one"})
        assert running.lines(1) == ["old one"]

        path.write_text('[receive]\npattern = "new %(message)s"\nmax_streams = 5\n')
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "configuration read; settings of the receiver need" in running.stderr)
        running.send({"message": "two"})
        assert running.lines(2)[1:] == ["new two"]

        path.write_text("[receive]\nformat = 'xml'\n")
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "configuration kept" in running.stderr)
        running.send({"message": "three"})
        assert running.lines(3)[2:] == ["new three"]
        assert running.end() == 0


def test_reload_of_a_logging_configuration(tmp_path: pathlib.Path) -> None:
    """A configuration that cannot be built leaves the one in use whole."""
    path = tmp_path / "log.json"
    write_config(path, with_paths(tmp_path))
    all_log, moved = tmp_path / "all.log", tmp_path / "moved.log"
    with Running(tmp_path, "--config", str(path)) as running:
        running.send({"message": "one"})
        wait_until(lambda: "one" in all_log.read_text())

        # found out only when the root logger has lost its handlers already
        write_config(path, with_paths(tmp_path, root={"handlers": ["missing"]}))
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "configuration kept" in running.stderr)
        running.send({"message": "two"})
        wait_until(lambda: "two" in all_log.read_text())

        write_config(path, with_paths(tmp_path, root={"level": "INFO", "handlers": ["shop"]}))
        all_log.rename(moved)
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "configuration read" in running.stderr)
        running.send({"message": "three"})
        wait_until(lambda: "three" in (tmp_path / "shop.log").read_text())
        assert running.end() == 0
    assert moved.read_text() == "root one\nroot two\n"


def open_files(pid: int) -> list[str]:
    """What the descriptors of a process lead to."""
    directory = f"/proc/{pid}/fd"
    return [os.readlink(f"{directory}/{descriptor}") for descriptor in os.listdir(directory)]


def test_reload_under_load_loses_nothing(tmp_path: pathlib.Path) -> None:
    """Records that arrive around a reload are all in the files, before and after."""
    output, moved = tmp_path / "app.log", tmp_path / "moved.log"
    with Running(tmp_path, "--output", str(output), "--pattern", "%(message)s") as running:
        for number in range(3000):
            running.send({"message": str(number)})
            if number == 1500:
                output.rename(moved)
                running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: output.exists() and "2999" in output.read_text())
        assert str(moved) not in open_files(running.process.pid)
        assert running.end() == 0
        assert "kernel drops 0" in running.stderr
    lines = (moved.read_text() + output.read_text()).splitlines()
    assert lines == [str(number) for number in range(3000)]


def test_unix_socket(tmp_path: pathlib.Path) -> None:
    """`unix:///path` listens on a path, which is removed at the end."""
    path = tmp_path / "log.sock"
    with Running(tmp_path, "--pattern", "%(message)s", host=f"unix://{path}") as running:
        assert running.address == f"unix://{path}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as plain:
            plain.connect(str(path))
            plain.send(b'{"message": "local"}')
        assert running.lines(1) == ["local"]
        assert running.end() == 0
    assert not path.exists()


LAUNCHER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="udp")
os.execv(sys.executable, [sys.executable, "-m", "batchudp_handler", *sys.argv[2:]])
"""


def test_socket_activation_bridges_a_restart(tmp_path: pathlib.Path) -> None:
    """Whoever holds the socket holds the datagrams: none is lost while no receiver runs."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("127.0.0.1", 0))
        os.set_inheritable(held.fileno(), True)
        printed = []
        for life in range(2):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
                plain.sendto(json.dumps({"message": f"life {life}"}).encode(), held.getsockname())
            with subprocess.Popen(
                [sys.executable, "-c", LAUNCHER, str(held.fileno()), "--pattern", "%(message)s"],
                env=environment(),
                pass_fds=[held.fileno()],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            ) as process:
                assert process.stdout is not None
                try:
                    printed.append(process.stdout.readline())
                    process.terminate()
                    assert process.wait(PATIENCE) == 0
                finally:
                    process.kill()
    assert printed == [b"life 0\n", b"life 1\n"]


def test_a_stream_socket_is_refused(tmp_path: pathlib.Path) -> None:
    """What was handed over must be a datagram socket."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as held:
        os.set_inheritable(held.fileno(), True)
        ended = subprocess.run(
            [sys.executable, "-c", LAUNCHER, str(held.fileno())],
            env=environment(),
            pass_fds=[held.fileno()],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert ended.returncode == 73
    assert "not a datagram socket" in ended.stderr

"""The command `batchudp-send`.

It ships the lines of files or of standard input, or sample records at a rate, and says in the end
what became of them.

A file is read faster than any receiver can handle it. So where lines are shipped, the caller is
held when the buffer is full (`overflow="block"`), and delivery is acknowledged: the receiver
confirms batches and thereby sets the pace, and what got lost on the way is sent again. One-way
delivery has nobody who would say how fast is too fast; there a rate holds back, 20,000 lines per
second unless `--max-rate` says otherwise. Whatever is set explicitly is used as it is.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batchudp_handler.cli.common import (
    DEFAULT,
    ExitCode,
    Origin,
    Parser,
    UsageError,
    add_settings,
    add_version,
    as_config,
    config_text,
    known_names,
    numbers_of,
    print_all,
    read_document,
    resolve,
    section,
    stats_json,
    summary_text,
    write_line,
)
from batchudp_handler.cli.doctor import examine
from batchudp_handler.cli.ending import Ending, end_by_default
from batchudp_handler.cli.sources import Pace, generate_samples, line_records, lines_of
from batchudp_handler.config import HandlerConfig
from batchudp_handler.core.errors import ConfigError
from batchudp_handler.handler import BatchUDPHandler
from batchudp_handler.settings import (
    LEVEL,
    PATH,
    PATHS,
    SWITCH,
    TEXT,
    choice,
    optional,
    rate,
    seconds,
    setting,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from batchudp_handler.core.send.stats import SenderStats

__all__ = ["SendConfig", "build_parser", "main"]

PROGRAM = "batchudp-send"
DESCRIPTION = "Send lines or sample records to a batchudp receiver."
EPILOG = """\
Lines come from --file ('-' is standard input), or from standard input if something is piped in.
Otherwise it sends sample records at --logs-per-second for --run-time.

examples:
  batchudp-send --target-host logs.example --file app.log
  batchudp-send --file app.log --follow
  dmesg --follow | batchudp-send --logger kernel
  batchudp-send --logs-per-second 1000 --run-time 10
  batchudp-send --target-host logs.example --doctor    find out why nothing arrives
  batchudp-send print-config

exit codes: 0 everything was sent, 64 usage, 66 no input, 69 records were dropped,
70 ended by force without a report, 78 configuration
"""

ONE_WAY_LINES_PER_SECOND = 20_000
FLUSH_STEP_SECONDS = 0.5
PROGRESS_SECONDS = 0.5
STOP_SECONDS = 0.1
"""For whoever makes records, to notice that no more are wanted."""


@dataclass(frozen=True, slots=True)
class SendConfig:
    """What is sent, and how fast."""

    config: str | None = setting(
        None, optional(PATH), "TOML, JSON or YAML file with settings under [send]"
    )
    file: tuple[str, ...] = setting((), PATHS, "send the lines of this file; '-': standard input")
    follow: bool = setting(False, SWITCH, "keep reading when the file grows or is replaced")
    logger: str = setting("batchudp.send", TEXT, "logger name of the records")
    line_level: int = setting(logging.INFO, LEVEL, "level of the records made from lines")
    logs_per_second: float = setting(
        5.0, rate("records", zero=False), "number of sample records per second", plain=True
    )
    run_time: float = setting(
        30.0,
        seconds(zero=True),
        "how many seconds to send sample records; 0: without end",
        plain=True,
    )
    max_rate: float | None = setting(
        None,
        optional(rate("lines", zero=True)),
        "most lines per second; 0: no limit; None: 20000 if delivery is one_way",
    )
    give_up_after: float = setting(
        10.0,
        seconds(zero=True),
        "end if no waiting record could be sent or confirmed for so many seconds",
    )
    summary: str = setting("text", choice("text", "json"), "format of the counters at the end")
    doctor: bool = setting(
        False, SWITCH, "send nothing; check name, round trip, key, clock, path and buffers"
    )


@dataclass(frozen=True, slots=True)
class Loaded:
    """All settings with their origins."""

    handler: HandlerConfig
    script: SendConfig
    origins: Mapping[type, Mapping[str, Origin]]


# --- settings ----------------------------------------------------------------------------------


def load(flags: Mapping[str, object], environ: Mapping[str, str]) -> Loaded:
    """The settings from flags, environment, file and defaults."""
    first = resolve(SendConfig, flags=flags, environ=environ, document={})
    path = first["config"].value
    document = read_document(path) if isinstance(path, str) else {}
    table = section(document, "send", known_names([HandlerConfig, SendConfig]))
    origins: dict[type, dict[str, Origin]] = {
        each: resolve(each, flags=flags, environ=environ, document=table, document_name=str(path))
        for each in (HandlerConfig, SendConfig)
    }
    script = as_config(SendConfig, _with_piped_input(origins[SendConfig]))
    if script.follow and (len(script.file) != 1 or script.file == ("-",)):
        message = "--follow needs exactly one --file"
        raise UsageError(message)
    if script.file:
        origins[HandlerConfig] = _for_lines(origins[HandlerConfig])
    return Loaded(as_config(HandlerConfig, origins[HandlerConfig]), script, origins)


def _with_piped_input(settings: dict[str, Origin]) -> dict[str, Origin]:
    """Take standard input if something is piped in, and nothing says samples."""
    names = ("file", "logs_per_second", "run_time")
    if all(settings[name].source == DEFAULT for name in names) and _is_piped():
        settings["file"] = Origin(("-",), "standard input")
    return settings


def _is_piped() -> bool:
    try:
        mode = os.fstat(0).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)


def _for_lines(settings: dict[str, Origin]) -> dict[str, Origin]:
    """Settings that lose no line, where nothing else was asked for."""
    wanted: dict[str, object] = {"overflow": "block", "overflow_timeout": None}
    if settings["encoding"].value == "compact":
        wanted["delivery"] = "acknowledged"
    changed = {
        name: Origin(value, "default for lines")
        for name, value in wanted.items()
        if settings[name].source == DEFAULT
    }
    return {**settings, **changed}


# --- running -----------------------------------------------------------------------------------


class Sending:
    """One run: a handler, a source, progress, and the end."""

    def __init__(self, loaded: Loaded) -> None:
        self._config = loaded.handler
        self._script = loaded.script
        self._handler = BatchUDPHandler.from_config(loaded.handler)
        self._has_ended = threading.Event()
        self._can_end = threading.Event()
        self._is_summed_up = False
        self._error: Exception | None = None

    def run(self) -> int:
        """Ship everything, or what there is until a signal; the exit code."""
        progress = threading.Thread(target=self._show_progress, daemon=True)
        if sys.stderr.isatty():
            progress.start()
        seconds = self._config.shutdown_timeout
        Ending(seconds, on_end=self._can_end.set, last_words=self._last_words).follow()
        shipping = threading.Thread(target=self._ship_all, name="batchudp-shipping", daemon=True)
        shipping.start()
        self._can_end.wait()
        self._has_ended.set()
        shipping.join(STOP_SECONDS)
        self._handler.close()
        code = self._last_words()
        if shipping.is_alive():  # it may read what never comes, and holds what it reads from
            os._exit(code)
        if self._error is not None and not isinstance(self._error, OSError):
            raise self._error
        return code

    def _ship_all(self) -> None:
        """Everything, on a thread of its own: the main thread waits for a signal, too."""
        try:
            self._ship()
            self._wait_until_sent()
        except OSError as error:
            write_line(sys.stderr, PROGRAM, f"{error.filename}: {error.strerror}")
            self._error = error
        except Exception as error:  # noqa: BLE001  # raised again by the main thread
            self._error = error
        finally:
            self._can_end.set()

    def _ship(self) -> None:
        script = self._script
        if not script.file:
            self._ship_samples()
            return
        most = script.max_rate
        if most is None and self._config.delivery == "one_way":
            most = ONE_WAY_LINES_PER_SECOND
        pace = Pace(most) if most else None
        if script.line_level < self._config.level:
            return
        for path in script.file:
            lines = lines_of(path, follow=script.follow)
            for record in line_records(lines, name=script.logger, levelno=script.line_level):
                if pace is not None:
                    pace.wait()
                if self._has_ended.is_set():
                    return
                self._handler.handle(record)

    def _ship_samples(self) -> None:
        log = logging.getLogger(self._script.logger)
        log.propagate = False
        log.setLevel(max(self._config.level, 1))
        log.addHandler(self._handler)
        generate_samples(
            log,
            rate=self._script.logs_per_second,
            run_time=self._script.run_time,
            has_ended=self._has_ended.is_set,
        )

    def _wait_until_sent(self) -> None:
        """As long as it goes on: a receiver that is slow is not a receiver that is gone."""
        last, since = -1, time.monotonic()
        step = min(FLUSH_STEP_SECONDS, self._script.give_up_after)
        while not self._handler.flush(step):
            stats = self._handler.stats()
            done = stats.sent + stats.confirmed + stats.rejected_by_receiver
            if done != last:
                last, since = done, time.monotonic()
            elif time.monotonic() - since > self._script.give_up_after:
                return

    def _last_words(self) -> int:
        """Sum up, once; the exit code."""
        stats = self._handler.stats()
        code = ExitCode.UNAVAILABLE if _is_short(stats) else ExitCode.OK
        if isinstance(self._error, OSError):
            code = ExitCode.NO_INPUT
        if self._is_summed_up:
            return code
        self._is_summed_up = True
        if self._script.summary == "json":
            print(stats_json(stats), file=sys.stderr)
        else:
            write_line(sys.stderr, PROGRAM, sender_summary(stats))
        return code

    def _show_progress(self) -> None:
        while not self._has_ended.wait(PROGRESS_SECONDS):
            stats = self._handler.stats()
            done = stats.sent + stats.confirmed
            dropped = sum(stats.dropped.values())
            per_second = done / stats.uptime if stats.uptime else 0.0
            text = f"{done:,} of {stats.accepted:,} sent, {per_second:,.0f}/s, {dropped:,} dropped"
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()
        sys.stderr.write("\r\x1b[K")


def _is_short(stats: SenderStats) -> bool:
    """Whether anything is neither sent nor on disk, whatever it is counted under."""
    return stats.accepted > stats.sent + stats.confirmed + stats.spooled


SUMMARY: Mapping[str, str] = {
    "accepted": "accepted",
    "sent": "sent",
    "confirmed": "confirmed",
    "rejected by the receiver": "rejected_by_receiver",
    "unconfirmed": "unconfirmed",
    "spooled": "spooled",
    "waiting": "waiting",
    "retained": "retained",
    "dropped": "dropped",
    "truncated": "truncated",
    "datagrams": "datagrams_sent",
    "bytes": "bytes_sent",
    "send errors": "send_errors",
    "batch size": "batch_size",
    "send time in seconds": "send_time",
    "flushes": "flushes",
    "seconds": "uptime",
}
"""The words of the summary and the counters behind them; the first nine after `accepted` add up to
it, as `SenderStats` says."""


def sender_summary(stats: SenderStats) -> str:
    """What was shipped, what was not and why, and how it went."""
    why = f"; latest error: {stats.last_error}" if stats.last_error else ""
    return summary_text(numbers_of(stats, SUMMARY)) + why


def _run(namespace: argparse.Namespace, environ: Mapping[str, str]) -> int:
    end_by_default()
    loaded = load(_flags(namespace), environ)
    if loaded.script.doctor:
        return examine(loaded.handler)
    for path in loaded.script.file:
        if path != "-" and not os.access(path, os.R_OK):
            problem = errno.EACCES if os.path.exists(path) else errno.ENOENT
            write_line(sys.stderr, PROGRAM, f"{path}: {os.strerror(problem)}")
            return ExitCode.NO_INPUT
    return Sending(loaded).run()


def _print_config(namespace: argparse.Namespace, environ: Mapping[str, str]) -> int:
    origins = load(_flags(namespace), environ).origins
    script = config_text("", SendConfig, origins[SendConfig]).partition("\n")[2]
    print_all([config_text("send", HandlerConfig, origins[HandlerConfig]), "# script", script])
    return ExitCode.OK


def _flags(namespace: argparse.Namespace) -> dict[str, object]:
    return {name: value for name, value in vars(namespace).items() if name != "command"}


# --- the program -------------------------------------------------------------------------------


def build_parser() -> argparse.ArgumentParser:
    """The parser of `batchudp-send`."""
    parser = Parser(prog=PROGRAM, description=DESCRIPTION, epilog=EPILOG)
    add_version(parser)
    _add_all_settings(parser)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    words = "show every setting and where it comes from"
    name = "print-config"
    _add_all_settings(
        subparsers.add_parser(name, prog=f"{PROGRAM} {name}", help=words, description=words + ".")
    )
    return parser


def _add_all_settings(parser: argparse.ArgumentParser) -> None:
    add_settings(parser, HandlerConfig, "handler")
    add_settings(parser, SendConfig, "script")


def main(argv: Sequence[str] | None = None) -> int:
    """Run `batchudp-send`; the exit code."""
    namespace = build_parser().parse_args(argv)
    run: Any = _print_config if namespace.command else _run
    try:
        return int(run(namespace, os.environ))
    except UsageError as error:
        write_line(sys.stderr, PROGRAM, f"{error}\ntry {PROGRAM} --help")
        return ExitCode.USAGE
    except ConfigError as error:
        write_line(sys.stderr, PROGRAM, str(error))
        return ExitCode.CONFIG


if __name__ == "__main__":
    sys.exit(main())

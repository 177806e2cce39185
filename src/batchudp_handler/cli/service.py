"""The life of a receiver as a process.

It says where it listens, follows signals, reports at intervals, and ends with a summary:

    SIGINT, SIGTERM   finish what has arrived, within `shutdown_timeout`, then end; what could not
                      be written is not confirmed; a second one ends at once
    SIGHUP            read the configuration again, validated before it is used
    SIGUSR1           write the counters to standard error
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from batchudp_handler.cli.common import (
    ExitCode,
    leave_standard_output,
    numbers_of,
    stats_json,
    summary_text,
    write_line,
)
from batchudp_handler.cli.ending import Ending
from batchudp_handler.cli.supervision import Supervision
from batchudp_handler.control.notify import Notifier
from batchudp_handler.control.place import AUTO
from batchudp_handler.control.pulse import READER, WORKER
from batchudp_handler.core.errors import ConfigError
from batchudp_handler.engines import forwarder
from batchudp_handler.platform import RELOAD_SIGNAL, REPORT_SIGNAL, usable_buffer
from batchudp_handler.receiver import BatchUDPReceiver
from batchudp_handler.receiver.guard import Guard, Loop, error_text, run_loop
from batchudp_handler.receiver.handler_errors import configured_handlers
from batchudp_handler.receiver.receive_socket import address_text, is_loopback
from batchudp_handler.receiver.reemit import DIAGNOSTICS
from batchudp_handler.settings import (
    HOST,
    PATH,
    SWITCH,
    TEXT,
    choice,
    integer,
    optional,
    seconds,
    setting,
)
from batchudp_handler.waits import until

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, MutableMapping, Sequence

    from batchudp_handler.cli.sinks import Sinks
    from batchudp_handler.config import ReceiverConfig
    from batchudp_handler.core.receive.events import Address
    from batchudp_handler.core.receive.stats import ReceiverStats
    from batchudp_handler.core.wire.auth import Key
    from batchudp_handler.receiver.worker import WorkerFactory

__all__ = [
    "ScriptConfig",
    "Service",
    "announce",
    "metrics_place",
    "new_worker",
    "receiver_summary",
    "reloader",
    "write_whole",
]

PROGRAM = "batchudp-receive"


@dataclass(frozen=True, slots=True)
class ScriptConfig:
    """What concerns the process rather than the receiver in it."""

    config: str | None = setting(
        None, optional(PATH), "TOML, JSON or YAML file with settings or a logging configuration"
    )
    stats_interval: float = setting(
        0.0,
        seconds(zero=True, low=0.01),
        "seconds between two reports of the counters on standard error; 0: never",
    )
    workers: int = setting(
        1,
        integer(1, 256, "processes"),
        "number of processes that receive on the same port; more than one needs Linux",
    )
    ready_file: str | None = setting(
        None, optional(PATH), "file that contains the address while the receiver listens"
    )
    forward: str | None = setting(
        None,
        optional(TEXT),
        "pass batches on to an engine, nats://host:port/STREAM, instead of local logging",
        secret=True,
    )
    source: str | None = setting(
        None,
        optional(TEXT),
        "take batches from an engine, nats://host:port/STREAM, instead of a socket",
        variable="FROM",
        flags="--from",
        secret=True,
    )
    create_stream: bool = setting(False, SWITCH, "create the engine's stream if there is none")
    summary: str = setting(
        "text", choice("text", "json"), "format of the counters on standard error"
    )
    control_socket: str = setting(
        AUTO,
        PATH,
        "unix socket for top, tap and health; auto: in the runtime directory, if any; off: none",
    )
    metrics_port: int | None = setting(
        None,
        optional(integer(0, 65_535, metavar="PORT")),
        "port of the Prometheus metrics page; 0: any free port; needs the extra prometheus",
    )
    metrics_host: str = setting("127.0.0.1", HOST, "address of the Prometheus metrics page")


class Service:
    """One receiver with its signals, its reports and its outputs."""

    def __init__(
        self,
        config: ReceiverConfig,
        script: ScriptConfig,
        sinks: Sinks,
        *,
        keys: Sequence[Key],
        inherited: socket.socket | None,
        stderr: IO[str],
        environ: MutableMapping[str, str],
    ) -> None:
        self._config = config
        self._script = script
        self._sinks = sinks
        self._stderr = stderr
        self._report_now = threading.Event()
        self._has_ended = False
        self._is_summed_up = False
        self._supervision = Supervision(
            control_socket=script.control_socket,
            metrics=metrics_place(script),
            environ=environ,
            notifier=Notifier.from_environment(environ, os.getpid()),
            new_worker=new_worker(script),
            logger_prefix=config.logger_prefix,
            after_batch=self._after_batch,
            output_problem=lambda: sinks.problem,
        )
        self._receiver = BatchUDPReceiver.from_config(
            config, keys=keys, inherited=inherited, new_worker=self._supervision.new_worker
        )
        receiver = self._receiver
        receiver.count_errors_of(*configured_handlers())
        try:
            self._supervision.watch(
                stats=self._stats,
                progress=receiver.progress,
                where=f"listening on {address_text(receiver.address)}",
                loops={READER: receiver.call_on_reader, WORKER: receiver.call_between_batches},
            )
        except (ConfigError, OSError):
            self._supervision.stop()
            self._receiver.close()
            raise

    def run(self, reload: Callable[[], str]) -> int:
        """Receive until told to end; the exit code."""
        self._install_signals(reload)
        self._announce()
        reporter = threading.Thread(target=self._report, name="batchudp-reporter", daemon=True)
        reporter.start()
        try:
            self._receiver.serve_forever()
        finally:
            self._end(reporter)
        return ExitCode.OK

    # --- life ----------------------------------------------------------------------------------

    def _install_signals(self, reload: Callable[[], str]) -> None:
        apply = reloader(self._receiver, reload)
        actions: dict[int | None, Callable[[], object]] = {
            # on the worker, between two batches: no record meets a half made configuration
            RELOAD_SIGNAL: lambda: self._receiver.call_between_batches(apply),
            REPORT_SIGNAL: self._report_now.set,
        }
        Ending(
            self._config.shutdown_timeout,
            on_end=self._begin_to_end,
            last_words=self._last_words,
            others={number: act for number, act in actions.items() if number is not None},
        ).follow()

    def _begin_to_end(self) -> None:
        self._supervision.ending()
        self._receiver.call_on_reader(self._receiver.shutdown)  # where it does not wait

    def _announce(self) -> None:
        receiver = self._receiver
        where = address_text(receiver.address)
        announce(receiver.address, receiver.stats().receive_buffer, self._config, self._say)
        self._supervision.start(self._say)
        if self._script.ready_file is not None:
            write_whole(self._script.ready_file, where + "\n")

    def _after_batch(self) -> None:
        """Write the lines of a batch; without a reader there is no reason to go on."""
        try:
            self._sinks.flush()
        finally:
            if not self._sinks.has_reader:
                self._receiver.shutdown()

    def _end(self, reporter: threading.Thread) -> None:
        self._has_ended = True
        self._supervision.stop()
        self._report_now.set()
        reporter.join(1.0)
        self._receiver.close()
        if self._script.ready_file is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._script.ready_file)
        if not self._sinks.has_reader:
            leave_standard_output()
        with contextlib.suppress(OSError):
            self._sinks.close()
        self._last_words()

    def _last_words(self) -> int:
        if self._sinks.has_reader and not self._is_summed_up:
            self._is_summed_up = True
            self._tell("ended", self._stats())
        return ExitCode.OK

    # --- reports -------------------------------------------------------------------------------

    def _report(self) -> None:
        run_loop(
            self._supervision.guard, Loop.REPORTER, self._report_once, lambda: self._has_ended
        )

    def _report_once(self) -> None:
        until(self._report_now.wait, self._script.stats_interval or None)
        self._report_now.clear()
        if not self._has_ended:
            self._tell("so far", self._stats())

    def _stats(self) -> ReceiverStats:
        return self._sinks.add_to(self._receiver.stats())

    def _tell(self, title: str, stats: ReceiverStats) -> None:
        if self._script.summary == "json":
            self._stderr.write(stats_json(stats) + "\n")
            self._stderr.flush()
        else:
            self._say(f"{title}: {receiver_summary(stats)}")

    def _say(self, text: str) -> None:
        write_line(self._stderr, PROGRAM, text)


def metrics_place(script: ScriptConfig) -> tuple[str, int] | None:
    """Where the page for Prometheus is served."""
    return None if script.metrics_port is None else (script.metrics_host, script.metrics_port)


def new_worker(script: ScriptConfig) -> WorkerFactory | None:
    """What batches are given to, if not to local logging."""
    if script.forward is None:
        return None
    return forwarder(script.forward, create_stream=script.create_stream)


def reloader(receiver: BatchUDPReceiver, reload: Callable[[], str]) -> Callable[[], None]:
    """Reading the configuration again, as something that never raises."""

    def say(level: int, words: str, *args: object) -> None:
        receiver.guard.say(logging.getLogger(DIAGNOSTICS), level, words, *args)

    def run() -> None:
        try:
            said = reload()
        except ConfigError as error:
            say(logging.ERROR, "configuration kept, the new one is wrong: %s", error)
        except Exception as error:  # noqa: BLE001  # a reload must not end the receiver
            say(logging.ERROR, "configuration kept: %s", error_text(error))
        else:
            receiver.count_errors_of(*configured_handlers())
            say(logging.INFO, "%s", said)

    return run


def announce(
    address: Address, granted: int, config: ReceiverConfig, say: Callable[[str], None]
) -> None:
    """Tell where records are received, and what an operator should know about it."""
    where = address_text(address)

    def warn(words: str, *args: object) -> None:
        Guard().say(logging.getLogger(DIAGNOSTICS), logging.WARNING, words, *args)

    if isinstance(address, str):  # what waits for a unix socket is bounded by its senders' buffers
        say(f"listening on {where}")
        return
    usable = usable_buffer(granted)
    asked = config.receive_buffer
    say(f"listening on {where}, receive buffer {usable:,} bytes of {asked:,} bytes asked for")
    if usable < asked:
        warn(
            "asked for a receive buffer of %d bytes, got %d; see net.core.rmem_max",
            asked,
            usable,
        )
    if not (is_loopback(address) or config.key_file or config.allow):
        warn("anyone who reaches %s may send: neither key_file nor allow is set", where)


SUMMARY: Mapping[str, str] = {
    "delivered": "delivered",
    "lost": "lost",
    "rejected": "rejected",
    "missing": "missing",
    "dropped by senders": "sender_dropped",
    "duplicates": "duplicates",
    "possibly duplicate": "possibly_duplicate",
    "datagrams refused": "refused",
    "kernel drops": "kernel_drops",
    "handler errors": "handler_errors",
    "unhandled": "unhandled",
    "trimmed": "trimmed",
    "not written": "pending",
    "written without the pattern": "unformatted",
    "writes refused": "output_errors",
    "senders": "streams_seen",
    "senders ended": "streams_ended",
    "seconds": "uptime",
}
"""The words of the summary and the counters behind them."""


def receiver_summary(stats: ReceiverStats, more: Mapping[str, object] | None = None) -> str:
    """The counters that answer: did everything arrive?"""
    text = summary_text({**numbers_of(stats, SUMMARY), **(more or {})})
    silent = sum(stats.streams_ended.values()) - stats.streams_ended.get("closed", 0)
    if silent:
        text += f"; {silent} senders ended without a goodbye, their last records are not known"
    return text


def write_whole(path: str, text: str) -> None:
    """Whoever sees the file sees all of it."""
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, path)

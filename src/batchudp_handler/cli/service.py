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
from typing import IO, TYPE_CHECKING

from batchudp_handler.cli.announcement import announce, receiver_summary, write_whole
from batchudp_handler.cli.ending import Ending
from batchudp_handler.cli.monitoring import Monitoring
from batchudp_handler.cli.parser import ExitCode
from batchudp_handler.cli.report import (
    leave_standard_output,
    stats_json,
    write_line,
)
from batchudp_handler.cli.script_config import PROGRAM, ScriptConfig, metrics_place, new_worker
from batchudp_handler.control.heartbeat import READER, WORKER
from batchudp_handler.control.notify import Notifier
from batchudp_handler.core.errors import ConfigError
from batchudp_handler.platform import RELOAD_SIGNAL, REPORT_SIGNAL
from batchudp_handler.receiver import BatchUDPReceiver
from batchudp_handler.receiver.guard import Loop, error_text, run_loop
from batchudp_handler.receiver.handler_errors import configured_handlers
from batchudp_handler.receiver.receive_socket import address_text
from batchudp_handler.receiver.reemit import DIAGNOSTICS
from batchudp_handler.waits import until

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, MutableMapping, Sequence

    from batchudp_handler.cli.outputs import Outputs
    from batchudp_handler.config import ReceiverConfig
    from batchudp_handler.core.receive.stats import ReceiverStats
    from batchudp_handler.core.wire.auth import Key

__all__ = [
    "Service",
    "reloader",
]


class Service:
    """One receiver with its signals, its reports and its outputs."""

    def __init__(
        self,
        config: ReceiverConfig,
        script: ScriptConfig,
        outputs: Outputs,
        *,
        keys: Sequence[Key],
        inherited: socket.socket | None,
        stderr: IO[str],
        environ: MutableMapping[str, str],
    ) -> None:
        self._config = config
        self._script = script
        self._outputs = outputs
        self._stderr = stderr
        self._report_now = threading.Event()
        self._has_ended = False
        self._is_summed_up = False
        self._monitoring = Monitoring(
            control_socket=script.control_socket,
            metrics=metrics_place(script),
            environ=environ,
            notifier=Notifier.from_environment(environ, os.getpid()),
            new_worker=new_worker(script),
            logger_prefix=config.logger_prefix,
            restore_exceptions=config.restore_exceptions,
            after_batch=self._after_batch,
            output_problem=lambda: outputs.problem,
        )
        self._receiver = BatchUDPReceiver.from_config(
            config, keys=keys, inherited=inherited, new_worker=self._monitoring.new_worker
        )
        receiver = self._receiver
        receiver.count_errors_of(*configured_handlers())
        try:
            self._monitoring.watch(
                stats=self._stats,
                progress=receiver.progress,
                where=f"listening on {address_text(receiver.address)}",
                loops={READER: receiver.call_on_reader, WORKER: receiver.call_between_batches},
            )
        except (ConfigError, OSError):
            self._monitoring.stop()
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
        self._monitoring.ending()
        self._receiver.call_on_reader(self._receiver.shutdown)  # where it does not wait

    def _announce(self) -> None:
        receiver = self._receiver
        where = address_text(receiver.address)
        announce(receiver.address, receiver.stats().receive_buffer, self._config, self._say)
        self._monitoring.start(self._say)
        if self._script.ready_file is not None:
            write_whole(self._script.ready_file, where + "\n")

    def _after_batch(self) -> None:
        """Write the lines of a batch; without a reader there is no reason to go on."""
        try:
            self._outputs.flush()
        finally:
            if not self._outputs.has_reader:
                self._receiver.shutdown()

    def _end(self, reporter: threading.Thread) -> None:
        self._has_ended = True
        self._monitoring.stop()
        self._report_now.set()
        reporter.join(1.0)
        self._receiver.close()
        if self._script.ready_file is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._script.ready_file)
        if not self._outputs.has_reader:
            leave_standard_output()
        with contextlib.suppress(OSError):
            self._outputs.close()
        self._last_words()

    def _last_words(self) -> int:
        if self._outputs.has_reader and not self._is_summed_up:
            self._is_summed_up = True
            self._tell("ended", self._stats())
        return ExitCode.OK

    # --- reports -------------------------------------------------------------------------------

    def _report(self) -> None:
        run_loop(self._monitoring.guard, Loop.REPORTER, self._report_once, lambda: self._has_ended)

    def _report_once(self) -> None:
        until(self._report_now.wait, self._script.stats_interval or None)
        self._report_now.clear()
        if not self._has_ended:
            self._tell("so far", self._stats())

    def _stats(self) -> ReceiverStats:
        return self._outputs.add_to(self._receiver.stats())

    def _tell(self, title: str, stats: ReceiverStats) -> None:
        if self._script.summary == "json":
            self._stderr.write(stats_json(stats) + "\n")
            self._stderr.flush()
        else:
            self._say(f"{title}: {receiver_summary(stats)}")

    def _say(self, text: str) -> None:
        write_line(self._stderr, PROGRAM, text)


def reloader(receiver: BatchUDPReceiver, reload: Callable[[], str]) -> Callable[[], None]:
    """Return a function that reads the configuration again and never raises."""

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

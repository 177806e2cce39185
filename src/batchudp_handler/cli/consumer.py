"""The life of a process that takes batches from an engine instead of a socket.

The same outputs and signals as the receiver's: SIGINT and SIGTERM finish what was taken, and the
engine gives the rest to another consumer, now or later.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import IO, TYPE_CHECKING

from batchudp_handler.cli.announcement import receiver_summary
from batchudp_handler.cli.ending import Ending
from batchudp_handler.cli.monitoring import Monitoring
from batchudp_handler.cli.parser import ExitCode
from batchudp_handler.cli.report import leave_standard_output, stats_json, write_line
from batchudp_handler.cli.script_config import PROGRAM, metrics_place
from batchudp_handler.control.heartbeat import WORKER
from batchudp_handler.control.notify import Notifier
from batchudp_handler.core.payload.limits import DecodeLimits
from batchudp_handler.core.receive.stats import ReceiverStats
from batchudp_handler.engines import source
from batchudp_handler.receiver.diagnostics import Diagnostics
from batchudp_handler.receiver.guard import Guard
from batchudp_handler.receiver.handler_errors import HandlerErrors, configured_handlers

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from batchudp_handler.cli.outputs import Outputs
    from batchudp_handler.cli.script_config import ScriptConfig
    from batchudp_handler.config import ReceiverConfig

__all__ = ["Consumer"]

LOOK_SECONDS = 0.5
"""How often it is looked whether the engine was found, or was lost for good."""


class Consumer:
    """One consumer of an engine, with its signals and its outputs.

    Args:
        config: What a batch may cost, the prefix of loggers, and the time the end may take.
        script: Which engine, and whether its stream is made.
        sinks: Where records go.
        stderr: Where the process says how it fares.
        environ: Where the service manager and the runtime directory are named.
    """

    def __init__(
        self,
        config: ReceiverConfig,
        script: ScriptConfig,
        outputs: Outputs,
        *,
        stderr: IO[str],
        environ: MutableMapping[str, str],
    ) -> None:
        self._config = config
        self._summary = script.summary
        self._outputs = outputs
        self._stderr = stderr
        self._end = threading.Event()
        self._is_summed_up = False
        self._has_said_ready = False
        self._guard = Guard()
        self._source = source(
            script.source or "", create_stream=script.create_stream, guard=self._guard
        )
        self._monitoring = Monitoring(
            control_socket=script.control_socket,
            metrics=metrics_place(script),
            environ=environ,
            notifier=Notifier.from_environment(environ, os.getpid()),
            new_worker=None,
            logger_prefix=config.logger_prefix,
            restore_exceptions=config.restore_exceptions,
            after_batch=self._after_batch,
            output_problem=lambda: outputs.problem,
        )
        self._begun = time.monotonic()
        self._worker = self._monitoring.new_worker(
            limits=config.decode_limits(DecodeLimits()),
            diagnostics=Diagnostics(time.monotonic, self._guard),
            on_handled=self._source.on_handled,
            kernel_drops=lambda: None,
        )
        self._source.deliver = self._worker.put
        HandlerErrors(self._guard).watch(configured_handlers())
        self._monitoring.watch(
            stats=self._stats,
            progress=lambda: (self._source.delivered, 0),
            where="taking batches from the engine",
            loops={WORKER: lambda answer: self._worker.put([answer])},
            is_well=lambda: self._source.is_healthy,
        )

    def run(self) -> int:
        """Consume until told to end; the exit code."""
        seconds = self._config.shutdown_timeout
        Ending(seconds, on_end=self._begin_to_end, last_words=self._last_words).follow()
        self._worker.start()
        self._source.start()
        self._monitoring.start(self._say)
        while self._source.is_alive and not self._end.wait(LOOK_SECONDS):
            self._say_once_ready()
        return self._finish()

    def _say_once_ready(self) -> None:
        if self._source.is_ready and not self._has_said_ready:
            self._has_said_ready = True
            self._say("taking batches from the engine")

    def _begin_to_end(self) -> None:
        self._monitoring.ending()
        self._end.set()

    def _after_batch(self) -> None:
        try:
            self._outputs.flush()
        finally:
            if not self._outputs.has_reader:
                self._end.set()

    def _finish(self) -> int:
        self._monitoring.stop()
        ends_at = time.monotonic() + self._config.shutdown_timeout
        failure = self._source.error
        self._source.stop(self._config.shutdown_timeout)
        if self._worker.finish(max(0.0, ends_at - time.monotonic())):
            self._worker.tell((), closing=True)
        if not self._outputs.has_reader:
            leave_standard_output()
        with contextlib.suppress(OSError):
            self._outputs.close()
        self._last_words()
        if failure is not None:
            self._say(f"the engine cannot be used: {failure}")
            return ExitCode.UNAVAILABLE
        return ExitCode.OK

    def _last_words(self) -> int:
        if self._is_summed_up:
            return ExitCode.OK
        self._is_summed_up = True
        stats = self._stats()
        if self._summary == "json":
            self._stderr.write(stats_json(stats) + "\n")
            self._stderr.flush()
            return ExitCode.OK
        batches = {
            "batches": self._source.received,
            "batches given out before": self._source.redelivered,
        }
        self._say(f"ended: {receiver_summary(stats, batches)}")
        return ExitCode.OK

    def _stats(self) -> ReceiverStats:
        stats = ReceiverStats(
            delivered=self._source.delivered,
            duplicates=self._source.duplicates,
            possibly_duplicate=self._source.possibly_duplicate,
            rejected=dict(self._source.rejected),
            handler_errors=self._worker.handler_errors,
            callback_errors=self._guard.callback_errors(),
            internal_errors=self._guard.internal_errors(),
            clients_refused=self._guard.clients_refused(),
            filtered=self._worker.filtered,
            unhandled=getattr(self._worker, "unhandled", 0),
            uptime=time.monotonic() - self._begun,
        )
        return self._outputs.add_to(stats)

    def _say(self, text: str) -> None:
        write_line(self._stderr, PROGRAM, text)

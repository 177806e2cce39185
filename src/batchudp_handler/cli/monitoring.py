"""The monitoring of a receiver that runs as a process: control socket, service manager, metrics.

The control socket for an operator, the service manager's notifications and watchdog, and the
answer to "is it healthy?", which all three share. None of it is needed for receiving: what cannot
be had by default is left out with a word about it, what was asked for is an error.
"""

from __future__ import annotations

import json
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from batchudp_handler.cli.report import stats_json
from batchudp_handler.control.heartbeat import READER, WORKER, Heartbeat
from batchudp_handler.control.place import AUTO, server_place
from batchudp_handler.control.server import ControlServer
from batchudp_handler.control.tap import Tap, TappedReemitter
from batchudp_handler.core.errors import ConfigError
from batchudp_handler.receiver.guard import Guard
from batchudp_handler.receiver.reemit import DIAGNOSTICS
from batchudp_handler.receiver.worker import LoggingWorker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from batchudp_handler.control.metrics import MetricsServer
    from batchudp_handler.control.notify import Notifier
    from batchudp_handler.core.receive.stats import ReceiverStats
    from batchudp_handler.receiver.worker import Worker, WorkerFactory

    Ask = Callable[[Callable[[], None]], None]

__all__ = ["Monitoring"]

PULSE_SECONDS = 2.0
LONGEST_SILENCE: Mapping[str, float] = {READER: 10.0, WORKER: 60.0}
"""Seconds after which a loop counts as hung; handlers may be slow for good reasons."""
SILENCES = {
    READER: "the socket has not been read for {:.0f} s",
    WORKER: "the handlers of one batch have been busy for {:.0f} s",
}


class Monitoring:
    """The monitoring of one receiver, or of one consumer of an engine.

    Args:
        control_socket: The setting: a path, `auto` or `off`.
        metrics: Host and port of the page for Prometheus; None: there is none.
        environ: Where the runtime directory is named.
        notifier: How the service manager is told.
        new_worker: Makes the worker that passes batches on; None: they go to local logging.
        logger_prefix: For local logging.
        restore_exceptions: Whether records get an `exc_info`.
        after_batch: For local logging.
        output_problem: What keeps records from being written, in words; None: nothing.
    """

    def __init__(
        self,
        *,
        control_socket: str,
        metrics: tuple[str, int] | None,
        environ: Mapping[str, str],
        notifier: Notifier,
        new_worker: WorkerFactory | None,
        logger_prefix: str,
        restore_exceptions: bool,
        after_batch: Callable[[], None],
        output_problem: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._output_problem = output_problem
        self._setting = control_socket
        self._metrics_place = metrics
        self._place = server_place(control_socket, environ)
        self._notifier = notifier
        self._tap: Tap | None = None
        self._new_worker = new_worker or self._local_worker(
            logger_prefix, restore_exceptions, after_batch
        )
        self._worker: Worker | None = None
        self._server: ControlServer | None = None
        self._metrics: MetricsServer | None = None
        self._heartbeat: Heartbeat | None = None
        self.guard = Guard()
        self._log = logging.getLogger(DIAGNOSTICS)

    def _local_worker(
        self, prefix: str, restore_exceptions: bool, after_batch: Callable[[], None]
    ) -> WorkerFactory:
        self._tap = Tap()
        reemitter = TappedReemitter(
            self._tap, prefix=prefix, restore_exceptions=restore_exceptions
        )
        return partial(LoggingWorker, reemitter=reemitter, after_batch=after_batch)

    def new_worker(self, **arguments: Any) -> Worker:
        """Make the receiver's worker, and remember it for its health."""
        self.guard = arguments["diagnostics"].guard
        self._worker = self._new_worker(**arguments)
        return self._worker

    # --- life ----------------------------------------------------------------------------------

    def watch(
        self,
        *,
        stats: Callable[[], ReceiverStats],
        progress: Callable[[], tuple[int, int]],
        where: str,
        loops: Mapping[str, Ask],
        is_well: Callable[[], bool] | None = None,
    ) -> None:
        """Look after a receiver, or a consumer of an engine.

        Args:
            stats: Its counters.
            progress: Two of them, which are asked for every two seconds: records delivered, and
                records lost or missing.
            where: What it listens on, in words.
            loops: How each of its loops is asked for a sign of life.
            is_well: Whether the engine answers, if it is the worker that does not know it.

        Raises:
            ConfigError: The control socket that was asked for cannot be made, or an extra is
                missing.
            OSError: The page for Prometheus cannot be served at its address.
        """
        self._stats, self._progress, self._where = stats, progress, where
        self._is_well = is_well or (lambda: getattr(self._worker, "is_healthy", True))
        if self._place is not None:
            self._server = self._open(self._place)
        if self._metrics_place is not None:
            self._metrics = self._serve_metrics(*self._metrics_place)
        if self._server or self._metrics or self._notifier.is_active:
            self._heartbeat = Heartbeat(
                loops,
                interval=min(PULSE_SECONDS, self._notifier.watchdog / 2 or PULSE_SECONDS),
                after_question=self._tell_manager,
                guard=self.guard,
            )

    def _open(self, place: str) -> ControlServer | None:
        answers = {
            "stats": lambda: stats_json(self._stats()),
            "health": self._health_json,
        }
        try:
            return ControlServer(place, answers=answers, tap=self._tap, guard=self.guard)
        except OSError as error:
            message = f"control_socket: {place}: {error.strerror or error}"
            if self._setting != AUTO:
                raise ConfigError(message) from None
            self.guard.say(self._log, logging.INFO, "no control socket: %s", message)
            return None

    def _serve_metrics(self, host: str, port: int) -> MetricsServer:
        try:
            from batchudp_handler.control.metrics import MetricsServer
        except ImportError:
            message = "metrics_port needs the extra: pip install batchudp-handler[prometheus]"
            raise ConfigError(message) from None
        try:
            return MetricsServer(
                host, port, self._stats, lambda: self.problem() is None, guard=self.guard
            )
        except OSError as error:
            raise OSError(error.errno, error.strerror, f"{host}:{port} for metrics") from None

    def start(self, say: Callable[[str], None]) -> None:
        """Answer from now on, and tell that the receiver is ready."""
        if self._metrics is not None and self._metrics_place is not None:
            self._metrics.start()
            say(f"metrics on http://{self._metrics_place[0]}:{self._metrics.port}/metrics")
        if self._server is not None:
            self._server.start()
        if self._heartbeat is not None:
            self._heartbeat.start()
        self._notifier.tell(READY=1, STATUS=self._status())

    def ending(self) -> None:
        """Tell that the receiver was told to end; may be called from a signal handler."""
        self._notifier.tell(STOPPING=1, STATUS="finishing what has arrived")

    def stop(self) -> None:
        """Answer no more: the receiver has ended."""
        if self._heartbeat is not None:
            self._heartbeat.stop()
        if self._server is not None:
            self._server.close()
        if self._metrics is not None:
            self._metrics.close()

    # --- health --------------------------------------------------------------------------------

    def problem(self) -> str | None:
        """Return what keeps the receiver from doing its work; None: nothing."""
        refused = self._output_problem()
        if refused is not None:
            return refused
        silences = {} if self._heartbeat is None else self._heartbeat.silence()
        for loop, seconds in silences.items():
            if seconds > self._limit(loop):
                return SILENCES[loop].format(seconds)
        if not self._is_well():
            return "the engine does not answer, nothing is confirmed"
        return None

    def _limit(self, loop: str) -> float:
        watchdog = self._notifier.watchdog
        return min(LONGEST_SILENCE[loop], watchdog / 2) if watchdog else LONGEST_SILENCE[loop]

    def _status(self) -> str:
        delivered, lost = self._progress()
        return f"{self._where}, delivered {delivered}, lost {lost}"

    def _health_json(self) -> str:
        problem = self.problem()
        text = f"ok: {self._status()}" if problem is None else f"not healthy: {problem}"
        return json.dumps({"healthy": problem is None, "text": text, "time": time.time()})

    def _tell_manager(self) -> None:
        """Tell the service manager how it goes. An engine that is away, or a full disk, is no
        reason to be restarted; a loop that hangs is."""
        if not self._notifier.is_active or self._heartbeat is None:
            return
        silences = self._heartbeat.silence()
        if self._output_problem() is not None:
            silences.pop(WORKER, None)  # it waits for its output, and knows it
        is_alive = all(seconds <= self._limit(loop) for loop, seconds in silences.items())
        if self._notifier.watchdog and is_alive:
            self._notifier.tell(WATCHDOG=1)
        self._notifier.tell(STATUS=self.problem() or self._status())

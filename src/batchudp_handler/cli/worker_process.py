"""One of several receiving processes.

It receives from the socket that its supervisor bound, writes to the output that all of them
share, and obeys the supervisor rather than signals: a service manager and a terminal send those
to every process of a group, and a worker must not take that for a second one.

    from the supervisor    "report", "reload", "end"; nobody at the other side means "end"
    to the supervisor      "ready", "report" or "unread", with its counters
"""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING

from batchudp_handler.cli.parser import ExitCode
from batchudp_handler.cli.report import leave_standard_output
from batchudp_handler.cli.script_config import new_worker
from batchudp_handler.cli.service import reloader
from batchudp_handler.receiver import BatchUDPReceiver
from batchudp_handler.receiver.guard import Loop, run_loop
from batchudp_handler.receiver.handler_errors import configured_handlers

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection

    from batchudp_handler.cli.outputs import Outputs
    from batchudp_handler.cli.script_config import ScriptConfig
    from batchudp_handler.config import ReceiverConfig
    from batchudp_handler.core.receive.stats import ReceiverStats
    from batchudp_handler.core.wire.auth import Key

    Told = tuple[str, ReceiverStats]

__all__ = ["SIGNALS", "WorkerProcess"]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
"""What the supervisor listens to, and a worker does not."""


class WorkerProcess:
    """One receiver, in a process of its own.

    Args:
        config: What the receiver may do.
        script: Whether it forwards to an engine.
        sinks: Where records go.
        keys: What senders prove themselves with.
        inherited: The socket to read.
        link: The supervisor.
    """

    def __init__(
        self,
        config: ReceiverConfig,
        script: ScriptConfig,
        outputs: Outputs,
        keys: Sequence[Key],
        *,
        inherited: socket.socket,
        link: Connection,
    ) -> None:
        self._outputs = outputs
        self._link = link
        self._is_telling = threading.Lock()
        self._has_heard_the_end = False
        self._receiver = BatchUDPReceiver.from_config(
            config,
            keys=keys,
            inherited=inherited,
            after_batch=self._after_batch,
            new_worker=new_worker(script),
        )
        self._receiver.count_errors_of(*configured_handlers())

    def run(self, reload: Callable[[], str]) -> int:
        """Receive until told to end; the exit code."""
        listening = threading.Thread(
            target=self._listen, args=(reload,), name="batchudp-link", daemon=True
        )
        listening.start()
        self._tell("ready")
        try:
            self._receiver.serve_forever()
        finally:
            self._end()
        return ExitCode.OK

    def _listen(self, reload: Callable[[], str]) -> None:
        apply = reloader(self._receiver, reload)
        guard = self._receiver.guard
        run_loop(guard, Loop.LINK, lambda: self._obey(apply), lambda: self._has_heard_the_end)

    def _obey(self, apply: Callable[[], None]) -> None:
        try:
            word = self._link.recv()
        except (EOFError, OSError):
            word = "end"
        if word == "report":
            self._tell("report")
        elif word == "reload":
            self._receiver.call_between_batches(apply)
        else:
            self._has_heard_the_end = True
            self._tell("report")  # what is known should this process not end in time
            self._receiver.shutdown()

    def _after_batch(self) -> None:
        try:
            self._outputs.flush()
        finally:
            if not self._outputs.has_reader:
                self._tell("unread")
                self._receiver.shutdown()

    def _end(self) -> None:
        self._receiver.close()
        if not self._outputs.has_reader:
            leave_standard_output()
        with contextlib.suppress(OSError):
            self._outputs.close()
        self._tell("report")

    def _tell(self, word: str) -> None:
        told: Told = (word, self._outputs.add_to(self._receiver.stats()))
        with self._is_telling, contextlib.suppress(OSError):  # nobody is left to be told
            self._link.send(told)

"""Several processes that make one receiver.

    supervisor: binds the sockets, starts a worker for each, and starts another one when it dies
    workers:    each reads its own socket; the kernel gives every stream to one of them

The supervisor has no threads, so forking it is safe at any time. It keeps every socket open: what
arrives while a worker is replaced waits in the kernel for the next one. Senders send again what a
dead worker had read and not confirmed, as after the death of a whole receiver.

    SIGINT, SIGTERM   all workers finish what has arrived, within `shutdown_timeout`; those that
                      have not ended then are killed; a second one ends them at once
    SIGHUP            each worker reads the configuration again
    SIGUSR1           write the counters of all workers, added, to standard error
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from multiprocessing.connection import wait
from typing import IO, TYPE_CHECKING, Any

from batchudp_handler.cli.announcement import announce, receiver_summary, write_whole
from batchudp_handler.cli.ending import follow_by_socket
from batchudp_handler.cli.parser import ExitCode
from batchudp_handler.cli.report import leave_standard_output, stats_json, write_line
from batchudp_handler.cli.script_config import PROGRAM
from batchudp_handler.cli.worker_process import SIGNALS
from batchudp_handler.cli.worker_slot import WorkerSlot
from batchudp_handler.platform import END_SIGNALS
from batchudp_handler.receiver.group import steer_by_stream
from batchudp_handler.receiver.receive_socket import address_text
from batchudp_handler.receiver.totals import total
from batchudp_handler.waits import clamped

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection

    from batchudp_handler.cli.script_config import ScriptConfig
    from batchudp_handler.config import ReceiverConfig
    from batchudp_handler.control.notify import Notifier
    from batchudp_handler.core.receive.stats import ReceiverStats

__all__ = ["Supervisor"]

END_SECONDS = 0.5
"""Beyond `shutdown_timeout`, how long the workers may take to end before they are killed."""
LONGEST = 1e9
"""Seconds that a timer takes."""
LAST_SECONDS = 0.95
"""Beyond it, when the kernel ends the supervisor, whatever holds it up by then."""


class Supervisor:
    """The process that keeps one worker on each socket, and speaks for all of them.

    Args:
        config: The receiver's settings.
        script: The process's settings.
        sockets: One for each worker.
        work: What a worker does with its number and its end of a pipe, to its exit code.
        notifier: Tells the service manager that it is ready and alive.
        stderr: Where the process says how it fares.
    """

    def __init__(
        self,
        config: ReceiverConfig,
        script: ScriptConfig,
        sockets: Sequence[socket.socket],
        work: Callable[[int, Connection], int],
        notifier: Notifier,
        *,
        stderr: IO[str],
    ) -> None:
        self._config = config
        self._script = script
        self._sockets = sockets
        self._work = work
        self._notifier = notifier
        self._stderr = stderr
        self._slots = [WorkerSlot(number) for number in range(len(sockets))]
        self._former: list[ReceiverStats] = []
        self._died = 0
        self._exit_code: int = ExitCode.OK
        self._ends_at: float | None = None
        self._is_running = False
        self._is_unread = False
        self._unanswered: set[int] = set()
        self._alive_at = time.monotonic() if notifier.watchdog else float("inf")
        self._reports_at = time.monotonic() + (script.stats_interval or float("inf"))

    def run(self) -> int:
        """Receive until told to end; the exit code."""
        self._follow_signals()
        self._steer()
        try:
            for slot in self._slots:  # one after the other: what is wrong is said once
                self._start(slot)
                while slot.process and not slot.is_ready:
                    self._turn()
                if self._ends_at is not None:
                    break
            if self._ends_at is None:
                self._is_running = True
                self._announce()
            while any(slot.process for slot in self._slots) or self._ends_at is None:
                self._turn()
        finally:
            self._kill_all()
            self._forget_ready_file()
        if self._is_running and not self._is_unread:
            self._tell("ended")
        signal.setitimer(signal.ITIMER_REAL, 0)
        return self._exit_code

    def _follow_signals(self) -> None:
        """Turn signals into bytes that end the wait."""
        self._woken, self._waker = follow_by_socket(SIGNALS)
        self._woken.setblocking(False)

    def _steer(self) -> None:
        try:
            steer_by_stream(self._sockets)
        except OSError as error:
            self._say(
                f"the kernel spreads senders by their addresses, not by stream: {error.strerror}"
            )

    def _announce(self) -> None:
        address = self._sockets[0].getsockname()[:2]
        granted = min(slot.stats.receive_buffer for slot in self._slots if slot.stats)
        self._say(f"{len(self._slots)} workers")
        announce(address, granted, self._config, self._say)
        self._notifier.tell(READY=1, STATUS=f"{len(self._slots)} workers")
        if self._script.ready_file is not None:
            write_whole(self._script.ready_file, address_text(address) + "\n")

    # --- one turn ------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Wait for a signal, a word of a worker, the end of one, or the time for something."""
        links = {slot.link: slot for slot in self._slots if slot.link is not None}
        for ready in wait([self._woken, *links], clamped(self._patience())):
            if ready is self._woken:
                for number in self._woken.recv(4096):
                    self._on_signal(number)
            else:
                self._on_word(links[ready])  # type: ignore[index]  # one of the links, then
        self._on_time(time.monotonic())

    def _patience(self) -> float | None:
        times = [slot.starts_at for slot in self._slots if slot.starts_at is not None]
        times += [self._reports_at, self._alive_at, self._ends_at or float("inf")]
        until = min(times)
        return None if until == float("inf") else max(0.0, until - time.monotonic())

    def _on_signal(self, number: int) -> None:
        if number in END_SIGNALS:
            if self._ends_at is not None:
                self._kill_all()
                self._forget_ready_file()
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            # by then the kernel ends it, whatever holds it up
            signal.setitimer(
                signal.ITIMER_REAL, min(self._config.shutdown_timeout, LONGEST) + LAST_SECONDS
            )
            self._end_all(ExitCode.OK)
        elif number == signal.SIGHUP:
            self._tell_workers("reload")
        elif number == signal.SIGUSR1:
            self._ask_for_reports()

    def _on_word(self, slot: WorkerSlot) -> None:
        try:
            word, slot.stats = slot.link.recv() if slot.link else ("", slot.stats)
        except (EOFError, OSError):
            self._on_death(slot)
            return
        if word == "unread":
            self._is_unread = True
            self._end_all(ExitCode.OK)
            return
        slot.is_ready = True
        if slot.number in self._unanswered:
            self._answered(slot)

    def _on_death(self, slot: WorkerSlot) -> None:
        if slot.process is None:
            return
        code = slot.forget()
        self._answered(slot)
        if self._ends_at is not None:
            return
        if not self._is_running:  # it never came up: neither would another one
            self._end_all(code if code > 0 else ExitCode.UNAVAILABLE)
            return
        self._replace(slot, f"signal {-code}" if code < 0 else f"exit code {code}")

    def _replace(self, slot: WorkerSlot, cause: str) -> None:
        self._died += 1
        if slot.stats is not None:
            self._former.append(slot.stats)
        slot.stats, slot.is_ready = None, False
        slot.delay_start(time.monotonic())
        self._say(f"worker {slot.number} ended unasked ({cause}); starting another one")

    def _on_time(self, now: float) -> None:
        for slot in self._slots:
            if slot.starts_at is not None and slot.starts_at <= now and self._ends_at is None:
                self._start(slot)
        if now >= self._alive_at:
            self._alive_at = now + self._notifier.watchdog / 3
            self._notifier.tell(WATCHDOG=1)
        if now >= self._reports_at:
            self._reports_at = now + self._script.stats_interval
            self._ask_for_reports()
        if self._ends_at is not None and now >= self._ends_at:
            for slot in self._slots:
                if slot.process is not None:
                    words = "did not end in time; what it did since its last report is not counted"
                    self._say(f"worker {slot.number} {words}")
            self._kill_all()

    # --- workers -------------------------------------------------------------------------------

    def _start(self, slot: WorkerSlot) -> None:
        context = multiprocessing.get_context("fork")
        ours, theirs = context.Pipe()
        slot.starts_at, slot.started = None, time.monotonic()
        slot.process = context.Process(
            target=self._be_a_worker, args=(slot.number, ours, theirs), name=PROGRAM
        )
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            slot.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        theirs.close()
        slot.link = ours

    def _be_a_worker(self, number: int, ours: Connection, theirs: Connection) -> None:
        """Close in the new process what is not this worker's, then work."""
        signal.set_wakeup_fd(-1)
        for one in SIGNALS:
            signal.signal(one, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        others: list[Any] = [self._woken, self._waker, ours]
        others += [slot.link for slot in self._slots if slot.link is not None]
        others += [one for index, one in enumerate(self._sockets) if index != number]
        for one in others:
            one.close()
        raise SystemExit(self._work(number, theirs))

    def _end_all(self, code: int) -> None:
        if self._ends_at is None:
            self._exit_code = code
            self._notifier.tell(STOPPING=1, STATUS="finishing what has arrived")
            self._ends_at = time.monotonic() + self._config.shutdown_timeout + END_SECONDS
            self._tell_workers("end")

    def _tell_workers(self, word: str) -> None:
        for slot in self._slots:
            slot.tell(word)

    def _kill_all(self) -> None:
        for slot in self._slots:
            slot.kill()

    # --- reports -------------------------------------------------------------------------------

    def _ask_for_reports(self) -> None:
        self._unanswered |= {slot.number for slot in self._slots if slot.link is not None}
        self._tell_workers("report")

    def _answered(self, slot: WorkerSlot) -> None:
        if slot.number in self._unanswered:
            self._unanswered.discard(slot.number)
            if not self._unanswered and self._is_running and self._ends_at is None:
                self._tell("so far")

    def _tell(self, title: str) -> None:
        stats = total([*self._former, *(slot.stats for slot in self._slots if slot.stats)])
        if self._script.summary == "json":
            with contextlib.suppress(OSError, ValueError):
                self._stderr.write(stats_json(stats) + "\n")
                self._stderr.flush()
            return
        more: dict[str, object] = {"workers": len(self._slots)}
        if self._died:
            more["workers that died"] = self._died
        self._say(f"{title}: {receiver_summary(stats, more)}")

    def _forget_ready_file(self) -> None:
        if self._script.ready_file is not None and self._is_running:
            with contextlib.suppress(OSError):
                os.unlink(self._script.ready_file)
        if self._is_unread:
            leave_standard_output()

    def _say(self, text: str) -> None:
        write_line(self._stderr, PROGRAM, text)

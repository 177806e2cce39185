"""The receiver: from datagrams to records in this process's own logging.

    reader (the thread that calls serve_forever)          worker (one thread)
    wait -> read the socket empty -> ReceiverProtocol  ->  decode -> local loggers
                                     events, replies   <-  handled: so many delivered, rejected

The reader does nothing slow, because what it does not read in time the kernel throws away; the
worker may be as slow as the operator's handlers are. Between them is a queue whose bytes the
core bounds. The protocol is touched by both, so one lock guards it; it is held for the length of
a few method calls, never while a handler, the socket or a decoder runs.

Three things keep the loops alive whatever arrives: the core never raises on network input, the
decoder raises `DecodeError` only, and what the program's own code raises is counted by the
guard.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
import threading
import time
from collections import deque
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from batchudp_handler.config import ReceiverConfig
from batchudp_handler.core.errors import Reason
from batchudp_handler.core.payload.limits import DecodeLimits
from batchudp_handler.core.receive.events import BatchReceived
from batchudp_handler.core.receive.reassembly import ReassemblyLimits
from batchudp_handler.core.receive.receiver import ReceiverProtocol, ReceiverSettings
from batchudp_handler.keys import load_keys
from batchudp_handler.receiver.diagnostics import Diagnostics, ReceiveFailed
from batchudp_handler.receiver.guard import Guard, Loop, Seam, run_loop
from batchudp_handler.receiver.handler_errors import HandlerErrors
from batchudp_handler.receiver.latch import Latch
from batchudp_handler.receiver.receive_socket import ReceiveSocket
from batchudp_handler.receiver.reemit import DIAGNOSTICS, Reemitter
from batchudp_handler.receiver.worker import LoggingWorker
from batchudp_handler.settings import values_of
from batchudp_handler.waits import join_thread

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from batchudp_handler.core.receive.events import Address, Event
    from batchudp_handler.core.receive.stats import ReceiverStats
    from batchudp_handler.core.wire.auth import Key
    from batchudp_handler.receiver.worker import Worker, WorkerFactory

__all__ = ["BatchUDPReceiver"]

DATAGRAMS_AT_ONCE = 512
"""Read before the core looks at them: at 65,507 bytes each, 32 MiB at most."""
STREAMS_AT_ONCE = 32
"""Copied for `stats` while the reader waits: about 0.3 ms."""
LAST_READ_SECONDS = 1.0
"""At shutdown, how long what waits in the kernel may still be read while more comes in."""
END_SECONDS = LAST_READ_SECONDS + 1.0
"""What the end may take beyond `shutdown_timeout`."""
RETRY_SECONDS = 0.05
"""Pause after an error of the socket, so that one that stays cannot spin."""
SIGNAL_CHECK_SECONDS = 1.0
"""Longest wait of the main thread. A signal that comes between the interpreter's last look and
the system call does not end the wait, and its handler runs only afterwards."""

_NEVER = float("inf")


class BatchUDPReceiver:
    """Receives records and hands them to the nearest existing local loggers.

    It binds when it is made, as `socketserver` does. Use it as a context manager for a receiver
    in a background thread, or call `serve_forever`.

    >>> with BatchUDPReceiver("127.0.0.1", 0) as receiver:
    ...     host, port = receiver.address

    Args:
        host: Address to listen on, 'host:port' or 'unix:///path'.
        port: Port to listen on; 0: any free one.
        buffer_size: Largest datagram read, in bytes; a longer one is counted and dropped.
        receive_buffer: Size in bytes of the receive buffer to request from the kernel.
        queue_size: Largest size in bytes of the batches that wait for handlers.
        logger_prefix: Prefix for the names of remote loggers, such as 'remote.'.
        restore_exceptions: Give records with an exception an exc_info that tools can use.
        allow: Networks that may send, such as '10.0.0.0/8'; if none is given, every network may.
        source_rate: Datagrams per second that one address may send; None: any number.
        key_file: Files with the accepted keys; without one, anyone may send.
        accept_unauthenticated: Accept datagrams without a key even if keys are configured.
        gelf: Also take GELF messages, plain, zlib, gzip or chunked, on the same port.
        max_records: Largest number of records in one datagram.
        max_batch_size: Largest batch in bytes after decompression or reassembly.
        max_streams: Largest number of senders tracked at the same time.
        remembered_streams: Number of ended senders, per kind, whose repeated datagrams are
            recognised; each takes about 45 bytes.
        stream_timeout: A sender that is silent for so many seconds is forgotten.
        shutdown_timeout: Longest time in seconds that shutdown may take to handle waiting batches.
        keys: The keys themselves, instead of `key_file`.
        limits: The limits on what a payload holds that are no settings; `max_records` and
            `max_batch_size` count even so.
        inherited: A bound socket to use instead of binding one.
        after_batch: Called on the worker thread when all records of a batch were handled, and
            before the batch is confirmed; for outputs that write whole batches.
        new_worker: Makes what batches are given to instead of local logging, such as what
            `batchudp_handler.engines.forwarder` returns.
        clock: Monotonic time in seconds.

    Raises:
        ConfigError: A value is not allowed; the text says what is.
        OSError: The address cannot be bound.
    """

    def __init__(
        self,
        host: str = "0.0.0.0",
        port: int | str = 9999,
        *,
        logger_prefix: str = "",
        restore_exceptions: bool = False,
        allow: Sequence[str] = (),
        source_rate: float | None = None,
        key_file: str | Sequence[str] = (),
        accept_unauthenticated: bool = False,
        gelf: bool = False,
        buffer_size: int = 65_535,
        receive_buffer: int = 8_388_608,
        queue_size: int = 16_777_216,
        max_records: int = 2_048,
        max_batch_size: int = 1_048_576,
        max_streams: int = 1_024,
        remembered_streams: int = 100_000,
        stream_timeout: float = 600.0,
        shutdown_timeout: float = 5.0,
        keys: Sequence[Key] | None = None,
        limits: DecodeLimits | None = None,
        inherited: socket.socket | None = None,
        after_batch: Callable[[], None] | None = None,
        new_worker: WorkerFactory | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        values = dict(
            host=host, port=port, logger_prefix=logger_prefix, allow=allow,
            restore_exceptions=restore_exceptions, source_rate=source_rate, key_file=key_file,
            accept_unauthenticated=accept_unauthenticated, gelf=gelf, buffer_size=buffer_size,
            receive_buffer=receive_buffer, queue_size=queue_size, max_records=max_records,
            max_batch_size=max_batch_size, max_streams=max_streams,
            remembered_streams=remembered_streams, stream_timeout=stream_timeout,
            shutdown_timeout=shutdown_timeout,
        )  # fmt: skip
        self._config = config = ReceiverConfig.from_mapping(values)
        keys = load_keys(config.key_file) if keys is None else keys
        self._set_up(keys, limits, inherited, after_batch, new_worker, clock)

    def _set_up(
        self,
        keys: Sequence[Key],
        limits: DecodeLimits | None,
        inherited: socket.socket | None,
        after_batch: Callable[[], None] | None,
        new_worker: WorkerFactory | None,
        clock: Callable[[], float],
    ) -> None:
        self.guard = Guard()
        self._clock = clock if clock is time.monotonic else self._guarded_clock(clock)
        self._handler_errors = HandlerErrors(self.guard)
        self._limits = self._config.decode_limits(limits or DecodeLimits())
        self._socket = self._open_socket(inherited)
        self._address = self._socket.address
        self._lock = threading.RLock()  # re-entrant: a signal handler may ask for the counters
        try:
            self._protocol = self._new_protocol(keys)
            self._worker = self._new_worker(after_batch, new_worker)
        except BaseException:  # a key number that is used twice, or what `new_worker` raises
            self._socket.close()
            raise
        self._calls: deque[Callable[[], None]] = deque()
        self._wakes_at = _NEVER
        self._is_stopping = self._is_closing = False
        self._serving: threading.Thread | None = None
        self._background: threading.Thread | None = None
        self._stopped = Latch()

    @classmethod
    def from_config(
        cls,
        config: ReceiverConfig,
        *,
        keys: Sequence[Key] | None = None,
        inherited: socket.socket | None = None,
        after_batch: Callable[[], None] | None = None,
        new_worker: WorkerFactory | None = None,
    ) -> Self:
        """Make a receiver from a config, such as `ReceiverConfig.from_env(os.environ)` gives."""
        values: dict[str, Any] = values_of(config)
        return cls(
            **values,
            keys=keys,
            inherited=inherited,
            after_batch=after_batch,
            new_worker=new_worker,
        )

    def _open_socket(self, inherited: socket.socket | None) -> ReceiveSocket:
        config = self._config
        return ReceiveSocket(
            config.host,
            config.port,
            receive_buffer=config.receive_buffer,
            buffer_size=config.buffer_size,
            inherited=inherited,
        )

    def _new_worker(
        self, after_batch: Callable[[], None] | None, new_worker: WorkerFactory | None
    ) -> Worker:
        config = self._config
        if new_worker is None:
            reemitter = Reemitter(
                prefix=config.logger_prefix,
                components=self._limits.logger_components,
                restore_exceptions=config.restore_exceptions,
            )
            new_worker = partial(LoggingWorker, reemitter=reemitter, after_batch=after_batch)
        return new_worker(
            limits=self._limits,
            diagnostics=Diagnostics(self._clock, self.guard),
            on_handled=self._on_handled,
            kernel_drops=self._socket.kernel_drops,
        )

    def _guarded_clock(self, clock: Callable[[], float]) -> Callable[[], float]:
        """Return the clock of the program, which shows its latest time when it raises."""
        latest = time.monotonic()

        def now() -> float:
            nonlocal latest
            latest = float(self.guard.run(Seam.CLOCK, clock, default=latest))
            return latest

        return now

    def _new_protocol(self, keys: Sequence[Key]) -> ReceiverProtocol:
        config = self._config
        settings = ReceiverSettings(
            keys=keys,
            accept_unauthenticated=config.accept_unauthenticated,
            gelf=config.gelf,
            # whoever reaches a unix socket was let through by the file system
            allow=() if isinstance(self._address, str) else config.allow,
            source_rate=config.source_rate,
            longest_datagram=config.buffer_size,
            receive_buffer=self._socket.receive_buffer,
            work_queue_bytes=config.queue_size,
            max_streams=config.max_streams,
            remembered_streams=config.remembered_streams,
            stream_idle=config.stream_timeout,
            reassembly=ReassemblyLimits(group_bytes=config.max_batch_size),
        )
        return ReceiverProtocol(
            settings,
            epoch=int.from_bytes(os.urandom(8)) or 1,
            secret=os.urandom(32),
            now=self._clock(),
            wall=time.time(),
        )

    # --- what programs use ---------------------------------------------------------------------

    @property
    def address(self) -> Any:
        """Host and port where senders find this receiver, or its Unix path.

        As with `socket.getsockname`, what it is depends on the kind of socket.
        """
        return self._address

    def stats(self) -> ReceiverStats:
        """Return the counters at this moment; any thread may ask.

        The reader is held up for a few streams at a time only, however many there are.
        """
        with self._lock:
            census = self._protocol.census(self._clock())
        while not census.is_complete:
            with self._lock:
                census.copy_some(STREAMS_AT_ONCE)
            time.sleep(0)  # a reader that waits for the lock gets it before we do
        return replace(
            census.stats(),
            filtered=self._of_worker("filtered", 0),
            unhandled=self._of_worker("unhandled", 0),
            handler_errors=self._of_worker("handler_errors", 0),
            trimmed=dict(self._of_worker("trimmed", {})),
            callback_errors=self.guard.callback_errors(),
            internal_errors=self.guard.internal_errors(),
            clients_refused=self.guard.clients_refused(),
            kernel_drops=self._socket.kernel_drops(),
            receive_buffer=self._socket.receive_buffer,
        )

    def progress(self) -> tuple[int, int]:
        """Return the records delivered, and lost or missing; cheap enough to be asked often."""
        with self._lock:
            progress = self._protocol.progress()
        return progress.sums()

    def _of_worker(self, name: str, default: Any) -> Any:
        return self.guard.run(Seam.WORKER, getattr, self._worker, name, default, default=default)

    def serve_forever(self) -> None:
        """Receive in this thread until `shutdown`; may be called once."""
        if self._serving is not None or self._stopped.is_set:
            message = "a receiver serves once"
            raise RuntimeError(message)
        self._serving = threading.current_thread()
        used = 0.0
        try:
            self._worker.start()
            run_loop(self.guard, Loop.READER, self._turn, lambda: self._is_stopping)
            used = self._read_the_rest()
        finally:
            self._end(used)

    def shutdown(self) -> None:
        """Stop reading, finish what waits, and return when that is done.

        From the serving thread itself, so from a signal handler there, and from a local handler,
        it only asks for it.
        """
        self._is_stopping = True
        self._socket.wake()
        if self._serving is not None and not self._would_wait_for_itself():
            self._stopped.is_set_within(self._longest_end())

    def count_errors_of(self, *handlers: logging.Handler) -> None:
        """Count in `stats().handler_errors` what these handlers catch themselves.

        The handlers of the standard library catch their errors and print forty lines on standard
        error (`Handler.handleError`). From now on such an error on a record that arrived is
        counted and told as a warning on the logger `batchudp.receiver`, with the handler's name,
        and printed at most once a minute. Handlers behind these, such as the target of a
        `MemoryHandler`, are counted as well. Records that the program logs itself are left
        alone. `close` ends it.
        """
        for handler in self._handler_errors.watch(handlers):
            words = "errors of %s cannot be counted: it takes no attribute handleError"
            name = type(handler).__name__
            self.guard.say(logging.getLogger(DIAGNOSTICS), logging.WARNING, words, name)

    def call_between_batches(self, function: Callable[[], None]) -> None:
        """Call a function on the thread that runs the handlers, while none of them runs.

        For changing the logging configuration without any record seeing half of it. May be
        called from any thread and from a signal handler.
        """
        self._worker.put([function])

    def call_on_reader(self, function: Callable[[], None]) -> None:
        """Call a function on the thread that reads the socket: a sign that it still does.

        It must not wait for anything. May be called from any thread.
        """
        self._calls.append(function)
        self._socket.wake()

    def close(self) -> None:
        """Shut down if need be, and close the socket; safe to call twice, from any thread.

        From the receiver's own threads, so from a local handler, it returns at once, and the
        serving thread closes the socket when it has finished.
        """
        self._is_closing = True
        self.shutdown()
        if self._would_wait_for_itself() and not self._stopped.is_set:
            if sys.is_finalizing():
                self._release()  # the serving thread does not run any more
            return
        background = self._background
        if background is None or join_thread(background, self._longest_end()):
            self._release()
        # else a handler holds it up, and it closes the socket when it gets to it

    def __enter__(self) -> Self:
        """Serve in a background thread."""
        name = "batchudp-receiver"
        self._background = threading.Thread(target=self.serve_forever, name=name, daemon=True)
        self._background.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Finish what has arrived, and close."""
        self.close()

    def _would_wait_for_itself(self) -> bool:
        """Return whether the receiver cannot end before the thread that asks goes on.

        It is one of the receiver's own, or a signal handler on a thread that was just asking for
        the counters, or the interpreter ends and no other thread runs.
        """
        worker = self.guard.run(Seam.WORKER, self._worker.is_current_thread, default=False)
        is_own = self._serving is threading.current_thread() or bool(worker)
        holds_lock = self._lock._is_owned()  # type: ignore[attr-defined]  # what Condition asks
        return is_own or holds_lock or sys.is_finalizing()

    def _longest_end(self) -> float:
        return self._config.shutdown_timeout + END_SECONDS

    def _release(self) -> None:
        self._socket.close()
        self._handler_errors.stop()
        self._stopped.set()

    # --- the reader ----------------------------------------------------------------------------

    def _turn(self) -> None:
        """Wait, read everything, then let the core look at it."""
        with self._lock:
            deadline = self._protocol.next_timeout()
            self._wakes_at = _NEVER if deadline is None else deadline
        self._socket.wait(self._longest_wait(deadline))
        while self._calls:
            self.guard.run(Seam.ON_READER, self._calls.popleft())
        self._feed(self._read())

    def _longest_wait(self, deadline: float | None) -> float | None:
        wait = None if deadline is None else max(0.0, deadline - self._clock())
        if threading.current_thread() is threading.main_thread():
            return SIGNAL_CHECK_SECONDS if wait is None else min(wait, SIGNAL_CHECK_SECONDS)
        return wait

    def _read(self) -> list[tuple[bytes, Address]]:
        try:
            return self._socket.receive(DATAGRAMS_AT_ONCE)
        except OSError as error:
            name = errno.errorcode.get(error.errno or 0, "unknown")
            self._put([ReceiveFailed(name)])
            time.sleep(RETRY_SECONDS)
            return []

    def _feed(self, datagrams: Sequence[tuple[bytes, Address]]) -> None:
        now, wall = self._clock(), time.time()
        with self._lock:
            protocol = self._protocol
            for data, address in datagrams:
                try:
                    protocol.receive_datagram(data, address, now, wall)
                except Exception as error:  # noqa: BLE001  # a mistake of ours: the others are read
                    self.guard.loop_failed(Loop.READER, error)
            if len(datagrams) < DATAGRAMS_AT_ONCE:
                protocol.on_socket_drained(now)
            protocol.handle_timeout(now)
            events, replies = protocol.events_received(), protocol.datagrams_to_send()
        if events:
            self._put(events)
        self._send(replies)

    def _put(self, events: Sequence[Event | ReceiveFailed]) -> None:
        """Hand over; batches that the worker does not take are rejected."""
        try:
            self._worker.put(events)
        except BaseException as error:  # noqa: BLE001  # a worker of the program
            self.guard.failed(Seam.WORKER, error)
            for event in events:
                if isinstance(event, BatchReceived):
                    with contextlib.suppress(ValueError):  # it was taken and answered all the same
                        self._on_handled(event, 0, {Reason.HANDLER_ERROR: event.least_records})

    def _send(self, replies: Sequence[tuple[bytes, Address]]) -> None:
        for data, address in replies:
            self._socket.send(data, address)

    def _read_the_rest(self) -> float:
        """Read what had reached the kernel before the end; return the seconds that it took."""
        began = self._clock()
        until = began + min(LAST_READ_SECONDS, self._config.shutdown_timeout)
        while True:
            datagrams = self._read()
            self._feed(datagrams)
            if len(datagrams) < DATAGRAMS_AT_ONCE or self._clock() >= until:
                return self._clock() - began

    def _end(self, used: float) -> None:
        try:
            self._finish(max(0.0, self._config.shutdown_timeout - used))
        finally:
            self._stopped.set()
            if self._is_closing:
                self._release()

    def _finish(self, timeout: float) -> None:
        """Let the worker finish, then say goodbye to the streams."""
        guard = self.guard
        is_finished = guard.run(Seam.WORKER, self._worker.finish, timeout, default=False)
        with self._lock:
            self._protocol.close(self._clock())
            events, replies = self._protocol.events_received(), self._protocol.datagrams_to_send()
        self._send(replies)
        if is_finished:
            guard.run(Seam.WORKER, partial(self._worker.tell, events, closing=True))

    # --- on the worker's thread ----------------------------------------------------------------

    def _on_handled(
        self, event: BatchReceived, delivered: int, rejected: Mapping[str, int]
    ) -> None:
        """Confirm a batch; the answer goes out from here, the reader need not wake for it."""
        with self._lock:
            self._protocol.on_batch_handled(event, delivered, rejected, self._clock())
            replies, deadline = self._protocol.datagrams_to_send(), self._protocol.next_timeout()
            must_wake = deadline is not None and deadline < self._wakes_at
        self._send(replies)
        if must_wake:
            self._socket.wake()

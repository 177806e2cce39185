"""The thread that takes batches from the core to the local handlers.

A batch is decoded, its records are handed to the local loggers, and the core is told what became
of them. All of it happens on one thread, in the order of arrival, because handlers may be slow
and files should have the records in order. The receiver's own messages are written here, too.
"""

from __future__ import annotations

import queue
import threading
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Protocol

from batchudp_handler.core.errors import DecodeError, Reason, UnfinishedBatch
from batchudp_handler.core.receive.batches import answer_for, decode_batch, refusal_of
from batchudp_handler.core.receive.events import BatchReceived
from batchudp_handler.core.records.rebuild import records
from batchudp_handler.receiver.guard import Loop, Seam, run_loop
from batchudp_handler.receiver.receive_socket import address_text
from batchudp_handler.waits import join_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from batchudp_handler.core.payload.limits import DecodeLimits
    from batchudp_handler.core.receive.batches import Answer
    from batchudp_handler.core.receive.events import Event
    from batchudp_handler.core.records.batch import Batch
    from batchudp_handler.receiver.diagnostics import Diagnostics, ReceiveFailed
    from batchudp_handler.receiver.reemit import Reemitter

    Work = Event | ReceiveFailed | Callable[[], None]
    OnHandled = Callable[[BatchReceived, int, Mapping[str, int]], None]

__all__ = ["LoggingWorker", "ReceiveWorker", "Worker", "WorkerFactory"]

TELL_SECONDS = 1.0
"""How often the operator is told of something when nothing arrives."""


class Worker(Protocol):
    """The part that a receiver gives its batches to, and that answers for each one, once.

    `docs/reference/workers.md` has the whole contract: the order of calls, the threads, and what
    may be called from where.
    """

    filtered: int

    @property
    def handler_errors(self) -> int:
        """Records on which code of the program raised."""

    @property
    def trimmed(self) -> Mapping[str, int]:
        """What delivered records lost to a limit."""

    def start(self) -> None:
        """Start working."""

    def is_current_thread(self) -> bool:
        """Return whether code that this worker runs is asking."""

    def put(self, events: Sequence[Work]) -> None:
        """Hand over events and functions to call, in this order."""

    def finish(self, timeout: float) -> bool:
        """Finish what waits; False: not in time."""

    def tell(self, events: Sequence[Work], *, closing: bool = False) -> None:
        """Tell the operator what has happened."""


class WorkerFactory(Protocol):
    """A callable that makes the worker of one receiver."""

    def __call__(
        self,
        *,
        limits: DecodeLimits,
        diagnostics: Diagnostics,
        on_handled: OnHandled,
        kernel_drops: Callable[[], int | None],
    ) -> Worker:
        """Make a worker; it calls `on_handled` once for each batch."""


class LoggingWorker:
    """The thread that decodes batches and hands their records to local loggers.

    Args:
        limits: What a payload may cost.
        reemitter: Where records go.
        diagnostics: Where the receiver's own messages go.
        on_handled: Called for every batch, once: how many records were delivered, and how many
            were rejected for which reason.
        after_batch: Called when the records of a batch were handled, before `on_handled`. If it
            raises `UnfinishedBatch`, the batch is not confirmed.
        kernel_drops: The kernel's counter, which is watched.
    """

    def __init__(
        self,
        *,
        limits: DecodeLimits,
        reemitter: Reemitter,
        diagnostics: Diagnostics,
        on_handled: OnHandled,
        after_batch: Callable[[], None] | None,
        kernel_drops: Callable[[], int | None],
    ) -> None:
        self.filtered = 0
        self.unhandled = 0
        self.trimmed: Counter[str] = Counter()
        self._limits = limits
        self._reemitter = reemitter
        self._diagnostics = diagnostics
        self._guard = diagnostics.guard
        self._on_handled = on_handled
        self._after_batch = after_batch
        self._kernel_drops = kernel_drops
        self._unwritten = 0
        self._has_ended = False
        self._must_stop = False
        self._work: queue.SimpleQueue[Sequence[Work] | None]
        self._work = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="batchudp-worker", daemon=True)

    @property
    def handler_errors(self) -> int:
        """Records on which a local handler raised, or that it collected and could not write."""
        return self._guard.handler_errors + self._unwritten

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def is_current_thread(self) -> bool:
        """Return whether a handler is asking."""
        return threading.current_thread() is self._thread

    def put(self, events: Sequence[Work]) -> None:
        """Hand over events, to be worked on in this order."""
        self._work.put(events)

    def finish(self, timeout: float) -> bool:
        """Finish what waits; False: not in time, and it stops after the batch that it works on."""
        self._work.put(None)
        is_finished = join_thread(self._thread, timeout)
        self._must_stop = not is_finished
        return is_finished

    def tell(self, events: Sequence[Work], *, closing: bool = False) -> None:
        """Tell the operator what has happened, at a bounded rate."""
        for event in events:
            if not callable(event):
                self._diagnostics.on_event(event)
        self._diagnostics.on_kernel_drops(self._kernel_drops())
        self._diagnostics.tell(closing=closing)

    def _run(self) -> None:
        run_loop(self._guard, Loop.WORKER, self._turn, self._is_over)

    def _is_over(self) -> bool:
        return self._has_ended or self._must_stop

    def _turn(self) -> None:
        try:
            events = self._work.get(timeout=TELL_SECONDS)
        except queue.Empty:
            events = ()
        if events is None:
            self._has_ended = True
            return
        for event in events:
            if self._must_stop:
                return
            self._work_on(event)
        self.tell(events)

    def _work_on(self, event: Work) -> None:
        try:
            if isinstance(event, BatchReceived):
                self._handle(event)
            elif callable(event):
                self._guard.run(Seam.BETWEEN_BATCHES, event)
        except BaseException as error:  # noqa: BLE001  # the other events are worked on all the same
            self._guard.loop_failed(Loop.WORKER, error)

    def _handle(self, event: BatchReceived) -> None:
        answer = self._deliver(event)
        if answer is None:
            return
        self._on_handled(event, answer.delivered, answer.rejected)
        for reason, count in answer.rejected.items():
            self._diagnostics.on_rejected(count, reason, event.address)

    def _deliver(self, event: BatchReceived) -> Answer | None:
        """Hand over the records of a batch, and return the answer for it; never raises.

        None: there is no answer, and an acknowledged sender brings the records again.
        """
        reason = Reason.CODEC
        try:
            batch = decode_batch(event, self._limits)
            reason = Reason.HANDLER_ERROR
            self._hand_over(batch, event)
        except UnfinishedBatch:
            return None
        except DecodeError as error:
            return refusal_of(event, error.reason)
        except BaseException as error:  # noqa: BLE001  # a mistake of ours: answer all the same
            self._guard.loop_failed(Loop.WORKER, error)
            return refusal_of(event, reason)
        return answer_for(batch)

    def _hand_over(self, batch: Batch, event: BatchReceived) -> None:
        guard = self._guard
        made = records(
            batch,
            _provenance(event),
            restore_exceptions=self._reemitter.restore_exceptions,
            on_error=partial(guard.failed, Seam.RECORD_FACTORY),
        )
        outcome = self._reemitter.deliver(made, guard)
        if self._after_batch is not None and not self._write_out(self._after_batch):
            self._unwritten += len(batch) - outcome.filtered
        self.filtered += outcome.filtered
        if outcome.unhandled:
            self.unhandled += outcome.unhandled
            self._diagnostics.on_unhandled(outcome.unhandled, outcome.unhandled_name)
        if batch.truncated or batch.fields_refused or batch.templates_refused:
            self._count_trimmed(batch)

    def _write_out(self, after_batch: Callable[[], None]) -> bool:
        try:
            after_batch()
        except UnfinishedBatch:
            raise
        except BaseException as error:  # noqa: BLE001  # whatever an output raises
            self._guard.failed(Seam.AFTER_BATCH, error)
            return False
        return True

    def _count_trimmed(self, batch: Batch) -> None:
        """Count what a limit took from records that were delivered all the same."""
        lost = {
            "texts": batch.truncated,
            "fields": batch.fields_refused,
            "templates": batch.templates_refused,
        }
        self.trimmed.update({what: count for what, count in lost.items() if count})


ReceiveWorker = LoggingWorker
"""The earlier name."""


def _provenance(event: BatchReceived) -> dict[str, object]:
    """Return where the records came from; no field of theirs can say otherwise."""
    return {
        "remote_addr": address_text(event.address),
        "received": event.wall,
        "authenticated": event.key_id != 0,
    }

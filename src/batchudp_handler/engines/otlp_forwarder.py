"""The way of batches from a receiver's core to an OpenTelemetry collector.

    receiver core -> OtlpForwarder -> collector; the sender's ack waits for the collector's answer

A request that fails is tried again until the collector answers or this edge ends, as the
specification says: what was not confirmed, its sender keeps and brings again.
"""

from __future__ import annotations

import queue
import random
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.payload.codec import decode_payload
from batchudp_handler.core.receive.events import BatchReceived
from batchudp_handler.engines.otlp_client import Answer, NoAnswer, OtlpClient, Refused
from batchudp_handler.engines.otlp_encode import encode_batch, encode_request
from batchudp_handler.receiver.guard import Loop, Seam, run_loop
from batchudp_handler.receiver.receive_socket import address_text
from batchudp_handler.waits import join_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from batchudp_handler.core.payload.limits import DecodeLimits
    from batchudp_handler.core.records.batch import Batch
    from batchudp_handler.engines.otlp_target import OtlpTarget
    from batchudp_handler.receiver.diagnostics import Diagnostics
    from batchudp_handler.receiver.worker import OnHandled, Work

__all__ = ["OtlpForwarder"]

BYTES_AT_ONCE = 2 * 1024 * 1024
"""Of JSON in one request, before compression; a larger batch has a request of its own."""
RETRY_DELAY = (0.1, 5.0)
"""Seconds before a failed request is tried again: the first time, and at most; then twice as long
each time, and by a fifth more or less, so that many edges do not come back at once."""
TELL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Encoded:
    """A batch that waits for the collector."""

    event: BatchReceived
    records: int
    malformed: int
    json: bytes


class OtlpForwarder:
    """The worker of an edge whose batches go to a collector instead of local loggers.

    It stands where `LoggingWorker` stands, with the same methods.

    Args:
        target: Where to.
        limits: What a payload may cost.
        diagnostics: Where the receiver's own messages go.
        on_handled: Called when the collector has answered for a batch; the ack may follow.
        kernel_drops: The kernel's counter, which is watched.
    """

    filtered = 0
    handler_errors = 0  # no record is handed to a local handler

    def __init__(
        self,
        target: OtlpTarget,
        *,
        limits: DecodeLimits,
        diagnostics: Diagnostics,
        on_handled: OnHandled,
        kernel_drops: Callable[[], int | None],
    ) -> None:
        self.exported = 0
        """Records that the collector took."""
        self.retries = 0
        """Requests that were made again."""
        self.possibly_repeated = 0
        """Records of requests that had no answer and were made again."""
        self.trimmed: Counter[str] = Counter()
        self.is_healthy = True
        """Whether the collector answered the latest request."""
        self._client = OtlpClient(target)
        self._limits = limits
        self._diagnostics = diagnostics
        self._guard = diagnostics.guard
        self._on_handled = on_handled
        self._kernel_drops = kernel_drops
        self._arrivals: queue.SimpleQueue[Sequence[Work] | None] = queue.SimpleQueue()
        self._waiting: deque[BatchReceived] = deque()
        self._is_finishing = False
        self._is_abandoned = False
        self._thread = threading.Thread(target=self._run, name="batchudp-otlp", daemon=True)

    def start(self) -> None:
        """Start the thread; it connects when there is something to send."""
        self._thread.start()

    def is_current_thread(self) -> bool:
        """Return whether the caller runs on this worker's thread."""
        return threading.current_thread() is self._thread

    def put(self, events: Sequence[Work]) -> None:
        """Hand over events."""
        self._arrivals.put(events)

    def finish(self, timeout: float) -> bool:
        """Let it export what waits; False: it did not in time, and senders keep the rest."""
        self._arrivals.put(None)
        self._is_abandoned = not join_thread(self._thread, timeout)
        return not self._is_abandoned

    def tell(self, events: Sequence[Work], *, closing: bool = False) -> None:
        """Let the operator know, at a bounded rate."""
        for event in events:
            if not callable(event):
                self._diagnostics.on_event(event)
        self._diagnostics.on_kernel_drops(self._kernel_drops())
        self._diagnostics.tell(closing=closing)

    # --- the thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            run_loop(self._guard, Loop.ENGINE, self._turn, self._is_over)
        finally:
            self._client.close()

    def _is_over(self) -> bool:
        return self._is_abandoned or (self._is_finishing and not self._waiting)

    def _turn(self) -> None:
        self._take(0.0 if self._waiting else TELL_SECONDS)
        encoded = self._next_request()
        if encoded:
            self._export(encoded)

    def _take(self, patience: float) -> None:
        """Take what has arrived: batches to wait, news to be told, functions to be called."""
        until = time.monotonic() + patience
        while True:
            try:
                events = self._arrivals.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                self.tell(())
                return
            if events is None:
                self._is_finishing = True
                return
            self._sort(events)
            if self._waiting and self._arrivals.empty():
                return

    def _sort(self, events: Sequence[Work]) -> None:
        for event in events:
            if isinstance(event, BatchReceived):
                self._waiting.append(event)
            elif callable(event):
                self._guard.run(Seam.BETWEEN_BATCHES, event)
            else:
                self._diagnostics.on_event(event)

    def _next_request(self) -> list[_Encoded]:
        """Encode waiting batches for one request; those that cannot be read are answered for."""
        found: list[_Encoded] = []
        room = BYTES_AT_ONCE
        while self._waiting and room > 0:
            encoded = self._encode(self._waiting.popleft())
            if encoded is not None:
                found.append(encoded)
                room -= len(encoded.json)
        return found

    def _encode(self, event: BatchReceived) -> _Encoded | None:
        try:
            batch = decode_payload(event.codec, event.body, self._limits)
            if event.n_rec and len(batch) + batch.malformed > event.n_rec:
                raise DecodeError(Reason.RECORD_COUNT)
            encoded = encode_batch(batch, event, _provenance(event))
        except DecodeError as error:
            self._answer(event, 0, {error.reason: event.n_rec or 1})
            return None
        except Exception as error:  # noqa: BLE001  # a mistake of ours: answer all the same
            self._guard.loop_failed(Loop.ENGINE, error)
            self._answer(event, 0, {Reason.CODEC: event.n_rec or 1})
            return None
        self._count_trimmed(batch)
        return _Encoded(event, len(batch), batch.malformed, encoded)

    def _count_trimmed(self, batch: Batch) -> None:
        lost = {
            "texts": batch.truncated,
            "fields": batch.fields_refused,
            "templates": batch.templates_refused,
        }
        self.trimmed.update({what: count for what, count in lost.items() if count})

    # --- requests ------------------------------------------------------------------------------

    def _export(self, encoded: list[_Encoded]) -> None:
        """Export batches in one request; where it is refused, each alone, so that only bad ones
        fail."""
        answer = self._answer_of(encoded)
        if answer is None:
            return  # this edge ends; nobody is told anything
        if not answer.is_accepted and len(encoded) > 1:
            for each in encoded:
                self._export([each])
            return
        refused = answer.rejected
        if not answer.is_accepted:
            refused = sum(each.records for each in encoded)
        if refused:
            self._diagnostics.on_engine_error(Refused(f"{refused} records, {answer.text}"))
        for each in encoded:  # which ones were refused, a collector does not say
            of_these = min(refused, each.records)
            refused -= of_these
            self._confirm(each, of_these)

    def _confirm(self, encoded: _Encoded, refused: int) -> None:
        self.exported += encoded.records - refused
        rejected = {Reason.ENGINE_REFUSED: refused, Reason.BAD_RECORD: encoded.malformed}
        self._answer(
            encoded.event,
            encoded.records - refused,
            {reason: count for reason, count in rejected.items() if count},
        )

    def _answer(self, event: BatchReceived, delivered: int, rejected: Mapping[str, int]) -> None:
        self._on_handled(event, delivered, rejected)
        for reason, count in rejected.items():
            self._diagnostics.on_rejected(count, reason, event.address)

    def _answer_of(self, encoded: list[_Encoded]) -> Answer | None:
        """Ask until the collector answers; None: this edge ends first."""
        body = encode_request(each.json for each in encoded)
        delay = RETRY_DELAY[0]
        while not self._is_abandoned:
            try:
                answer = self._client.export(body)
            except NoAnswer as error:
                self._on_no_answer(error, sum(each.records for each in encoded))
                self._wait(
                    delay * random.uniform(0.8, 1.2) if error.delay is None else error.delay
                )
                delay = min(2 * delay, RETRY_DELAY[1])
            except Exception as error:  # noqa: BLE001  # a mistake of ours: answer all the same
                self._guard.loop_failed(Loop.ENGINE, error)
                return Answer(is_accepted=False, text="an internal error")
            else:
                self.is_healthy = True
                return None if self._is_abandoned else answer
        return None

    def _on_no_answer(self, error: NoAnswer, records: int) -> None:
        self.is_healthy = False
        self.retries += 1
        if error.may_have_arrived:
            self.possibly_repeated += records
        self._diagnostics.on_engine_error(error)

    def _wait(self, seconds: float) -> None:
        """Let time pass, while others still hear from this thread."""
        until = time.monotonic() + seconds
        while not self._is_abandoned and (left := until - time.monotonic()) > 0:
            try:
                events = self._arrivals.get(timeout=min(left, TELL_SECONDS))
            except queue.Empty:
                self.tell(())
                continue
            if events is None:
                self._is_finishing = True
            else:
                self._sort(events)


def _provenance(event: BatchReceived) -> dict[str, object]:
    return {
        "remote_addr": address_text(event.address),
        "received": event.wall,
        "authenticated": event.key_id != 0,
    }

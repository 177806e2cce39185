"""The way of batches from a receiver's core into JetStream.

    receiver core -> NatsForwarder -> JetStream; the sender's ack waits for the engine's

A publish that fails is tried again until the engine takes it or this edge ends: what an edge did
not confirm, its sender brings to another one, and the message id makes the engine keep one copy.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from types import MappingProxyType
from typing import TYPE_CHECKING

import nats.errors

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.payload.codec import Codec, decode_payload
from batchudp_handler.core.receive.events import BatchReceived
from batchudp_handler.engines.message import message_from_batch
from batchudp_handler.engines.nats_client import CONNECT_DELAY, Connection, LoopThread
from batchudp_handler.engines.nats_target import RETRY_HORIZON
from batchudp_handler.receiver.guard import Loop, Seam
from batchudp_handler.receiver.receive_socket import address_text
from batchudp_handler.waits import join_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from batchudp_handler.core.payload.limits import DecodeLimits
    from batchudp_handler.core.receive.events import Event
    from batchudp_handler.engines.nats_target import NatsTarget
    from batchudp_handler.receiver.diagnostics import Diagnostics, ReceiveFailed

    Work = Event | ReceiveFailed | Callable[[], None]
    OnHandled = Callable[[BatchReceived, int, Mapping[str, int]], None]

__all__ = ["NatsForwarder"]

PUBLISHES_AT_ONCE = 256
PUBLISH_TIMEOUT = 5.0
RETRY_DELAY = (0.1, 2.0)
"""Seconds before a failed publish is tried again: the first time, and at most."""
TELL_SECONDS = 1.0


class NatsForwarder:
    """The worker of a stateless edge: batches go to JetStream instead of local loggers.

    It stands where `LoggingWorker` stands, with the same methods.

    Args:
        target: Where to.
        limits: For baseline datagrams, which are decoded to know how many records they hold.
        diagnostics: Where the receiver's own messages go.
        on_handled: Called when the engine has confirmed a batch; the sender's ack may follow.
        kernel_drops: The kernel's counter, which is watched.
        create_stream: Create the stream if there is none; an existing one is never changed.
    """

    filtered = 0
    handler_errors = 0  # no record is handed to a local handler
    trimmed: Mapping[str, int] = MappingProxyType({})  # batches are passed on as they are

    def __init__(
        self,
        target: NatsTarget,
        *,
        limits: DecodeLimits,
        diagnostics: Diagnostics,
        on_handled: OnHandled,
        kernel_drops: Callable[[], int | None],
        create_stream: bool = False,
    ) -> None:
        self.published = 0
        """Batches that the engine took."""
        self.duplicates = 0
        """Of these, batches that the engine had already."""
        self.retries = 0
        self.duplicate_window: float | None = None
        self._limits = limits
        self._diagnostics = diagnostics
        self._guard = diagnostics.guard
        self._on_handled = on_handled
        self._kernel_drops = kernel_drops
        self._create_stream = create_stream
        self._connection = Connection(target, diagnostics.on_engine_away)
        self._waiting: deque[Work] = deque()
        self._news: deque[Work] = deque()
        """What the operator is to hear, also while the engine takes nothing."""
        self._publishing: set[asyncio.Task[None]] = set()
        self._is_finishing = False
        self._runner = LoopThread("batchudp-forwarder", self._main)
        self._arrived = asyncio.Event()

    @property
    def is_healthy(self) -> bool:
        """Whether the engine answers; an edge that is not healthy confirms nothing."""
        return self._connection.is_healthy and self.duplicate_window is not None

    def start(self) -> None:
        """Start the thread; it connects when the engine is there."""
        self._runner.thread.start()

    def is_current_thread(self) -> bool:
        """Return whether the caller runs on this worker's thread."""
        return threading.current_thread() is self._runner.thread

    def put(self, events: Sequence[Work]) -> None:
        """Hand over events."""
        for event in events:
            is_work = callable(event) or isinstance(event, BatchReceived)
            (self._waiting if is_work else self._news).append(event)
        self._runner.call(self._arrived.set)

    def finish(self, timeout: float) -> bool:
        """Let it publish what waits; False: it did not in time, and senders keep the rest."""
        self._is_finishing = True
        self._runner.call(self._arrived.set)
        if join_thread(self._runner.thread, timeout):
            return True
        self._runner.call(self._cancel)
        self._runner.thread.join(1.0)
        return False

    def tell(self, events: Sequence[Work], *, closing: bool = False) -> None:
        """Let the operator know, at a bounded rate."""
        while self._news:
            self._tell_one(self._news.popleft())
        for event in events:
            self._tell_one(event)
        self._diagnostics.on_kernel_drops(self._kernel_drops())
        self._diagnostics.tell(closing=closing)

    def _tell_one(self, event: Work) -> None:
        if not callable(event):
            self._diagnostics.on_event(event)

    def _cancel(self) -> None:
        for task in asyncio.all_tasks(self._runner.loop):
            task.cancel()

    async def _main(self) -> None:
        telling = asyncio.ensure_future(self._tell_regularly())
        try:
            await self._open()
            while self._waiting or self._publishing or not self._is_finishing:
                await self._turn()
        except asyncio.CancelledError:
            pass  # asked for by finish(): what is left was not confirmed
        finally:
            telling.cancel()
            await self._close()

    async def _turn(self) -> None:
        """Take one turn of the loop; an error of our own costs a pause, no more."""
        try:
            await self._take_waiting()
            await self._pause()
        except Exception as error:  # noqa: BLE001  # it goes on
            self._guard.loop_failed(Loop.ENGINE, error)
            await asyncio.sleep(CONNECT_DELAY)

    async def _close(self) -> None:
        try:
            await self._connection.close()
        except Exception as error:  # noqa: BLE001  # the library's; what matters is confirmed
            self._diagnostics.on_engine_error(error)

    async def _tell_regularly(self) -> None:
        """Tell the operator also while the engine is away, which may keep all else waiting."""
        while True:
            await asyncio.sleep(TELL_SECONDS)
            try:
                self.tell(())
            except Exception as error:  # noqa: BLE001  # it goes on
                self._guard.loop_failed(Loop.ENGINE, error)

    async def _open(self) -> None:
        """Connect; an engine that is away now may come."""

        while not self._is_finishing:
            try:
                self.duplicate_window = await self._connection.open(
                    create_stream=self._create_stream
                )
                self._tell_short_window()
                return
            except Exception as error:  # noqa: BLE001  # whatever it is, it is tried again
                await self._close()
                self._diagnostics.on_engine_error(error)
                self.tell(())
                await asyncio.sleep(CONNECT_DELAY)

    def _tell_short_window(self) -> None:
        window = self.duplicate_window or 0.0
        if window < RETRY_HORIZON:
            self._diagnostics.on_short_window(window, RETRY_HORIZON)

    async def _pause(self) -> None:
        patience = 0.02 if self._is_finishing else TELL_SECONDS
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._arrived.wait(), patience)
        self.tell(())
        self._arrived.clear()

    async def _take_waiting(self) -> None:
        while self._waiting:
            event = self._waiting.popleft()
            if callable(event):
                self._guard.run(Seam.BETWEEN_BATCHES, event)
                continue
            if not isinstance(event, BatchReceived):
                continue
            while len(self._publishing) >= PUBLISHES_AT_ONCE:
                await asyncio.wait(self._publishing, return_when=asyncio.FIRST_COMPLETED)
            task = self._runner.loop.create_task(self._forward(event))
            self._publishing.add(task)
            task.add_done_callback(self._published)

    def _published(self, task: asyncio.Task[None]) -> None:
        self._publishing.discard(task)
        if self._is_finishing:
            self._arrived.set()

    async def _forward(self, batch: BatchReceived) -> None:
        """Publish one batch, however long it takes, and answer for it once."""
        records = batch.least_records
        try:
            records = batch.n_rec or self._count(batch)
            headers, body = message_from_batch(
                batch, records=records, address=address_text(batch.address)
            )
            refused = await self._publish(headers, body)
        except DecodeError as error:
            records, refused = 1, error.reason
        except Exception as error:  # noqa: BLE001  # a mistake of ours: answer all the same
            self._guard.loop_failed(Loop.ENGINE, error)
            refused = Reason.ENGINE_REFUSED
        rejected: dict[str, int] = {} if refused is None else {refused: records}
        self._on_handled(batch, 0 if rejected else records, rejected)
        for reason, count in rejected.items():
            self._diagnostics.on_rejected(count, reason, batch.address)

    def _count(self, batch: BatchReceived) -> int:
        return len(decode_payload(Codec(batch.codec), batch.body, self._limits))

    async def _publish(self, headers: dict[str, str], body: bytes) -> Reason | None:
        """Publish until the engine confirms; a reason if it never will."""

        target = self._connection.target
        delay = RETRY_DELAY[0]
        while True:
            try:
                answer = await self._connection.stream.publish(
                    target.subject, body, timeout=PUBLISH_TIMEOUT, headers=dict(headers)
                )
            except nats.errors.MaxPayloadError:
                return Reason.ENGINE_REFUSED
            except Exception as error:  # noqa: BLE001  # the engine's or the library's: once more
                self.retries += 1
                self._diagnostics.on_engine_error(error)
                await asyncio.sleep(delay)
                delay = min(2 * delay, RETRY_DELAY[1])
            else:
                self.published += 1
                self.duplicates += bool(answer.duplicate)
                return None

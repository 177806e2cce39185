"""The way of batches out of JetStream into local logging.

JetStream -> NatsSource -> LoggingWorker -> local loggers; then the engine is told
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

from nats.js.api import ConsumerConfig

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.engines.message import batch_from_message
from batchudp_handler.engines.nats_client import (
    CONNECT_DELAY,
    ENGINE_ERRORS,
    Connection,
    LoopThread,
)
from batchudp_handler.receiver.diagnostics import Diagnostics
from batchudp_handler.receiver.guard import Guard, Loop
from batchudp_handler.waits import join_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from batchudp_handler.core.receive.events import BatchReceived
    from batchudp_handler.engines.nats_target import NatsTarget

__all__ = ["NatsSource"]

FETCH_SIZE = 64
FETCH_SECONDS = 0.5
WAITING_LIMIT = 256
"""Messages fetched whose handlers have not returned."""
REMEMBERED = 65_536
"""Batches that were delivered here and would be recognised if they came again."""
ACK_WAIT = 30.0
"""Seconds after which JetStream gives an unconfirmed message to another consumer."""


def _nowhere(batches: Sequence[BatchReceived]) -> None:
    raise RuntimeError(f"nobody takes {len(batches)} batches")


class NatsSource:
    """A thread that takes batches out of JetStream and gives each to a worker.

    Args:
        target: Where from; all consumers with the same `durable` share the work.
        deliver: Takes the batches, such as `LoggingWorker.put`; who handled one calls
            `on_handled`, and only then the engine is told.
        create_stream: Create the stream if there is none.
        guard: Where errors are counted.
    """

    def __init__(
        self,
        target: NatsTarget,
        deliver: Callable[[Sequence[BatchReceived]], None] = _nowhere,
        *,
        create_stream: bool = False,
        guard: Guard | None = None,
    ) -> None:
        self._guard = Guard() if guard is None else guard
        self._diagnostics = Diagnostics(time.monotonic, self._guard)
        self.is_ready = False
        """Whether it has found the engine; from then on it takes messages."""
        self.received = 0
        """Messages that the engine gave out."""
        self.redelivered = 0
        """Of these, messages that it had given out before."""
        self.delivered = 0
        """Records that were handed to local loggers."""
        self.duplicates = 0
        """Records of batches that came again after they were delivered here; left out."""
        self.possibly_duplicate = 0
        """Delivered records of batches that had been given out before, here or elsewhere."""
        self.rejected: dict[str, int] = {}
        self.deliver = deliver
        self._create_stream = create_stream
        self._connection = Connection(target, self._tell_away)
        self._pending: dict[int, tuple[BatchReceived, Any]] = {}
        self._delivered: dict[tuple[int, int], None] = {}
        self._confirming: set[asyncio.Task[None]] = set()
        self._alive_at = 0.0
        self._is_stopping = False
        self._runner = LoopThread("batchudp-source", self._main)

    @property
    def is_healthy(self) -> bool:
        """Whether the engine answers."""
        return self._connection.is_healthy

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._runner.thread.is_alive()

    @property
    def error(self) -> BaseException | None:
        """What ended the thread, if anything did."""
        return self._runner.error

    def start(self) -> None:
        """Start the thread; it connects when the engine is there."""
        self._runner.thread.start()

    def stop(self, timeout: float) -> bool:
        """Take no more, and wait until what was taken is confirmed; False: not in time."""
        self._is_stopping = True
        return join_thread(self._runner.thread, timeout)

    def on_handled(
        self, batch: BatchReceived, delivered: int, rejected: Mapping[str, int]
    ) -> None:
        """Confirm a batch whose handlers have returned; called on the worker's thread."""
        self.delivered += delivered
        for reason, count in rejected.items():
            self.rejected[reason] = self.rejected.get(reason, 0) + count
        self._runner.call(lambda: self._confirm(batch))

    def _confirm(self, batch: BatchReceived) -> None:
        found = self._pending.pop(id(batch), None)
        if batch.stream_id is not None:
            self._remember((batch.stream_id, batch.seq))
        if found is not None:
            self._confirming.add(task := self._runner.loop.create_task(_ack(found[1])))
            task.add_done_callback(self._confirming.discard)

    def _remember(self, key: tuple[int, int]) -> None:
        self._delivered[key] = None
        if len(self._delivered) > REMEMBERED:
            del self._delivered[next(iter(self._delivered))]

    async def _main(self) -> None:
        subscription = await self._subscribe()
        try:
            while not self._is_stopping:
                await self._turn(subscription)
            await self._wait_for_handlers()
        finally:
            await self._connection.close()

    async def _turn(self, subscription: Any) -> None:
        """Take one turn of the loop; an error of our own costs a pause, no more."""
        try:
            await self._take(subscription)
        except Exception as error:  # noqa: BLE001  # it goes on
            self._guard.loop_failed(Loop.ENGINE, error)
            await asyncio.sleep(CONNECT_DELAY)

    async def _subscribe(self) -> Any:

        target = self._connection.target
        while True:
            try:
                await self._connection.open(create_stream=self._create_stream)
                subscription = await self._connection.stream.pull_subscribe(
                    target.subject,
                    durable=target.durable,
                    stream=target.stream,
                    config=ConsumerConfig(ack_wait=ACK_WAIT, max_ack_pending=4 * WAITING_LIMIT),
                )
            except ENGINE_ERRORS as error:
                self._tell_away(error)
                with contextlib.suppress(*ENGINE_ERRORS):
                    await self._connection.close()
                if self._is_stopping:
                    raise
                await asyncio.sleep(CONNECT_DELAY)
            else:
                self.is_ready = True
                return subscription

    def _tell_away(self, error: BaseException) -> None:
        """Let the operator know, at a bounded rate, why nothing comes in."""
        self._diagnostics.on_engine_away(error)
        self._diagnostics.tell()

    async def _take(self, subscription: Any) -> None:
        """Fetch what there is, or say of what still waits that it is being worked on."""

        await self._keep_alive()
        room = min(FETCH_SIZE, WAITING_LIMIT - len(self._pending))
        if room <= 0:
            await asyncio.sleep(0.01)
            return
        try:
            messages = await subscription.fetch(room, timeout=FETCH_SECONDS)
        except ENGINE_ERRORS as error:
            if self.is_healthy:
                await asyncio.sleep(0)  # there is nothing to fetch
                return
            self._tell_away(error)
            await asyncio.sleep(CONNECT_DELAY)
            return
        batches = [batch for message in messages if (batch := await self._batch(message))]
        if batches:
            self.deliver(batches)

    async def _batch(self, message: Any) -> BatchReceived | None:
        self.received += 1
        try:
            self.redelivered += message.metadata.num_delivered > 1
            batch = batch_from_message(message.headers, message.data)
        except DecodeError as error:
            await self._refuse(message, error.reason)
            return None
        except Exception as error:  # noqa: BLE001  # a mistake of ours: the others are taken
            self._guard.loop_failed(Loop.ENGINE, error)
            await self._refuse(message, Reason.CODEC)
            return None
        return await self._unless_known(batch, message)

    async def _unless_known(self, batch: BatchReceived, message: Any) -> BatchReceived | None:
        """Return the batch, unless it was delivered here before: an engine that died may repeat
        itself.

        The engine tells copies apart for a while only, and by ids that its death may cost.
        """
        if batch.stream_id is not None and (batch.stream_id, batch.seq) in self._delivered:
            self.duplicates += batch.n_rec
            await _ack(message)
            return None
        if message.metadata.num_delivered > 1:
            self.possibly_duplicate += batch.n_rec
        self._pending[id(batch)] = (batch, message)
        return batch

    async def _refuse(self, message: Any, reason: Reason) -> None:
        """Tell the engine that nobody could read this message."""
        self.rejected[reason] = self.rejected.get(reason, 0) + 1
        with contextlib.suppress(*ENGINE_ERRORS):  # it is given out, and refused, once more
            await message.term()

    async def _keep_alive(self) -> None:
        """Tell the engine that batches are still being handled, so that nobody else gets them."""
        now = time.monotonic()
        if now < self._alive_at:
            return
        self._alive_at = now + ACK_WAIT / 3
        with contextlib.suppress(*ENGINE_ERRORS):  # then it is given out again, and counted
            for _, message in list(self._pending.values()):
                await message.in_progress()

    async def _wait_for_handlers(self) -> None:
        while self._pending or self._confirming:
            await self._keep_alive()
            await asyncio.sleep(0.01)
        await self._connection.client.flush()


async def _ack(message: Any) -> None:
    """Confirm; an ack that does not get through means one more copy, which is counted."""

    try:
        await message.ack()
    except ENGINE_ERRORS:
        return

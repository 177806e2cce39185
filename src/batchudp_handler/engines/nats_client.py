"""A connection to JetStream, held by a thread.

The client library is asynchronous and nothing else here is, so each user of it is one daemon
thread with an event loop of its own. The connection comes back by itself, for ever.

Needs the extra `nats` (nats-py).
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import nats
import nats.errors
import nats.js.errors
from nats.js.api import DiscardPolicy, StorageType, StreamConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from batchudp_handler.engines.nats_target import NatsTarget

__all__ = ["CONNECT_DELAY", "ENGINE_ERRORS", "Connection", "LoopThread"]

ENGINE_ERRORS = (nats.errors.Error, nats.js.errors.Error, OSError)
"""What a call may raise while the engine is away, restarts or moves its leader."""

CONNECT_DELAY = 0.5
"""Seconds between attempts while the engine has never been there."""
RECONNECT_DELAY = 0.2
REQUEST_TIMEOUT = 5.0


class Connection:
    """The client of one target; it reconnects by itself, for ever.

    Args:
        target: The engine.
        on_away: Called with each failed attempt to reach it.
    """

    def __init__(
        self, target: NatsTarget, on_away: Callable[[Exception], None] = lambda _: None
    ) -> None:
        self.target = target
        self._on_away = on_away
        self.client: Any = None
        self.stream: Any = None

    @property
    def is_healthy(self) -> bool:
        return self.client is not None and bool(self.client.is_connected)

    async def open(self, *, create_stream: bool) -> float:
        """Connect, and return the stream's duplicate window in seconds."""

        async def note(error: Exception) -> None:
            """Tell what the library would log; other errors show as failed publishes."""
            if not self.is_healthy:
                self._on_away(error)

        self.client = await nats.connect(
            list(self.target.servers),
            max_reconnect_attempts=-1,
            reconnect_time_wait=RECONNECT_DELAY,
            error_cb=note,
            name="batchudp-receive",
        )
        self.stream = self.client.jetstream(timeout=REQUEST_TIMEOUT)
        return await self._window(create_stream=create_stream)

    async def _window(self, *, create_stream: bool) -> float:

        target = self.target
        try:
            info = await self.stream.stream_info(target.stream)
        except nats.js.errors.NotFoundError:
            if not create_stream:
                raise
            info = await self.stream.add_stream(
                StreamConfig(
                    name=target.stream,
                    subjects=[target.subject],
                    storage=StorageType.FILE,
                    discard=DiscardPolicy.OLD,
                    num_replicas=target.replicas,
                    duplicate_window=target.duplicate_window,
                )
            )
        return float(info.config.duplicate_window or 0.0)

    async def close(self) -> None:
        if self.client is not None:
            await self.client.close()


class LoopThread:
    """A daemon thread that runs one coroutine in a loop of its own."""

    def __init__(self, name: str, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.loop = asyncio.new_event_loop()
        self.error: BaseException | None = None
        self._main = main
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def _run(self) -> None:
        try:
            self.loop.run_until_complete(self._main())
        except BaseException as error:  # noqa: BLE001  # the root of the thread; the owner reads it
            self.error = error
        finally:
            self.loop.close()

    def call(self, function: Callable[[], object]) -> None:
        """Run `function` in the loop soon; nothing happens when the loop has ended."""
        try:
            self.loop.call_soon_threadsafe(function)
        except RuntimeError:
            return  # the loop is closed: a caller that waits for it sees the thread's end

"""The logging handler that ships records in batches over UDP.

On the thread that logs, as little happens as possible: filter, take a snapshot, append, and wake.

The handler's lock is not taken, for two reasons. A log call from a signal handler or a destructor
would wait for itself; and `logging.shutdown` holds that lock while it waits for the flusher.

No log call raises an `Exception`, logs, or waits, but with ``overflow="block"``. What is meant to
end the program or the task (`KeyboardInterrupt`, `SystemExit`) passes when code of the record's
raises it, as with the handlers of the standard library; such a record is not accepted.
"""

from __future__ import annotations

import logging
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from batchudp_handler import fork
from batchudp_handler.config import HandlerConfig
from batchudp_handler.core.places import place_text
from batchudp_handler.core.records.plain import format_exception
from batchudp_handler.core.records.snapshot import LEVELNO, capture
from batchudp_handler.flusher import Flusher, FlusherSettings
from batchudp_handler.flusher.note import write_note
from batchudp_handler.sending import check_spool, flusher_settings, key_of
from batchudp_handler.settings import timeout as as_timeout
from batchudp_handler.settings import values_of
from batchudp_handler.signals import end_draining, start_draining

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from batchudp_handler.config import Delivery, Encoding, Fsync, Overflow
    from batchudp_handler.core.send.stats import SenderStats

__all__ = ["BatchUDPHandler"]

FIXED = (
    *("delivery", "encoding", "key_file"),
    *("spool_directory", "spool_size_bytes", "spool_age_seconds", "spool_fsync"),
)
"""Settings that belong to the stream and cannot change while it lives."""

RELAY_IS_OFF = (
    "this handler got records that a receiver in this process delivered. To prevent loops, it "
    "does not send them (dropped: relay). To pass them on to another receiver, set relay=True; "
    "to see them here, give their logger another handler"
)
TOO_MANY_HOPS = (
    "records that have passed the largest number of receivers are not sent again "
    "(dropped: relay). Check whether two receivers send to each other"
)


class BatchUDPHandler(logging.Handler):
    """A logging handler that ships records in compressed batches over UDP.

    The first two arguments are those of `logging.handlers.DatagramHandler`. Numbers may be given
    as text, the host as ``"host:port"``, ``"[::1]:port"`` or ``"unix:///path"``.

    Args:
        host: Name or address of the receiver, 'host:port' or 'unix:///path'.
        port: Port of the receiver.
        level: Records below this level are not sent.
        batch_size: Number of waiting records that triggers a flush; a flush takes all that wait.
        flush_interval: Longest time in seconds that a record waits for its batch; the first record
            after a quiet time leaves at once.
        flush_level: A record at or above this level flushes at once; None: no level does.
        capacity: Largest number of records kept in memory, waiting or unconfirmed.
        capacity_bytes: Largest size of the texts of these records in bytes.
        overflow: What happens when there is no room for a record; 'block' makes the log call wait.
        overflow_timeout: Longest time in seconds that 'block' makes a log call wait, before the
            record is dropped; None: no limit.
        protect_level: Records below this level leave a fifth of the capacity to those at or above
            it.
        compress: Compress payloads if that makes them smaller.
        encoding: 'json' writes rows that any JSON receiver reads, without loss accounting.
        max_datagram_size: Largest datagram sent, in bytes; None: what the path carries.
        max_retries: How often a failed send is repeated.
        delivery: 'acknowledged' keeps records until the receiver confirms them.
        spool_directory: Directory that stores datagrams while the receiver is away.
        spool_size_bytes: Largest size of the spool in bytes; beyond that the oldest datagrams are
            dropped.
        spool_age_seconds: How many seconds datagrams are kept in the spool.
        spool_fsync: 'batch' syncs each batch to survive a power failure, at the cost of a disk
            write each.
        key_file: File with the key that authenticates every datagram.
        static_fields: Fields that the receiver adds to every record.
        hostname: What this host is called at the receiver; None: its own name.
        shutdown_timeout: Longest time in seconds that close() may take to send waiting records.
        relay: Also send records that a receiver in this process delivered.
        resolve_interval: Seconds after which the host name is looked up again and a fresh socket
            is used; None: never.
        drain_on_sigterm: When SIGTERM arrives, send waiting records before it takes effect; needs
            the main thread.

    Raises:
        ValueError: A value is not allowed; the message says which are.
        TypeError: There is no such setting.
    """

    def __init__(
        self,
        host: str = "localhost",
        port: int | str = 9999,
        *,
        level: int | str = logging.NOTSET,
        batch_size: int = 10,
        flush_interval: float = 5.0,
        flush_level: int | str | None = logging.ERROR,
        capacity: int = 10_000,
        capacity_bytes: int = 67_108_864,
        overflow: Overflow = "drop_oldest",
        overflow_timeout: float | None = 1.0,
        protect_level: int | str | None = None,
        compress: bool = True,
        encoding: Encoding = "compact",
        max_datagram_size: int | None = None,
        max_retries: int = 3,
        delivery: Delivery = "one_way",
        spool_directory: str | None = None,
        spool_size_bytes: int = 67_108_864,
        spool_age_seconds: float = 604_800.0,
        spool_fsync: Fsync = "off",
        key_file: str | None = None,
        static_fields: Mapping[str, object] | None = None,
        hostname: str | None = None,
        shutdown_timeout: float = 2.0,
        relay: bool = False,
        resolve_interval: float | None = 300.0,
        drain_on_sigterm: bool = False,
    ) -> None:
        values = dict(
            host=host, port=port, level=level, batch_size=batch_size,
            flush_interval=flush_interval, flush_level=flush_level, capacity=capacity,
            capacity_bytes=capacity_bytes, overflow=overflow, overflow_timeout=overflow_timeout,
            protect_level=protect_level, compress=compress, encoding=encoding,
            max_datagram_size=max_datagram_size, max_retries=max_retries, delivery=delivery,
            spool_directory=spool_directory, spool_size_bytes=spool_size_bytes,
            spool_age_seconds=spool_age_seconds, spool_fsync=spool_fsync, key_file=key_file,
            static_fields=static_fields, hostname=hostname, shutdown_timeout=shutdown_timeout,
            relay=relay, resolve_interval=resolve_interval, drain_on_sigterm=drain_on_sigterm,
        )  # fmt: skip
        self._use(HandlerConfig.from_mapping(values))

    def _use(self, config: HandlerConfig) -> None:
        """Set everything up, once."""
        self._config = config
        self._relay = config.relay
        self._has_told_relay = False
        self._format_exception: Callable[[Any], object] = format_exception
        self._changing = threading.RLock()
        self._is_child = False
        self._key = key_of(config)
        check_spool(config)
        self._use_flusher(self._make_flusher(flusher_settings(config, self._key)))
        # last: `logging` remembers the handler from here on, and will want to close it
        super().__init__(config.level)
        fork.track(self)
        self._has_sigterm = config.drain_on_sigterm and start_draining(self)

    @classmethod
    def from_config(cls, config: HandlerConfig) -> BatchUDPHandler:
        """Return a handler with these settings, such as `HandlerConfig.from_env` makes."""
        settings: Any = values_of(config)
        return cls(**settings)

    def _make_flusher(self, settings: FlusherSettings) -> Flusher:
        own = weakref.ref(self)

        def on_start() -> None:
            handler = own()
            if handler is not None:
                handler._register_drain()
                handler._follow_sigterm()

        flusher = Flusher(settings, on_start=on_start)
        flusher.close_after(self)
        return flusher

    def _use_flusher(self, flusher: Flusher) -> None:
        self._flusher = flusher
        self._buffer = flusher.buffer
        self._append = flusher.buffer.append

    # --- what logging calls ----------------------------------------------------------------------

    def handle(self, record: logging.LogRecord) -> bool | logging.LogRecord:  # type: ignore[override]  # Python 3.11 says bool
        """Filter the record and ship it; a filter may replace it, on every version of Python."""
        if self.filters:
            try:
                result = self.filter(record)
            except Exception:  # noqa: BLE001  # logging must not end the program
                self._refuse(record)
                return record
            if not result:
                return result
            if isinstance(result, logging.LogRecord):
                record = result
        self.emit(record)
        return record

    def filter(self, record: logging.LogRecord) -> bool | logging.LogRecord:  # type: ignore[override]  # Python 3.11 says bool
        """Filter as `logging` does since Python 3.12: a filter may return another record."""
        for each in self.filters:
            result = each.filter(record) if hasattr(each, "filter") else each(record)
            if not result:
                return False
            if isinstance(result, logging.LogRecord):
                record = result
        return record

    def emit(self, record: logging.LogRecord) -> None:
        """Take a snapshot of the record and leave the rest to the flusher."""
        buffer = self._buffer
        if buffer.muted_thread and buffer.muted_thread == threading.get_ident():
            buffer.drop("self_log")
            return
        try:
            taken = capture(record, self._format_exception, self._relay)
        except Exception:  # noqa: BLE001  # the record is user code, and so is all in it
            self._refuse(record)
            return
        try:
            if taken is None:
                self._drop_relayed()
            elif self._append(taken, taken[LEVELNO]):
                self._flusher.wake()
        except Exception:  # noqa: BLE001  # a log call does not end the program
            self.handleError(record)

    def _drop_relayed(self) -> None:
        """Count a record that a receiver of this process delivered, and say once what it means."""
        self._buffer.drop("relay")
        if not self._has_told_relay:
            self._has_told_relay = True
            write_note(TOO_MANY_HOPS if self._relay else RELAY_IS_OFF)

    def _refuse(self, record: logging.LogRecord) -> None:
        """Count a record that could not be read at all, and tell as `logging` does."""
        self._buffer.drop("record_error")
        self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Report an error as `logging.Handler` does, even where stderr raises."""
        with suppress(Exception):
            super().handleError(record)

    def setFormatter(self, fmt: logging.Formatter | None) -> None:
        """Use a formatter's way to write exceptions; messages are formatted on the far side."""
        super().setFormatter(fmt)
        # an object with nothing but `format` is enough for `logging`
        self._format_exception = getattr(fmt, "formatException", format_exception)

    def flush(self, timeout: float | None = None) -> bool:  # type: ignore[override]  # None is not worth keeping
        """Send all that waits.

        Args:
            timeout: Seconds; None: `shutdown_timeout`, infinity: until it is done, 0 or less: ask
                for it and do not wait.

        Returns:
            Whether nothing waits any more: all records that came before the call are sent (with
            ``delivery="acknowledged"``: confirmed), or were given up and counted. False: not in
            time, or not known yet.

        Raises:
            ValueError: `timeout` is not a number of seconds.
        """
        return self._flusher.flush(as_timeout(timeout))

    def close(self) -> None:
        """Send what waits, within `shutdown_timeout`, and end. May be called any number of times.

        What cannot be sent is counted, and said on stderr. A record that is logged later is
        sent at once by the thread that logs it, without retries.
        """
        self._flusher.close()
        end_draining(self)
        super().close()

    # --- the rest --------------------------------------------------------------------------------

    def reconfigure(self, **changes: Any) -> bool:
        """Change settings while records flow; all of them are used, or none.

        Returns:
            Whether they are used by now. False: the thread that sends is busy; it uses them
            before it sends anything else, and nothing need be done.

        Raises:
            ValueError: A value is not allowed, or the setting cannot change.
            TypeError: There is no such setting.
        """
        with self._changing:
            config = self.config.replace(changes)
            for name in FIXED:
                if getattr(config, name) != getattr(self._config, name):
                    message = f"{name} cannot change while a handler lives; make another one"
                    raise ValueError(message)
            settings = flusher_settings(config, self._key)
            self._config = config
            self._follow_sigterm()
            self._relay = config.relay
            if "level" in changes:
                self.setLevel(config.level)
            return self._flusher.reconfigure(settings)

    def stats(self) -> SenderStats:
        """Return the counters of this process, as a frozen dataclass."""
        return self._flusher.stats()

    @property
    def config(self) -> HandlerConfig:
        """The settings in use, with the level that `setLevel` may have changed since."""
        if self.level == self._config.level:
            return self._config
        return self._config.replace({"level": max(self.level, logging.NOTSET)})

    def after_fork_in_child(self) -> None:
        """Start afresh: what waits here, and the stream, are the parent's."""
        old = self._flusher
        self._changing = threading.RLock()
        self._is_child = True
        self._use_flusher(self._make_flusher(flusher_settings(self._config, self._key)))
        self._flusher.is_closed = old.is_closed
        old.abandon_in_child()

    def _register_drain(self) -> None:
        if not (self._is_child or fork.is_worker_process()):
            return  # `logging.shutdown` is enough
        own = weakref.ref(self)

        def drain() -> None:
            handler = own()
            if handler is not None:
                handler.close()

        fork.drain_in_child(drain)

    def _follow_sigterm(self) -> None:
        """Follow SIGTERM or not, as set: at the first record, and after changes."""
        if not self._config.drain_on_sigterm or self._flusher.is_closed:
            end_draining(self)
        elif start_draining(self):
            self._has_sigterm = True
        elif not self._has_sigterm:
            self._has_sigterm = True  # said once
            write_note(
                "drain_on_sigterm needs the main thread: create the handler there, or call "
                "batchudp_handler.drain_on_sigterm() there. Until then, records that wait are "
                "lost at SIGTERM"
            )

    def __reduce__(self) -> NoReturn:
        """Refuse to be copied or pickled, and say what to do instead."""
        message = (
            "a BatchUDPHandler cannot be copied or pickled: it has a thread and a socket. "
            "Configure logging in each process, or let processes fork with the handler in place"
        )
        raise TypeError(message)

    def __repr__(self) -> str:
        level = logging.getLevelName(self.level)
        config = self._config
        return f"<{type(self).__name__} {place_text(config.host, config.port)} ({level})>"

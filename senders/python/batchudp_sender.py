"""A logging handler that ships records to a batchudp receiver, in one file without dependencies.

Copy this file beside your program (CPython 3.7 or newer). It speaks one-way delivery of version 1:
numbered datagrams, so that the receiver counts what the network lost, and SYNC datagrams, which
tell it what this side had to drop. With `numbered=False` it sends baseline datagrams instead.
"""

from __future__ import annotations

import collections
import errno
import hmac
import json
import logging
import os
import socket
import struct
import threading
import time
import zlib

MAGIC = b"\xcb\xf2"
DATA, SYNC = 1, 3
HEADER = struct.Struct("!2sBBHBBQQIIHHH")
SYNC_BODY = struct.Struct("!BxHQQIIQ16sI")
SYNC_DATAGRAM = 128  # bytes, all of it: nobody who answers a SYNC sends more than came
MAX_MESSAGE = 256 * 1024  # characters; the receiver cuts longer messages, too
MAX_ROW = 1_000_000  # bytes; a receiver refuses batches above 1 MiB
MAX_RECORDS = 1_024  # of one batch
SMALLEST = 508  # bytes of a datagram that every path carries
IDLE_SYNCS = (1.0, 10.0, 60.0)  # seconds after the last DATA, then between SYNCs
LOOKUP_SECONDS = 60.0
ATTRIBUTES = (
    "created", "levelname", "levelno", "name", "process", "processName", "thread", "threadName",
    "taskName", "pathname", "filename", "module", "lineno", "funcName", "msecs", "relativeCreated",
)  # fmt: skip
FORMATTER = logging.Formatter()
NOT_EXTRAS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def seal(kind, stream_id, seq, rec, sealed_at, n_rec, body, codec=0, fragment=(0, 1), key=None):
    """Return one datagram of version 1; `key` is None or a pair of a number and a secret."""
    number, secret = key or (0, b"")
    header = HEADER.pack(
        MAGIC, 0x81, kind, number, codec, 0, stream_id, seq, rec, sealed_at, n_rec, *fragment
    )
    if key is None:
        return header + body + struct.pack("!I", zlib.crc32(header + body))
    out = hmac.new(secret, b"bu1 s2r", "sha256").digest()
    return header + body + hmac.new(out, header + body, "sha256").digest()[:16]


def baseline(codec, body):
    """Return one baseline datagram: codec 0 is JSON, codec 1 a zlib stream."""
    return MAGIC + bytes([codec]) + body


def encode_row(row):
    """Return one record as JSON in UTF-8, whatever its extras hold."""
    options = {"ensure_ascii": False, "allow_nan": False, "separators": (",", ":")}
    try:
        text = json.dumps(row, default=str, **options)
    except (ValueError, TypeError, RecursionError):  # not a number, cycles, odd keys
        row["extra"] = {str(name): str(value) for name, value in row["extra"].items()}
        text = json.dumps(row, **options)
    try:
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate travels as its escape
        return json.dumps(row, default=str, allow_nan=False).encode()


def message_of(record):
    """Return the message, or its two parts where they do not fit each other."""
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001  # a mistake in a log call costs no record
        return f"{record.msg} {record.args!r}"


def split(rows, room):
    """Yield codec, body and count of batches that fit `room` bytes or hold a single record."""
    raw = b"[" + b",".join(rows) + b"]"
    if len(rows) == 1 or (len(raw) <= 16 * room and len(rows) <= MAX_RECORDS):
        packed = zlib.compress(raw)
        codec, body = (1, packed) if len(packed) < len(raw) else (0, raw)
        if len(rows) == 1 or len(body) <= room:
            yield codec, body, len(rows)
            return
    half = len(rows) // 2
    yield from split(rows[:half], room)
    yield from split(rows[half:], room)


class Stream:
    """The numbers of one one-way stream, and the datagrams made with them."""

    def __init__(self, key=None, max_datagram=1_432):
        self.key = key
        self.tag_length = 16 if key else 4
        self.max_datagram = max_datagram
        self.stream_id = int.from_bytes(os.urandom(8), "big")
        self.seq = self.rec = self.syncs = 0

    @property
    def room(self):
        """Bytes of a body that fit one datagram."""
        return self.max_datagram - HEADER.size - self.tag_length

    def data(self, codec, body, count, now):
        """Return the datagrams of one batch; more than one are its fragments."""
        pieces = [body[i : i + self.room] for i in range(0, len(body), self.room)]
        numbers, n = (self.rec, now, count), len(pieces)
        return [
            seal(DATA, self.stream_id, self.seq + i, *numbers, piece, codec, (i, n), self.key)
            for i, piece in enumerate(pieces)
        ]

    def advance(self, datagrams, count):
        """Use up the numbers of a batch that is being sent."""
        self.seq += datagrams
        self.rec = (self.rec + count) % 2**32

    def sync(self, dropped, promise_ms, now, closing=False):
        """Return a SYNC that tells how many records there were and how many were dropped."""
        seq, room = self.seq, SYNC_DATAGRAM - HEADER.size - self.tag_length
        numbers = (self.max_datagram, seq, seq, self.rec, dropped % 2**32)
        body = SYNC_BODY.pack(2 * closing, *numbers, 0, bytes(16), promise_ms).ljust(room, b"\0")
        self.syncs += 1
        return seal(SYNC, self.stream_id, self.syncs - 1, 0, now, 0, body, key=self.key)


class BatchSender(logging.Handler):
    """A logging handler that sends records in batches from a thread of its own.

    Args:
        host, port: Where the receiver is; the name is looked up again every minute.
        batch_size: Waiting records that are sent at once.
        flush_interval: Seconds after which fewer are sent. Errors are sent at once.
        capacity: Records that may wait; further ones are dropped and counted.
        max_datagram: Bytes; a record that needs more is sent in fragments.
        numbered: Whether losses are counted; False sends baseline datagrams.
        key: The number of a key and its secret of at least 32 bytes, or None.
        static_fields: What every record carries.
    """

    def __init__(
        self, host="localhost", port=9999, *, level=logging.NOTSET, batch_size=50,
        flush_interval=1.0, capacity=10_000, max_datagram=1_432, numbered=True, key=None,
        static_fields=None,
    ):  # fmt: skip
        super().__init__(level)
        self._target = (host, port)
        self._batch_size = batch_size
        self._flush_interval = flush_interval
        self._capacity = capacity
        self._stream_settings, self._numbered = (key, max_datagram), numbered
        self._static_fields = dict(static_fields or {})
        self._hostname = socket.gethostname()
        self._begin()

    def _begin(self):
        """Start with nothing; a forked child does it once more, as a stream of its own."""
        self._pid = os.getpid()
        self._waiting = collections.deque()
        self._wake = threading.Event()
        self._idle = threading.Event()
        self._thread = self._socket = None
        self._stream = Stream(*self._stream_settings)
        self._accepted = self._overflowed = self._sent = self._unsent = 0
        self._closing = False
        self._idle_syncs, self._sync_at, self._looked_up = 0, 0.0, 0.0

    def stats(self):
        """Return counts of records; accepted is the sum of the other three."""
        accepted, sent, dropped = self._accepted, self._sent, self._overflowed + self._unsent
        waiting = accepted - sent - dropped
        return {"accepted": accepted, "sent": sent, "dropped": dropped, "waiting": waiting}

    def emit(self, record):
        """Queue one record; `logging` holds the handler's lock meanwhile."""
        try:
            row = encode_row(self._row(record))
        except Exception:  # noqa: BLE001  # as every handler of `logging` does
            self.handleError(record)
            return
        if self._pid != os.getpid():
            self._begin()
        self._accepted += 1
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="batchudp-sender", daemon=True)
            self._thread.start()
        if self._closing or len(self._waiting) >= self._capacity or len(row) > MAX_ROW:
            self._overflowed += 1
            return
        self._waiting.append(row)
        self._idle.clear()
        if len(self._waiting) >= self._batch_size or record.levelno >= logging.ERROR:
            self._wake.set()

    def flush(self, timeout=2.0):
        """Send what waits; return whether nothing waits any more."""
        if self._pid != os.getpid() or self._thread is None:
            return True
        self._wake.set()
        return self._idle.wait(timeout)

    def close(self):
        """Send what waits, take leave of the receiver, and count what is left as dropped."""
        if self._pid == os.getpid() and self._thread is not None and not self._closing:
            self._closing = True
            self._wake.set()
            self._thread.join(2.0)
        super().close()

    def _row(self, record):
        row = {name: getattr(record, name, None) for name in ATTRIBUTES}
        row["message"] = message_of(record)[:MAX_MESSAGE]
        row["hostname"] = self._hostname
        extras = {k: v for k, v in vars(record).items() if k not in NOT_EXTRAS}
        row["extra"] = {**self._static_fields, **extras}
        text = record.exc_text or (record.exc_info and FORMATTER.formatException(record.exc_info))
        more = {"exc_text": text, "stack_info": record.stack_info}
        row.update((name, value) for name, value in more.items() if value)
        return row

    def _run(self):
        is_last = False
        while not is_last:
            self._wake.wait(min(self._flush_interval, IDLE_SYNCS[0]))
            self._wake.clear()
            is_last = self._closing
            self._turn(is_last)
        for pause in (0.05, 0.0):
            self._try(self._send_sync, closing=True)
            time.sleep(pause)
        self._drop_socket()

    def _turn(self, is_last):
        """Send what waits and the SYNC that is due; what fails waits for the next turn."""
        rows = [self._waiting.popleft() for _ in range(len(self._waiting))]
        is_sent = self._try(self._send, rows)
        if is_last:
            self._unsent += len(rows)
        else:
            self._waiting.extendleft(reversed(rows))
            time.sleep(0 if is_sent else 0.1)
        if not self._waiting:
            self._idle.set()
        if time.monotonic() >= self._sync_at:
            self._try(self._send_sync)

    def _try(self, function, *args, **options):
        try:
            function(*args, **options)
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                self._stream.max_datagram = max(SMALLEST, self._stream.max_datagram * 3 // 4)
            self._drop_socket()
            return False
        return True

    def _send(self, rows):
        """Send `rows` and take from the list what is on its way."""
        stream = self._stream
        if rows and stream.syncs == 0:
            self._send_sync()
        for codec, body, count in list(split(rows, stream.room)) if rows else ():
            datagrams = [baseline(codec, body)]
            if self._numbered:
                datagrams = stream.data(codec, body, count, int(time.time()))
            self._transmit(datagrams[0])
            stream.advance(len(datagrams), count)
            self._sent += count
            del rows[:count]
            self._idle_syncs, self._sync_at = 0, time.monotonic() + IDLE_SYNCS[0]
            for datagram in datagrams[1:]:
                self._transmit(datagram)

    def _send_sync(self, closing=False):
        if not self._numbered:
            return
        self._idle_syncs = min(self._idle_syncs + 1, len(IDLE_SYNCS) - 1)
        promise = IDLE_SYNCS[self._idle_syncs]
        self._sync_at = time.monotonic() + promise
        counts = (self._overflowed + self._unsent, int(promise * 1000), int(time.time()))
        self._transmit(self._stream.sync(*counts, closing))

    def _transmit(self, datagram):
        now = time.monotonic()
        if self._socket is None or now - self._looked_up > LOOKUP_SECONDS:
            found = socket.getaddrinfo(*self._target, type=socket.SOCK_DGRAM)[0]
            self._socket = self._socket or socket.socket(found[0], socket.SOCK_DGRAM)
            self._address, self._looked_up = found[4], now
        self._socket.sendto(datagram, self._address)

    def _drop_socket(self):
        if self._socket is not None:
            self._socket.close()
        self._socket = None

"""A program around the sender in one file that does what its standard input says.

All drivers understand the same lines, and answer each with one line:

    seal TYPE KEY_ID SECRET CODEC STREAM SEQ REC SEALED_AT N_REC INDEX COUNT BODY   the datagram
    sync KEY_ID SECRET STREAM COUNTER SEQ REC DROPPED LARGEST PROMISE CLOSING SEALED_AT   the same
    baseline CODEC BODY                                                             the same
    open HOST PORT LARGEST CAPACITY NUMBERED KEY_ID SECRET                          ok
    log LEVEL TEXT                                                                  ok
    row ROW                                                                         ok
    flush                                                                           ok
    close                                               accepted, sent, dropped and waiting

Bytes and texts are in hexadecimal, with "-" for none, numbers are decimal.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "senders" / "python"))

from batchudp_sender import BatchSender, Stream, baseline, seal


class RowSender(BatchSender):  # type: ignore[misc]  # one file for old Pythons, without types
    """A sender that also takes rows as they are."""

    def _row(self, record: logging.LogRecord) -> Any:
        return getattr(record, "row", None) or super()._row(record)


class Driver:
    """What a line does."""

    def seal(self, kind: str, key_id: str, secret: str, codec: str, *rest: str) -> str:
        *numbers, index, count, body = rest
        made = seal(
            int(kind),
            *map(int, numbers),
            from_hex(body),
            codec=int(codec),
            fragment=(int(index), int(count)),
            key=key(key_id, secret),
        )
        return str(made.hex())

    def sync(self, key_id: str, secret: str, *rest: str) -> str:
        stream_id, counter, seq, rec, dropped, largest, promise, closing, now = map(int, rest)
        stream = Stream(key(key_id, secret), largest)
        stream.stream_id, stream.syncs, stream.seq, stream.rec = stream_id, counter, seq, rec
        return str(stream.sync(dropped, promise, now, bool(closing)).hex())

    def baseline(self, codec: str, body: str) -> str:
        return str(baseline(int(codec), from_hex(body)).hex())

    def open(self, host: str, port: str, *rest: str) -> str:
        largest, capacity, numbered, key_id, secret = rest
        self.sender = RowSender(
            host,
            int(port),
            max_datagram=int(largest),
            capacity=int(capacity),
            numbered=bool(int(numbered)),
            key=key(key_id, secret),
        )
        return "ok"

    def log(self, level: str, text: str) -> str:
        record = logging.LogRecord("driver", int(level), "", 0, from_hex(text).decode(), (), None)
        self.sender.handle(record)
        return "ok"

    def row(self, row: str) -> str:
        given = {"row": json.loads(from_hex(row)), "levelno": logging.INFO}
        record = logging.makeLogRecord(given)
        self.sender.handle(record)
        return "ok"

    def flush(self) -> str:
        self.sender.flush()
        return "ok"

    def close(self) -> str:
        self.sender.close()
        return " ".join(map(str, self.sender.stats().values()))


def from_hex(text: str) -> bytes:
    return b"" if text == "-" else bytes.fromhex(text)


def key(key_id: str, secret: str) -> tuple[int, bytes] | None:
    return (int(key_id), from_hex(secret)) if int(key_id) else None


if __name__ == "__main__":
    driver = Driver()
    for line in sys.stdin:
        word, *arguments = line.split()
        print(getattr(driver, word)(*arguments), flush=True)

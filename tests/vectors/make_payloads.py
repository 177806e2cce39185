"""Payloads of given records, and what bodies mean, written as `payload-*.json`.

    python tests/vectors/make_payloads.py

A case in `payload-compact.json` and `payload-rows.json` has the attributes of the near records,
the payload as text (the encoders are deterministic, so a test makes and compares it), and what the
far side makes of it. `payload-bodies.json` has compressed bodies in hexadecimal, which are only
read: zlib implementations differ in their output, never in their input. `payload-refused.json` has
bodies and the reason for which each is refused.
"""

from __future__ import annotations

import json
import logging
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchudp_handler.core.errors import DecodeError
from batchudp_handler.core.payload.budget import Budget
from batchudp_handler.core.payload.codec import (
    BatchHeader,
    Codec,
    compress,
    decode_payload,
    encode_compact,
    encode_rows,
)
from batchudp_handler.core.payload.compression import DICTIONARY
from batchudp_handler.core.payload.limits import DecodeLimits
from batchudp_handler.core.payload.tagged import decode, encode
from batchudp_handler.core.records.arrival import Arrival
from batchudp_handler.core.records.kept import Typed, keep
from batchudp_handler.core.records.rebuild import records
from batchudp_handler.core.records.snapshot import Snapshot, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

Attributes = dict[str, Any]

HERE = Path(__file__).parent
HEADER: Attributes = {"hostname": "web-1", "static_fields": {}}
PROVENANCE = {"received": 1_700_000_100.25}

PLAIN: Attributes = {
    "name": "shop.views",
    "levelno": 20,
    "levelname": "INFO",
    "pathname": "/srv/shop/views.py",
    "filename": "views.py",
    "module": "views",
    "lineno": 114,
    "funcName": "checkout",
    "process": 1234,
    "processName": "MainProcess",
    "thread": 140034592357248,
    "threadName": "MainThread",
    "taskName": None,
    "created": 1_700_000_000.123456,
    "msecs": 123.0,
    "relativeCreated": 5000.25,
    "msg": "order paid",
    "args": [],
}


def near(**changes: Any) -> Attributes:
    """The attributes of a near record."""
    return {**PLAIN, **changes}


def at(micros: int, **changes: Any) -> Attributes:
    """A record so many microseconds after the first."""
    whole = 123_456 + micros
    return near(
        created=1_700_000_000 + whole / 1_000_000,
        msecs=float(whole // 1000 % 1000),
        relativeCreated=5000.25 + micros / 1000,
        **changes,
    )


TEMPLATE: Attributes = {"msg": "user %s did %s in %d ms", "args": ["alice", "login", 12]}

CASES: dict[str, list[Attributes]] = {
    "one message": [near()],
    "template and arguments": [near(**TEMPLATE)],
    "types of arguments": [near(msg="%s %r %d %.1f %s", args=["a", None, True, 2.5, -(2**70)])],
    "two sites and repeated strings": [
        at(0, **TEMPLATE),
        at(50, msg="cache miss", lineno=7, funcName="get", levelno=10, levelname="DEBUG"),
        at(120, **TEMPLATE),
        at(90, **{**TEMPLATE, "args": ["alice", "logout", 3]}),
        at(200, **{**TEMPLATE, "args": ["alice", "login", 4]}),
    ],
    "threads and tasks": [
        at(0),
        at(1, thread=7, threadName="worker", taskName="Task-1"),
        at(2, thread=7, threadName="worker", taskName="Task-2"),
    ],
    "custom level and odd file": [
        near(levelno=25, levelname="AUDIT", pathname="C:\\x\\y.py", filename="y.py", module="y")
    ],
    "extras": [
        at(0, user=5, cart={"items": [1, "two", None], "total": 12.5}),
        at(9, user=6),
    ],
    "exception and stack": [
        at(0),
        at(5, exc_text='Traceback (most recent call last):\n  File "a.py"\nKeyError: 1'),
        at(6, stack_info='Stack (most recent call last):\n  File "a.py"'),
    ],
    "times that cannot be derived": [
        near(),
        near(created=1_700_000_001 - 2.0**-22, msecs=999.0, relativeCreated=5876.6),
        near(created=1_700_000_000.123999, msecs=122.0, relativeCreated=5001.0),
    ],
    "arguments that cannot travel": [
        at(0, msg="%s", args=["good"]),
        at(1, msg="%c|%5s", args=[65, "x"]),
        at(2, msg="%*d", args=[5, 1]),
    ],
    "text beyond ASCII": [near(msg="Größe %s \U0001f600 \x1b[31m", args=["日本\n"])],
    "lone surrogate": [near(msg="name %s", args=["\udcff"], note="\ud83d")],
    "format that does not fit": [near(msg="%d items", args=["many"])],
    "relayed": [near(arrived={"hostname": "device-9", "hops": 1})],
    "names of extras": [near(_private=1, **{"@version": "1", "a b/c:d": 2})],
    "values with types": [
        at(0, typed={"due": ["date", "2026-01-02"], "total": ["decimal", "12.50"]}),
        at(5, typed={"point": ["tuple", 1, ["list", 2]], "colour": ["shown", 1, "RED", "<RED>"]}),
        at(7, typed={"map": ["dict", 1, "int", "1", "text"]}, due="soon"),
    ],
    "a message that is a structure": [at(0, msg={"event": "paid", "total": 12.5})],
    "arguments in a mapping": [at(0, msg="%(h)s %(s)d", args={"h": "192.0.2.1", "s": 200})],
    "exception": [at(0, raises="bad"), at(3, exc_text="KeyError: 1")],
}

STATIC: Attributes = {"hostname": "web-1", "static_fields": {"service": "shop", "tier": [1, "a"]}}

FOREIGN: dict[str, Any] = {
    "netcat": {"message": "hi", "level": "warning"},
    "array": [{"message": "one"}, {"msg": "two", "levelno": 40}, "no record", {"level": 10}],
    "other names": {
        "msg": "started",
        "logger": "svc",
        "level": "err",
        "timestamp": "2023-11-14T22:13:20.250Z",
        "host": "box",
        "port": 80,
    },
    "milliseconds": {"message": "x", "time": 1_700_000_000_250},
    "reserved names": {"message": "x", "extra": {"args": 1, "received": 2, "_x": 3, "": 4}},
}

UNEVEN = (
    b'{"time":0,"delta":[],"sites":[["a",20,"INFO","p",1,"f","%s %s",2]],'
    b'"origins":[[1,"p",1,"t",null]],"site":[0],"values":[[["x"],["y","z"]]]}'
)

REFUSED: dict[str, tuple[int, bytes]] = {
    "not JSON": (0, b"{"),
    "not UTF-8": (0, b'"\xed\xa0\x80"'),
    "UTF-16": (0, "[]".encode("utf-16")),
    "no records": (0, b"[]"),
    "trailing bytes": (1, zlib.compress(b'{"message":"x"}') + b"x"),
    "no end": (1, zlib.compress(b'{"message":"x"}')[:-1]),
    "another dictionary": (2, bytes.fromhex("78bb00000001")),
    "unknown codec": (9, b"[]"),
    "index out of range": (
        0,
        b'{"time":0,"delta":[],"sites":[],"origins":[[1,"p",1,"t",null]],"site":[0],"values":[]}',
    ),
    "columns of different lengths": (0, UNEVEN),
}


def snapshots(attributes: list[Attributes]) -> list[Snapshot]:
    """Take what travels of records with these attributes."""
    taken = []
    for values in attributes:
        record = logging.LogRecord("", 0, "", 0, "", (), None)
        record.__dict__.update(near_attributes(values))
        taken.append(snapshot(record, format_exception=str, relay=True) or ())
    return taken


def near_attributes(said: Attributes) -> Attributes:
    """The attributes of a record for those of a case, which JSON has types for."""
    values = dict(said)
    args = values.pop("args")
    values["args"] = args if isinstance(args, dict) else tuple(args)
    typed, text = values.pop("typed", {}), values.pop("raises", None)
    values |= {name: decode(node, Budget(DecodeLimits()), 64) for name, node in typed.items()}
    if "arrived" in values:
        values["batchudp"] = Arrival(**values.pop("arrived"))
    if text is not None:
        values["exc_info"] = (ValueError, ValueError(text), None)
    return values


def shown_in_json(value: Any) -> Any:
    """The value, or its form with tags where JSON has no type for it."""
    return {"typed": encode(value)} if type(keep(value)) is Typed else value


def attributes_of(record: logging.LogRecord) -> Attributes:
    """The attributes of a record that arrived, in JSON."""
    fields = {
        name: shown_in_json(value) for name, value in vars(record).items() if value is not None
    }
    args = record.args if isinstance(record.args, dict) else list(record.args or ())
    return dict(sorted((fields | {"message": record.getMessage(), "args": args}).items()))


def far(payload: bytes, codec: int = 0) -> Attributes:
    """What the far side makes of a body."""
    batch = decode_payload(codec, payload, DecodeLimits())
    made = [attributes_of(record) for record in records(batch, PROVENANCE)]
    counted = {
        name: getattr(batch, name)
        for name in ("malformed", "templates_refused", "fields_refused", "truncated")
        if getattr(batch, name)
    }
    return {"records": made, "counted": counted}


def cases(encode: Callable[..., bytes]) -> list[Attributes]:
    """Each case with both directions."""
    made = []
    for name, attributes in [*CASES.items(), ("static fields", [near(tier="own")])]:
        header = STATIC if name == "static fields" else HEADER
        payload = encode(snapshots(attributes), BatchHeader(**header))
        made.append(
            {
                "name": name,
                "header": header,
                "near": attributes,
                "payload": payload.decode(),
                "far": far(payload),
            }
        )
    return made


def bodies() -> list[Attributes]:
    """The same payload in every codec, and entries of other programs."""
    batch = CASES["two sites and repeated strings"]
    payload = encode_compact(snapshots(batch), BatchHeader(**HEADER))
    codec, packed = compress(payload)
    made = {
        "compact, plain": (Codec.JSON, payload),
        "compact, zlib": (Codec.ZLIB, zlib.compress(payload, 9)),
        "compact, zlib with dictionary 1": (codec, packed),
        **{name: (Codec.JSON, json.dumps(value).encode()) for name, value in FOREIGN.items()},
    }
    return [
        {"name": name, "codec": int(codec), "body": body.hex(), "far": far(body, codec)}
        for name, (codec, body) in made.items()
    ]


def refused() -> list[Attributes]:
    """Bodies that are refused as a whole, with the name of the counter."""
    made = []
    for name, (codec, body) in REFUSED.items():
        try:
            decode_payload(codec, body, DecodeLimits())
        except DecodeError as error:
            reason = str(error.reason)
        made.append({"name": name, "codec": codec, "body": body.hex(), "reason": reason})
    return made


def documents() -> dict[str, Attributes]:
    """The files by name."""
    return {
        "payload-compact.json": {
            "received": PROVENANCE["received"],
            "cases": cases(encode_compact),
        },
        "payload-rows.json": {"received": PROVENANCE["received"], "cases": cases(encode_rows)},
        "payload-bodies.json": {
            "received": PROVENANCE["received"],
            "dictionary": DICTIONARY.decode("ascii"),
            "dictionary_adler32": zlib.adler32(DICTIONARY),
            "bodies": bodies(),
        },
        "payload-refused.json": {"bodies": refused()},
    }


if __name__ == "__main__":
    for name, document in documents().items():
        text = json.dumps(document, indent=1, ensure_ascii=True)
        (HERE / name).write_text(text + "\n", encoding="utf-8")

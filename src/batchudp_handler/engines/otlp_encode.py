"""Log records as OTLP has them in JSON, by the data model and the semantic conventions.

    sender -> resource, logger -> scope, record -> log record

Only what a decoded batch holds is read, so nothing here can raise or print without bound.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

from batchudp_handler.core.records.rebuild import records
from batchudp_handler.core.records.record_names import STANDARD_ROW

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable, Mapping

    from batchudp_handler.core.receive.events import BatchReceived
    from batchudp_handler.core.records.batch import Batch

__all__ = ["encode_batch", "encode_request", "resource_logs"]

SERVICE_NAMES = ("service.name", "service", "otelServiceName")
"""Fields that name the service; the first that is there counts."""
UNKNOWN_SERVICE = "unknown_service"

TRACE_NAMES = ("otelTraceID", "trace_id", "traceId")
SPAN_NAMES = ("otelSpanID", "span_id", "spanId")
SAMPLED_NAMES = ("otelTraceSampled", "trace_sampled")

_NOT_ATTRIBUTES = frozenset(STANDARD_ROW) | {
    *("hostname", "hops", "remote_addr", "received", "authenticated", "taskName", "message"),
}
_CODE = {
    "code.file.path": "pathname",
    "code.line.number": "lineno",
    "code.function.name": "funcName",
    "code.stacktrace": "stack_info",
    "thread.id": "thread",
    "thread.name": "threadName",
}
"""Attributes of the conventions, and those of a LogRecord that they come from."""

_HEX = re.compile(r"[0-9a-f]+")
_TRACEBACK = "Traceback (most recent call last):"
_GROUP = ("  + Exception Group ", "  | ")
_EXCEPTION = re.compile(r"([\w.]+)(?:: (.*))?", re.DOTALL)

JSON = dict[str, Any]


def encode_request(batches: Iterable[bytes]) -> bytes:
    """Return the body of one export request, made of encoded batches."""
    return b'{"resourceLogs":[' + b",".join(batches) + b"]}"


def encode_batch(batch: Batch, event: BatchReceived, provenance: Mapping[str, object]) -> bytes:
    """Return the resources of a batch as JSON, with commas between them."""
    text = json.dumps(
        resource_logs(batch, event, provenance), ensure_ascii=False, separators=(",", ":")
    )
    return text[1:-1].encode("utf-8", "backslashreplace")


def resource_logs(
    batch: Batch, event: BatchReceived, provenance: Mapping[str, object]
) -> list[JSON]:
    """Return the resources of a batch with their scopes and log records.

    Each record has `log.record.uid`, unless it came without a sequence number: a store that gets
    a request twice can tell by it.
    """
    resources: dict[str, JSON] = {}
    scopes: dict[tuple[str, str], list[JSON]] = {}
    for index, record in enumerate(records(batch, provenance)):
        attributes = _resource_attributes(record, batch)
        key = repr(attributes)
        if key not in resources:
            resources[key] = {
                "resource": {"attributes": _key_values(attributes)},
                "scopeLogs": [],
            }
        if (key, record.name) not in scopes:
            made: list[JSON] = []
            scopes[key, record.name] = made
            resources[key]["scopeLogs"].append(
                {"scope": {"name": record.name}, "logRecords": made}
            )
        scopes[key, record.name].append(_log_record(record, batch, _uid(event, index)))
    return list(resources.values())


def _uid(event: BatchReceived, index: int) -> str | None:
    return None if event.stream_id is None else f"{event.stream_id:016x}-{event.seq}-{index}"


def _resource_attributes(record: logging.LogRecord, batch: Batch) -> JSON:
    fields = vars(record)
    named = [str(fields[name]) for name in SERVICE_NAMES if fields.get(name)]
    peer = {
        "batchudp.peer": fields["remote_addr"],
        "batchudp.authenticated": fields["authenticated"],
    }
    attributes = {
        **batch.static_fields,
        "service.name": named[0] if named else UNKNOWN_SERVICE,
        "host.name": fields.get("hostname"),
        "process.pid": record.process,
        **peer,
    }
    if attributes.get("service") == attributes["service.name"]:
        del attributes["service"]
    return attributes


def _log_record(record: logging.LogRecord, batch: Batch, uid: str | None) -> JSON:
    extras = {
        name: value
        for name, value in vars(record).items()
        if name not in _NOT_ATTRIBUTES and name not in batch.static_fields
    }
    context = _trace_context(extras)
    attributes = {
        **extras,
        **{name: getattr(record, source, None) for name, source in _CODE.items()},
        **exception_attributes(record.exc_text),
        "log.record.uid": uid,
    }
    return {
        "timeUnixNano": _nanoseconds(record.created),
        "observedTimeUnixNano": _nanoseconds(vars(record)["received"]),
        "severityNumber": severity_number(record.levelno),
        "severityText": record.levelname,
        "body": {"stringValue": record.getMessage()},
        "attributes": _key_values(attributes),
        **context,
    }


def _nanoseconds(seconds: float) -> str:
    """Return whole microseconds, which is what a sender gives, in nanoseconds."""
    return str(round(seconds * 1e6) * 1000)


def severity_number(level: int) -> int:
    """Return the severity of a level of `logging`: INFO is 9, and those up to WARNING 10 to 12."""
    if level <= 0:
        return 0  # unspecified
    band, within = divmod(level, 10)
    return 24 if band > 5 else 1 + 4 * band + min(within - (band == 0), 3)


def _trace_context(extras: JSON) -> JSON:
    """Take the ids of trace and span out of the extras, if they are valid ones."""
    found: JSON = {}
    for member, names, digits in (("traceId", TRACE_NAMES, 32), ("spanId", SPAN_NAMES, 16)):
        for name in names:
            number = _id_of(extras.get(name), digits)
            if number is not None:
                del extras[name]
                found[member] = number
                break
    if "traceId" in found:
        sampled = [extras.pop(name) for name in SAMPLED_NAMES if name in extras]
        found["flags"] = int(True in sampled)
    return found


def _id_of(value: object, digits: int) -> str | None:
    """Return an id in hexadecimal; numbers are what the OpenTelemetry API has them as."""
    if type(value) is int and value > 0:
        value = f"{value:0{digits}x}"
    if not isinstance(value, str):
        return None
    text = value.lower().removeprefix("0x")
    is_valid = len(text) == digits and _HEX.fullmatch(text) and text.strip("0")
    return text if is_valid else None


def exception_attributes(text: str | None) -> dict[str, str]:
    """Return type, message and stack of a formatted exception."""
    if not text:
        return {}
    attributes = {"exception.stacktrace": text}
    found = _EXCEPTION.fullmatch(_last_words(text))
    if found:
        attributes["exception.type"] = found[1]
        attributes["exception.message"] = found[2] or ""
    return attributes


def _last_words(text: str) -> str:
    """Return what follows the frames of the last traceback: the type, and the message."""
    lines = text.splitlines()
    if lines[0].startswith(_GROUP):
        lines = [line[4:] for line in lines if line.startswith("  | ")]
    starts = [number for number, line in enumerate(lines) if line.startswith(_TRACEBACK)]
    at = starts[-1] + 1 if starts else 0
    while at < len(lines) and lines[at].startswith(" "):
        at += 1
    return "\n".join(lines[at:])


def _key_values(attributes: Mapping[str, Any]) -> list[JSON]:
    """Return a list of keys and values; None says nothing and is left out."""
    return [
        {"key": key, "value": value_of(value)}
        for key, value in attributes.items()
        if value is not None
    ]


def value_of(value: Any) -> JSON:
    """Return one value as OTLP tags it.

    None inside of a list becomes text: OTLP allows an empty value, and some collectors refuse it.
    """
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return {"intValue": str(value)}
    if isinstance(value, float) and math.isfinite(value):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [value_of(each) for each in value]}}
    if isinstance(value, dict):
        values = [{"key": key, "value": value_of(each)} for key, each in value.items()]
        return {"kvlistValue": {"values": values}}
    return {"stringValue": "null" if value is None else str(value)}

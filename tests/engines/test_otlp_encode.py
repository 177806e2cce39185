"""Records as OTLP has them: resources, severities, values, exceptions, traces."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from batchudp_handler.core.errors import ConfigError
from batchudp_handler.core.payload.codec import BatchHeader, decode_payload, encode_compact
from batchudp_handler.core.payload.limits import DecodeLimits
from batchudp_handler.core.receive.events import BatchReceived
from batchudp_handler.core.records.snapshot import snapshot
from batchudp_handler.engines.otlp_encode import encode_batch, encode_request
from batchudp_handler.engines.otlp_target import OtlpTarget

PROVENANCE = {"remote_addr": "192.0.2.7:5000", "received": 1_700_000_001.5, "authenticated": True}


def request(payload: bytes, *, stream_id: int | None = 0xAB) -> list[Any]:
    """Return the resources of the request that carries a payload."""
    event = BatchReceived(stream_id, 7, 0, 0, payload, "x", 1, 1_700_000_001.5)
    batch = decode_payload(0, payload, DecodeLimits())
    resources: list[Any] = json.loads(encode_request([encode_batch(batch, event, PROVENANCE)]))[
        "resourceLogs"
    ]
    return resources


def rows(*entries: dict[str, Any]) -> bytes:
    return json.dumps(entries).encode()


def log_record(**fields: Any) -> Any:
    """Return the only log record of an entry with these fields."""
    (resource,) = request(rows({"message": "hi", **fields}))
    (scope,) = resource["scopeLogs"]
    (record,) = scope["logRecords"]
    return record


def attributes(of: Any) -> dict[str, Any]:
    return {each["key"]: each["value"] for each in of["attributes"]}


def test_a_record_of_a_handler() -> None:
    """Body, times, severity, call site and extras are where the data model has them."""
    record = logging.LogRecord("shop", logging.INFO, "/srv/shop.py", 12, "order %s", (5,), None)
    record.__dict__.update(created=1_700_000_000.25, func="pay", amount=12.5, funcName="pay")
    taken = snapshot(record, format_exception=str)
    assert taken is not None
    payload = encode_compact([taken], BatchHeader("web-1", {"service": "shop", "tier": "eu"}))

    (resource,) = request(payload)
    assert attributes(resource["resource"]) == {
        "tier": {"stringValue": "eu"},
        "service.name": {"stringValue": "shop"},
        "host.name": {"stringValue": "web-1"},
        "process.pid": {"intValue": str(record.process)},
        "batchudp.peer": {"stringValue": "192.0.2.7:5000"},
        "batchudp.authenticated": {"boolValue": True},
    }
    (scope,) = resource["scopeLogs"]
    assert scope["scope"] == {"name": "shop"}
    (made,) = scope["logRecords"]
    found = attributes(made)
    assert made["body"] == {"stringValue": "order 5"}
    assert made["timeUnixNano"] == "1700000000250000000"
    assert made["observedTimeUnixNano"] == "1700000001500000000"
    assert (made["severityNumber"], made["severityText"]) == (9, "INFO")
    assert found["code.file.path"] == {"stringValue": "/srv/shop.py"}
    assert found["code.line.number"] == {"intValue": "12"}
    assert found["code.function.name"] == {"stringValue": "pay"}
    assert found["amount"] == {"doubleValue": 12.5}
    assert found["log.record.uid"] == {"stringValue": "00000000000000ab-7-0"}
    assert not {"tier", "service", "msg", "args", "levelno", "created"} & found.keys()


def test_senders_are_resources_and_loggers_are_scopes() -> None:
    """Records of two processes and two loggers are sorted, and keep their order."""
    made = request(
        rows(
            {"message": "1", "name": "a", "process": 1},
            {"message": "2", "name": "b", "process": 1},
            {"message": "3", "name": "a", "process": 2},
            {"message": "4", "name": "a", "process": 1},
        )
    )
    found = [
        (
            attributes(resource["resource"])["process.pid"]["intValue"],
            scope["scope"]["name"],
            [record["body"]["stringValue"] for record in scope["logRecords"]],
        )
        for resource in made
        for scope in resource["scopeLogs"]
    ]
    assert found == [("1", "a", ["1", "4"]), ("1", "b", ["2"]), ("2", "a", ["3"])]


def test_a_service_may_be_named_by_any_sender() -> None:
    """Other senders name it in a field; without one it is unknown, as the SDKs say it."""
    names = {"service": "a", "service.name": "b", "otelServiceName": "c", "other": "d"}
    found = {}
    for name, value in names.items():
        (resource,) = request(rows({"message": "hi", name: value}))
        found[name] = attributes(resource["resource"])["service.name"]["stringValue"]
    assert found == {**names, "other": "unknown_service"}


def test_records_without_a_stream_have_no_uid() -> None:
    """Equal datagrams without numbers are no copies of each other."""
    (resource,) = request(rows({"message": "hi"}), stream_id=None)
    (record,) = resource["scopeLogs"][0]["logRecords"]
    assert "log.record.uid" not in attributes(record)


@pytest.mark.parametrize(
    ("level", "number"),
    [
        *[(0, 0), (1, 1), (5, 4), (10, 5), (15, 8), (20, 9), (21, 10), (25, 12), (30, 13)],
        *[(40, 17), (50, 21), (55, 24), (60, 24), (1_000, 24), (-5, 0)],
    ],
)
def test_severities(level: int, number: int) -> None:
    """Levels between those of `logging` are between its severities."""
    assert log_record(levelno=level)["severityNumber"] == number


def test_values() -> None:
    """Every kind of value is tagged; None is left out, or a text inside of a list."""
    made = attributes(
        log_record(
            extra={"t": True, "n": -5, "big": 2**63, "f": 0.5, "none": None, "text": "é"}
            | {"list": [1, None, [False]], "map": {"a": {"b": "c"}}}
        )
    )
    assert made["t"] == {"boolValue": True}
    assert made["n"] == {"intValue": "-5"}
    assert made["big"] == {"stringValue": str(2**63)}
    assert made["f"] == {"doubleValue": 0.5}
    assert made["text"] == {"stringValue": "é"}
    assert "none" not in made
    inner = {"arrayValue": {"values": [{"boolValue": False}]}}
    items = [{"intValue": "1"}, {"stringValue": "null"}, inner]
    assert made["list"] == {"arrayValue": {"values": items}}
    nested = {"kvlistValue": {"values": [{"key": "b", "value": {"stringValue": "c"}}]}}
    assert made["map"] == {"kvlistValue": {"values": [{"key": "a", "value": nested}]}}


TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(
    "extra",
    [
        {"otelTraceID": TRACE, "otelSpanID": SPAN, "otelTraceSampled": True},
        {"trace_id": TRACE.upper(), "span_id": SPAN, "trace_sampled": True},
        {"traceId": "0x" + TRACE, "spanId": "0x" + SPAN, "trace_sampled": True},
        {"trace_id": int(TRACE, 16), "span_id": int(SPAN, 16), "trace_sampled": True},
    ],
)
def test_trace_context(extra: dict[str, Any]) -> None:
    """The usual names of trace and span become the record's own ids."""
    made = log_record(extra=extra)
    assert (made["traceId"], made["spanId"], made["flags"]) == (TRACE, SPAN, 1)
    assert not extra.keys() & attributes(made).keys()


@pytest.mark.parametrize("text", ["0" * 32, "abc", "g" * 32, "", 0, -1, 2**200, True, None, [1]])
def test_what_is_no_trace_id_stays_an_attribute(text: object) -> None:
    """A collector refuses a request with a bad id, and would lose everything in it."""
    made = log_record(extra={"trace_id": text, "span_id": text})
    assert not {"traceId", "spanId", "flags"} & made.keys()
    assert ("trace_id" in attributes(made)) == (text is not None)


def formatted(error: BaseException) -> str:
    return logging.Formatter().formatException((type(error), error, error.__traceback__))


def raised(*, chained: bool = False) -> str:
    try:
        try:
            raise KeyError("missing")
        except KeyError as cause:
            if not chained:
                raise
            raise ValueError("two\nlines") from cause
    except (KeyError, ValueError) as error:
        return formatted(error)


GROUP = formatted(ExceptionGroup("several", [ValueError(1), TypeError(2)]))


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        (raised(), "KeyError", "'missing'"),
        (raised(chained=True), "ValueError", "two\nlines"),
        (formatted(RuntimeError("no frames")), "RuntimeError", "no frames"),
        (formatted(ConnectionResetError()), "ConnectionResetError", ""),
        (formatted(json.JSONDecodeError("bad", "", 0)), "json.decoder.JSONDecodeError", None),
        (GROUP, "ExceptionGroup", "several (2 sub-exceptions)"),
    ],
)
def test_exceptions(text: str, kind: str, message: str | None) -> None:
    """Type and message are taken from the end of the text, which is the stack."""
    made = attributes(log_record(exc_text=text))
    assert made["exception.stacktrace"] == {"stringValue": text}
    assert made["exception.type"] == {"stringValue": kind}
    if message is not None:
        assert made["exception.message"] == {"stringValue": message}


@pytest.mark.parametrize(
    "text", ["\n", " ", "Error: at\n   somewhere", "  + Exception Group", "\0"]
)
def test_odd_exceptions_keep_their_text(text: str) -> None:
    """What is no traceback of Python is a stack all the same."""
    assert attributes(log_record(exc_text=text))["exception.stacktrace"]["stringValue"] == text


def test_urls() -> None:
    """What a collector's URL may say."""
    url = "otlp+http://me:p%40ss@[::1]:4319/x/v1/logs?compression=none&timeout=3&header=A-B:%20c"
    target = OtlpTarget.from_url(url)
    assert (target.host, target.port, target.path) == ("::1", 4319, "/x/v1/logs")
    assert (target.compression, target.timeout, target.is_tls) == ("none", 3.0, False)
    assert target.headers == {"A-B": "c", "Authorization": "Basic bWU6cEBzcw=="}
    assert target.place == "[::1]:4319"
    plain = OtlpTarget.from_url("otlp+https://collector")
    assert (plain.host, plain.port, plain.path) == ("collector", 443, "/v1/logs")
    assert (plain.compression, plain.is_tls, plain.headers) == ("gzip", True, {})


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("otlp+http://", "otlp+http://host:port"),
        ("otlp+http://a:b", "otlp+http://host:port"),
        ("otlp+http://a:99999", "otlp+http://host:port"),
        ("otlp+grpc://a", "otlp+http://host:port"),
        ("otlp+http://a?color=1", "unknown option"),
        ("otlp+http://a?compression=zstd", "compression must be"),
        ("otlp+http://a?timeout=0", "timeout must be"),
        ("otlp+http://a?timeout=nan", "timeout must be"),
        ("otlp+http://a?header=x", "Name:value"),
        ("otlp+http://a?header=x:a%0d%0ab:c", "Name:value"),
    ],
)
def test_bad_urls(url: str, words: str) -> None:
    """Each says what is wrong, before anything is sent."""
    with pytest.raises(ConfigError, match=words.replace("+", r"\+")):
        OtlpTarget.from_url(url)

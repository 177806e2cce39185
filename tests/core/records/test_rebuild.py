"""`LogRecord`s made of a batch."""

from __future__ import annotations

import copy
import logging
import pickle
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler.core.payload.codec import BatchHeader, decode_payload, encode_compact
from batchudp_handler.core.payload.limits import DecodeLimits
from batchudp_handler.core.records import rebuild
from batchudp_handler.core.records.arrival import Arrival, ArrivedRecord, arrival_of
from batchudp_handler.core.records.rebuild import attribute_name, records
from tests.core.records.bench import PROVENANCE, record, ship, taken

if TYPE_CHECKING:
    from batchudp_handler.core.records.batch import Batch


def test_attributes_at_the_far_side() -> None:
    """Everything of the near record, host name and hops, and the receiver's own knowledge."""
    near = record("hello %s", "you", user={"id": 1})
    far = ship(near)
    fields = {**vars(near), "hostname": "near", "hops": 1, **PROVENANCE}
    assert far.batchudp == Arrival("near", **PROVENANCE)  # type: ignore[attr-defined]
    for name in ("created", "relativeCreated"):
        assert vars(far).pop(name) == pytest.approx(fields.pop(name), abs=1e-3)
    if not hasattr(near, "taskName"):
        assert not hasattr(far, "taskName")
    assert vars(far) == fields
    assert type(far) is ArrivedRecord


def test_an_extra_comes_before_a_static_field_before_the_receiver() -> None:
    """So a name prints at the far side what it printed at the near one."""
    static = {"hostname": "static", "remote_addr": "static"}
    payload = encode_compact([taken(record(hostname="own"))], BatchHeader("near", static))
    (far,) = records(decode_payload(0, payload, DecodeLimits()), PROVENANCE)
    fields = vars(far)
    assert (fields["hostname"], fields["remote_addr"], fields["received"]) == (
        "own",
        "static",
        7.25,
    )
    assert arrival_of(far) == Arrival(
        "near", **PROVENANCE, shadowed=frozenset({"hostname", "remote_addr"})
    )


def test_no_extra_replaces_what_a_record_needs() -> None:
    """An extra with such a name gets an underscore behind it."""
    payload = encode_compact([taken(record())], BatchHeader("near", {}))
    forged = b'"extra":{"batchudp":[[0],["1.1.1.1"]],"msg":[[0],["%s"]],"__getstate__":[[0],[9]],'
    forged += b'"getMessage":[[0],[1]],"exc_info":[[0],[1]],"_x":[[0],[1]],"a\\nb":[[0],[1]]}'
    batch = decode_payload(0, payload[:-1] + b"," + forged + b"}", DecodeLimits())
    (far,) = records(batch, PROVENANCE)
    assert arrival_of(far) == Arrival("near", **PROVENANCE)
    assert vars(far)["batchudp_"] == "1.1.1.1"
    assert vars(copy.copy(far))["_x"] == 1
    assert (far.getMessage(), far.exc_info) == ("hello", None)
    assert batch.fields_refused == 1


@pytest.mark.parametrize(
    ("name", "attribute"),
    [
        ("user", "user"),
        ("user.id-2", "user.id-2"),
        ("größe", "größe"),
        ("msg", "msg_"),
        ("hops", "hops"),
        ("batchudp", "batchudp_"),
        ("_private", "_private"),
        ("__class__", "__class___"),
        ("@1/st: b.c", "@1/st: b.c"),
        ("", None),
        ("a\nb", None),
        ("x" * 128, "x" * 128),
        ("x" * 129, None),
    ],
)
def test_names_that_may_become_attributes(name: str, attribute: str | None) -> None:
    """Whatever is printable and no longer than 128 characters; nothing that a record needs."""
    assert attribute_name(name) == attribute


def test_part_of_a_batch() -> None:
    """A worker can make the records of a batch in portions."""
    snaps = [taken(record("%s", number, number=number)) for number in range(10)]
    batch = decode_payload(0, encode_compact(snaps, BatchHeader("h", {})), DecodeLimits())
    parts = [records(batch, PROVENANCE, start=at, stop=at + 4) for at in (0, 4, 8)]
    assert [len(part) for part in parts] == [4, 4, 2]
    far = [record for part in parts for record in part]
    assert [(r.getMessage(), vars(r)["number"]) for r in far] == [(str(i), i) for i in range(10)]


def test_record_factory_of_the_program_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """`logging.setLogRecordFactory` decides the class and may add attributes."""

    class Own(logging.LogRecord):
        pass

    monkeypatch.setattr(logging, "_logRecordFactory", Own)
    far = ship(record("hello"))
    assert type(far) is Own
    assert far.getMessage() == "hello"


def test_record_without_a_time_gets_the_time_of_receipt() -> None:
    """A line from netcat has no time; it is printed with that of its arrival."""
    batch = decode_payload(0, b'{"message":"hi"}', DecodeLimits())
    (far,) = records(batch, PROVENANCE)
    assert (far.created, far.msecs) == (7.25, 250.0)


def test_what_a_receiver_knows_of_a_record() -> None:
    """It is found by its type; copies keep it, and a pickle holds a plain dict."""
    far = ship(record("x"))
    known = arrival_of(far)
    assert known == Arrival("near", **PROVENANCE)
    assert copy.copy(known) is copy.deepcopy(known) is known
    assert pickle.loads(pickle.dumps(known))["hostname"] == "near"  # our own
    assert arrival_of(record(batchudp=5)) is arrival_of(record()) is arrival_of(object()) is None


def test_exceptions_are_restored_where_that_is_wanted() -> None:
    """`exc_info` is there for tools, and every formatter prints the text that came."""
    try:
        raise KeyError("a")
    except KeyError:
        near = record("failed", exc_info=sys.exc_info())
    payload = encode_compact([taken(near), taken(record())], BatchHeader("near", {}))
    batch = decode_payload(0, payload, DecodeLimits())
    plain, _ = records(batch, PROVENANCE)
    far, other = records(batch, PROVENANCE, restore_exceptions=True)
    assert plain.exc_info is other.exc_info is None
    assert far.exc_info is not None
    kind, error, traceback = far.exc_info
    assert kind is not None
    assert (kind.__name__, kind.__module__, str(error)) == ("KeyError", "builtins", "'a'")
    assert traceback is error.__traceback__ is not None  # type: ignore[union-attr]
    formatter = logging.Formatter()
    assert formatter.format(far) == formatter.format(near)


def mixed() -> Batch:
    """Three rows, of which the second was refused, with something in every column."""
    snaps = [taken(record("%s", number)) for number in range(3)]
    batch = decode_payload(0, encode_compact(snaps, BatchHeader("near", {})), DecodeLimits())
    errors = [{"text": f"error {number}"} for number in range(3)]
    return replace(
        batch,
        contents=[batch.contents[0], None, batch.contents[2]],
        extras={"user": (None, ["a", "b", "c"]), "hops": ([1, 2], [8, 9])},
        stack_info=([0, 1], ["stack", "refused"]),
        errors=([1, 2], errors[1:]),
    )


def test_a_refused_record_costs_no_other_anything() -> None:
    """The rest have the extras, texts and exceptions of their own rows."""
    first, last = map(vars, records(mixed(), PROVENANCE, restore_exceptions=True))
    assert (first["args"], last["args"]) == ((0,), (2,))
    assert (first["user"], last["user"]) == ("a", "c")
    assert (first["stack_info"], last["stack_info"]) == ("stack", None)
    assert (first["hops"], last["hops"]) == (1, 9)
    assert first["exc_info"] is None
    assert str(last["exc_info"][1]) == "error 2"


def test_only_the_record_with_an_extra_says_that_it_hides_something() -> None:
    """The receiver's own value stands in all others."""
    first, last = map(arrival_of, records(mixed(), PROVENANCE))
    assert first is not None
    assert last is not None
    assert (first.hops, first.shadowed) == (1, frozenset())
    assert (last.hops, last.shadowed) == (1, frozenset({"hops"}))


def test_part_of_a_batch_with_refused_records() -> None:
    """Rows are counted, not records, so portions never overlap."""
    batch = mixed()
    parts = [records(batch, PROVENANCE, start=at, stop=at + 1) for at in range(3)]
    assert [[vars(far)["user"] for far in part] for part in parts] == [["a"], [], ["c"]]
    assert [far.stack_info for part in parts for far in part] == ["stack", None]


class Refusing(logging.LogRecord):
    def __init__(self, *args: Any) -> None:
        raise SystemExit("no record")


def no_attributes(*args: Any) -> Any:
    return object()


@pytest.mark.parametrize(
    ("factory", "error"), [(Refusing, SystemExit), (no_attributes, AttributeError)]
)
def test_a_record_factory_that_fails_costs_its_own_kind_only(
    factory: Any, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The records arrive as plain ones, and the program is told what was raised."""
    batch = decode_payload(
        0, encode_compact([taken(record())], BatchHeader("near", {})), DecodeLimits()
    )
    monkeypatch.setattr(logging, "_logRecordFactory", factory)
    told: list[BaseException] = []
    (far,) = records(batch, PROVENANCE, on_error=told.append)
    (again,) = records(batch, PROVENANCE)
    assert [*map(type, told)] == [error]
    assert type(far) is type(again) is ArrivedRecord
    assert far.getMessage() == again.getMessage() == "hello"
    assert arrival_of(far) == Arrival("near", **PROVENANCE)


@pytest.mark.parametrize("task", ["task", None])
@pytest.mark.parametrize("has_task", [True, False], ids=["3.12", "3.11"])
def test_a_task_has_a_name_where_this_python_has_one(
    has_task: bool, task: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Python whose records have no `taskName` gets none unless the far side had one."""
    batch = decode_payload(
        0, encode_compact([taken(record())], BatchHeader("near", {})), DecodeLimits()
    )
    [(process, process_name, thread, thread_name, _, *more)] = batch.origins
    origin = (process, process_name, thread, thread_name, task, *more)
    monkeypatch.setattr(rebuild, "HAS_TASK", has_task)
    (far,) = records(replace(batch, origins=[origin]), PROVENANCE)
    assert vars(far).get("taskName", "missing") == (task if has_task or task else "missing")

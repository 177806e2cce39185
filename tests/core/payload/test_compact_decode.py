"""Compact payloads that somebody else wrote."""

from __future__ import annotations

import logging
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchudp_handler.core.errors import DecodeError, Reason
from tests.core.payload.compact_documents import changed, made, read, reason, valid

EVERY = logging.Formatter(
    "%(name)s %(levelno)d %(levelname)s %(pathname)s %(filename)s %(module)s %(lineno)d "
    "%(funcName)s %(created)f %(asctime)s %(msecs)03d %(relativeCreated)d %(thread)d "
    "%(threadName)s %(process)d %(processName)s %(message)s"
)
BRACES = logging.Formatter(
    "{name:<9}{levelname:<9}{pathname:<9}{module:<9}{funcName:<9}{processName:<9}{threadName:<9}"
    "{created:.3f}{msecs:03.0f}{relativeCreated:.0f}{message:<5}",
    style="{",
)


def test_every_member_is_read() -> None:
    """Sites, origins, times, arguments, extras and texts come to their records."""
    first, second, third, fourth = made(read(valid()))
    assert (first.name, first.msg, first.args) == ("shop", "%s took %d ms", ("alice", 12))
    assert (second.getMessage(), second.funcName, second.stack_info) == (
        *("pool empty", "None"),
        "slow",
    )
    assert (first.msecs, second.created, third.relativeCreated) == (12.0, 1_700_000_000.5, 7.25)
    assert (vars(third)["hostname"], vars(third)["hops"], third.threadName) == ("h", 2, "t")
    assert (vars(first)["hostname"], vars(first)["hops"]) == ("web-1", 1)
    assert (vars(first)["user"], vars(third)["user"]) == (1, {"id": [2]})
    assert not hasattr(second, "user")
    assert (vars(fourth)["all"], fourth.exc_text, vars(fourth)["service"]) == (
        *(4, "Traceback"),
        "shop",
    )
    assert [f"{r.created:f}" for r in (first, third)] == ["1700000000.000000", "1700000000.000015"]


def test_members_may_be_missing() -> None:
    """Only what places records is required."""
    needed = ("time", "delta", "sites", "origins", "site", "values", "strings")
    batch = read({name: value for name, value in valid().items() if name in needed})
    assert len(made(batch)) == 4


def test_unknown_members_are_ignored() -> None:
    """A later version may say more."""
    assert len(read({**valid(), "future": [1]})) == 4


BROKEN = [
    ("site", "x"),
    ("site", []),
    ("site", [0, 1, 0, 2]),
    ("site", [0, 1, 0, -1]),
    ("site", [0, 1, 0, True]),
    ("site", [0, 1, 0, 1.0]),
    ("site", [0, 1, 0]),
    ("site", [0, 0, 0, 1]),
    ("origin", [0, 0, 1]),
    ("origin", [0, 0, 2, 0]),
    ("origin", None),
    ("origins", []),
    ("origins", [[1]]),
    ("origins", [5]),
    ("sites", {}),
    ("sites", []),
    ("values", []),
    ("values", [[{"of": [0, 0]}, [12, 13]]]),
    ("values.0", [{"of": [0, 0]}]),
    ("values.0", [[1, 2], [1]]),
    ("values.0", [[1, 2, 3], [1, 2, 3]]),
    ("values.0", 7),
    ("values.0.0", {"of": [0, 2]}),
    ("values.0.0", {"of": [0, -1]}),
    ("values.0.0", {"of": "ab"}),
    ("values.0.0", {}),
    ("values.0.0", None),
    ("values.1", []),
    ("strings", [1, 2]),
    ("strings", "ab"),
    ("delta", [1, 2]),
    ("delta", [1, 2, 0.5]),
    ("delta", [1, 2, True]),
    ("delta", [1, 2, -(10**18)]),
    ("time", "now"),
    ("time", None),
    ("time", -1),
    ("time", 10**18),
    ("start", 10**30),
    ("start", None),
    ("msecs", [[0], [1000]]),
    ("msecs", [[0], [-1]]),
    ("msecs", [[0], ["1"]]),
    ("msecs", [[4], [1]]),
    ("msecs", [[0, 1], [1]]),
    ("created", [[0], [1e20]]),
    ("created", [[0], [True]]),
    ("relative", [[0], [1e16]]),
    ("relative", [0]),
    ("extra", []),
    ("extra", {"a": 5}),
    ("extra", {"a": [None, [1]]}),
    ("extra", {"a": [[9], [1]]}),
    ("extra", {"a": ["x", [1]]}),
    ("exc", [[0]]),
    ("stack", [None, ["x"]]),
]


@pytest.mark.parametrize(("path", "value"), BROKEN, ids=range(len(BROKEN)))
def test_payload_that_cannot_be_divided_is_refused(path: str, value: object) -> None:
    """Where it is not certain which value belongs to which record, nothing is guessed."""
    assert reason(changed(path, value)) is Reason.SHAPE


@pytest.mark.parametrize(
    ("path", "value", "malformed"),
    [
        ("sites.0", 5, 2),
        ("sites.0", ["shop"], 2),
        ("sites.0.0", None, 2),
        ("sites.0.1", True, 2),
        ("sites.0.1", "20", 2),
        ("sites.0.1", 10**9, 2),
        ("sites.0.2", 20, 2),
        ("sites.0.6", 5, 2),
        ("sites.0.6", None, 2),
        ("sites.0.6", "x" * 1_025, 2),
        ("sites.0.7", 0, 2),
        ("sites.0.7", "2", 2),
        ("sites.0.7", 1_000, 2),
        ("sites.1.7", 1, 2),
        ("sites.1.8", 5, 2),
        ("values.0.1", [12, [1]], 1),
        ("values.0.1", [12, {}], 1),
        ("values.1.0", ["text", 5], 1),
        ("values.1.0", [None, "text"], 1),
    ],
)
def test_bad_record_costs_itself_only(path: str, value: object, malformed: int) -> None:
    """What is wrong with one record or site is counted, and the rest is kept."""
    batch = read(changed(path, value))
    assert batch.malformed == malformed
    assert len(batch) == len(made(batch)) == 4 - malformed
    assert all(EVERY.format(record) for record in made(batch))


@pytest.mark.parametrize(
    "template",
    ["%s took %99999999d", "%s took %*d", "%s took %s %s", "%s", "%d took %d", "%s %c", "%(a)s"],
)
def test_untrusted_template_is_shown_as_it_is(template: str) -> None:
    """Templates that could raise or explode are counted, and printed with their arguments."""
    batch = read(changed("sites.0.6", template))
    texts = [record.getMessage() for record in made(batch)]
    assert texts[0] == f"{template} ('alice', 12)"
    assert batch.templates_refused == 2
    assert batch.malformed == 0


def test_trust_depends_on_the_types_of_each_record() -> None:
    """Of one site, the record whose argument does not fit is shown as it is; the other is not."""
    batch = read(changed("values.0.1", [12, "many"]))
    texts = [record.getMessage() for record in made(batch)]
    assert texts[0] == "alice took 12 ms"
    assert texts[2] == "%s took %d ms ('alice', 'many')"
    assert batch.templates_refused == 1


def test_exception_that_is_no_text_is_left_out() -> None:
    """Formatters add `exc_text` to a `str`, so nothing else may be in it."""
    batch = read(changed("exc", [[3], [5]]))
    assert made(batch)[3].exc_text is None
    assert batch.fields_refused == 1


def test_a_site_without_records() -> None:
    """Its columns are empty, and a template that nobody uses is not tried."""
    document = valid()
    document["sites"].append(["idle", 20, "INFO", "/x.py", 1, "f", "%z %s", 1])
    document["values"].append([[]])
    batch = read(document)
    assert (len(made(batch)), batch.templates_refused, batch.malformed) == (4, 0, 0)


def test_types_come_to_their_records() -> None:
    """Extras of some or all rows, messages, exceptions; a typed value makes no extra."""
    document = changed("values.1.0", ["[1]", "pool full"])
    document["typed"] = {
        "user": [[2], [["tuple", 2]]],
        "all": [None, [["decimal", str(row)] for row in range(4)]],
        "unknown": [[0], [["tuple"]]],
    }
    document["shape"] = [[1], [["tuple", ["list", 1], ["tuple"]]]]
    document["error"] = [[3], [["ValueError"]]]
    batch = read(document)
    first, second, third, fourth = made(batch)
    assert (vars(first)["user"], vars(third)["user"]) == (1, (2,))
    assert vars(fourth)["all"] == Decimal(3)
    assert (second.getMessage(), second.msg) == ("[1]", [1])
    assert "unknown" not in vars(first)
    assert batch.errors == ([3], [["ValueError"]])


def test_types_are_an_object_of_columns() -> None:
    """As extras are."""
    assert reason({**valid(), "typed": []}) is Reason.SHAPE


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 5)
    | st.sampled_from([10**30, -(10**17), 1.5, 1e300, "%s", "%d %s", "x", "", "\ud800", "%c"])
    | st.text(max_size=3),
    lambda children: (
        st.lists(children, max_size=4)
        | st.dictionaries(st.sampled_from(["of", "a", "msg", "hops", "_"]), children, max_size=2)
    ),
    max_leaves=6,
)


def paths_of(value: object, above: str = "") -> list[str]:
    """The paths of all values in a document."""
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    here = [f"{above}{key}" for key, _ in items]
    return here + [path for key, item in items for path in paths_of(item, f"{above}{key}.")]


@settings(max_examples=1_500, deadline=None)
@given(
    path=st.sampled_from([p for p in paths_of(valid()) if "static.service." not in p]),
    value=json_values,
)
def test_nothing_from_the_wire_raises_in_a_formatter(path: str, value: object) -> None:
    """Whatever stands where: the payload is refused, or all of its records can be printed."""
    try:
        batch = read(changed(path, value))
    except DecodeError:
        return
    arrived = made(batch)
    assert len(arrived) == len(batch) == 4 - batch.malformed
    for record in arrived:
        EVERY.format(record).encode()
        BRACES.format(record).encode()

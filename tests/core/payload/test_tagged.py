"""Values with their types, in JSON and back."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.payload.budget import Budget, Price
from batchudp_handler.core.payload.limits import DecodeLimits
from batchudp_handler.core.payload.tagged import decode, encode
from batchudp_handler.core.records.kept import Typed, keep


class Colour(Enum):
    RED = 1


def kept(value: object) -> Any:
    made = keep(value)
    return made.value if type(made) is Typed else made


def read(node: Any, depth: int = 64) -> Any:
    return decode(node, Budget(DecodeLimits()), depth)


VALUES = [
    *("text", 5, 2.5, True, None, float("nan"), float("-inf"), b"\xff\x00", bytearray(b"a")),
    *(datetime(2026, 1, 2, 3, tzinfo=UTC), datetime(2026, 1, 2, fold=1), date(2026, 1, 2)),
    *(
        datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=1), "CET")),
        time(1, 2),
        time(3, fold=1),
    ),
    *(timedelta(-1, 2, 3), Decimal("1.50"), Decimal("NaN"), Fraction(-1, 3), UUID(int=7), 1 - 2j),
    *(range(1, 9, 2), IPv4Address("192.0.2.1"), IPv6Address("::1"), Path("/x")),
    *(PurePosixPath("/a"), PureWindowsPath("C:\\a"), (1, (2,)), [1, [2]], {1, 2}, frozenset("a")),
    *({"list": ["list", 1]}, {1: 2, "1": 3, None: (4,)}, Colour.RED, [Colour.RED], object()),
    *([{"a": [Decimal(1)]}], set(map(str, range(20))), {frozenset({1}): {2}}, ["shown", "a", "b"]),
]


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_there_and_back(value: object) -> None:
    """Type and both texts are what they were, through the text of JSON."""
    near = kept(value)
    far = read(json.loads(json.dumps(encode(near))))
    assert (type(far), str(far), repr(far)) == (type(near), str(near), repr(near))
    assert far == near or far != far  # NaN


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
    | st.datetimes()
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.decimals().filter(lambda value: not value.is_snan())  # which has no hash
    | st.fractions()
    | st.uuids()
    | st.complex_numbers()
    | st.ip_addresses()
    | st.sampled_from(Colour)
)
hashable = scalars | st.tuples(scalars, scalars) | st.frozensets(scalars, max_size=3)
values = st.recursive(
    hashable,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(hashable, inner, max_size=4)
        | st.sets(hashable, max_size=4)
    ),
    max_leaves=12,
)


@given(values)
def test_any_value_prints_the_same(value: object) -> None:
    """Whatever is nested in what."""
    far = read(json.loads(json.dumps(encode(kept(value)))))
    assert (str(far), repr(far)) == (str(value), repr(value))


def test_only_kept_values_have_a_form() -> None:
    """Everything else is a mistake of ours."""
    with pytest.raises(TypeError):
        encode(object())


HOSTILE = [
    [],
    [5],
    [["list"]],
    [{}],
    ["os.system", "true"],
    ["Decimal", "1"],
    ["decimal", "1E+999999"],
    ["decimal", "sNaN"],
    ["decimal", 5],
    ["decimal", "1" * 5_000],
    ["decimal"],
    ["fraction", 1, 0],
    ["fraction", True, 2],
    ["fraction", 10**400, 1],
    ["range", 1, 2, 0],
    ["range", 1, 2, "3"],
    ["bytes", "not base64!"],
    ["bytes", 5],
    ["datetime", "yesterday"],
    ["datetime", "2026-01-02T00:00:00", "zone"],
    ["date", "2026-13-01"],
    ["timedelta", 10**12, 0, 0],
    ["uuid", "5"],
    ["ip4", "1.2.3.4.5"],
    ["ip6", "::" * 40],
    ["complex", "1", []],
    ["posixpath", "a\0b"],
    ["posixpath", ["a"]],
    ["float", "1e5"],
    ["float"],
    ["set", ["list"]],
    ["dict", ["list"], 1],
    ["dict", 1],
    ["shown", None, 5],
    ["shown", ["date", "2026-01-02"], "a"],
    ["shown", 1],
    ["set", *range(0, 20 * (2**61 - 1), 2**61 - 1)],
    ["frozenset", *[-1, -2], *[n * (2**61 - 1) for n in range(1, 20)]],
]


def is_refused(node: Any, depth: int = 64) -> bool:
    """Whether something is raised that is not about the budget."""
    try:
        read(node, depth)
    except DecodeError:
        raise
    except Exception:  # noqa: BLE001  # whatever constructors raise
        return True
    return False


@pytest.mark.parametrize("node", HOSTILE, ids=lambda node: str(node)[:40])
def test_what_is_written_otherwise_is_refused(node: Any) -> None:
    """No tag but those of the list means anything, and what constructors refuse is refused."""
    assert is_refused(node)


def test_depth_and_work_are_bounded() -> None:
    """Each array costs something before it is worked on."""
    node: Any = 1
    for _ in range(10):
        node = ["list", node]
    assert read(node, 10) == [[[[[[[[[[1]]]]]]]]]]
    assert is_refused(node, 9)
    with pytest.raises(DecodeError) as caught:
        decode(node, Budget(DecodeLimits(work=9 * Price.TYPED)), 64)
    assert caught.value.reason is Reason.WORK_LIMIT

"""A decoded payload is as long as it has good records."""

from __future__ import annotations

from typing import Any

import pytest

from batchudp_handler.core.records.batch import Batch, BatchHeader


def batch(contents: list[Any]) -> Batch:
    rows = len(contents)
    times = ([1.0] * rows, [0.0] * rows, [0.0] * rows)
    return Batch("host", {}, [], [], [0] * rows, None, contents, *times, {}, ((), ()), ((), ()))


@pytest.mark.parametrize(
    ("contents", "good"),
    [([], 0), ([("a", ())], 1), ([None], 0), ([("a", ()), None, ("", ()), None], 2)],
    ids=["empty", "good", "refused", "mixed"],
)
def test_refused_records_have_a_row_and_do_not_count(contents: list[Any], good: int) -> None:
    """A text of nothing is a record; None in its place is none."""
    assert len(batch(contents)) == good


def test_nothing_was_refused_unless_that_is_said() -> None:
    """Decoders say what they left out, and only that."""
    made = batch([("a", ())])
    assert (made.malformed, made.templates_refused, made.fields_refused, made.truncated) == (
        0,
    ) * 4
    assert made.errors == ((), ())


def test_headers_share_no_fields() -> None:
    """A sender without static fields has a mapping of its own."""
    one, other = BatchHeader("a"), BatchHeader("b")
    assert one.static_fields == other.static_fields == {}
    assert one.static_fields is not other.static_fields

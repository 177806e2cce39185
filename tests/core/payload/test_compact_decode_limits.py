"""What a compact payload may hold at most: tables, names, texts, and what they multiply to."""

from __future__ import annotations

import pytest

from batchudp_handler.core.errors import Reason
from batchudp_handler.core.payload.limits import DecodeLimits
from tests.core.payload.compact_documents import changed, made, read, reason, valid


def test_limits_on_numbers() -> None:
    """Too many records, or arguments, are refused."""
    assert reason(valid(), DecodeLimits(records=3)) is Reason.TOO_MANY_RECORDS
    assert read(valid(), DecodeLimits(args=1)).malformed == 2


def test_what_the_table_multiplies_to_is_limited() -> None:
    """Strings of the table are short; what records take from it is charged (test_budget.py)."""
    assert reason(changed("strings.0", "x" * 1_025)) is Reason.INFLATE_LIMIT


def test_long_texts_are_cut() -> None:
    """Messages, exceptions, names and extras beyond their limits end in a marker."""
    limits = DecodeLimits(text_characters=50, extra_characters=40, name_characters=20)
    document = valid()
    document["values"][1][0] = ["m" * 60, "short"]
    document["values"][0][0] = ["a" * 60, "b"]
    document["exc"] = [[3], ["e" * 60 + "!"]]
    document["extra"]["user"][1][0] = "u" * 60
    document["sites"][0][0] = "n" * 60
    batch = read(document, limits)
    first, second, _, fourth = made(batch)
    assert second.getMessage() == "m" * 50 + "… [truncated 10 characters]"
    assert first.getMessage().startswith("a" * 50 + "… [")
    assert fourth.exc_text == f"{'e' * 12}\n… [truncated 36 characters] …\n{'e' * 12}!"
    assert vars(first)["user"] == "u" * 40 + "… [truncated 20 characters]"
    assert first.name == "n" * 20 + "… [truncated 40 characters]"
    assert batch.truncated == 5


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ([[[1]]], True),
        ([[[[1]]]], False),
        ({"a": {"b": {"c": 1}}}, True),
        ({"a": {"b": {"c": {"d": 1}}}}, False),
        (["x" * 30], True),
        (["x" * 300], False),
        ({"x" * 300: 1}, False),
    ],
    ids=range(7),
)
def test_extras_are_limited_in_depth_and_size(value: object, kept: bool) -> None:
    """A container that is too deep or too large is left out; the record stays."""
    limits = DecodeLimits(extra_depth=3, extra_characters=100)
    batch = read(changed("extra.user.1.1", value), limits)
    assert len(made(batch)) == 4
    assert hasattr(made(batch)[2], "user") is kept
    assert batch.fields_refused == (0 if kept else 1)


def test_number_of_extras_per_record_is_limited() -> None:
    """A record keeps its first extras; the others are counted."""
    batch = read(valid(), DecodeLimits(extras=1))
    assert batch.fields_refused == 2
    assert [hasattr(record, "all") for record in made(batch)] == [False, True, False, True]


def test_number_of_places_is_limited() -> None:
    """Tables may have no more rows than records are allowed, or than sites are."""
    assert len(read(valid(), DecodeLimits(sites=2))) == 4
    assert reason(valid(), DecodeLimits(sites=1)) is Reason.SHAPE
    threads = [[1, "p", number, "t", None] for number in range(5)]
    assert len(read(changed("origins", threads), DecodeLimits(records=5))) == 4
    assert reason(changed("origins", threads), DecodeLimits(records=4)) is Reason.SHAPE


def test_names_of_extras_are_limited() -> None:
    """A batch keeps its first names; names that no attribute may have are left out as well."""
    batch = read(valid(), DecodeLimits(extra_names=1))
    assert (set(batch.extras), batch.fields_refused) == ({"user"}, 4)
    document = valid()
    document["extra"] = {"": [None, [1, 2, 3, 4]], "a\n": [[0], [1]], **document["extra"]}
    batch = read(document)
    assert (set(batch.extras), batch.fields_refused) == ({"user", "all"}, 5)


@pytest.mark.parametrize("value", [1e308, -1e308])
def test_large_floats_print_more_than_small_ones(value: float) -> None:
    """`%f` of them has three hundred digits, and each record is charged for them."""
    limits = DecodeLimits(inflated_bytes=8_000, output_factor=2)
    small, large = valid(), valid()
    for document, number in ((small, 0.5), (large, value)):
        document["sites"][0][6:8] = ["%f" * 40, 40]
        document["values"][0] = [[number, number]] * 40
    assert len(read(small, limits)) == 4
    assert reason(large, limits) is Reason.OUTPUT_LIMIT

"""The settings of a sending machine."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from batchudp_handler.core.errors import ConfigError
from batchudp_handler.core.records.batch import BatchHeader
from batchudp_handler.core.send.settings import SenderSettings
from batchudp_handler.core.send.splitter import MAX_RECORDS
from batchudp_handler.core.wire.constants import MAX_FRAGMENTS
from tests.core.send.bench import encode

if TYPE_CHECKING:
    from batchudp_handler.core.records.batch import JSON


@pytest.mark.parametrize(
    "wrong",
    [
        {"encoding": "xml"},
        {"encoding": "json", "acknowledged": True},
        {"max_datagram_size": 100},
        {"max_datagram_size": 65_508},
        {"max_retries": -1},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, object]) -> None:
    """A setting that cannot work is an error at once, with the allowed values in it."""
    with pytest.raises(ConfigError, match=r"is|needs"):
        SenderSettings(**wrong)  # type: ignore[arg-type]  # that is the point


def test_the_host_is_in_the_settings() -> None:
    """A header with nothing in it is the default."""
    assert SenderSettings().header == BatchHeader("")


def test_what_belongs_to_a_stream_is_told_apart() -> None:
    """The number of retries does not, the delivery does."""
    settings = SenderSettings()
    assert settings.of_the_stream == replace(settings, max_retries=9).of_the_stream
    assert settings.of_the_stream != replace(settings, acknowledged=True).of_the_stream


def test_json_has_no_fragments() -> None:
    """Its readers could not put them together."""
    assert SenderSettings(encoding="json").max_fragments == 1
    assert SenderSettings().max_fragments == MAX_FRAGMENTS


@pytest.mark.parametrize(("held", "most"), [(1 << 62, MAX_RECORDS), (400, 100), (3, 1), (0, 1)])
def test_at_least_four_datagrams_share_what_may_be_held(held: int, most: int) -> None:
    """What is dropped for want of room goes by the datagram."""
    assert SenderSettings(max_held_records=held).max_batch == most


def test_static_fields_that_print_much_make_datagrams_smaller() -> None:
    """A receiver bounds what it prints; fields too deep to measure are the encoder's trouble."""
    assert SenderSettings(header=BatchHeader("", {"a": "x" * (1 << 20)})).max_batch <= 8
    deep: JSON = None
    for _ in range(100_000):
        deep = [deep]
    assert SenderSettings(header=BatchHeader("", {"a": deep}), encoder=encode).max_batch == 1024


def test_the_encoder_is_the_one_that_was_given() -> None:
    """Otherwise the one of the encoding's name."""
    assert SenderSettings(encoder=encode).make_encoder() is encode
    assert SenderSettings().make_encoder() is not encode

"""The settings of a sending machine."""

from __future__ import annotations

import pytest

from batchudp_handler.core.errors import ConfigError
from batchudp_handler.core.records.batch import BatchHeader
from batchudp_handler.core.send.settings import SenderSettings


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

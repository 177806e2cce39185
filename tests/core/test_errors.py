"""The error tree and the reasons."""

from __future__ import annotations

import pytest

from batchudp_handler.core.errors import (
    BatchUDPError,
    ConfigError,
    DecodeError,
    Reason,
    explained,
)


def test_bad_settings_can_be_caught_as_value_errors() -> None:
    """A `ConfigError` is one of ours, and a `ValueError` for those who do not know us."""
    with pytest.raises(ValueError, match="batch_size"):
        raise ConfigError("batch_size must be positive")
    assert issubclass(ConfigError, BatchUDPError)


def test_decode_error_names_its_counter() -> None:
    """The reason is an attribute and begins the text."""
    error = DecodeError(Reason.INFLATE_LIMIT, "1 MiB")
    assert error.reason is Reason.INFLATE_LIMIT
    assert (str(error), str(DecodeError(Reason.JSON))) == ("inflate_limit: 1 MiB", "json")


def test_reasons_are_counter_names() -> None:
    """Every value is the lower-case name, as metrics and documentation spell it."""
    assert [str(reason) for reason in Reason] == [reason.name.lower() for reason in Reason]


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (
            "rate_limited",
            (
                "rate_limited: The source sent more than `source_rate` allows."
                " Advice: raise source_rate, or make the sender log less."
            ),
        ),
        (Reason.BAD_CRC, "bad_crc: The checksum is wrong: bytes changed on the way."),
        ("a_later_reason", "a_later_reason"),
    ],
    ids=["with advice", "without", "not known"],
)
def test_a_reason_is_explained(reason: str, text: str) -> None:
    """Meaning and advice follow the name; a name that the table lacks stands alone."""
    assert explained(reason) == text

"""Counters are plain text that knows what it means, and errors of the system are put in words."""

from __future__ import annotations

import pytest

from batchudp_handler.core.causes import Cause, SendTrouble, trouble_words


def test_a_name_is_the_text_that_is_counted() -> None:
    """So the tables can be asked with a counter's name, and JSON and metrics print that alone."""
    assert {"buffer_full": 3}[Cause.BUFFER_FULL] == 3
    assert f"{SendTrouble.REFUSED}" == "ECONNREFUSED"


def test_an_advice_is_there_where_something_helps() -> None:
    """Every name has a meaning; only some have an advice."""
    assert Cause.OVERSIZE.meaning.startswith("Too large for a datagram")
    assert "max_datagram_size" in Cause.OVERSIZE.advice
    assert Cause.INTERNAL_ERROR.advice == ""


@pytest.mark.parametrize("names", [Cause, SendTrouble])
def test_no_name_stands_twice(names: type[Cause | SendTrouble]) -> None:
    """A name that stood twice would be an alias, and the later meaning would be lost."""
    assert len(names.__members__) == len(list(names))


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        (
            *("ECONNREFUSED", "Connection refused"),
            "no receiver is listening at this address (ECONNREFUSED)",
        ),
        ("EIO", "Input/output error", "input/output error (EIO)"),
        ("EIO", "", " (EIO)"),
    ],
    ids=["known", "of the system", "no text"],
)
def test_an_error_in_words(name: str, text: str, words: str) -> None:
    """By the table where it has the name, else as the system says it; the name stands behind."""
    assert trouble_words(name, text) == words

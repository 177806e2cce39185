"""Which patterns are refused, and which are doubted."""

from __future__ import annotations

import logging

import pytest

from batchudp_handler.console import DEFAULT_PATTERN
from batchudp_handler.core.errors import ConfigError
from batchudp_handler.core.output.line_pattern import check_pattern


@pytest.mark.parametrize(
    "pattern",
    [
        *("%(message)s 100% done", "%(levelname) %(message)s", "%(message)q", "%(message)"),
        *("%s", "%d %(message)s", "%(message)s %", "%(message", "% (message)s", "%(message)*d"),
        *("%(message)d", "%(levelname)5.2f", "%(created)c", "%(asctime)x", "%(message)99999s"),
        *("%(lineno)d %", "%%%(name)", "%(name)c"),
    ],
)
def test_what_no_record_fits_is_refused(pattern: str) -> None:
    """Whatever a record holds, this cannot be printed."""
    with pytest.raises(ConfigError, match="pattern"):
        check_pattern(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        *(DEFAULT_PATTERN, "%(message)s", "%(levelname)-8.3s|%(lineno)05d|%(msecs)03.0f"),
        *("100%% %(message)s", "%(status)d %(user)s", "%(created)d", "%(levelno)x", "%(thread)s"),
        *("%(authenticated)s", "no attribute at all", "", "%(a b)s", "%()s"),
    ],
)
def test_what_some_record_fits_is_taken(pattern: str) -> None:
    """And can then be printed."""
    assert check_pattern(pattern) == []
    record = vars(logging.makeLogRecord({"authenticated": True, "levelno": 20}))
    others = {"message": "m", "asctime": "t", "hostname": "h", "status": 1, "user": "u"}
    pattern % {**record, **others, "a b": 1, "": 1}


def test_what_looks_like_a_mistake_is_said() -> None:
    """An unknown name is that of an extra, unless it nearly is that of an attribute."""
    (doubt,) = check_pattern("%(levlname)s %(message)s %(order)s")
    assert "'levlname'" in doubt
    assert "'levelname'" in doubt

"""The script's output: one record, one line, and nothing in it that acts on a terminal."""

from __future__ import annotations

import io
import json
import logging
import sys

import pytest

from batchudp_handler.console import (
    JSONFormatter,
    TextFormatter,
    escape,
    last_resort,
    wants_colour,
)
from batchudp_handler.core.records.arrival import Arrival

HOSTILE = "hi\r\n2026-01-01 forged\x1b[31m\x9b31m \u202egnp.exe \u2028 \ud800 \x00"


def make_record(message: str = "hi %s", *args: object, **values: object) -> logging.LogRecord:
    record = logging.LogRecord("app.web", logging.WARNING, "/srv/app.py", 12, message, args, None)
    record.created, record.msecs = 1_700_000_000.25, 250.0
    record.__dict__.update(values)
    return record


def test_escape_leaves_ordinary_text_alone() -> None:
    """Letters of any script, emoji, tabs and backslashes are not touched."""
    for text in ("plain", "é ü 漢字 ğ", "tab\tand \\n backslash", "\u00a0 wide", "👩‍💻"):
        assert escape(text) == text


def test_text_is_one_line_without_control_characters() -> None:
    """A hostile message becomes one line of visible characters."""
    line = TextFormatter("%(name)s: %(message)s").format(make_record(HOSTILE))
    assert line == (
        r"app.web: hi\r\n2026-01-01 forged\x1b[31m\x9b31m \u202egnp.exe \u2028 \ud800 \x00"
    )


def test_carriage_return_before_the_line_feed_stays() -> None:
    """A file with two-character line ends comes out as it went in; elsewhere it is escaped."""
    record = make_record("a\rb\r\r")
    assert TextFormatter("%(name)s %(message)s").format(record) == "app.web a\\rb\\r\r"
    assert TextFormatter("%(message)s %(name)s").format(record) == "a\\rb\\r\\r app.web"
    assert TextFormatter("%(message)s", raw=True).format(record) == "a\rb\r\r"


def test_every_attribute_is_escaped() -> None:
    """A line cannot be forged through a logger's, a host's or an extra's name either."""
    record = make_record("x", name="a\nb", hostname="h\x1b[2J", user="u\nv")
    line = TextFormatter("%(name)s %(hostname)s %(user)s").format(record)
    assert line == r"a\nb h\x1b[2J u\nv"


def test_raw_leaves_everything_as_it_came() -> None:
    """Those who ask for it get the characters themselves."""
    assert TextFormatter("%(message)s", raw=True).format(make_record(HOSTILE)) == HOSTILE


def test_text_has_a_dash_for_what_a_record_lacks() -> None:
    """A record of this process has no host name from the wire; the pattern works all the same."""
    line = TextFormatter("%(hostname)s %(taskName)s %(message)s").format(make_record("m"))
    assert line == "- - m"


def test_time_is_local_with_milliseconds() -> None:
    """The same instant as `logging` prints, whichever record came before."""
    formatter = TextFormatter("%(asctime)s")
    for created, msecs in ((1_700_000_000.25, 250.0), (1_700_000_000.5, 500.0), (5.0, 0.0)):
        record = make_record("m", created=created, msecs=msecs)
        expected = logging.Formatter("%(asctime)s").format(record).replace(",", ".")
        assert formatter.format(record) == expected


def test_traceback_lines_are_indented_below_the_line() -> None:
    """A traceback cannot pass for a record: each of its lines is indented and escaped."""
    record = make_record(
        "boom", exc_text="Traceback:\nValueError: \x1b[2J", stack_info="Stack:\n f"
    )
    lines = TextFormatter("%(message)s").format(record).split("\n")
    assert lines == [
        "boom",
        "    Traceback:",
        r"    ValueError: \x1b[2J",
        "    Stack:",
        "     f",
    ]


def test_formatting_does_not_change_the_record() -> None:
    """Other handlers get the record as it was."""
    try:
        raise ValueError("x")
    except ValueError:
        record = make_record("hi %s", "you", exc_info=sys.exc_info())
    before = dict(record.__dict__)
    assert "ValueError: x" in TextFormatter().format(record)
    JSONFormatter().format(record)
    assert record.__dict__ == before


def test_colour_marks_the_level_only_by_its_number() -> None:
    """The level name is coloured by its level; text of the record adds no colour."""
    formatter = TextFormatter("%(levelname)-8s %(message)s", colour=True)
    assert formatter.format(make_record("%(x)s \x1b[0m")) == (
        "\x1b[33mWARNING \x1b[0m %(x)s \\x1b[0m"
    )
    assert "\x1b[1;31m" in formatter.format(make_record("m", levelno=50))
    assert "\x1b[36m" in formatter.format(make_record("m", levelno=5))
    assert formatter.format(make_record("m", levelno=-5)) == "WARNING  m"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environ", "expected"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"NO_COLOR": ""}, True),
        (Terminal(), {"TERM": "dumb"}, False),
        (Terminal(), {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        (io.StringIO(), {}, False),
        (io.StringIO(), {"FORCE_COLOR": "1"}, True),
    ],
)
def test_who_wants_colour(stream: io.StringIO, environ: dict[str, str], expected: bool) -> None:
    """`NO_COLOR` wins over `FORCE_COLOR`, which wins over what the stream is."""
    assert wants_colour(stream, environ) is expected


def test_json_line() -> None:
    """Short keys, UTC time, extras apart, nothing that is not set."""
    record = make_record("hi %s", "you", user={"id": 5}, batchudp=Arrival("web1", "192.0.2.1:5"))
    told = json.loads(JSONFormatter().format(record))
    assert {
        key: told[key] for key in ("ts", "level", "logger", "msg", "host", "extra", "peer")
    } == {
        "ts": "2023-11-14T22:13:20.250000Z",
        "level": "WARNING",
        "logger": "app.web",
        "msg": "hi you",
        "host": "web1",
        "extra": {"user": {"id": 5}},
        "peer": "192.0.2.1:5",
    }
    assert "exception" not in told
    assert "task" not in told


@pytest.mark.parametrize("raw", [False, True])
def test_json_keeps_hostile_text(raw: bool) -> None:
    """JSON escapes lose nothing; without `raw` the line holds no dangerous character itself."""
    line = JSONFormatter(raw=raw).format(make_record(HOSTILE))
    assert json.loads(line)["msg"] == HOSTILE
    assert "\n" not in line
    assert ("\u202e" in line) is raw


def test_json_of_an_exception() -> None:
    """The traceback is text under its own key, whether rendered near or here."""
    assert json.loads(JSONFormatter().format(make_record("m", exc_text="T")))["exception"] == "T"
    try:
        raise ValueError("x")
    except ValueError:
        record = make_record("m", exc_info=sys.exc_info())
    assert "ValueError: x" in json.loads(JSONFormatter().format(record))["exception"]


class Odd:
    """A value that cannot be shown."""

    def __repr__(self) -> str:
        raise RecursionError


def test_a_record_that_fits_no_form_has_a_line_all_the_same() -> None:
    """First the default pattern, then the least that a line can say; never an error."""
    usual = last_resort(TextFormatter("%(status)d"), make_record("m"))
    assert usual.endswith("WARNING  - app.web: m")
    for values in ({"created": 1e300}, {"msg": Odd()}, {"args": ("a", "b")}, {"levelname": Odd()}):
        record = make_record("m\n", **values)
        assert "\n" not in last_resort(TextFormatter(), record)
        line = last_resort(JSONFormatter(), record)
        assert json.loads(line)["logger"] == "app.web"
        assert "\n" not in line

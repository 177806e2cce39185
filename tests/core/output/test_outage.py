"""What is said of an output that refuses, and when it is tried again."""

from __future__ import annotations

from batchudp_handler.core.output.outage import LONGEST_DELAY, QUIET_SECONDS, SLOW_SECONDS, Outage

FULL = ("ENOSPC", "No space left on device")
SLOW = ("EAGAIN", "Nobody reads")


def test_the_first_refusal_is_said_with_what_to_do() -> None:
    """The error's text, the path and the advice; and it is what is wrong from now on."""
    outage = Outage("/var/log/x.log")
    said = outage.refused(*FULL, 10.0)
    assert said == (
        "No space left on device: /var/log/x.log; free some space, records wait meanwhile"
    )
    assert outage.problem == said
    assert outage.seconds(13.0) == 3.0


def test_it_is_said_once_a_minute() -> None:
    """However often it is tried, and although it may end and begin again meanwhile."""
    outage = Outage("x")
    said = [outage.refused(*FULL, now / 10) for now in range(int(QUIET_SECONDS) * 20)]
    assert sum(each is not None for each in said) == 2
    assert outage.errors == {"ENOSPC": len(said)}
    assert outage.ended(120.0) is not None
    assert outage.refused(*FULL, 121.0) is not None
    assert outage.ended(122.0) is not None
    assert outage.refused(*FULL, 123.0) is None
    assert outage.problem is not None
    assert outage.ended(124.0) is None, "nobody heard that it began"


def test_the_pauses_become_longer() -> None:
    """Up to a second, and short again after the next success."""
    outage = Outage("x")
    delays = []
    for now in range(10):
        outage.refused(*FULL, now)
        delays.append(outage.delay)
    assert delays[:3] == [0.05, 0.1, 0.2]
    assert delays[-1] == LONGEST_DELAY
    outage.ended(11.0)
    outage.refused(*FULL, 12.0)
    assert outage.delay == 0.05


def test_a_slow_reader_is_no_outage() -> None:
    """As long as it takes something every few seconds."""
    outage = Outage("standard output")
    for now in range(100):
        assert outage.refused(*SLOW, float(now)) is None
        if now % 4 == 0:
            outage.progressed()
    assert outage.problem is None
    assert outage.errors == {}


def test_a_reader_that_stopped_is() -> None:
    """It is told, and counted once for all attempts."""
    outage = Outage("standard output")
    said = [outage.refused(*SLOW, now / 10) for now in range(200)]
    first = next(number for number, text in enumerate(said) if text is not None)
    assert first == SLOW_SECONDS * 10
    assert outage.errors == {"EAGAIN": 1}
    assert "what reads it has stopped reading" in str(outage.problem)


def test_a_part_taken_does_not_end_what_was_told() -> None:
    """Only when all is written is it over: the message then says how long it took."""
    outage = Outage("log")
    outage.refused(*FULL, 0.0)
    outage.progressed()
    assert outage.seconds(3.0) == 3.0
    assert outage.ended(4.0) == "log is written again, after 4.0 s"


def test_an_error_without_advice_is_said_too() -> None:
    """With its own words."""
    assert "Odd: x; see what is wrong" in str(Outage("x").refused("EODD", "Odd", 0.0))

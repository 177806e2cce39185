"""What a number is: one decision for every setting and every timeout, tried with odd values."""

from __future__ import annotations

import math
import sys
from datetime import timedelta
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest

from batchudp_handler.cli import receive_config, send_config
from batchudp_handler.config import ConfigError, HandlerConfig
from batchudp_handler.settings import Setting, settings_of, timeout

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIGS = [
    HandlerConfig,
    send_config.SendConfig,
    *(config for config, _ in receive_config.CONFIGS),
]
SETTINGS = [
    pytest.param(setting, id=f"{config.__name__}.{setting.name}")
    for config in CONFIGS
    for setting in settings_of(config)
]


class Ten(IntEnum):
    """A number with a name."""

    TEN = 10


class Liar:
    """Raises what no caller expects, whatever it is asked."""

    def __getattribute__(self, name: str) -> object:
        raise LookupError(name)

    def __eq__(self, other: object) -> bool:
        raise LookupError

    __hash__ = None  # type: ignore[assignment]

    def __int__(self) -> int:
        raise ZeroDivisionError

    def __repr__(self) -> str:
        raise RecursionError


def odd_values() -> Iterator[object]:
    """What may be given for a number, sensible and not."""
    yield from (0, -1, 1, 10**400, -(10**400), 10**5000, True, False, None)
    yield from (0.0, -0.0, 0.5, 1e308, 5e-324, math.inf, -math.inf, math.nan)
    yield from map(Decimal, ("10", "1.9", "NaN", "sNaN", "Infinity", "1e999999", "1e-999999"))
    yield from (Fraction(10), Fraction(1, 3), Fraction(10**400), complex(1), complex(1, 1))
    yield from (" 10 ", "1_000", "10s", "5 MB", "0x10", "1e400", "nan", "-inf", "", "9" * 5000)
    yield from (
        b"10",
        bytearray(b"10"),
        timedelta(seconds=10),
        range(10),
        [10],
        {10: 10},
        object(),
    )
    yield from (Ten.TEN, Liar(), Liar, "\0", "\ud800")


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_takes_a_value_or_names_itself_and_what_is_allowed(setting: Setting) -> None:
    """Nothing but `ConfigError` is raised, whatever the value is."""
    for value in odd_values():
        refusal = refusal_of(setting, value)
        if refusal is None:
            taken = setting.convert(value)
            assert setting.convert(taken) == taken, "what was taken is taken again"
            assert not isinstance(taken, float) or math.isfinite(taken)
        else:
            assert refusal.startswith(f"{setting.name} must be {setting.kind.allowed}, not ")
            assert len(refusal) < 600


def refusal_of(setting: Setting, value: object) -> str | None:
    try:
        setting.convert(value)
    except ConfigError as error:
        return str(error)
    return None


TAKEN = [
    (" 10 ", 10),
    ("1_000", 1000),
    (10.0, 10),
    (Decimal(10), 10),
    (Decimal("1.0"), 1),
    (Fraction(20, 2), 10),
    (Ten.TEN, 10),
]
REFUSED = [
    *(True, 1.5, "1.5", "ten", "10s", b"10", None, math.nan, math.inf),
    *(Decimal("1.9"), Decimal("NaN"), Decimal("sNaN"), Decimal("1e999999"), Fraction(3, 2)),
    *(timedelta(10), complex(10), [10]),
]


@pytest.mark.parametrize(("value", "number"), TAKEN, ids=repr)
def test_a_whole_number_is_taken_in_any_form(value: object, number: int) -> None:
    """It becomes a plain `int`."""
    taken = HandlerConfig.from_mapping({"batch_size": value}).batch_size

    assert (taken, type(taken)) == (number, int)


@pytest.mark.parametrize("value", REFUSED, ids=repr)
def test_what_is_no_whole_number_is_refused(value: object) -> None:
    """A fraction is never rounded, and the text says the range."""
    with pytest.raises(ConfigError, match=r"must be a whole number from 1 to 10{9} records, not"):
        HandlerConfig.from_mapping({"batch_size": value})


@pytest.mark.parametrize("value", [2.5, "2.5", " 2.5 ", Decimal("2.5"), Fraction(5, 2)], ids=repr)
def test_a_time_is_taken_in_any_form(value: object) -> None:
    """It becomes a plain `float`."""
    taken = HandlerConfig.from_mapping({"flush_interval": value}).flush_interval

    assert (taken, type(taken)) == (2.5, float)


def test_minus_zero_is_zero() -> None:
    """Where 0 is allowed, so is -0.0, and it is not shown with a sign."""
    assert str(HandlerConfig(shutdown_timeout=-0.0).shutdown_timeout) == "0.0"
    with pytest.raises(ConfigError, match="above 0"):
        HandlerConfig(flush_interval=-0.0)


def test_scalars_of_numpy_are_numbers() -> None:
    """But not its truth values, its arrays, and its times."""
    numpy = pytest.importorskip("numpy")

    assert HandlerConfig(batch_size=numpy.int8(10)).batch_size == 10
    assert HandlerConfig(batch_size=numpy.float32(10)).batch_size == 10
    assert type(HandlerConfig(flush_interval=numpy.float64(0.5)).flush_interval) is float
    times = [numpy.timedelta64(5, unit) for unit in ("s", "ms", "ns")]
    for value in [*times, numpy.bool_(1), numpy.array([1, 2]), numpy.float32("nan")]:
        for name in ("batch_size", "flush_interval"):
            with pytest.raises(ConfigError, match=f"{name} must be "):
                HandlerConfig.from_mapping({name: value})


def test_the_largest_level_is_the_one_that_programs_use_for_none() -> None:
    """`sys.maxsize` is fine, a level beyond is not."""
    assert HandlerConfig(flush_level=sys.maxsize).flush_level == sys.maxsize
    with pytest.raises(ConfigError, match="flush_level must be a level number from 0 to"):
        HandlerConfig(flush_level=2**63)


def test_nested_fields_do_not_change_later() -> None:
    """What is shipped is what was checked."""
    fields = {"tags": ["a"]}
    config = HandlerConfig(static_fields=fields)
    fields["tags"].append("b")

    assert config.static_fields == {"tags": ["a"]}


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        (math.inf, math.inf),
        (-1, 0.0),
        (-math.inf, 0.0),
        (-0.0, 0.0),
        (Decimal("0.5"), 0.5),
        (1e308, 1e308),
        ("0.5", 0.5),
    ],
    ids=repr,
)
def test_a_timeout_is_any_number_of_seconds(value: object, seconds: float | None) -> None:
    """Below 0 is 0, infinity is without end."""
    assert timeout(value) == seconds


def str_of_type(value: object) -> str:
    return type(value).__name__


@pytest.mark.parametrize(
    "value", [math.nan, Decimal("sNaN"), 10**400, "soon", b"1", True], ids=str_of_type
)
def test_a_timeout_that_is_no_number_is_refused(value: object) -> None:
    """With the name of the argument and what it may be."""
    with pytest.raises(ConfigError, match=r"timeout must be a number of seconds \(inf: without"):
        timeout(value)


def test_an_object_that_raises_is_refused_as_any_other() -> None:
    """Also one whose class cannot be asked for, and which cannot be shown."""
    with pytest.raises(ConfigError, match="not this Liar"):
        timeout(Liar())

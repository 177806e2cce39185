"""Numbers as values of settings: whole ones, times and rates, each with its unit.

A number is an `int` or a `float`, or what Python's own `numbers` counts as one, as `Decimal`,
`Fraction` and the scalars of numpy are. A truth value is none, nor are bytes, nor a time with a
unit of its own (`timedelta`, `numpy.timedelta64`). Text is read as Python reads it, so spaces
around it and underscores in it are fine, and units are not.
"""

from __future__ import annotations

import math
import operator
import sys
from typing import TYPE_CHECKING, Any, cast

from batchudp_handler.core.errors import ConfigError
from batchudp_handler.settings.kind import Kind, shown

if TYPE_CHECKING:
    from typing import SupportsIndex

__all__ = ["MANY", "integer", "rate", "seconds", "timeout"]

MANY = 1_000_000_000
"""More records than any memory holds: the bound of settings that count them."""
LOWEST_RATE, HIGHEST_RATE = 0.001, 1_000_000_000.0
"""Per second. A lower one is no rate but a stop, and above a thousand millions nothing is held."""


def integer(low: int, high: int, unit: str = "", *, metavar: str = "") -> Kind:
    """Return the kind of a whole number in a span; a fraction is refused, never rounded."""

    def convert(value: object) -> int:
        number = int(value) if isinstance(value, str) else _number(value)
        # compared before it is converted: 10**9 digits are as easily said as three
        if not low <= number <= high or int(number) != number:
            raise ValueError
        return int(number)

    words = f"a whole number from {low} to {high}{unit and f' {unit}'}"
    return Kind(words, convert, metavar or unit.upper() or "N", unit=unit, edges=(low, high))


def seconds(*, zero: bool, low: float = 0.0) -> Kind:
    """Return the kind of a time of at least `low`; none is too long (see `waits`).

    Args:
        zero: Whether 0 is allowed, because it has a meaning of its own.
        low: The shortest time that is allowed otherwise.
    """

    def convert(value: object) -> float:
        number = _finite(value)
        if not (number > 0 and number >= low) and not (zero and number == 0):
            raise ValueError
        return number

    least = f"at least {low:g}" if low else ("at least 0" if zero else "above 0")
    words = f"{'0, or ' if zero and low else ''}a finite number of seconds, {least}"
    smallest = low or math.ulp(0.0)
    edges = (*([0.0] if zero else []), smallest, sys.float_info.max)
    return Kind(words, convert, "SECONDS", unit="seconds", edges=edges)


def rate(unit: str, *, zero: bool) -> Kind:
    """Return the kind of a number of `unit` per second, in which 0 may have its own meaning."""

    def convert(value: object) -> float:
        number = _finite(value)
        if not (LOWEST_RATE <= number <= HIGHEST_RATE or (zero and number == 0)):
            raise ValueError
        return number

    span = f"from {LOWEST_RATE:g} to {HIGHEST_RATE:.0f} {unit} per second"
    words = f"{'0, or ' if zero else ''}a number {span}"
    edges = (*([0.0] if zero else []), LOWEST_RATE, HIGHEST_RATE)
    return Kind(words, convert, "RATE", unit=f"{unit} per second", edges=edges)


def timeout(value: object, name: str = "timeout") -> float | None:
    """Return the `timeout` of a method: seconds, infinity included, or None; below 0 is 0.

    Raises:
        ConfigError: It is no number, or not one at all (NaN); a ``ValueError``.
    """
    if value is None:
        return None
    try:
        number = float(value if isinstance(value, str) else _number(value))
        if math.isnan(number):
            raise ValueError
    except Exception:  # noqa: BLE001  # whatever an object answers that is asked for a number
        message = (
            f"{name} must be a number of seconds (inf: without end) or None, not {shown(value)}"
        )
        raise ConfigError(message) from None
    return max(number, 0.0)


def _number(value: object) -> Any:
    """Return the exact number that a value is."""
    if isinstance(value, bool):
        raise TypeError
    if isinstance(value, (int, float)):
        return value
    from numbers import Integral, Number  # few programs give anything else

    if not isinstance(value, Number):
        raise TypeError
    return operator.index(cast("SupportsIndex", value)) if isinstance(value, Integral) else value


def _finite(value: object) -> float:
    number = float(value if isinstance(value, str) else _number(value))
    if not math.isfinite(number):
        raise ValueError
    return number + 0.0  # -0.0 is 0.0

"""What is logged?

Each kind of work is a function that makes `count` logging calls and nothing else worth mentioning,
so that its time less that of the same work with a `NullHandler` is the handler's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Mapping


def template(log: logging.Logger, count: int) -> None:
    """A template with four arguments of plain types: the ordinary call."""
    info = log.info
    for number in range(count):
        info("order %s of %s paid: %.2f in %d ms", "A-1284", "shop.example", 12.5, number)


def extras(log: logging.Logger, count: int) -> None:
    """The same, with three extras."""
    info = log.info
    for number in range(count):
        fields = {"order": "A-1284", "amount": 12.5, "attempt": number}
        info("order %s paid in %d ms", "A-1284", number, extra=fields)


def text(log: logging.Logger, count: int) -> None:
    """A message that was formatted before the call."""
    info = log.info
    for number in range(count):
        info(f"order A-1284 of shop.example paid: 12.50 in {number} ms")


def exception(log: logging.Logger, count: int) -> None:
    """An exception with a short traceback; one call in eight, as errors are rare."""
    for number in range(count):
        if number % 8:
            log.info("order %s paid in %d ms", "A-1284", number)
            continue
        try:
            _refuse(number)
        except ValueError:
            log.exception("order %s refused", "A-1284")


def _refuse(number: int) -> None:
    message = f"no such order: {number}"
    raise ValueError(message)


KINDS: Mapping[str, Callable[[logging.Logger, int], None]] = {
    "template": template,
    "extras": extras,
    "text": text,
    "exception": exception,
}

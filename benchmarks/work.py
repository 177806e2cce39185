"""What is logged: templates, extras, exceptions and lines of a file.

Each kind of work is a function that makes `count` logging calls and nothing else worth mentioning,
so that its time less that of the same work with a `NullHandler` is the handler's.
"""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Mapping

DISTINCT = 4_096
"""Values that come again only after this many calls: compression must not live on repetition."""


def _orders() -> list[tuple[str, str, float, int]]:
    chance = random.Random(4)
    numbers = itertools.accumulate(chance.randrange(1, 9) for _ in range(DISTINCT))
    return [
        (
            f"A-{100_000 + number}",
            f"{chance.choice(('shop', 'store', 'market'))}-{chance.randrange(300)}.example",
            round(chance.expovariate(1 / 40), 2),
            int(chance.expovariate(1 / 30)),
        )
        for number in numbers
    ]


ORDERS = _orders()


def template(log: logging.Logger, count: int) -> None:
    """A template with four arguments of plain types: the ordinary call."""
    info = log.info
    for number in range(count):
        info("order %s of %s paid: %.2f in %d ms", *ORDERS[number % DISTINCT])


def extras(log: logging.Logger, count: int) -> None:
    """Two arguments and three extras."""
    info = log.info
    for number in range(count):
        order, customer, amount, took = ORDERS[number % DISTINCT]
        fields = {"customer": customer, "amount": amount, "attempt": 1}
        info("order %s paid in %d ms", order, took, extra=fields)


def text(log: logging.Logger, count: int) -> None:
    """A message that was formatted before the call."""
    info = log.info
    for number in range(count):
        order, customer, amount, took = ORDERS[number % DISTINCT]
        info(f"order {order} of {customer} paid: {amount:.2f} in {took} ms")


def exception(log: logging.Logger, count: int) -> None:
    """An exception with a short traceback; one call in eight, as errors are rare."""
    for number in range(count):
        order, _, _, took = ORDERS[number % DISTINCT]
        if number % 8:
            log.info("order %s paid in %d ms", order, took)
            continue
        try:
            _refuse(number)
        except ValueError:
            log.exception("order %s refused", order)


def _refuse(number: int) -> None:
    message = f"no such order: {number}"
    raise ValueError(message)


KINDS: Mapping[str, Callable[[logging.Logger, int], None]] = {
    "template": template,
    "extras": extras,
    "text": text,
    "exception": exception,
}


def kind_of(name: str, corpus: str | None = None) -> Callable[[logging.Logger, int], None]:
    """The kind of that name; "lines" logs those of the file `corpus`, over and over."""
    if name == "lines" and corpus is not None:
        return _lines_of(corpus)
    return KINDS[name]


def _lines_of(corpus: str) -> Callable[[logging.Logger, int], None]:
    text_lines = Path(corpus).read_text("utf-8", errors="surrogateescape").splitlines()

    def lines(log: logging.Logger, count: int) -> None:
        info = log.info
        for line in itertools.islice(itertools.cycle(text_lines), count):
            info(line)

    return lines

"""The books of a handler fit together, whoever reads them at the same time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batchudp_handler.flusher.books import EMPTY, Books
from batchudp_handler.flusher.buffer import Buffer, View
from batchudp_handler.flusher.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable


class Overtaken(Buffer[Books]):
    """While it is looked at for the first time, a thousand records come and are sent."""

    on_look: Callable[[], None] | None = None

    def view(self) -> View[Books] | None:
        view = super().view()
        on_look, self.on_look = self.on_look, None
        if on_look is not None:
            on_look()
        return view


def test_a_reader_that_was_overtaken_looks_again() -> None:
    """A later number of accepted records is not shown with the books of an earlier moment."""
    ledger = Ledger(0.0)
    buffer = Overtaken(10, books=EMPTY)

    def go_on() -> None:
        for number in range(1_000):
            record: Any = (number,) * 24
            buffer.append(record, 20)
            buffer.drain()
            sent = {**EMPTY.numbers, "sent": number + 1}
            buffer.settle(EMPTY._replace(numbers=sent), 0, 0)
        assert ledger.stats(buffer, None, 0.0).sent == 1_000  # another reader

    buffer.on_look = go_on
    stats = ledger.stats(buffer, None, 0.0)
    assert (stats.accepted, stats.sent, stats.waiting) == (1_000, 1_000, 0)

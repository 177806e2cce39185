"""Two receivers behind one address, by the epochs of their answers alone."""

from __future__ import annotations

from batchudp_handler.core.send.alternation import REMEMBERED_EPOCHS, Alternation


def test_one_receiver_and_its_successor_do_not_alternate() -> None:
    """A restart is one change, and a late answer of the old one a single return."""
    alternation = Alternation()
    for now, epoch in enumerate([1, 1, 2, 1, 2, 2, 2]):
        alternation.on_answer(epoch, float(now))
    assert alternation.count == 2
    assert not alternation.is_suspected


def test_answers_by_turns_mean_two_receivers() -> None:
    """Four returns of one epoch, over two seconds."""
    alternation = Alternation()
    for now in range(12):
        alternation.on_answer(1 + now % 2, now / 2)
    assert alternation.is_suspected


def test_returns_in_quick_succession_are_late_answers() -> None:
    """Anything under way arrives within two seconds."""
    alternation = Alternation()
    for number in range(100):
        alternation.on_answer(1 + number % 2, number / 100)
    assert alternation.count == 98
    assert not alternation.is_suspected


def test_epochs_are_remembered_in_bounded_number() -> None:
    """The oldest is forgotten: its return counts as its first answer."""
    alternation = Alternation()
    for epoch in range(1, REMEMBERED_EPOCHS + 2):
        alternation.on_answer(epoch, 0.0)
    alternation.on_answer(1, 0.0)
    assert alternation.count == 0
    alternation.on_answer(REMEMBERED_EPOCHS, 0.0)
    assert alternation.count == 1

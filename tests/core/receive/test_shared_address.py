"""A shared address is noticed by many signs of one kind, and never by a few."""

from __future__ import annotations

from batchudp_handler.core.receive.shared_address import REMEMBERED_STREAMS, SharedAddress


def test_many_datagrams_for_another_receiver_are_a_sign() -> None:
    """Sixteen, over three seconds; then the count begins anew."""
    signs = SharedAddress()
    assert not any(signs.on_foreign(1, number / 10) for number in range(30))
    assert signs.on_foreign(1, 3.0)
    assert not signs.on_foreign(1, 3.1)


def test_a_sender_that_left_counts_for_more() -> None:
    """It had named this receiver, and names another one now."""
    signs = SharedAddress()
    signs.on_own(1)
    assert signs.was_own(1)
    assert not signs.was_own(2)
    assert not signs.on_foreign(1, 0.0, 8)
    assert signs.on_foreign(1, 3.0, 8)


def test_streams_that_strangers_invent_take_bounded_memory() -> None:
    """Only those that were noted last are remembered."""
    signs = SharedAddress()
    for number in range(10_000):
        signs.on_own(number)
    assert not signs.was_own(9_999 - REMEMBERED_STREAMS)
    assert signs.was_own(10_000 - REMEMBERED_STREAMS)


def test_a_datagram_in_order_is_no_gap() -> None:
    """It ends a row of even gaps, as one that comes late does."""
    signs = SharedAddress()
    assert not any(signs.on_gap(1, 2 * n, 2 * n - 1) for n in range(1, 12))
    assert not signs.on_gap(1, 23, 23)
    assert not signs.on_gap(1, 25, 24)


def test_a_sender_that_comes_back_to_this_receiver_clears_it() -> None:
    """As after a restart, when the first answers get lost."""
    signs = SharedAddress()
    for second in range(15):
        assert not signs.on_foreign(1, float(second))
    signs.on_own(1)
    assert not signs.on_foreign(1, 16.0)


def test_only_gaps_of_one_length_in_a_row_count() -> None:
    """One that is longer, or a datagram in order, and it begins anew."""
    signs = SharedAddress()
    assert not any(signs.on_gap(1, 2 * n, 2 * n - 1) for n in range(1, 12))
    assert not signs.on_gap(1, 26, 23)
    assert not any(signs.on_gap(1, 2 * n, 2 * n - 1) for n in range(20, 31))
    assert signs.on_gap(1, 62, 61)

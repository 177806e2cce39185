"""Retries of what the socket refused: the delay, the next size, and who is gone."""

from __future__ import annotations

import pytest

from batchudp_handler.core.send.retry import (
    SendFailure,
    SocketTrouble,
    backoff,
    smaller_datagram_size,
)


def test_backoff_is_capped_and_jittered() -> None:
    """0.1 s doubled, 2 s at most, 0.8 to 1.2 of it."""
    assert [backoff(n, lambda: 0.5) for n in (1, 2, 3, 4, 5, 6, 99)] == pytest.approx(
        [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    )
    assert backoff(1, lambda: 0.0) == pytest.approx(0.08)
    assert backoff(99, lambda: 1.0) == pytest.approx(2.4)


@pytest.mark.parametrize(
    ("refused", "told", "size"),
    [
        (65_507, 1_472, 1_472),
        (65_507, None, 8_932),
        (1_472, 1_472, 1_432),
        (1_400, 1_472, 1_200),
        (1_000, 20, 548),
        (130, None, 128),
    ],
)
def test_a_smaller_size(refused: int, told: int | None, size: int) -> None:
    """What the socket says if it is smaller, else the next common size; never the same again."""
    assert smaller_datagram_size(refused, told) == size


def test_kinds_of_failure() -> None:
    """The counters are named after them."""
    assert {each.value for each in SendFailure} == {
        "would_block", "refused", "too_big", "unreachable",
    }  # fmt: skip


def failures(*given: tuple[float, SendFailure]) -> list[bool]:
    """Whether the receiver seemed gone after each of these failures."""
    trouble = SocketTrouble(lambda: 0.5)
    return [trouble.on_failure(failure, now) for now, failure in given]


def test_three_refusals_within_a_second_mean_that_nobody_listens() -> None:
    """Two do not, and three within two seconds do not either."""
    refused = SendFailure.REFUSED
    assert failures((0.0, refused), (0.5, refused), (1.0, refused)) == [False, False, True]
    assert failures((0.0, refused), (1.0, refused), (2.0, refused)) == [False, False, False]


def test_a_receiver_that_cannot_be_reached_three_times_is_gone() -> None:
    """However long that takes."""
    unreachable = SendFailure.UNREACHABLE
    assert failures((0.0, unreachable), (9.0, unreachable), (99.0, unreachable))[-1]


def test_a_full_socket_says_nothing_about_the_receiver() -> None:
    """Whatever the number."""
    assert not any(failures(*[(0.0, SendFailure.WOULD_BLOCK)] * 50))


def test_an_answer_ends_a_row_of_failures() -> None:
    """The next failure waits as briefly as the first, and two more make no three."""
    trouble = SocketTrouble(lambda: 0.5)
    trouble.on_failure(SendFailure.REFUSED, 0.0)
    trouble.on_failure(SendFailure.REFUSED, 0.1)
    assert trouble.blocked_until == pytest.approx(0.3)
    trouble.on_heard()
    assert not trouble.on_failure(SendFailure.REFUSED, 0.2)
    assert trouble.blocked_until == pytest.approx(0.3)


def test_a_wait_can_be_ended() -> None:
    """Then the next datagram may go at once."""
    trouble = SocketTrouble(lambda: 0.5)
    trouble.on_failure(SendFailure.WOULD_BLOCK, 0.0)
    trouble.unblock()
    assert trouble.blocked_until < 0.0

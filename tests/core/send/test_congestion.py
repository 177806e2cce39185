"""The congestion window."""

from __future__ import annotations

import pytest

from batchudp_handler.core.send.congestion import CongestionController


@pytest.mark.parametrize(
    ("size", "window", "floor"),
    [
        (200, 2_000, 11_456),
        (1_400, 14_000, 11_456),
        (1_432, 14_320, 11_456),
        (8_932, 17_864, 17_864),
        (65_507, 131_014, 131_014),
    ],
)
def test_start_and_floor(size: int, window: int, floor: int) -> None:
    """Ten small datagrams or two large ones at the start; never below eight or two."""
    controller = CongestionController(size)
    assert controller.window == window
    assert controller.floor == floor


def test_slow_start_doubles_per_round() -> None:
    """What is acked in slow start is added."""
    controller = CongestionController(1_400)
    controller.on_acked(14_000, bytes_in_flight=14_000)
    assert controller.window == 28_000


def test_a_window_that_is_not_in_use_does_not_grow() -> None:
    """Acks for a trickle of datagrams prove nothing about the path."""
    controller = CongestionController(1_400)
    controller.on_acked(1_400, bytes_in_flight=1_400)
    assert controller.window == 14_000


def test_loss_halves_once_per_round() -> None:
    """Losses of datagrams sent before the window was halved do not halve it again."""
    controller = CongestionController(1_400)
    for _ in range(4):
        controller.on_acked(controller.window, bytes_in_flight=controller.window)
    before = controller.window
    controller.on_lost(newest_lost_order=10, next_order=100)
    controller.on_lost(newest_lost_order=99, next_order=120)
    assert controller.window == before // 2
    controller.on_lost(newest_lost_order=100, next_order=150)
    assert controller.window == before // 4


def test_after_a_loss_growth_is_one_datagram_per_window() -> None:
    """Congestion avoidance adds a datagram when a whole window was acked."""
    controller = CongestionController(1_400)
    controller.on_acked(14_000, bytes_in_flight=14_000)
    controller.on_lost(newest_lost_order=0, next_order=1)
    assert not controller.is_in_slow_start
    controller.on_acked(controller.window, bytes_in_flight=controller.window)
    assert controller.window == 15_400


def test_the_window_never_falls_below_the_floor() -> None:
    """Any number of losses leaves eight small datagrams."""
    controller = CongestionController(1_432)
    for order in range(0, 100, 2):
        controller.on_lost(newest_lost_order=order, next_order=order + 1)
    assert controller.window == controller.floor


def test_reset_starts_again() -> None:
    """Another receiver is met with the initial window and slow start."""
    controller = CongestionController(1_400)
    controller.on_lost(newest_lost_order=5, next_order=9)
    controller.reset()
    assert controller.window == 14_000
    assert controller.is_in_slow_start


def test_a_larger_datagram_size_raises_the_window_to_its_floor() -> None:
    """Two datagrams always fit."""
    controller = CongestionController(1_400)
    controller.set_datagram_size(65_507)
    assert controller.window == 131_014

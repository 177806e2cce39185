"""The receiver's name is looked up, and its addresses are tried, neither too often nor in step."""

from __future__ import annotations

import pytest

from batchudp_handler.core.send.reaching import Reaching


def test_the_first_attempts_are_made_at_once() -> None:
    """A look-up, then a connection to the first address."""
    reaching = Reaching(None, lambda: 0.5)
    assert reaching.must_look_up(100.0)
    assert not reaching.may_connect(100.0)
    reaching.on_look_up(100.0)
    reaching.on_found(2, 100.0)
    assert reaching.may_connect(100.0)
    assert (reaching.address, reaching.has_choice) == (0, True)
    assert not reaching.must_look_up(1e9), "a name is looked up once"


@pytest.mark.parametrize(("draw", "factor"), [(0.0, 0.8), (0.5, 1.0), (1.0, 1.2)])
def test_attempts_grow_rarer_and_are_spread(draw: float, factor: float) -> None:
    """From a tenth of a second to two, each with a random factor; success begins anew."""
    reaching = Reaching(None, lambda: draw)
    delays = []
    for _ in range(7):
        reaching.on_failed(100.0)
        assert not reaching.must_look_up(reaching.retry_at - 0.001)
        assert reaching.must_look_up(reaching.retry_at)
        delays.append(reaching.retry_at - 100.0)
    assert delays == pytest.approx([factor * each for each in (0.1, 0.2, 0.4, 0.8, 1.6, 2, 2)])
    reaching.on_found(1, 200.0)
    reaching.on_connected()
    reaching.on_failed(200.0)
    assert reaching.retry_at == pytest.approx(200.0 + 0.1 * factor)


def test_addresses_take_turns() -> None:
    """After the last comes the first; a new answer begins with its first."""
    reaching = Reaching(None, lambda: 0.5)
    reaching.on_found(2, 0.0)
    seen = []
    for _ in range(4):
        seen.append(reaching.address)
        reaching.skip()
    assert seen == [0, 1, 0, 1]
    reaching.skip()
    reaching.on_found(1, 0.0)
    assert (reaching.address, reaching.has_choice) == (0, False)


def test_a_name_is_looked_up_again_after_the_interval_or_when_that_may_help() -> None:
    """Early ones keep two seconds between them."""
    reaching = Reaching(30.0, lambda: 0.5)
    reaching.on_look_up(100.0)
    reaching.on_found(1, 100.0)
    assert not reaching.must_look_up(129.9)
    assert reaching.must_look_up(130.0)
    assert not reaching.may_look_up(101.9)
    assert reaching.may_look_up(102.0)

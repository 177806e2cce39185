"""What SYNCs prove: a first round trip, and the address from which DATA was sent."""

from __future__ import annotations

from batchudp_handler.core.send.handshake import Handshake


def test_the_only_introduction_tells_the_round_trip() -> None:
    """From its SYNC to the first answer."""
    handshake = Handshake()
    handshake.on_new_receiver()
    handshake.on_sync_sent(1.0, 0, is_introduction=True)
    assert handshake.round_trip(1.25) == 0.25


def test_of_two_introductions_nobody_knows_which_was_answered() -> None:
    """Karn's rule; another receiver begins a new count."""
    handshake = Handshake()
    for now in (1.0, 2.0):
        handshake.on_sync_sent(now, 0, is_introduction=True)
    assert handshake.round_trip(2.25) is None
    handshake.on_new_receiver()
    assert handshake.round_trip(2.25) is None
    handshake.on_sync_sent(3.0, 0, is_introduction=True)
    assert handshake.round_trip(3.5) == 0.5


def test_data_before_the_proof_of_an_address_is_known_once() -> None:
    """What was sent before the SYNC with the proof; nothing without a new address."""
    handshake = Handshake()
    handshake.on_sync_sent(0.0, 5, is_introduction=False)
    assert handshake.take_unproven_order() == 0
    handshake.on_new_address()
    handshake.on_sync_sent(1.0, 7, is_introduction=False)
    handshake.on_sync_sent(2.0, 9, is_introduction=False)
    assert handshake.take_unproven_order() == 7
    assert handshake.take_unproven_order() == 0

"""A receiver's place is written as other tools write it, and the command to look at it works."""

from __future__ import annotations

import pytest

from batchudp_handler.core.places import doctor_command, place_text


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("logs.example.com", "logs.example.com:5140"),
        ("192.0.2.1", "192.0.2.1:5140"),
        ("2001:db8::1", "[2001:db8::1]:5140"),
        ("unix:///run/logs.sock", "unix:///run/logs.sock"),
    ],
)
def test_a_place_in_words(host: str, text: str) -> None:
    """The colons of an address do not mix with that of the port; a unix socket has no port."""
    assert place_text(host, 5140) == text


@pytest.mark.parametrize(
    ("host", "command"),
    [
        ("2001:db8::1", "batchudp-send --doctor --target-host 2001:db8::1 --target-port 5140"),
        ("unix:///run/a", "batchudp-send --doctor --target-host unix:///run/a"),
    ],
)
def test_the_command_that_looks_at_a_place(host: str, command: str) -> None:
    """It can be pasted as it is: host and port are options of their own."""
    assert doctor_command(host, 5140) == command

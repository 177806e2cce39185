"""Names of the sockets at which senders wait for answers."""

from __future__ import annotations

import pytest

from batchudp_handler.core.wire.reply_names import beside, is_reply_name, reply_path

NAME = ".batchudp-00000000deadbeef"


@pytest.mark.parametrize(
    ("receiver", "path"),
    [("/run/log.sock", f"/run/{NAME}"), ("/log.sock", f"/{NAME}"), ("log.sock", NAME)],
)
def test_a_sender_waits_beside_the_receiver(receiver: str, path: str) -> None:
    """Its number makes the name, in the receiver's directory, whatever that is."""
    assert reply_path(receiver, 0xDEADBEEF) == path
    assert is_reply_name(path.rpartition("/")[2])


@pytest.mark.parametrize(
    "name", ["log.sock", NAME[:-1], f"{NAME}0", NAME.upper(), NAME.replace("beef", "beeg"), ""]
)
def test_other_names_are_left_alone(name: str) -> None:
    """Only the exact form is a sender's: what has another is never removed or answered."""
    assert not is_reply_name(name)
    assert beside("/run/log.sock", f"/tmp/{name}") == f"/tmp/{name}"


def test_the_receiver_looks_in_its_own_directory() -> None:
    """The sender's directory may have another name in another container."""
    assert beside("/var/run/app/log.sock", f"/logs/{NAME}") == f"/var/run/app/{NAME}"
    assert beside("/var/run/app/log.sock", "\0abstract") == "\0abstract"

"""Names of the sockets at which senders wait for answers, beside a unix receiver's socket.

The directory may have another name on each end, as a volume in two containers has. So the sender
chooses a file name that no two choose, and the receiver looks for it in its own directory.
"""

from __future__ import annotations

__all__ = ["beside", "is_reply_name", "reply_path"]

PREFIX = ".batchudp-"
DIGITS = 16


def reply_path(receiver: str, number: int) -> str:
    """Return the path of a sender's socket beside the receiver's.

    >>> reply_path("/run/log.sock", 0xBEEF)
    '/run/.batchudp-000000000000beef'
    """
    directory, slash, _ = receiver.rpartition("/")
    return f"{directory}{slash}{PREFIX}{number:0{DIGITS}x}"


def is_reply_name(name: str) -> bool:
    """Return whether a file name is that of a sender's socket."""
    digits = name.removeprefix(PREFIX)
    is_ours = name.startswith(PREFIX) and len(digits) == DIGITS
    return is_ours and set(digits) <= set("0123456789abcdef")


def beside(receiver: str, sender: str) -> str:
    """Return where the receiver finds the socket of a sender; any other path is as it was.

    >>> beside("/var/run/app/log.sock", "/logs/.batchudp-000000000000beef")
    '/var/run/app/.batchudp-000000000000beef'
    """
    directory, slash, _ = receiver.rpartition("/")
    name = sender.rpartition("/")[2]
    return f"{directory}{slash}{name}" if is_reply_name(name) else sender

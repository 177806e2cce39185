"""The names under which a sender counts what it drops and what goes wrong, with their meaning.

The counters hold plain text, because a log call must not pay for more; a test holds every name
in the source to these tables, and the reference is made from them. `errors.Reason` is the same
for what a receiver refuses.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self

__all__ = ["Cause", "SendTrouble", "trouble_words"]


class _Named(StrEnum):
    """A counter's name that knows what it means and what helps."""

    meaning: str
    advice: str

    def __new__(cls, name: str, meaning: str, advice: str = "") -> Self:
        """Make a member that is its name."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.meaning, member.advice = meaning, advice
        return member


class Cause(_Named):
    """Why records were dropped: the keys of `SenderStats.dropped`."""

    BUFFER_FULL = (
        "buffer_full",
        "More records waited or were retained than `capacity` allows.",
        "a larger capacity, or overflow='block'",
    )
    CAPACITY_BYTES = (
        "capacity_bytes",
        "Long texts waited or were retained that took more than `capacity_bytes`.",
        "a larger capacity_bytes, shorter texts, or overflow='block'",
    )
    RELAY = (
        "relay",
        "The record came from a receiver in this process, which would go round in a circle.",
        "relay=True ships such records, up to four times",
    )
    SELF_LOG = (
        "self_log",
        "Logged by the sending thread while it sent: shipping it would make the next one.",
    )
    RECORD_ERROR = (
        "record_error",
        "A filter, or the record itself, raised: `handleError` was called, as `logging` asks.",
        "with logging.raiseExceptions, stderr has the traceback",
    )
    CLOSED = (
        "closed",
        "Still waiting when the handler was closed and `shutdown_timeout` was over.",
        "the latest error says why nothing got away; a longer shutdown_timeout, or a spool",
    )
    SEND_FAILED = (
        "send_failed",
        "The system refused the datagram at every one of the `max_retries` attempts (one-way).",
        "the latest error says why; delivery='acknowledged' keeps records until confirmed",
    )
    EXPIRED = (
        "expired",
        "In the spool for longer than a file of it is kept, in time that senders had it open.",
    )
    SPOOL_FULL = (
        "spool_full",
        "The oldest of the spool, dropped to keep it within its size.",
    )
    SPOOL_CORRUPT = (
        "spool_corrupt",
        "Damaged or unreadable when it was to be read back from the spool.",
    )
    SPOOL_REMOVED = (
        "spool_removed",
        "Its file in the spool was removed by somebody else, or taken over by another process.",
        "leave the files of a spool to the senders, which delete what is confirmed",
    )
    OVERSIZE = (
        "oversize",
        "Too large for a datagram even with its texts cut.",
        "a larger max_datagram_size, or smaller extras",
    )
    ENCODE_ERROR = (
        "encode_error",
        "The record cannot be encoded; the others of its batch were.",
    )
    INTERNAL_ERROR = (
        "internal_error",
        "A mistake of this package met the batch; please report it.",
    )


class SendTrouble(_Named):
    """What looking up a name or sending failed with: keys of `SenderStats.send_errors`.

    An error that is not here is counted under its errno's name as well.
    """

    NAME = ("name_not_resolved", "The host's name could not be looked up.")
    REFUSED = ("ECONNREFUSED", "Nobody listens there.")
    NO_SUCH_SOCKET = ("ENOENT", "There is no such unix socket.")
    DENIED = ("EACCES", "Permission denied.")
    FORBIDDEN = ("EPERM", "Sending is forbidden, for instance by a firewall on this machine.")
    NETWORK = ("ENETUNREACH", "There is no route to that network.")
    HOST = ("EHOSTUNREACH", "There is no route to that host.")
    DOWN = ("ENETDOWN", "The network interface is down.")
    FAMILY = ("EAFNOSUPPORT", "This system does not speak that kind of address.")
    NO_ADDRESS = ("EADDRNOTAVAIL", "That address cannot be reached from here.")
    TOO_BIG = ("EMSGSIZE", "The datagram was too large for the path; it is cut anew.")
    SOCKET_FULL = ("EAGAIN", "The socket's buffer was full; it is tried again.")
    SYSTEM_FULL = ("ENOBUFS", "The system had no buffers; it is tried again.")
    MEMORY = ("ENOMEM", "The system had no memory for the datagram; it is tried again.")
    DESCRIPTORS = ("EMFILE", "The process has no file descriptor left.")
    ALL_DESCRIPTORS = ("ENFILE", "The system has no file descriptor left.")
    TAKEN = ("EBADF", "Somebody closed the socket's descriptor; a new one takes its place.")
    NO_DATAGRAMS = ("EPROTOTYPE", "The path is a socket of another kind.")
    NO_REPLY_PATH = (
        "no_reply_path",
        "The receiver's answers do not arrive, and no socket for them can be made beside its own.",
        "in another container than the receiver: a directory that this process may write to",
    )
    THREADS = ("thread_not_started", "The system has no thread left; it is tried again.")
    FOREIGN = (
        "spool_foreign_file",
        "Something in the spool directory that no spool has written; it is left alone.",
    )
    INTERNAL = ("internal_*", "A mistake of this package, by the exception's name.")
    SPOOL = ("spool_*", "An error of the spool's files, by the errno's name.")


def trouble_words(name: str, text: str) -> str:
    """An error in plain words: by the table, or as the system says it."""
    known = next((each for each in SendTrouble if each == name), None)
    words = text if known is None else known.meaning.rstrip(".")
    return f"{words[:1].lower()}{words[1:]} ({name})"

"""The names under which a sender counts what it drops and what goes wrong, with their meaning.

The counters hold plain text, because a log call must not pay for more; a test holds every name
in the source to these tables, and the reference is made from them. `errors.Reason` is the same
for what a receiver refuses.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self

__all__ = ["NO_PLACE", "TWO_RECEIVERS", "Cause", "SendTrouble", "trouble_words"]

TWO_RECEIVERS = (
    "two receivers answer at this address in turn, so nothing can be confirmed: run only one on "
    "the port (for more processes: batchudp-receive --workers), or configure the balancer to "
    "keep each sender with one receiver"
)
NO_PLACE = (
    "the receiver already has the largest number of senders (max_streams) and refuses this one"
)


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
        "The texts that waited or were retained took more than `capacity_bytes`.",
        "a larger capacity_bytes, shorter texts, or overflow='block'",
    )
    RELAY = (
        "relay",
        "The record came from a receiver in this process; sending it again could make a loop.",
        "relay=True sends such records, up to four times",
    )
    SELF_LOG = (
        "self_log",
        "Logged by the sending thread while it sent; sending the record would cause the next one.",
    )
    RECORD_ERROR = (
        "record_error",
        "A filter, or the record itself, raised: `handleError` was called, as `logging` asks.",
        "set logging.raiseExceptions to see the traceback on stderr",
    )
    CLOSED = (
        "closed",
        "Still waiting when `shutdown_timeout` ended while the handler was being closed.",
        "see the latest error; a longer shutdown_timeout, or a spool",
    )
    SEND_FAILED = (
        "send_failed",
        "The system refused the datagram at every one of the `max_retries` attempts (one-way).",
        "see the latest error; delivery='acknowledged' keeps records until they are confirmed",
    )
    EXPIRED = (
        "expired",
        "In the spool for too long, counting only the time in which senders had it open.",
    )
    SPOOL_FULL = (
        "spool_full",
        "The oldest records in the spool, dropped to keep it within its size.",
    )
    SPOOL_CORRUPT = (
        "spool_corrupt",
        "Damaged or unreadable in the spool.",
    )
    SPOOL_REMOVED = (
        "spool_removed",
        "Its file in the spool was removed, or taken over by another process.",
        "do not delete files of a spool; senders delete them when their records are confirmed",
    )
    OVERSIZE = (
        "oversize",
        "Too large for a datagram, even after its texts were cut.",
        "a larger max_datagram_size, or smaller extras",
    )
    ENCODE_ERROR = (
        "encode_error",
        "The record could not be encoded; the rest of its batch was sent.",
    )
    INTERNAL_ERROR = (
        "internal_error",
        "A bug in this package affected the batch; please report it.",
    )


class SendTrouble(_Named):
    """What looking up a name or sending failed with: keys of `SenderStats.send_errors`.

    An error that is not here is counted under its errno's name as well.
    """

    NAME = ("name_not_resolved", "The host's name could not be looked up.")
    REFUSED = ("ECONNREFUSED", "No receiver is listening at this address.")
    NO_SUCH_SOCKET = ("ENOENT", "The unix socket does not exist.")
    DENIED = ("EACCES", "Permission denied.")
    FORBIDDEN = ("EPERM", "Sending is forbidden, for instance by a firewall on this machine.")
    NETWORK = ("ENETUNREACH", "There is no route to that network.")
    HOST = ("EHOSTUNREACH", "There is no route to that host.")
    DOWN = ("ENETDOWN", "The network interface is down.")
    FAMILY = ("EAFNOSUPPORT", "This system does not support this kind of address.")
    NO_ADDRESS = ("EADDRNOTAVAIL", "That address cannot be reached from here.")
    TOO_BIG = ("EMSGSIZE", "The datagram was too large for the path; it is cut again.")
    SOCKET_FULL = ("EAGAIN", "The socket's buffer was full; the send is repeated.")
    SYSTEM_FULL = ("ENOBUFS", "The system had no buffers; the send is repeated.")
    MEMORY = ("ENOMEM", "The system had no memory for the datagram; the send is repeated.")
    DESCRIPTORS = ("EMFILE", "The process has no file descriptors left.")
    ALL_DESCRIPTORS = ("ENFILE", "The system has no file descriptors left.")
    TAKEN = ("EBADF", "The program closed the socket's descriptor; a new socket replaces it.")
    NO_DATAGRAMS = ("EPROTOTYPE", "The path is a socket of another kind.")
    NO_REPLY_PATH = (
        "no_reply_path",
        "The receiver's answers do not arrive, and no socket for them can be made beside its own.",
        "in another container than the receiver: a directory that this process may write to",
    )
    THREADS = (
        "thread_not_started",
        "The system could not start another thread; the handler tries again.",
    )
    FOREIGN = (
        "spool_foreign_file",
        "A file in the spool directory was not written by a spool; it is left alone.",
    )
    INTERNAL = ("internal_*", "A bug in this package, by the name of the exception.")
    SPOOL = ("spool_*", "An error with the files of the spool, by the name of the errno.")


def trouble_words(name: str, text: str) -> str:
    """An error in plain words: by the table, or as the system says it."""
    known = next((each for each in SendTrouble if each == name), None)
    words = text if known is None else known.meaning.rstrip(".")
    return f"{words[:1].lower()}{words[1:]} ({name})"

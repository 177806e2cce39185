"""The errors that this package raises, and the reasons under which refusals are counted.

Misuse by our own callers raises; what arrives from the network is refused with a `Reason` and
counted under that name. A `DecodeError` never carries text from the wire, so that it can be
logged without becoming a way in.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self

__all__ = ["BatchUDPError", "ConfigError", "DecodeError", "Reason", "UnfinishedBatch", "explained"]


class BatchUDPError(Exception):
    """The base of every error that this package raises on purpose."""


class ConfigError(BatchUDPError, ValueError):
    """A setting has a value that is not allowed; the text says which values are."""


class UnfinishedBatch(BatchUDPError):
    """Raised by `after_batch`: its records are not all where they should be.

    The receiver does not confirm the batch, so an acknowledged sender keeps it.
    """


class Reason(StrEnum):
    """Why something from the network was refused. The values are the counters' names.

    Each has its meaning, which the reference and the receiver's warnings show, and where an
    operator can do something about it an advice.
    """

    meaning: str
    advice: str

    def __new__(cls, name: str, meaning: str, advice: str = "") -> Self:
        """Make a member that is its name and knows what it means."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.meaning, member.advice = meaning, advice
        return member

    # the datagram as such
    MALFORMED = (
        "malformed",
        "None of the forms of the wire format, or cut short.",
    )
    TRUNCATED_READ = (
        "truncated_read",
        "Longer than `buffer_size`.",
        "raise buffer_size, or lower the senders' max_datagram_size",
    )
    UNSUPPORTED_VERSION = (
        "unsupported_version",
        "The receiver does not know this version of the format.",
        "one end is newer than the other: upgrade the receiver first",
    )
    UNSUPPORTED_TYPE = (
        "unsupported_type",
        "The receiver does not know or expect this type of datagram.",
        "one end is newer than the other: upgrade the receiver first",
    )
    UNSUPPORTED_FLAGS = (
        "unsupported_flags",
        "A flag is set that has no meaning in this version.",
        "one end is newer than the other: upgrade the receiver first",
    )
    BAD_CRC = (
        "bad_crc",
        "The checksum is wrong: bytes changed on the way.",
    )

    # who sent it, and when
    AUTH_FAILED = (
        "auth_failed",
        "The tag was not made with the key that the datagram names.",
        "give both ends the same key file",
    )
    UNKNOWN_KEY = (
        "unknown_key",
        "The datagram names a key that the receiver does not have.",
        "add the sender's key to the receiver's key_file",
    )
    UNAUTHENTICATED = (
        "unauthenticated",
        "The datagram has no key, but the receiver requires one.",
        "give the sender a key file, or set accept_unauthenticated",
    )
    STALE = (
        "stale",
        (
            "Sealed before the receiver began to remember streams, so it may be a recording; or "
            "an answer that came too late."
        ),
        "set the clocks of both hosts by NTP",
    )
    REPLAYED = (
        "replayed",
        "A copy of an old datagram.",
    )
    NOT_ALLOWED = (
        "not_allowed",
        "The source address is not allowed to send, or not to this stream.",
        "add its network to allow",
    )
    RATE_LIMITED = (
        "rate_limited",
        "The source sent more than `source_rate` allows.",
        "raise source_rate, or make the sender log less",
    )
    UNPROVEN_ADDRESS = (
        "unproven_address",
        (
            "From an acknowledged sender whose address is not proven, and too small or too "
            "frequent for a challenge. Datagrams that got a challenge count as `challenges`."
        ),
    )

    # its place in a stream
    BEYOND_WINDOW = (
        "beyond_window",
        "Too far ahead of the stream's position, or too far behind it.",
    )
    NO_ROOM = (
        "no_room",
        "The work queue is full; an acknowledged sender tries again.",
        "the handlers are too slow; a larger queue_size bridges bursts",
    )
    STREAM_LIMIT = (
        "stream_limit",
        "The table of streams is full of active streams; an acknowledged sender tries again.",
        "raise max_streams",
    )
    GROUP_MISMATCH = (
        "group_mismatch",
        "Fragments of one payload contradict each other.",
    )
    REASSEMBLY_REFUSED = (
        "reassembly_refused",
        "No memory left in the limits for these fragments; an acknowledged sender tries again.",
    )

    GELF_INCOMPLETE = (
        "gelf_incomplete",
        "A chunk of a GELF message that had not all come within 5 s.",
    )

    # the batch in it
    CODEC = (
        "codec",
        "Damaged, or compressed in a way that is unknown or not enabled.",
    )
    INFLATE_LIMIT = (
        "inflate_limit",
        "Would be larger than `max_batch_size` when decompressed.",
        "raise max_batch_size",
    )
    OUTPUT_LIMIT = (
        "output_limit",
        "Its records would print more than 16 times `max_batch_size`.",
        "raise max_batch_size, or send smaller static fields",
    )
    WORK_LIMIT = (
        "work_limit",
        "Decoding would take too long for the number of records in it.",
        "send fewer records or fields in one datagram",
    )
    JSON = (
        "json",
        "Not JSON, or nested too deeply.",
    )
    SHAPE = (
        "shape",
        "JSON, but not a batch.",
    )
    TOO_MANY_RECORDS = (
        "too_many_records",
        "More records than `max_records`.",
        "raise max_records",
    )
    RECORD_COUNT = (
        "record_count",
        "The number of records differs from the header.",
    )

    # what an engine would not store
    ENGINE_REFUSED = (
        "engine_refused",
        "The engine behind the receiver refused to store the batch.",
    )

    # one record of the batch
    BAD_RECORD = (
        "bad_record",
        "A row is not a valid record; the rest of its batch was kept.",
    )
    HANDLER_ERROR = (
        "handler_error",
        "The record could not be handed to the local loggers.",
    )


def explained(reason: str) -> str:
    """A reason with its meaning and its advice, as the end of a message."""
    known = next((each for each in Reason if each == reason), None)
    if known is None:
        return reason
    advice = f" Advice: {known.advice}." if known.advice else ""
    return f"{known}: {known.meaning}{advice}"


class DecodeError(BatchUDPError):
    """Bytes from the network are not what the wire format allows."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        """The counter under which the refusal is counted."""

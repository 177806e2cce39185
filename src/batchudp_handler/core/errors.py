"""Which errors can this package raise, and by which names are refusals counted?

Misuse by our own callers raises; what arrives from the network is refused with a `Reason` and
counted under that name. A `DecodeError` never carries text from the wire, so that it can be
logged without becoming a way in.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["BatchUDPError", "ConfigError", "DecodeError", "Reason"]


class BatchUDPError(Exception):
    """The base of every error that this package raises on purpose."""


class ConfigError(BatchUDPError, ValueError):
    """A setting has a value that is not allowed; the text says which values are."""


class Reason(StrEnum):
    """Why something from the network was refused. The values are the counters' names."""

    # the datagram as such
    MALFORMED = "malformed"
    TRUNCATED_READ = "truncated_read"
    UNSUPPORTED_VERSION = "unsupported_version"
    UNSUPPORTED_TYPE = "unsupported_type"
    UNSUPPORTED_FLAGS = "unsupported_flags"
    BAD_CRC = "bad_crc"

    # who sent it, and when
    AUTH_FAILED = "auth_failed"
    UNKNOWN_KEY = "unknown_key"
    UNAUTHENTICATED = "unauthenticated"
    STALE = "stale"
    REPLAYED = "replayed"
    NOT_ALLOWED = "not_allowed"
    RATE_LIMITED = "rate_limited"

    # its place in a stream
    BEYOND_WINDOW = "beyond_window"
    NO_ROOM = "no_room"
    STREAM_LIMIT = "stream_limit"
    GROUP_MISMATCH = "group_mismatch"
    REASSEMBLY_REFUSED = "reassembly_refused"
    REASSEMBLY_EXPIRED = "reassembly_expired"

    # the batch in it
    CODEC = "codec"
    INFLATE_LIMIT = "inflate_limit"
    JSON = "json"
    SHAPE = "shape"
    TOO_MANY_RECORDS = "too_many_records"
    RECORD_COUNT = "record_count"

    # what an engine would not store
    ENGINE_REFUSED = "engine_refused"

    # one record of the batch
    BAD_RECORD = "bad_record"
    HANDLER_ERROR = "handler_error"


class DecodeError(BatchUDPError):
    """Bytes from the network are not what the wire format allows."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        """The counter under which the refusal is counted."""

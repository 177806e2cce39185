"""How large things from the network may be.

One frozen dataclass with the receiver's limits on a payload. Every value can be changed; every
refusal or cut that follows from one is counted. A limit is checked by whoever first could spend
memory or time on the thing it bounds; what multiplies is charged to a budget (`budget.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DecodeLimits"]

USUAL_RECORDS = 2_048
USUAL_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """Limits on one batch, its records and their fields."""

    inflated_bytes: int = USUAL_BYTES
    """A batch after decompression. Parsed JSON takes up to 44 times its text in memory."""
    zstd_window_log: int = 20
    """A zstd frame names its window itself, and the window is allocated before any output."""
    output_factor: int = 16
    """Bytes of text that all records of a batch may print, for each byte of `inflated_bytes`."""
    work: int = 40_000_000
    """What a batch may cost to decode and hand over, in nanoseconds of the tariff in
    `core/payload/budget.py`; more where `records` or `inflated_bytes` are set higher."""
    json_depth: int = 64
    """Nesting of the whole payload."""
    records: int = USUAL_RECORDS
    """Records in one batch, of which our senders put at most 1,024 into one; the header's field
    would allow 65,535."""
    sites: int = 2_048
    """Distinct call sites in one batch: at most one per record."""
    args: int = 64
    """Arguments of one record; more than that travel as text."""
    template_characters: int = 1_024
    """A template is sent once and printed once per record, so it multiplies; longer ones
    travel as text."""
    table_characters: int = 1_024
    """A string of the table that records refer to; it multiplies as a template does."""
    text_characters: int = 256 * 1024
    """A message, an exception text or a stack; longer ones are cut with a marker."""
    name_characters: int = 255
    """Logger, level, function, process, thread and task names, and host names."""
    path_characters: int = 4_096
    """The path of a source file (PATH_MAX)."""
    logger_components: int = 32
    """Parts of a dotted logger name; a deeper name is attributed to the root logger."""
    extras: int = 64
    """Extra attributes of one record, and static fields of one batch."""
    extra_names: int = 2_048
    """Names of extras in one batch."""
    extra_characters: int = 16 * 1024
    """One extra's value, all its strings together; more is cut with a marker."""
    extra_depth: int = 32
    """Nesting of lists and objects in an extra."""
    levelno: int = 1_000_000
    """Largest level number, either sign. Custom levels are small."""

    gelf: bool = False
    """Whether messages of GELF are read, too."""

    @property
    def work_allowed(self) -> int:
        """`work`, for batches as large as the other limits allow."""
        scale = max(1.0, self.records / USUAL_RECORDS, self.inflated_bytes / USUAL_BYTES)
        return int(self.work * scale)

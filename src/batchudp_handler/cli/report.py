"""What scripts say: diagnostics on standard error, lines on standard output, and counters."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING

from batchudp_handler.core.samples import Distribution
from batchudp_handler.settings import values_of

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "leave_standard_output",
    "numbers_of",
    "print_all",
    "stats_json",
    "summary_text",
    "write_line",
]


def write_line(stream: IO[str], program: str, text: str) -> None:
    """Write a diagnostic; a stream that nobody reads any more is no reason to fail."""
    try:
        stream.write(f"{program}: {text}\n")
        stream.flush()
    except (OSError, ValueError):
        return


def leave_standard_output() -> None:
    """Point standard output nowhere: nobody reads it, and the flush at exit must not raise."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def print_all(lines: Iterable[str]) -> None:
    """Print lines, to a reader that may have seen enough (``| head -1``)."""
    try:
        print(*lines, sep="\n", flush=True)
    except BrokenPipeError:
        leave_standard_output()


def numbers_of(stats: object, names: Mapping[str, str]) -> dict[str, object]:
    """Return the counters that a summary shows.

    Args:
        stats: A frozen dataclass of counters, as `stats_json` shows all of it.
        names: The words of the summary, each with the counter's name.
    """
    return {words: getattr(stats, name) for words, name in names.items()}


def summary_text(numbers: Mapping[str, object]) -> str:
    """Return names and numbers on one line, each sum with its parts behind it."""
    return ", ".join(f"{name} {_number_text(value)}" for name, value in numbers.items())


def _number_text(value: object) -> str:
    if isinstance(value, Mapping):
        parts = ", ".join(f"{key} {count}" for key, count in value.items() if count)
        return f"{sum(value.values())} ({parts})" if parts else "0"
    if isinstance(value, Distribution):
        return f"p50 {value.p50:.4g} p95 {value.p95:.4g}"
    if isinstance(value, float):
        return f"{value:.1f}"
    return "unknown" if value is None else str(value)


def stats_json(stats: object) -> str:
    """Return a frozen dataclass of counters as one line of JSON."""

    def plain(value: object) -> object:
        if hasattr(value, "__dataclass_fields__"):
            return {name: plain(one) for name, one in values_of(value).items()}
        if isinstance(value, Mapping):
            return {str(key): plain(one) for key, one in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(one) for one in value]
        return value

    return json.dumps(plain(stats))

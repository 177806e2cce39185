"""The targets in one table, for the fuzzer and for the tests that replay its inputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import gelf, machines, mutators, parsers, records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Mutator = Callable[[bytes, int, int, mutators.Mutate], bytes]

__all__ = ["CORPUS", "REGRESSIONS", "TARGETS", "Target", "inputs_of"]

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
"""Small inputs to begin with, made by make_corpus.py."""
REGRESSIONS = HERE / "regressions"
"""Inputs that found a bug."""


@dataclass(frozen=True, slots=True)
class Target:
    """One function that takes bytes and raises when something is wrong."""

    name: str
    run: Callable[[bytes], None]
    longest: int = 4_096
    mutate: Mutator | None = None
    words: tuple[str, ...] = ()
    """Words worth putting into an input."""


_JSON_WORDS = tuple(f'"{word}"' for word in records.KEYS if word.isascii() and word.isprintable())

GELF_WORDS = ('"short_message"', '"full_message"', '"level"', "\x1e\x0f", "\x1f")

TARGETS = {
    target.name: target
    for target in (
        Target("datagrams", parsers.datagrams, 2_048, mutators.mutate_datagram),
        Target("payloads", records.payloads, 65_507, mutators.mutate_payload, _JSON_WORDS),
        Target("documents", records.documents, 512),
        Target("logger_names", records.logger_names, 65_507),
        Target("sender", machines.sender, 2_048),
        Target("receiver", machines.receiver, 2_048),
        Target("gelf", gelf.gelf, 4_096, words=GELF_WORDS),
        Target("reassembly", machines.reassembly, 2_048),
        Target("segments", parsers.segments, 65_536, mutators.mutate_segment),
        Target("key_files", parsers.key_files, 2_048, words=("hmac-sha256", "chacha20-poly1305")),
        Target("configuration", parsers.configuration, 4_096, words=("[receive]\n", "[send]\n")),
        Target("environment", parsers.environment, 1_024),
    )
}


def inputs_of(target: Target) -> Iterator[Path]:
    """The committed inputs of a target."""
    for folder in (CORPUS, REGRESSIONS):
        yield from sorted((folder / target.name).glob("*"))

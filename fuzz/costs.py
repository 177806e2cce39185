"""A search for the payloads that cost a receiver most, in processor time and in output.

Payloads are written by a grammar with some dozens of numbers and choices, all that can multiply
among them: records, sites, threads, strings of the table, templates, arguments, extras, static
fields, nesting, kinds of characters. The search starts from random ones and climbs: it keeps the
costliest and changes a few of their numbers. It is fixed by its seed but for the clock. What it
measures is what a receiver does with a datagram: inflate, decode, make records, hand them to a
handler; and for output, the lines of JSON that `batchudp-receive --format json` would write.

    python fuzz/costs.py --seconds 120                  prints the worst
    python fuzz/costs.py --seconds 120 --write          and puts the table into docs/security.md
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import sys
import time
import tracemalloc
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from batchudp_handler.console import JSONFormatter
from batchudp_handler.core.errors import DecodeError
from batchudp_handler.core.payload.codec import Codec, decode_payload
from batchudp_handler.core.payload.limits import DecodeLimits
from batchudp_handler.core.records.rebuild import records
from batchudp_handler.receiver.reemit import Reemitter

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Cost", "Search", "measure"]

LIMITS = DecodeLimits()
PROVENANCE = {"remote_addr": "192.0.2.1:9", "received": 1_700_000_000.5, "authenticated": False}
PAGE = Path(__file__).parent.parent / "docs" / "security.md"
BEGIN, END = "<!-- made by fuzz/costs.py -->\n", "<!-- end -->\n"


# --- payloads -----------------------------------------------------------------------------------

COUNTS = (0, 1, 2, 10, 64, 65, 200, 500, 1_000, 2_000, 2_048, 5_000, 20_000, 100_000)
LENGTHS = (0, 1, 5, 60, 200, 255, 1_000, 1_024, 4_096, 16_384, 100_000)
CHARACTERS = (
    "a",
    "a",
    '"',
    "\\",
    "\n",
    "\x7f",
    "\x00",
    "é",
    "\u202e",
    "\U0001f600",
    "[",
    ",",
    "'",
)
VALUES: tuple[Any, ...] = (
    *(0, 1, -1, 10**15, 10**299, 10**301, 0.5, 1e15, 1e308, True, None, "", "ab", "\x7f"),
    *([], {}, [[]], {"": 0}, {"a": {"b": [1, 2]}}, [0] * 20, ["é"] * 5, "[" * 20, "\ud800"),
)
TEMPLATES = ("%s", "%d", "%f", "%r", "%a", "%999d", "%.999f", "%-500s", "%x", "%%s", "%5.3s", "x")


@dataclass(frozen=True)
class Genes:
    """What one payload is made of. Numbers are used as far as they mean something."""

    form: str = "compact"
    records: int = 1_000
    sites: int = 1
    origins: int = 1
    strings: int = 0
    string_length: int = 5
    character: str = "a"
    template: str = ""
    template_repeats: int = 1
    different_templates: bool = False
    args: int = 1
    arg: Any = 0
    mixed_args: bool = False
    text_length: int = 1
    path_length: int = 10
    name_length: int = 5
    host_length: int = 5
    static: int = 0
    static_value: Any = "v"
    static_length: int = 5
    extras: int = 0
    extra_value: Any = 0
    extra_share: int = 1
    depth: int = 0
    texts: int = 0
    junk: Any = None
    junk_count: int = 0
    codec: int = 1


CHOICES: dict[str, tuple[Any, ...]] = {
    "form": ("compact", "compact", "compact", "rows", "rows", "one row"),
    **dict.fromkeys(("records", "sites", "origins", "strings", "extras", "junk_count"), COUNTS),
    **dict.fromkeys(("string_length", "text_length", "path_length", "name_length"), LENGTHS),
    **dict.fromkeys(("host_length", "static_length"), LENGTHS),
    "character": CHARACTERS,
    "template": ("", *TEMPLATES),
    "template_repeats": (1, 2, 10, 64, 300, 500),
    "different_templates": (False, True),
    "args": (1, 2, 10, 63, 64, 65),
    "mixed_args": (False, True),
    **dict.fromkeys(("arg", "extra_value", "static_value", "junk"), VALUES),
    "static": (0, 1, 10, 64, 1_000, 50_000),
    "extra_share": (1, 2, 10, 1_000),
    "depth": (0, 1, 10, 31, 60, 70, 1_000, 100_000),
    "texts": (0, 1, 2),
    "codec": (0, 1, 2),
}


def document(genes: Genes) -> Any:
    """The payload before it is written."""
    return _compact(genes) if genes.form == "compact" else _rows(genes)


def _text(genes: Genes, length: int) -> str:
    return genes.character * length


def _nested(genes: Genes, value: Any) -> Any:
    for _ in range(min(genes.depth, 500)):
        value = [value]
    return value


def _compact(genes: Genes) -> dict[str, Any]:
    count = genes.records
    sites = max(1, min(genes.sites, count))
    template = genes.template * genes.template_repeats if genes.template else None
    nargs = genes.args if template else 0
    rows = [
        [
            _text(genes, genes.name_length), 20, "INFO", _text(genes, genes.path_length), number,
            "f", _own(template, number) if genes.different_templates else template, nargs,
        ]
        for number in range(sites)
    ]  # fmt: skip
    site = [number % sites for number in range(count)]
    of_site = [len(range(number, count, sites)) for number in range(sites)]
    made: dict[str, Any] = {
        "host": _text(genes, genes.host_length), "time": 10**15, "delta": [0] * (count - 1),
        "sites": rows, "site": site,
        "origins": [[1, "P", 2, _text(genes, genes.name_length), None]] * max(1, genes.origins),
        "strings": [_text(genes, genes.string_length)] * genes.strings,
        "values": [[_column(genes, size) for _ in range(nargs or 1)] for size in of_site],
        "static": _fields(genes, genes.static),
        "extra": {
            f"k{number}": _sparse(genes, count, number) for number in range(genes.extras)
        },
        "junk": [genes.junk] * genes.junk_count,
    }  # fmt: skip
    if genes.origins > 1:
        made["origin"] = [number % genes.origins for number in range(count)]
    for name in ("exc", "stack")[: genes.texts]:
        made[name] = [None, _column(genes, count)]
    return made


def _own(template: str | None, number: int) -> str | None:
    return None if template is None else f"{number}{template}"


def _column(genes: Genes, count: int) -> Any:
    if genes.strings:
        return {"of": [number % genes.strings for number in range(count)]}
    value = genes.arg if genes.template else _text(genes, genes.text_length)
    if genes.mixed_args:
        return [(value, 1, 0.5, "x", None)[number % 5] for number in range(count)]
    return [value] * count


def _sparse(genes: Genes, count: int, number: int) -> list[Any]:
    rows = range(number % genes.extra_share, count, genes.extra_share)
    value = _nested(genes, genes.extra_value)
    return [None if genes.extra_share == 1 else [*rows], [value] * len(rows)]


def _fields(genes: Genes, count: int) -> dict[str, Any]:
    value = genes.static_value
    value = _text(genes, genes.static_length) if value.__class__ is str else value
    return {f"s{number}": _nested(genes, value) for number in range(count)}


def _rows(genes: Genes) -> Any:
    message = genes.junk if genes.junk_count else _text(genes, genes.text_length)
    row = {
        "message": _nested(genes, message),
        "name": _text(genes, genes.name_length),
        "pathname": _text(genes, genes.path_length),
        **{f"k{n}": _nested(genes, genes.extra_value) for n in range(genes.extras)},
    }
    if genes.texts:
        row["exc_text"] = _text(genes, genes.text_length)
    if genes.form == "one row":
        row["extra"] = {f"e{n}": genes.junk for n in range(genes.junk_count)}
        return row
    return [row] * genes.records


def write(genes: Genes) -> tuple[Codec, bytes] | None:
    """The body of a datagram; None if it would be larger than any receiver reads."""
    if _size(genes) > 3 << 20:
        return None
    try:
        text = json.dumps(document(genes), ensure_ascii=genes.character == "\ud800")
        payload = text.replace(" ", "").encode("utf-8", "replace")
    except (RecursionError, ValueError):
        return None
    if len(payload) > LIMITS.inflated_bytes:
        return None
    codec = Codec(genes.codec)
    if codec is Codec.ZLIB:
        return codec, zlib.compress(payload)
    return Codec.JSON, payload


def _size(genes: Genes) -> int:
    """About how long the text will be, so that no time is spent on what is far too long."""
    each = 8 + genes.args * len(repr(genes.arg)) + genes.text_length * (genes.strings == 0)
    each += genes.extras * (len(repr(genes.extra_value)) + 2 * genes.depth) // genes.extra_share
    if genes.form != "compact":
        each += genes.name_length + genes.path_length + genes.extras * 5
    place = 40 + genes.name_length + genes.path_length
    place += len(genes.template) * genes.template_repeats + 10 * genes.args
    total = genes.records * each + min(genes.sites, max(genes.records, 1)) * place
    total += genes.origins * (20 + genes.name_length) + genes.strings * (3 + genes.string_length)
    total += genes.static * (8 + genes.static_length + 2 * genes.depth)
    return total + genes.extras * 10 + genes.junk_count * (2 + len(repr(genes.junk)))


# --- what they cost -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Cost:
    """What a receiver pays for one datagram."""

    milliseconds: float
    output: int = 0
    """Bytes of JSON lines."""
    refused: str = ""


def _receiver() -> Reemitter:
    manager = logging.Manager(logging.RootLogger(logging.NOTSET))
    manager.root.addHandler(logging.NullHandler())
    return Reemitter(manager=manager)


_reemitter = _receiver()
_formatter = JSONFormatter()


def measure(codec: int, body: bytes, *, times: int = 1, with_output: bool = True) -> Cost:
    """Decode a body and hand its records over; the best of so many times."""
    best, made, refused = float("inf"), [], ""
    for _ in range(times):
        started = time.thread_time()
        try:
            made = records(decode_payload(codec, body, LIMITS), PROVENANCE)
            _reemitter.deliver(made)
        except DecodeError as error:
            refused = str(error.reason)
        best = min(best, time.thread_time() - started)
    lines = [_formatter.format(record) for record in made] if with_output else []
    size = sum([len(line.encode("utf-8", "backslashreplace")) + 1 for line in lines])
    return Cost(best * 1_000, size, refused)


def peak_memory(codec: int, body: bytes) -> int:
    """The most bytes that were in use while a body was read and its records handed over."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        measure(codec, body, with_output=False)
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


# --- the search ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """A payload and what it costs."""

    genes: Genes
    cost: Cost
    sizes: tuple[int, int]
    """Of the body and of the payload."""


class Search:
    """Climbs towards payloads with the highest score."""

    KEPT = 12

    def __init__(self, seed: int, score: Callable[[Cost], float], *, with_output: bool) -> None:
        self._random = random.Random(seed)
        self._score = score
        self._with_output = with_output
        self.tried = 0
        self.best: list[Found] = []

    def run(self, *, seconds: float = float("inf"), tries: int = 1 << 62) -> Found:
        """Look until time or tries are used up; return the worst, measured again."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.tried < tries:
            self._try(self._next())
        again = [self._measured(found.genes, times=5) for found in self.best]
        self.best = sorted(filter(None, again), key=self._rank, reverse=True)
        return self.best[0]

    def _rank(self, found: Found) -> float:
        return self._score(found.cost)

    def _next(self) -> Genes:
        chance = self._random
        if len(self.best) < self.KEPT or chance.random() < 0.2:
            return self._changed(Genes(), chance.randrange(1, 12))
        return self._changed(chance.choice(self.best).genes, chance.randrange(1, 4))

    def _changed(self, genes: Genes, count: int) -> Genes:
        names = self._random.sample([*CHOICES], count)
        changes = {name: self._random.choice(CHOICES[name]) for name in names}
        return Genes(**{**vars(genes), **changes})

    def _try(self, genes: Genes) -> None:
        found = self._measured(genes, times=1)
        if found is None:
            return
        self.tried += 1
        if any(self._rank(found) == self._rank(each) for each in self.best):
            return
        self.best = sorted([*self.best, found], key=self._rank, reverse=True)[: self.KEPT]

    def _measured(self, genes: Genes, *, times: int) -> Found | None:
        written = write(genes)
        if written is None:
            return None
        codec, body = written
        cost = measure(codec, body, times=times, with_output=self._with_output)
        size = len(zlib.decompress(body)) if codec is Codec.ZLIB else len(body)
        return Found(genes, cost, (len(body), size))


def searches(seed: int) -> dict[str, Search]:
    """What is looked for."""
    return {
        "processor time": Search(seed, lambda cost: cost.milliseconds, with_output=False),
        "the same, not refused": Search(
            seed + 1, lambda cost: cost.milliseconds * (not cost.refused), with_output=False
        ),
        "output": Search(seed + 2, lambda cost: cost.output, with_output=True),
    }


def description(genes: Genes) -> str:
    """Where it differs from the plainest payload."""
    plain = vars(Genes())
    parts = [f"{name} {value!r}" for name, value in vars(genes).items() if value != plain[name]]
    return ", ".join(parts).replace("|", "\\|")


def table(found: dict[str, Found], tried: int) -> list[str]:
    """Lines of Markdown."""
    lines = [
        f"Worst of {tried:,} payloads of at most {LIMITS.inflated_bytes:,} bytes:",
        "",
        "| worst of | body, bytes | ms | output, times max_batch_size | memory, MiB | verdict |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for name, each in found.items():
        codec, body = write(each.genes) or (Codec.JSON, b"")
        cost = measure(codec, body, times=5)
        memory = peak_memory(codec, body) / (1 << 20)
        ratio = cost.output / LIMITS.inflated_bytes
        lines.append(
            f"| {name} | {len(body):,} | {cost.milliseconds:.0f} | {ratio:.1f} | {memory:.0f} "
            f"| {cost.refused or 'delivered'} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="for all searches together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="put the table into docs/security.md")
    arguments = parser.parse_args()
    looked = searches(arguments.seed)
    found = {
        name: each.run(seconds=arguments.seconds / len(looked)) for name, each in looked.items()
    }
    lines = table(found, sum(each.tried for each in looked.values()))
    print("\n".join(lines))
    for name, each in found.items():
        print(f"{name}: {description(each.genes)}")
    if arguments.write:
        page = PAGE.read_text("utf-8")
        start, end = page.index(BEGIN) + len(BEGIN), page.index(END, page.index(BEGIN))
        PAGE.write_text(page[:start] + "\n" + "\n".join(lines) + "\n\n" + page[end:], "utf-8")


if __name__ == "__main__":
    main()

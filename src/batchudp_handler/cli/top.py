"""The command `top`, a live table of the senders with their rates and losses.

A table that is drawn anew every `--interval`, from the counters that the control socket gives.
With the extra `top` it is drawn by rich; without, it is text.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batchudp_handler.cli.live import places
from batchudp_handler.cli.parser import ExitCode
from batchudp_handler.cli.report import leave_standard_output, write_line
from batchudp_handler.cli.script_config import PROGRAM
from batchudp_handler.console import escape
from batchudp_handler.control.client import NobodyAnswers, ask
from batchudp_handler.receiver.receive_socket import address_text
from batchudp_handler.waits import sleep_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["add_top_arguments", "top"]

COLUMNS = ("sender", "records/s", "delivered", "lost", "late", "dropped", "rejected", "kB/s", "")
CLEAR = "\x1b[H\x1b[2J"
ROWS = 40
"""The busiest senders; more fit on no screen."""


@dataclass(frozen=True, slots=True)
class Row:
    """One sender."""

    sender: str
    per_second: float
    delivered: int
    lost: int
    late: int
    dropped: int
    rejected: int
    bytes_per_second: float
    state: str

    @property
    def cells(self) -> tuple[str, ...]:
        """As they are shown."""
        numbers = (self.lost, self.late, self.dropped, self.rejected)
        return (
            self.sender,
            f"{self.per_second:,.1f}",
            f"{self.delivered:,}",
            *(f"{number:,}" for number in numbers),
            f"{self.bytes_per_second / 1000:,.1f}",
            self.state,
        )


def add_top_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `top`."""
    group = parser.add_argument_group("table")
    group.add_argument(
        "--interval", type=_positive, default=1.0, metavar="SECONDS", help="default: 1"
    )
    group.add_argument(
        "--once", action="store_true", help="print one table after one interval, as plain text"
    )


def _positive(text: str) -> float:
    value = float(text)
    if not 0.05 <= value <= 3600:
        raise argparse.ArgumentTypeError("from 0.05 to 3600")
    return value


def top(namespace: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Draw until a signal or the receiver's end."""
    try:
        tables = _tables(places(namespace, environ), namespace.interval)
        if namespace.once:
            print(_text(*next(tables)), flush=True)
        elif sys.stdout.isatty():
            _draw(tables)
        else:
            for title, rows in tables:
                print(_text(title, rows), flush=True)
    except NobodyAnswers as error:
        write_line(sys.stderr, PROGRAM, f"nobody answers: {error}")
        return ExitCode.UNAVAILABLE
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:
        leave_standard_output()
    return ExitCode.OK


def _tables(where: Sequence[str], interval: float) -> Iterator[tuple[str, list[Row]]]:
    before = ask(where, "stats")
    while True:
        sleep_for(interval)
        after, health = ask(where, "stats"), ask(where, "health")
        title = _title(before, after)
        yield title if health["healthy"] else f"{title}\n{health['text']}", rows(before, after)
        before = after


def _title(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    seconds = max(after["uptime"] - before["uptime"], 1e-9)
    rate = (after["delivered"] - before["delivered"]) / seconds
    kernel = "unknown" if after["kernel_drops"] is None else f"{after['kernel_drops']:,}"
    lost, refused = after["lost"] + after["missing"], sum(after["refused"].values())
    parts = (
        f"{after['streams_live']} senders",
        f"{rate:,.1f} records/s",
        f"{after['delivered']:,} delivered",
        f"{lost:,} lost",
        f"{kernel} kernel drops",
        f"{refused:,} datagrams refused",
        f"{after['queued_bytes']:,} bytes waiting",
        f"up {after['uptime']:,.0f} s",
    )
    return ", ".join(parts)


def rows(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Row]:
    """Return the senders, those with most records first."""
    seconds = max(after["uptime"] - before["uptime"], 1e-9)
    found = [
        _row(one, before["streams"].get(name, {}), seconds)
        for name, one in after["streams"].items()
    ]
    found.sort(key=lambda row: (-row.per_second, row.state, row.sender))
    return found[:ROWS]


def _row(one: Mapping[str, Any], earlier: Mapping[str, Any], seconds: float) -> Row:
    def rate(name: str) -> float:
        return float(one[name] - earlier.get(name, 0)) / seconds

    address = one["address"]
    return Row(
        sender=escape(address_text(address if isinstance(address, str) else tuple(address))),
        per_second=rate("delivered"),
        delivered=one["delivered"],
        lost=one["lost"] + one["missing"],
        late=one["late"],
        dropped=one["sender_dropped"],
        rejected=sum(one["rejected"].values()),
        bytes_per_second=rate("bytes_received"),
        state=one["ended"] or (f"silent {one['idle']:.0f} s" if one["idle"] >= 5 else ""),
    )


# --- drawing -----------------------------------------------------------------------------------


def _text(title: str, found: Sequence[Row]) -> str:
    table = [COLUMNS, *(row.cells for row in found)]
    widths = [max(len(line[column]) for line in table) for column in range(len(COLUMNS))]
    lines = [
        "  ".join(
            cell.ljust(width) if column in {0, len(COLUMNS) - 1} else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    ]
    return "\n".join([title, "", *lines])


def _draw(tables: Iterator[tuple[str, list[Row]]]) -> None:
    try:
        from rich.live import Live
    except ImportError:
        _draw_text(tables)
        return
    first = next(tables)
    with Live(_rich_table(*first), auto_refresh=False, screen=True) as live:
        for title, found in tables:
            live.update(_rich_table(title, found), refresh=True)


def _draw_text(tables: Iterator[tuple[str, list[Row]]]) -> None:
    for title, found in tables:
        height = os.get_terminal_size(1).lines
        lines = _text(title, found).splitlines()[: max(height - 1, 3)]
        print(CLEAR + "\n".join(lines), end="", flush=True)


def _rich_table(title: str, found: Sequence[Row]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left", expand=True, box=None)
    for column, name in enumerate(COLUMNS):
        is_text = column in {0, len(COLUMNS) - 1}
        table.add_column(Text(name, "bold"), justify="left" if is_text else "right")
    for row in found:
        style = "red" if row.lost or row.rejected or row.dropped else ""
        table.add_row(*(Text(cell) for cell in row.cells), style="dim" if row.state else style)
    return table

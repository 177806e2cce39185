"""The `decode` command: datagrams and spool segments as readable text."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from batchudp_handler.cli.parser import ExitCode
from batchudp_handler.cli.report import print_all, write_line
from batchudp_handler.decode.capture import datagrams_in
from batchudp_handler.decode.events import describe_events, holds_events
from batchudp_handler.decode.text import Describer
from batchudp_handler.keys import load_keys

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `decode`."""
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="a capture (pcap, pcapng), a spool segment, lines of hex digits, one datagram as it "
        "is, or a file of trace events; '-' is standard input",
    )
    parser.add_argument(
        "--key-file",
        dest="keys_of",
        metavar="FILE",
        action="append",
        default=[],
        help="keys to open protected datagrams; may be given more than once",
    )
    parser.add_argument(
        "--headers",
        dest="headers_only",
        action="store_true",
        help="show headers, SYNCs and ACKs, without the records",
    )


def run(namespace: argparse.Namespace, _: Mapping[str, str]) -> int:
    """Describe the datagrams of all files.

    Raises:
        ConfigError: A key file cannot be used.
    """
    describer = Describer(load_keys(namespace.keys_of), with_records=not namespace.headers_only)
    status = ExitCode.OK
    for path in namespace.files:
        try:
            content = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        except OSError as error:
            write_line(sys.stderr, "batchudp-receive", f"{path}: {error.strerror}")
            status = ExitCode.NO_INPUT
            continue
        print_all(_lines(content, describer))
    return status


def _lines(content: bytes, describer: Describer) -> Iterator[str]:
    if holds_events(content):
        yield from describe_events(content)
        return
    number = 0
    for number, found in enumerate(datagrams_in(content), 1):
        yield from describer.describe(number, found)
    if not number:
        yield "no datagrams"

"""The command `genkey`, which makes a key.

`batchudp-receive genkey` makes 32 random bytes and shows them as a line of a key file, on standard
output or in a new file that only its owner can read. A file that exists is never written over:
its key may be the only one of its kind.
"""

from __future__ import annotations

import os
import secrets
from base64 import b64encode
from typing import TYPE_CHECKING

from batchudp_handler.cli.parser import ExitCode, UsageError
from batchudp_handler.core.wire.auth import MIN_SECRET
from batchudp_handler.keys import ALGORITHMS, DEFAULT_ALGORITHM

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

from batchudp_handler.platform import restrict_to_owner

__all__ = ["add_arguments", "key_line", "run"]

OWNER_ONLY = 0o600


def key_line(key_id: int, algorithm: str) -> str:
    """Return a new key, as a line of a key file."""
    secret = b64encode(secrets.token_bytes(MIN_SECRET)).decode("ascii")
    return f"{key_id} {algorithm} {secret}\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `genkey`."""
    parser.add_argument(
        "--id",
        dest="key_id",
        metavar="N",
        default="1",
        help="number that identifies this key, 1 to 65535 (default: 1)",
    )
    parser.add_argument(
        "--algorithm",
        choices=list(ALGORITHMS),
        default=DEFAULT_ALGORITHM,
        help=f"the second one also encrypts, and needs the extra crypto "
        f"(default: {DEFAULT_ALGORITHM})",
    )
    parser.add_argument(
        "--output",
        dest="new_key_file",
        metavar="FILE",
        help="write a new file that only you can read (default: standard output)",
    )


def run(namespace: argparse.Namespace, _: Mapping[str, str]) -> int:
    """Make a key and show it; nothing else ever prints one.

    Raises:
        UsageError: The number is none, or the file cannot be made.
    """
    line = key_line(_key_id(namespace.key_id), namespace.algorithm)
    if namespace.new_key_file is None:
        print(line, end="")
    else:
        _write_new(namespace.new_key_file, line)
    return ExitCode.OK


def _key_id(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else 0
    if not 1 <= number <= 0xFFFF:
        message = f"--id must be a whole number from 1 to 65535, not {text!r}"
        raise UsageError(message)
    return number


def _write_new(path: str, line: str) -> None:
    """Make the file, readable for its owner only from the start; never replace one."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    except FileExistsError:
        message = f"{path}: exists already, and a key is never overwritten"
        raise UsageError(message) from None
    except OSError as error:
        message = f"{path}: cannot be made ({error.strerror})"
        raise UsageError(message) from None
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        restrict_to_owner(descriptor)
        file.write(line)

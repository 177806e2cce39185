"""The keys of key files.

A key file is text; each line is a key:

    # number  algorithm          secret, at least 32 random bytes in base64
    1         hmac-sha256        q83v...
    2         chacha20-poly1305  ASNF...

A receiver accepts every key of its files, so that a new one can be added before the senders
change to it. A sender uses the last. Anyone else who could read the file could send in its owner's
name, so a file that others may read is refused. No error shows what is in a line.
"""

from __future__ import annotations

import binascii
import os
import stat
from base64 import b64decode
from typing import TYPE_CHECKING

from batchudp_handler.core.errors import ConfigError
from batchudp_handler.core.wire.auth import AeadKey, HmacKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from batchudp_handler.core.wire.auth import Key

__all__ = ["load_keys"]

ALGORITHMS: dict[str, Callable[[int, bytes], Key]] = {
    "hmac-sha256": HmacKey,
    "chacha20-poly1305": AeadKey,
}
DEFAULT_ALGORITHM = "hmac-sha256"
LARGEST_FILE = 65_536


def load_keys(paths: Iterable[str]) -> list[Key]:
    """Return the keys of all files, in order.

    Raises:
        ConfigError: A file cannot be read, may be read by others, or holds something else.
    """
    return [key for path in paths for key in _keys_in(path, _read_private(path))]


def _read_private(path: str) -> str:
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                message = f"{path}: others may use this key file; chmod 600 it"
                raise ConfigError(message)
            return file.read(LARGEST_FILE).decode("ascii")
    except OSError as error:
        message = f"{path}: the key file cannot be read ({error.strerror})"
        raise ConfigError(message) from None
    except UnicodeDecodeError:
        raise _not_a_key_file(path) from None


def _keys_in(path: str, text: str) -> Iterable[Key]:
    lines = [line.split() for line in text.splitlines() if line.strip()]
    keys = [_key(path, parts) for parts in lines if not parts[0].startswith("#")]
    if not keys:
        message = f"{path}: there is no key in this file"
        raise ConfigError(message)
    return keys


def _key(path: str, parts: list[str]) -> Key:
    try:
        number, algorithm, secret = parts
        make = ALGORITHMS[algorithm]
        return make(int(number), b64decode(secret, validate=True))
    except ConfigError as error:
        message = f"{path}: {error}"
        raise ConfigError(message) from None
    except (ValueError, KeyError, binascii.Error):
        raise _not_a_key_file(path) from None


def _not_a_key_file(path: str) -> ConfigError:
    algorithms = " or ".join(ALGORITHMS)
    return ConfigError(f"{path}: each line must be a number, {algorithms}, and a base64 secret")

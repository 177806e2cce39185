"""Targets: whatever reads bytes or text in one go.

Datagrams, spool segments, key files, settings. Each function takes the fuzzer's bytes and raises
only when the code under test is wrong.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from batchudp_handler.cli.parser import UsageError
from batchudp_handler.cli.resolve import (
    as_config,
    config_text,
    known_names,
    read_document,
    resolve,
    section,
)
from batchudp_handler.config import HandlerConfig, ReceiverConfig
from batchudp_handler.core.errors import ConfigError, DecodeError
from batchudp_handler.core.wire.ack import decode_ack, encode_ack
from batchudp_handler.core.wire.auth import HmacKey
from batchudp_handler.core.wire.constants import HEADER_SIZE
from batchudp_handler.core.wire.datagram import (
    CHECKSUM,
    Baseline,
    DatagramType,
    Header,
    Seal,
    encode_baseline,
    parse,
)
from batchudp_handler.core.wire.spool_frame import header_fields, is_intact, scan_segment
from batchudp_handler.core.wire.sync import decode_sync, encode_sync
from batchudp_handler.keys import ALGORITHMS, load_keys
from batchudp_handler.settings import settings_of

from .feed import Feed
from .guard import limited

__all__ = ["configuration", "datagrams", "environment", "key_files", "segments"]

KEY = HmacKey(1, bytes(range(32)))
SEALS: tuple[Seal, ...] = (CHECKSUM, KEY.receiver, KEY.sender)
SECRET_LENGTH = 12
"""A word of a key file that is at least so long may be part of a secret."""


# --- datagrams --------------------------------------------------------------------------------


def datagrams(data: bytes) -> None:
    """Parse, open and decode a datagram; what is understood means the same bytes again."""
    with limited():
        try:
            parsed = parse(data)
        except DecodeError:
            return
        if isinstance(parsed, Baseline):
            assert parsed.body in encode_baseline(parsed)
            return
        assert parsed.pack() == data[:HEADER_SIZE]
        for seal in SEALS:
            with suppress(DecodeError):
                _read(parsed, seal, data)


def _read(header: Header, seal: Seal, data: bytes) -> None:
    body = seal.open(data)
    header.check()
    if header.type == DatagramType.SYNC:
        sync = decode_sync(body, seal.overhead)
        again = encode_sync(
            CHECKSUM, sync, stream_id=header.stream_id, counter=header.seq, sealed_at=0
        )
        assert decode_sync(CHECKSUM.open(again)) == sync
    elif header.type == DatagramType.ACK:
        ack = decode_ack(body)
        again = encode_ack(
            CHECKSUM, ack, stream_id=header.stream_id, counter=header.seq, sealed_at=0
        )
        assert decode_ack(CHECKSUM.open(again)) == ack


# --- spool segments ---------------------------------------------------------------------------


def segments(data: bytes) -> None:
    """Scan a spool segment: every frame found is whole, in order, and of the stream."""
    fields = header_fields(data[8 : 8 + HEADER_SIZE])
    stream_id = fields[0] if fields else 0
    with limited():
        scan = scan_segment(data, stream_id)
    position, last_seq = 0, -1
    for frame in scan.frames:
        sealed = data[frame.offset : frame.end]
        assert frame.offset >= position
        assert frame.seq > last_seq
        assert is_intact(frame, sealed)
        assert header_fields(sealed) == (stream_id, frame.seq, frame.records)
        position, last_seq = frame.end, frame.seq
    assert position <= scan.end <= len(data)
    assert scan.torn == (scan.end < len(data))


# --- files and settings -----------------------------------------------------------------------


def _scratch_file(ending: str) -> Path:
    """A private file of this process, the same one each time."""
    path = Path(tempfile.gettempdir(), f"batchudp-fuzz-{os.getpid()}{ending}")
    path.touch(mode=0o600)
    return path


def key_files(data: bytes) -> None:
    """Read a key file; an error shows nothing that could be a secret."""
    path = _scratch_file(".key")
    path.write_bytes(data)
    try:
        with limited():
            load_keys([str(path)])
    except ConfigError as error:
        words = [word for word in data.split() if len(word) >= SECRET_LENGTH]
        shown = str(error).replace(str(path), "")
        for algorithm in ALGORITHMS:
            shown = shown.replace(algorithm, "")
        assert not any(word.decode("latin-1") in shown for word in words), "shows a secret"
    finally:
        path.unlink()


CONFIGS = (ReceiverConfig, HandlerConfig)
VARIABLES = tuple(
    name for each in CONFIGS for item in settings_of(each) for name in item.environment_names
)


def configuration(data: bytes) -> None:
    """Read a settings file, TOML or JSON, and print what came of it."""
    path = _scratch_file(".json" if data[:1] in (b"{", b"[") else ".toml")
    path.write_bytes(data)
    try:
        with limited(), suppress(ConfigError, UsageError):
            document = read_document(str(path))
            for name, each in (("receive", ReceiverConfig), ("send", HandlerConfig)):
                table = section(document, name, known_names([each]))
                resolved = resolve(each, flags={}, environ={}, document=table)
                as_config(each, resolved)
                config_text(name, each, resolved)
    finally:
        path.unlink()


def environment(data: bytes) -> None:
    """Take settings from the environment: any variable, any text."""
    feed = Feed(data)
    environ: dict[str, str] = {}
    while feed and len(environ) < len(VARIABLES):
        name = feed.pick(VARIABLES)
        text = feed.take(feed.below(64)).decode("utf-8", "surrogateescape")
        environ[name] = text.replace("\0", "")
    for each in CONFIGS:
        with limited(), suppress(ConfigError):
            each.from_env(environ)

"""The inputs with which the fuzzer begins.

Small valid ones, made from the test vectors and by the encoders, so that it need not discover what
a datagram is. Writes fuzz/corpus; the same bytes each time. Run it after a change of a format.
"""

from __future__ import annotations

import base64
import json
import shutil
import sys
import zlib
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent.parent))

from batchudp_handler.core.payload.codec import encode_compact, encode_rows
from batchudp_handler.core.payload.compression import DICTIONARY, Codec
from batchudp_handler.core.records.batch import BatchHeader
from batchudp_handler.core.wire.datagram import CHECKSUM, Baseline, encode_baseline, encode_data
from batchudp_handler.core.wire.spool_frame import encode_frame
from fuzz.records import sample_snapshots
from fuzz.targets import CORPUS, TARGETS

if TYPE_CHECKING:
    from collections.abc import Iterator

VECTORS = Path(__file__).parent.parent / "tests" / "vectors"
HEADER = BatchHeader("web-1", {"service": "shop"})


def datagrams() -> Iterator[bytes]:
    """Every datagram of the vectors, the refused ones too."""
    for path in sorted(VECTORS.glob("datagram-*.json")):
        for vector in json.loads(path.read_text("utf-8"))["datagrams"]:
            yield bytes.fromhex(vector["datagram"])


def payloads() -> Iterator[bytes]:
    """Both encodings with each compression, and what people type by hand."""
    for count in (1, 6):
        for text in (
            encode_compact(sample_snapshots()[:count], HEADER),
            encode_rows(sample_snapshots()[:count], HEADER),
        ):
            deflate = zlib.compressobj(9, zdict=DICTIONARY)
            yield bytes([Codec.JSON]) + text
            yield bytes([Codec.ZLIB]) + zlib.compress(text)
            yield bytes([Codec.ZLIB_DICT]) + deflate.compress(text) + deflate.flush()
    for line in (
        '{"message": "hi", "level": "warning"}',
        '{"msg": "%d %s", "args": [1, "x"], "levelno": 40, "created": 1700000000.5}',
        '{"message": "x", "logger": "a.b", "timestamp": "2024-01-01T00:00Z", "extra": {"a": 1}}',
        '[{"message": "\\ud800", "exc_text": "Traceback"}, {"message": 1}, 7]',
    ):
        yield bytes([Codec.JSON]) + line.encode()
    yield from bombs()


def bombs() -> Iterator[bytes]:
    """Small bodies that would become large, at the limit and far above it."""
    yield bytes([Codec.ZLIB]) + zlib.compress(b"[" + b" " * ((1 << 20) - 2) + b"]", 9)
    yield bytes([Codec.ZLIB]) + zlib.compress(b"0" * (30 << 20), 9)
    yield bytes([Codec.ZLIB]) + zlib.compress(b"[" * (1 << 20), 9)
    yield bytes([Codec.ZLIB]) + zlib.compress(b"[" + b"{}," * 340_000 + b"{}]", 9)
    yield bytes([Codec.ZLIB]) + zlib.compress(b'[{"message":"' + b"\\n" * 500_000 + b'"}]', 9)


def stories() -> Iterator[bytes]:
    """Bytes that mean something only to a `Feed`."""
    random = Random(20)
    for length in (8, 30, 60, 120, 120, 250, 250, 500):
        yield random.randbytes(length)


def segments() -> Iterator[bytes]:
    """A spool segment: whole, torn, with a damaged frame, empty."""
    frames = [
        encode_frame(
            encode_data(
                CHECKSUM, b"body" * number, acknowledged=True, codec=1, stream_id=7,
                seq=number, rec=3 * number, sealed_at=0, n_rec=3,
            )
        )
        for number in range(4)
    ]  # fmt: skip
    whole = b"".join(frames)
    yield from (whole, whole[:-5], frames[0] + b"\0" * 20 + frames[2], b"")
    yield frames[0] + bytes([frames[1][0] ^ 1]) + frames[1][1:] + frames[2]


def key_files() -> Iterator[bytes]:
    """A key of each kind, and lines that are almost one."""
    secret = base64.b64encode(bytes(range(32)))
    yield b"# comment\n1 hmac-sha256 " + secret + b"\n2 chacha20-poly1305 " + secret + b"\n"
    yield b"1 hmac-sha256 " + secret[:20] + b"\n"
    yield b"0 hmac-sha256 " + secret
    yield b"99999 unknown " + secret


def configuration() -> Iterator[bytes]:
    """Settings files."""
    yield b'[receive]\nport = 0\nallow = ["10.0.0.0/8", "::1"]\nmax_records = 100\n'
    yield b'[send]\nhost = "localhost:1"\nstatic_fields = {a = 1}\nflush_level = "ERROR"\n'
    yield b'{"receive": {"host": "unix:///tmp/x", "source_rate": 10.5}}'
    yield b'{"send": {"overflow": "block", "capacity": 5, "delivery": "acknowledged"}}'


def logger_names() -> Iterator[bytes]:
    """Names near those that exist."""
    yield from (
        b"shop.orders",
        b"shop.orders.paid.x",
        b"batchudp.receiver.x",
        b"a.b",
        b"." * 40,
        b"",
    )


def gelf() -> Iterator[bytes]:
    """A message in each form, and one in two chunks; before each: time, source and length."""
    plain = b'{"version":"1.1","host":"a","short_message":"hi","level":4,"_x":1}'
    chunks = [b"\x1e\x0f12345678" + bytes([n, 2]) + plain[n * 33 : n * 33 + 33] for n in (0, 1)]
    for story in ([plain], [zlib.compress(plain)], chunks, chunks[::-1], [chunks[0], plain]):
        yield b"".join(b"\x01\x00" + len(each).to_bytes(2) + each for each in story)


def environment() -> Iterator[bytes]:
    """Variables by number, and their texts."""
    yield b"\x00\x09127.0.0.1\x02\x049999"
    yield from list(stories())[:3]


def main() -> None:
    old_form = encode_baseline(Baseline(Codec.ZLIB, zlib.compress(b'{"message": "x"}')))
    makers = {
        "datagrams": lambda: [*datagrams(), old_form],
        "payloads": payloads,
        "segments": segments,
        "key_files": key_files,
        "configuration": configuration,
        "logger_names": logger_names,
        "environment": environment,
        "gelf": gelf,
    }
    shutil.rmtree(CORPUS, ignore_errors=True)
    for name in TARGETS:
        folder = CORPUS / name
        folder.mkdir(parents=True)
        for number, data in enumerate(makers.get(name, stories)()):
            (folder / f"{number:03d}").write_bytes(data)


if __name__ == "__main__":
    main()

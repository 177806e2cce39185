"""`batchudp-receive genkey` makes keys that work, and keeps them from everybody else."""

from __future__ import annotations

import os
import stat
from base64 import b64decode
from typing import TYPE_CHECKING

import pytest

from batchudp_handler.cli.receive import main
from batchudp_handler.core.wire.auth import HmacKey
from batchudp_handler.keys import ALGORITHMS, load_keys

if TYPE_CHECKING:
    from pathlib import Path


def made(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """The parts of the line on standard output, which must be all that there is."""
    assert main(["genkey", *arguments]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    (line,) = shown.out.splitlines()
    return line.split(" ")


def test_a_key_is_a_line_of_a_key_file(capsys: pytest.CaptureFixture[str]) -> None:
    """Number 1, signing, 32 bytes; another one each time."""
    keys = [made(capsys) for _ in range(20)]
    assert {(number, algorithm) for number, algorithm, _ in keys} == {("1", "hmac-sha256")}
    secrets = {b64decode(secret, validate=True) for _, _, secret in keys}
    assert len(secrets) == 20
    assert set(map(len, secrets)) == {32}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("number", ["1", "65535"])
def test_number_and_algorithm_are_chosen(
    capsys: pytest.CaptureFixture[str], algorithm: str, number: str
) -> None:
    """Every algorithm that a key file may name, and the whole span of numbers."""
    parts = made(capsys, "--id", number, "--algorithm", algorithm)
    assert parts[:2] == [number, algorithm]


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o277])
def test_a_new_file_is_its_owners(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], umask: int
) -> None:
    """Mode 0600 whatever the umask, nothing on standard output, and the key loads."""
    path = tmp_path / "new.key"
    before = os.umask(umask)
    try:
        assert main(["genkey", "--id", "7", "--output", str(path)]) == 0
    finally:
        os.umask(before)
    assert capsys.readouterr() == ("", "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (key,) = load_keys([str(path)])
    assert isinstance(key, HmacKey)
    assert key.key_id == 7


def test_a_key_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a file nor what a link points to, even where there is nothing yet."""
    path, link = tmp_path / "old.key", tmp_path / "link.key"
    path.write_text("precious\n")
    link.symlink_to(tmp_path / "elsewhere")
    for taken in (path, link):
        assert main(["genkey", "--output", str(taken)]) == 64
        shown = capsys.readouterr()
        assert "never overwritten" in shown.err
        assert shown.out == ""
    assert path.read_text() == "precious\n"
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_that_cannot_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The reason is told, and no key is shown instead."""
    assert main(["genkey", "--output", str(tmp_path / "missing" / "new.key")]) == 64
    shown = capsys.readouterr()
    assert "cannot be made (No such file or directory)" in shown.err
    assert shown.out == ""


@pytest.mark.parametrize("number", ["0", "65536", "-1", "x", "", "1.0", "\u0661", "999999999999"])
def test_a_number_that_is_none(capsys: pytest.CaptureFixture[str], number: str) -> None:
    """1 to 65,535, in plain digits."""
    assert main(["genkey", f"--id={number}"]) == 64
    assert "from 1 to 65535" in capsys.readouterr().err


def test_secrets_are_not_taken_from_flags(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever lists the processes of a machine sees their flags."""
    with pytest.raises(SystemExit) as ended:
        main(["genkey", "--secret", "x"])
    assert ended.value.code == 64
    assert capsys.readouterr().out == ""

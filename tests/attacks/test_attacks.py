"""A receiver stays up, bounded and honest whatever strangers send.

Each attack meets a `batchudp-receive` process of its own, to which an honest sender ships records
by acknowledged delivery at the same time. `-v` shows the table.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from tests.attacks import hostile
from tests.attacks.support import (
    HONEST,
    MAX_GROWTH,
    MAX_REPLY_RATIO,
    MEBIBYTE,
    TABLE,
    Attacked,
    Attacker,
    make_key,
)
from tests.faults.support import IS_SOAK, Sender, ids, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.faults.support import Ended, Stats

    Make = Callable[[Random, int], Iterator[bytes]]

RECORD_RATE = 600.0
"""The honest sender's, per second."""
FEWEST = 300
KNOWN = 50
"""Records that have arrived when the attack begins."""
MAX_CHALLENGES = 1_000
"""Per second."""


@dataclass(frozen=True)
class Attack:
    """One kind of harm."""

    name: str
    make: Make
    few: int
    """Datagrams in `make test-all`."""
    many: int
    """Datagrams in the long run."""
    rate: float = 20_000.0
    keyed: bool = False
    sources: int = 4
    admits: int = 0
    """Records of strangers that a receiver without keys may accept, per datagram: it promises to
    take well-formed records from anybody."""

    @property
    def amount(self) -> int:
        return self.many if IS_SOAK else self.few

    @property
    def records(self) -> int:
        """As many as the honest sender logs meanwhile."""
        return max(FEWEST, int(self.amount / self.rate * RECORD_RATE))


ATTACKS = (
    Attack("random garbage", hostile.garbage, 3_000, 300_000),
    Attack("right header, garbage behind it", hostile.valid_headers, 2_000, 100_000),
    Attack("zlib bombs of 64 MiB", hostile.zlib_bombs, 200, 10_000, rate=500),
    Attack("JSON bombs: depth, shapes, numbers", hostile.json_bombs, 60, 1_000, rate=60, admits=1),
    Attack("a million records claimed", hostile.many_claimed, 60, 1_000, rate=60, admits=2_048),
    Attack("oversize everything", hostile.oversize, 90, 2_000, rate=100, admits=1),
    Attack("100,000 logger names", hostile.logger_names, 1_000, 1_000, rate=700, admits=100),
    Attack("templates, control characters", hostile.templates, 500, 50_000, rate=5_000, admits=1),
    Attack("stolen stream number", hostile.stolen_stream, 2_000, 100_000),
    Attack("fragments that never complete", hostile.fragments, 2_000, 100_000),
    Attack("SYNC and cookie flood", hostile.sync_flood, 3_000, 200_000, sources=100),
    Attack("spoofable mix, 0 to 1,500 B", hostile.spoofable, 3_000, 1_000_000, sources=100),
    Attack("wrong tags", hostile.wrong_tags, 3_000, 200_000, keyed=True),
    Attack("forms without a key", hostile.no_tags, 3_000, 200_000, keyed=True),
    Attack(
        "spoofable mix, wrong tags",
        hostile.spoofable_with_key,
        3_000,
        1_000_000,
        keyed=True,
        sources=100,
    ),
)


@dataclass
class Found:
    """What came of an attack."""

    attacker: Attacker
    ended: Ended
    stats: Stats
    growth: int
    cpu: float
    seconds: float
    strange: list[str]
    missing: int
    copies: int

    @property
    def reply_ratio(self) -> float:
        """Bytes sent to strangers for each byte of theirs that reached the receiver."""
        reached: int = self.stats["bytes_received"] - self.ended.total("bytes_sent")
        return sum(self.attacker.bytes_back.values()) / max(reached, 1)


def settings_of(attack: Attack, folder: Path) -> tuple[list[str], dict[str, object]]:
    """The receiver's arguments and the sender's settings."""
    if not attack.keyed:
        return [], {}
    key = make_key(folder / "test.key")
    return ["--key-file", key], {"key_file": key}


def carry_out(attack: Attack, folder: Path) -> Found:
    """Attack a receiver while an honest sender logs."""
    arguments, settings = settings_of(attack, folder)
    with (
        Attacked(folder, *arguments) as receiver,
        Attacker(receiver.address, attack.sources) as attacker,
    ):
        plan: dict[str, Any] = {"runs": [HONEST], "count": attack.records, "rate": RECORD_RATE}
        with Sender(
            folder, receiver.address, settings=settings, is_told_to_end=True, **plan
        ) as sender:
            wait_until(lambda: sum(receiver.written().values()) >= KNOWN)
            datagrams = attack.make(Random(attack.name), sender.latest["stream_id"])
            memory, cpu, began = receiver.peak_memory(), receiver.cpu_seconds(), time.monotonic()
            attacker.send(datagrams, attack.amount, attack.rate)
            seconds = time.monotonic() - began
            ended = sender.end()
            receiver.settle()
            growth, cpu = receiver.peak_memory() - memory, receiver.cpu_seconds() - cpu
        stats = receiver.end()
        attacker.listen()
        honest, strange = receiver.lines()
    logged = ids([HONEST], attack.records)
    missing, copies = len(logged - set(honest)), sum(honest.values()) - len(honest)
    assert set(honest) <= logged
    return Found(attacker, ended, stats, growth, cpu, seconds, strange, missing, copies)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_harms_nobody(attack: Attack, tmp_path: Path) -> None:
    """Bounded memory, nothing false delivered, no honest record lost, few or no replies."""
    found = carry_out(attack, tmp_path)
    accepted = min(len(found.strange), attack.admits * attack.amount)
    false = len(found.strange) - accepted + found.copies
    note(attack, found, accepted, false)
    assert found.stats["datagrams_received"] + found.stats["kernel_drops"] >= attack.amount
    assert found.missing == 0
    assert found.ended.flushed
    assert found.ended.total("confirmed") == attack.records
    assert false == 0
    assert found.growth <= MAX_GROWTH
    assert found.stats["handler_errors"] == 0
    check_replies(attack, found)
    for line in found.strange:
        assert line.isprintable(), f"a control character came through: {line!a}"


def check_replies(attack: Attack, found: Found) -> None:
    """To strangers fewer bytes than they sent, each source by itself; with a key none at all."""
    attacker = found.attacker
    assert found.reply_ratio <= MAX_REPLY_RATIO
    for source, amount in attacker.bytes_back.items():
        assert amount <= MAX_REPLY_RATIO * attacker.bytes_sent[source]
    assert found.stats["challenges"] <= MAX_CHALLENGES * (found.seconds + 1)
    if attack.keyed:
        assert not any(attacker.bytes_back.values())


def note(attack: Attack, found: Found, accepted: int, false: int) -> None:
    """A row of the table."""
    TABLE.rows.append(
        (
            attack.name,
            "yes" if attack.keyed else "no",
            f"{attack.amount:,}",
            f"{found.growth / MEBIBYTE:.1f}",
            f"{found.cpu:.2f}",
            f"{accepted:,}",
            str(false),
            f"{found.missing} of {attack.records:,}",
            f"{found.reply_ratio:.4f}",
            str(found.stats["kernel_drops"]),
        )
    )

"""The examination by `batchudp-send --doctor` of why records do not arrive.

It asks the receiver as every sender does that wants acknowledgements: with a SYNC, and with DATA
of streams that the receiver does not know. Both are answered by a challenge, and neither leaves
anything at the receiver. A challenge proves that the receiver was reached, that it accepts the
key, and what its clock says; the size of the DATA that still gets one is what the path carries.
"""

from __future__ import annotations

import ipaddress
import socket
import statistics
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from batchudp_handler.cli.parser import ExitCode
from batchudp_handler.cli.probe import Place, Probe, Refused, SocketAddress, find_places
from batchudp_handler.cli.report import print_all
from batchudp_handler.core.places import place_text
from batchudp_handler.core.wire.datagram import (
    CHECKSUM,
    Header,
)
from batchudp_handler.keys import load_keys
from batchudp_handler.platform import (
    AF_UNIX,
    grow_receive_buffer,
    usable_buffer,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batchudp_handler.config import HandlerConfig
    from batchudp_handler.core.wire.datagram import Seal

__all__ = ["Finding", "Grade", "examine", "findings"]


PATIENCE = (0.25, 0.5, 1.0)
"""Seconds that are waited for an answer, each time after asking again."""
PINGS = 5
PAUSE = 0.06
"""Seconds between questions: a receiver answers 20 a second to one address."""
USUAL_SIZES = (8_972, 1_472, 1_452, 1_372, 1_232, 512)
"""What fits Ethernet with jumbo frames, without, with PPPoE, in tunnels, and IPv6 at the least."""
WANTED_BUFFER = 8_388_608
CLOCK_ERROR = 1.5
"""Seconds; the receiver tells its time in whole ones."""
STALE_SECONDS = 300


class Grade(StrEnum):
    """How a finding is meant."""

    GOOD = "ok"
    HINT = "hint"
    BAD = "BAD"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    topic: str
    text: str
    grade: Grade = Grade.GOOD
    advice: str = ""


# --- the examination ---------------------------------------------------------------------------


def examine(config: HandlerConfig) -> int:
    """Look at everything and print it; the exit code is 0 unless something is bad."""
    is_bad = False
    for finding in findings(config):
        lines = [f"{finding.grade:<4}  {finding.topic:<8}  {finding.text}"]
        if finding.advice:
            lines.append(f"{'':16}-> {finding.advice}")
        print_all(lines)
        is_bad |= finding.grade == Grade.BAD
    return ExitCode.UNAVAILABLE if is_bad else ExitCode.OK


def findings(config: HandlerConfig) -> Iterator[Finding]:
    """Yield what is found, one after the other.

    Raises:
        ConfigError: The key file cannot be used.
    """
    keys = load_keys([config.key_file] if config.key_file else [])
    seal = keys[-1].sender if keys else CHECKSUM
    found = find_places(config.host, config.port)
    yield _name_finding(config.host, found)
    if isinstance(found, str) or not found[0]:
        return
    place = found[0][0]
    probe = Probe(place, seal)
    try:
        answers, trouble = _reach(probe, config)
        yield trouble or _reach_finding(config, answers)
        if trouble:
            yield from _key_trouble(place, seal)
        else:
            yield _key_finding(place, seal)
            yield _clock_finding(answers[-1][1].sealed_at, is_keyed=bool(keys))
            yield _path_finding(probe, config, answers)
        yield from _buffer_findings(probe, place)
    except OSError as error:
        yield Finding("reach", f"the socket says: {error.strerror or error}", Grade.BAD)
    finally:
        probe.close()


def _name_finding(host: str, found: tuple[list[Place], float] | str) -> Finding:
    if isinstance(found, str):
        advice = "check the spelling, and the resolver: getent ahosts " + host
        return Finding("name", f"{host} has no address: {found}", Grade.BAD, advice)
    places, took = found
    first, *others = (_shown(address) for _, address in places)
    if first == f"unix://{host.removeprefix('unix://')}":
        return Finding("name", f"{first} is a path, no name to look up")
    also = f", also {', '.join(others)}" if others else ""
    text = f"{host} is {first}{also} ({took * 1000:.0f} ms)"
    if took > 0.5:
        advice = "senders look it up in the background, but their first records wait for it"
        return Finding("name", text, Grade.HINT, advice)
    return Finding("name", text)


def _shown(address: SocketAddress) -> str:
    return f"unix://{address}" if isinstance(address, str) else str(address[0])


def _reach(
    probe: Probe, config: HandlerConfig
) -> tuple[list[tuple[float, Header]], Finding | None]:
    """Return round trips with the answers' headers, or why there are none."""
    where = place_text(config.host, config.port)
    answers = []
    try:
        for patience in PATIENCE:
            if (answer := probe.ping(patience)) is not None:
                answers.append(answer)
                break
        for _ in range(PINGS - 1 if answers else 0):
            time.sleep(PAUSE)
            if (answer := probe.ping(PATIENCE[-1])) is not None:
                answers.append(answer)
    except Refused:
        advice = "start batchudp-receive there, or correct --target-host and --target-port"
        return [], Finding("reach", f"nobody listens on {where}", Grade.BAD, advice)
    if not answers:
        seconds = sum(PATIENCE)
        text = f"no answer from {where} in {seconds:.1f} s"
        advice = (
            "the receiver may not run, a firewall may drop UDP on the way there or back, the "
            "receiver's allow-list may lack this host, or it wants another key"
        )
        return [], Finding("reach", text, Grade.BAD, advice)
    return answers, None


def _reach_finding(config: HandlerConfig, answers: list[tuple[float, Header]]) -> Finding:
    times = sorted(took * 1000 for took, _ in answers)
    text = (
        f"{len(answers)} of {PINGS} questions answered, round trip "
        f"{times[0]:.1f} to {times[-1]:.1f} ms, median {statistics.median(times):.1f} ms"
    )
    if len(answers) == PINGS:
        return Finding("reach", text)
    advice = "the path loses datagrams; --delivery acknowledged sends again what is lost"
    is_covered = config.delivery == "acknowledged"
    return Finding("reach", text, Grade.HINT, "" if is_covered else advice)


def _key_trouble(place: Place, seal: Seal) -> Iterator[Finding]:
    """Find out whether the receiver that does not answer to the key answers without it."""
    if seal is CHECKSUM:
        return
    probe = Probe(place, CHECKSUM)
    try:
        is_there = probe.ping(PATIENCE[-1]) is not None
    except Refused:
        is_there = False
    finally:
        probe.close()
    if is_there:
        text = f"the receiver is there, but does not accept key {seal.key_id} of the key file"
        advice = "give both ends the same key file: batchudp-receive --key-file"
        yield Finding("key", text, Grade.BAD, advice)


def _key_finding(place: Place, seal: Seal) -> Finding:
    if seal is not CHECKSUM:
        text = f"key {seal.key_id} is accepted, and the receiver has proved to have it"
        return Finding("key", text)
    text = "none is used, and the receiver answers without"
    if _is_local(place):
        return Finding("key", text)
    advice = "anyone who reaches the receiver can send; batchudp-receive genkey makes a key"
    return Finding("key", text, Grade.HINT, advice)


def _is_local(place: Place) -> bool:
    _, address = place
    if isinstance(address, str):
        return True
    return ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback


def _clock_finding(told: int, *, is_keyed: bool) -> Finding:
    ahead = told + 0.5 - time.time()
    if abs(ahead) <= CLOCK_ERROR:
        return Finding("clock", "both clocks agree within two seconds")
    words = "ahead of" if ahead > 0 else "behind"
    text = f"the receiver's clock is {abs(ahead):.0f} s {words} this one"
    advice = "set both by NTP; records keep the time of their sender"
    if not is_keyed or ahead <= STALE_SECONDS:
        return Finding("clock", text, Grade.HINT, advice)
    advice = (
        "after a start, the receiver refuses new one-way senders with a key for as long as their "
        "clocks are behind its own: set both by NTP"
    )
    return Finding("clock", text, Grade.BAD, advice)


def _path_finding(
    probe: Probe, config: HandlerConfig, answers: list[tuple[float, Header]]
) -> Finding:
    most = probe.path_size()
    patience = min(max(0.3, 4 * max(took for took, _ in answers)), 1.0)
    sizes = [most, *(size for size in USUAL_SIZES if size < most)]
    carried = next((size for size in sizes if _carries(probe, size, patience)), 0)
    largest = config.max_datagram_size
    if not carried:
        advice = "something on the way drops larger datagrams: look at tunnels and firewalls"
        return Finding("path", "only small datagrams arrive", Grade.BAD, advice)
    text = f"datagrams of {carried:,} bytes arrive"
    if largest is not None and largest > carried:
        advice = f"--max-datagram-size {largest} is too large here: leave it out"
        return Finding("path", text, Grade.BAD, advice)
    if carried < most:
        advice = f"this machine believes in {most:,}; --max-datagram-size {carried} says better"
        return Finding("path", text, Grade.HINT, advice)
    return Finding("path", f"{text}, as many as the interface takes")


def _carries(probe: Probe, size: int, patience: float) -> bool:
    for _ in range(2):
        time.sleep(PAUSE)
        if probe.carries(size, patience):
            return True
    return False


def _buffer_findings(probe: Probe, place: Place) -> Iterator[Finding]:
    sending, receiving = _system_limit("wmem_max"), _system_limit("rmem_max")
    limit = "" if sending is None else f", net.core.wmem_max {sending:,}"
    yield Finding("buffers", f"sending: {probe.send_buffer:,} bytes{limit}")
    if probe.family == AF_UNIX:  # it has no buffer of its own
        return
    if not _is_local(place):
        yield Finding("buffers", "receiving: what counts is the receiver's machine")
        return
    granted = _grantable()
    limit = "" if receiving is None else f", net.core.rmem_max {receiving:,}"
    text = f"receiving: {granted:,} bytes of {WANTED_BUFFER:,} bytes asked for are granted{limit}"
    if granted >= WANTED_BUFFER:
        yield Finding("buffers", text)
    else:
        advice = f"bursts overflow it: sysctl -w net.core.rmem_max={WANTED_BUFFER}"
        yield Finding("buffers", text, Grade.HINT, advice)


def _grantable() -> int:
    """Return the bytes that a receiver gets for its buffer when this user starts it here."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        return usable_buffer(grow_receive_buffer(probe, WANTED_BUFFER))


def _system_limit(name: str) -> int | None:
    try:
        with open(f"/proc/sys/net/core/{name}", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None  # other systems, and containers with a network of their own

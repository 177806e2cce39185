"""Why does nothing arrive, or not everything?  `batchudp-send --doctor` looks for usual causes.

It asks the receiver as every sender does that wants acknowledgements: with a SYNC, and with DATA
of streams that the receiver does not know. Both are answered by a challenge, and neither leaves
anything at the receiver. A challenge proves that the receiver was reached, that it accepts the
key, and what its clock says; the size of the DATA that still gets one is what the path carries.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import statistics
import threading
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from batchudp_handler.cli.common import ExitCode, print_all
from batchudp_handler.core.errors import DecodeError
from batchudp_handler.core.places import place_text
from batchudp_handler.core.wire.constants import HEADER_SIZE, MAX_DATAGRAM_SIZE
from batchudp_handler.core.wire.datagram import (
    CHECKSUM,
    DatagramType,
    Header,
    Sync,
    decode_ack,
    encode_data,
    encode_sync,
    parse,
)
from batchudp_handler.keys import load_keys
from batchudp_handler.platform import (
    AF_UNIX,
    PathDiscovery,
    grow_receive_buffer,
    never_fragment,
    path_datagram_size,
    usable_buffer,
)
from batchudp_handler.waits import clamped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batchudp_handler.config import HandlerConfig
    from batchudp_handler.core.wire.datagram import Seal

__all__ = ["Finding", "Grade", "examine", "findings"]

SocketAddress: TypeAlias = "tuple[str | int | bytes, ...] | str"
Place: TypeAlias = "tuple[int, SocketAddress]"

RESOLVE_SECONDS = 3.0
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


class Refused(Exception):
    """The other machine says that nobody listens there."""


class Line:
    """A connected socket to one receiver, and what may be asked over it."""

    def __init__(self, place: Place, seal: Seal) -> None:
        self.family, address = place
        self.seal = seal
        self._counter = 0
        self._socket = socket.socket(self.family, socket.SOCK_DGRAM)
        if self.family == AF_UNIX:
            self._socket.bind("")  # a name of the kernel's choice: it can be answered
        never_fragment(self._socket, PathDiscovery.PROBE)
        self._socket.connect(address)
        self.send_buffer = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def path_size(self) -> int:
        """The largest datagram that this machine would send that way in one piece."""
        size = path_datagram_size(self._socket)
        return MAX_DATAGRAM_SIZE if size is None else min(size, MAX_DATAGRAM_SIZE)

    def ping(self, patience: float) -> tuple[float, Header] | None:
        """Round trip and header of the answer to a SYNC; None: there was none.

        Raises:
            Refused: Nobody listens.
        """
        self._counter += 1
        stream_id = _random_id()
        sync = Sync(next_seq=0, floor=0, next_rec=0, acknowledged=True)
        datagram = encode_sync(
            self.seal, sync, stream_id=stream_id, counter=self._counter, sealed_at=int(time.time())
        )
        return self._ask(datagram, stream_id, patience)

    def carries(self, size: int, patience: float) -> bool:
        """Whether a datagram of this size gets there, and is answered."""
        stream_id = _random_id()
        datagram = encode_data(
            self.seal,
            bytes(size - HEADER_SIZE - self.seal.overhead),
            acknowledged=True,
            codec=0,
            stream_id=stream_id,
            seq=0,
            rec=0,
            sealed_at=int(time.time()),
            n_rec=1,
        )
        try:
            return self._ask(datagram, stream_id, patience) is not None
        except (Refused, OSError):
            return False

    def _ask(
        self, datagram: bytes, stream_id: int, patience: float
    ) -> tuple[float, Header] | None:
        asked = time.monotonic()
        try:
            self._socket.send(datagram)
            while (left := asked + patience - time.monotonic()) > 0:
                self._socket.settimeout(clamped(left))
                answer = self._challenge(self._socket.recv(MAX_DATAGRAM_SIZE), stream_id)
                if answer is not None:
                    return time.monotonic() - asked, answer
        except TimeoutError:
            return None
        except ConnectionRefusedError:
            raise Refused from None
        return None

    def _challenge(self, datagram: bytes, stream_id: int) -> Header | None:
        """The header of an answer to our question, if its trailer is right."""
        try:
            header = parse(datagram)
            if isinstance(header, Header) and header.type == DatagramType.ACK:
                decode_ack(self.seal.open(datagram))
                return header if header.stream_id == stream_id else None
        except DecodeError:
            return None
        return None


def _random_id() -> int:
    return int.from_bytes(os.urandom(8)) or 1


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
    """One after the other, as they are made.

    Raises:
        ConfigError: The key file cannot be used.
    """
    keys = load_keys([config.key_file] if config.key_file else [])
    seal = keys[-1].sender if keys else CHECKSUM
    found = _resolve(config.host, config.port)
    yield _name_finding(config.host, found)
    if isinstance(found, str) or not found[0]:
        return
    place = found[0][0]
    line = Line(place, seal)
    try:
        answers, trouble = _reach(line, config)
        yield trouble or _reach_finding(config, answers)
        if trouble:
            yield from _key_trouble(place, seal)
        else:
            yield _key_finding(place, seal)
            yield _clock_finding(answers[-1][1].sealed_at, is_keyed=bool(keys))
            yield _path_finding(line, config, answers)
        yield from _buffer_findings(line, place)
    except OSError as error:
        yield Finding("reach", f"the socket says: {error.strerror or error}", Grade.BAD)
    finally:
        line.close()


def _resolve(host: str, port: int) -> tuple[list[Place], float] | str:
    """The addresses and the seconds that it took, or what went wrong."""
    if host.startswith("unix://"):
        return [(AF_UNIX, host.removeprefix("unix://"))], 0.0
    begun = time.monotonic()
    found: list[Place] = []
    problem = [f"no answer within {RESOLVE_SECONDS:.0f} s"]

    def look_up() -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        except OSError as error:
            problem[0] = str(error.strerror or error)
        else:
            found.extend(dict.fromkeys((family, address) for family, _, _, _, address in answers))
            found.sort(key=lambda place: place[0] != socket.AF_INET)  # as senders do

    thread = threading.Thread(target=look_up, daemon=True)  # a resolver may take minutes
    thread.start()
    thread.join(RESOLVE_SECONDS)
    return (found, time.monotonic() - begun) if found else problem[0]


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


def _reach(line: Line, config: HandlerConfig) -> tuple[list[tuple[float, Header]], Finding | None]:
    """Round trips with the answers' headers, or why there are none."""
    where = place_text(config.host, config.port)
    answers = []
    try:
        for patience in PATIENCE:
            if (answer := line.ping(patience)) is not None:
                answers.append(answer)
                break
        for _ in range(PINGS - 1 if answers else 0):
            time.sleep(PAUSE)
            if (answer := line.ping(PATIENCE[-1])) is not None:
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
    """With a key and no answer: does one come without it?"""
    if seal is CHECKSUM:
        return
    line = Line(place, CHECKSUM)
    try:
        is_there = line.ping(PATIENCE[-1]) is not None
    except Refused:
        is_there = False
    finally:
        line.close()
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
    advice = "whoever reaches the receiver can send: batchudp-receive genkey makes a key"
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
    line: Line, config: HandlerConfig, answers: list[tuple[float, Header]]
) -> Finding:
    most = line.path_size()
    patience = min(max(0.3, 4 * max(took for took, _ in answers)), 1.0)
    sizes = [most, *(size for size in USUAL_SIZES if size < most)]
    carried = next((size for size in sizes if _carries(line, size, patience)), 0)
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


def _carries(line: Line, size: int, patience: float) -> bool:
    for _ in range(2):
        time.sleep(PAUSE)
        if line.carries(size, patience):
            return True
    return False


def _buffer_findings(line: Line, place: Place) -> Iterator[Finding]:
    sending, receiving = _system_limit("wmem_max"), _system_limit("rmem_max")
    limit = "" if sending is None else f", net.core.wmem_max {sending:,}"
    yield Finding("buffers", f"sending: {line.send_buffer:,} bytes{limit}")
    if line.family == AF_UNIX:  # it has no buffer of its own
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
    """Bytes that a receiver gets for its buffer when this user starts it here."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        return usable_buffer(grow_receive_buffer(probe, WANTED_BUFFER))


def _system_limit(name: str) -> int | None:
    try:
        with open(f"/proc/sys/net/core/{name}", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None  # other systems, and containers with a network of their own

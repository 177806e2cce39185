"""One simulated run as plain data, from a file or from a seed.

The network part is the same `Scenario` that the fault proxy takes, so that a case can be run
between real processes as well: start a receiver and the senders that it names, put a proxy with
`case.network` between them, and restart the receiver at the times of `case.restarts`.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields
from random import Random
from typing import TYPE_CHECKING, Any

from batchudp_handler.testing.faultproxy import Faults, Phase, Scenario

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

WALL = 1_700_000_000.0
"""Unix time at the start."""
DEFAULT_BUFFER = 212_992
"""Bytes: Linux's default receive buffer."""


@dataclass(frozen=True, slots=True)
class Restart:
    """The receiver ends and comes back as another life."""

    at: float
    downtime: float = 0.0
    graceful: bool = False
    """SIGTERM: it finishes what it has and says goodbye. Otherwise kill -9."""
    garbage: bool = False
    """Meanwhile something else answers on the port."""


@dataclass(frozen=True, slots=True)
class ClockStep:
    """Somebody sets the wall clock of a host; the time that passes stays the same."""

    at: float
    seconds: float
    host: int = -1
    """The number of a sender; -1: the receiver."""


@dataclass(frozen=True, slots=True)
class Case:
    """One run: who sends what, through which network, to a receiver that does what."""

    name: str = ""
    seed: int = 0
    network: Scenario = field(default_factory=Scenario)
    delivery: str = "acknowledged"
    encoding: str = "light"
    """`light`: record numbers and padding; `compact`: the real encoding of real snapshots."""
    senders: int = 1
    records: int = 100
    """Of each sender."""
    record_size: int = 100
    large_every: int = 0
    """Each so many records one is larger than a datagram; 0: none."""
    rate: float = 0.0
    """Records per second and sender; 0: all at once."""
    portions: int = 20
    """With a rate: in how many pieces the records are logged."""
    stagger: float = 0.0
    """Seconds over which the senders start."""
    max_datagram_size: int = 1400
    receive_buffer: int = DEFAULT_BUFFER
    work_queue_bytes: int = 16 << 20
    handler_time: float = 0.0
    """Seconds that the handlers take for one datagram."""
    stall_at: float = 0.0
    stall_time: float = 0.0
    """From `stall_at` on the handlers block for so long, once."""
    reject_every: int = 0
    """Each so many batches one is refused after it was received; 0: none."""
    read_time: float = 15e-6
    """Seconds that the receiver takes to read one datagram."""
    restarts: tuple[Restart, ...] = ()
    refuses: bool = False
    """While the receiver is down, the sender's socket says so (loopback)."""
    path_limit: tuple[tuple[float, int], ...] = ()
    """(time, bytes): from then on the path carries no larger datagrams."""
    path_tells: bool = False
    """The socket refuses what is too large (EMSGSIZE); otherwise it vanishes without a word."""
    keyed: bool = False
    """Every datagram has a tag, and a sealing time that the receiver may look at."""
    clock_steps: tuple[ClockStep, ...] = ()
    max_streams: int = 1024
    time_limit: float = 3600.0

    # bounds; 0: none
    max_time: float = 0.0
    """Seconds until everything is confirmed."""
    max_transmissions: float = 0.0
    """Per datagram."""
    max_acks: float = 0.0
    """Per datagram."""
    max_spurious: float = 0.0
    """Share of datagrams sent again although the first one had arrived."""
    max_kernel_drops: float = -1.0
    """Share of the datagrams that arrived; below 0: any."""


def case_from_mapping(values: Mapping[str, Any]) -> Case:
    """Read a case from plain values; unknown names are an error."""
    unknown = set(values) - {each.name for each in fields(Case)}
    if unknown:
        raise ValueError(f"unknown name {min(unknown)!r} in a case")
    given = dict(values)
    given["network"] = Scenario.from_mapping(given.get("network", {}))
    given["restarts"] = tuple(Restart(**each) for each in given.get("restarts", ()))
    given["clock_steps"] = tuple(ClockStep(**each) for each in given.get("clock_steps", ()))
    given["path_limit"] = tuple((at, size) for at, size in given.get("path_limit", ()))
    return Case(**given)


def load_cases(folder: Path) -> dict[str, Case]:
    """Read all cases of a folder, by name. A file may hold one case, or several in `case`."""
    cases = {}
    for path in sorted(folder.glob("*.toml")):
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        common = {key: value for key, value in values.items() if key != "case"}
        for each in values.get("case", [{}]):
            case = case_from_mapping({"name": path.stem, **common, **each})
            if case.name in cases:
                raise ValueError(f"two cases are called {case.name!r}")
            cases[case.name] = case
    return cases


# --- cases from a seed ------------------------------------------------------------------------

DATAGRAM_SIZES = (200, 300, 548, 1_200, 1_400, 1_432, 8_932, 65_507)
LOSSES = (0.0, 0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5)


def random_case(seed: int) -> Case:
    """Make the case that belongs to a seed: anything may happen, and often much at once."""
    random = Random(seed)
    size = random.choice(DATAGRAM_SIZES)
    senders = 1 if random.random() < 0.85 else random.randrange(2, 5)
    one_way = random.random() < 0.15
    record_size = random.choice((10, 30, 100, 200))
    if size > 2_000:
        record_size *= size // 1_000
    records = random.randrange(1, max(2, min(200, 12 * size // record_size) // senders))
    duration = random.choice((0.0, 0.0, 0.5, 3.0, 12.0))
    round_trip = 10 ** random.uniform(-4, -0.7)
    large_every = random.choice((0, 0, 0, 7, 40)) if 30 * record_size > size else 0
    path_limit = ((random.uniform(0, 2), 1_250),) if random.random() < 0.05 else ()
    buffers = [2_304, 20_000, DEFAULT_BUFFER, 4 << 20]
    bytes_in_all = (
        senders * records * (record_size + (3 * size // large_every if large_every else 0))
    )
    if bytes_in_all > 50_000:  # one small datagram per round trip would take for ever
        del buffers[:2]
    return Case(
        name=f"seed {seed}",
        seed=seed,
        network=_network(random, seed, round_trip, duration),
        delivery="one_way" if one_way else "acknowledged",
        encoding="compact" if size < 2_000 and random.random() < 0.03 else "light",
        senders=senders,
        records=records,
        record_size=record_size,
        large_every=large_every,
        rate=records / duration if duration else 0.0,
        stagger=random.choice((0.0, 0.1)),
        max_datagram_size=size,
        receive_buffer=random.choice(buffers),
        work_queue_bytes=random.choice((3_000, 30_000, 1 << 20, 16 << 20)),
        handler_time=random.choice((0.0, 0.0, 0.0, 0.001, 0.05)),
        stall_at=random.uniform(0, 1),
        stall_time=random.choice((0.0, 0.0, 0.0, 2.0, 20.0)),
        reject_every=random.choice((0, 0, 0, 5)),
        restarts=() if one_way else _restarts(random, duration),
        refuses=random.random() < 0.2,
        path_limit=path_limit,
        path_tells=random.random() < 0.5,
        **_clocks(Random(f"{seed}/clocks"), senders, one_way=one_way),
    )


HOURS = (-1e9, -86_400.0, -7_200.0, -301.0, 301.0, 7_200.0, 86_400.0, 3e8)
"""Seconds by which a clock may be set: minutes, hours, a day, many years."""


def _clocks(random: Random, senders: int, *, one_way: bool) -> dict[str, Any]:
    """Keys, wrong clocks, and a table that is too small; from a source of their own, so that
    the rest of a seed's case stays as it was.

    A sender may begin with a clock that is ahead, and a receiver with one that was never set or
    is behind. The other ways round, a new one-way stream with a key cannot be told from a
    recording, and is refused.
    """
    if random.random() < 0.5:
        return {}
    steps = [ClockStep(0.0, random.choice((-1.7e9, *HOURS[:4])))] if random.random() < 0.3 else []
    ahead = [host for host in range(senders) if random.random() < 0.3]
    steps += [ClockStep(0.0, random.choice(HOURS[4:]), host) for host in ahead]
    for _ in range(random.randrange(4)):
        host = random.randrange(-1, senders)
        steps.append(ClockStep(random.uniform(0.2, 10.0), random.choice(HOURS), host))
    is_small = senders > 1 and not one_way and random.random() < 0.5
    return {
        "keyed": random.random() < 0.7,
        "clock_steps": tuple(sorted(steps, key=lambda step: step.at)),
        "max_streams": random.randrange(1, senders) if is_small else 1024,
    }


def wall_time(case: Case, host: int, now: float) -> float:
    """What the clock of a host says; -1 is the receiver's."""
    steps = [each.seconds for each in case.clock_steps if each.host == host and each.at <= now]
    return max(0.0, WALL + sum(steps) + now)


def _network(random: Random, seed: int, round_trip: float, duration: float) -> Scenario:
    phases = [_phase(random, 0.0, round_trip)]
    while random.random() < 0.3:
        start = phases[-1].start + random.uniform(0.01, max(duration, 2.0))
        if random.random() < 0.2:
            round_trip *= random.choice((0.01, 0.1, 10, 100))
            round_trip = min(max(round_trip, 1e-4), 2.0)
        phases.append(_phase(random, start, round_trip))
    last = phases[-1]
    if last.to_receiver.blackhole or last.to_sender.blackhole:
        phases.append(_phase(random, last.start + random.choice((1.0, 10.0, 40.0)), round_trip))
    while phases[-1].to_receiver.blackhole or phases[-1].to_sender.blackhole:
        phases[-1] = _phase(random, phases[-1].start, round_trip)
    return Scenario(tuple(phases), seed)


def _phase(random: Random, start: float, round_trip: float) -> Phase:
    common = _faults(random, round_trip)
    back = common if random.random() < 0.5 else _faults(random, round_trip)
    # a handshake takes two round trips, and more where datagrams are held back or lost
    rebind = 40 * round_trip + random.uniform(0.2, 5.0) if random.random() < 0.05 else None
    return Phase(start, common, back, rebind)


def _faults(random: Random, round_trip: float) -> Faults:
    is_bursty = random.random() < 0.2
    return Faults(
        loss=random.choice(LOSSES[:4] if is_bursty else LOSSES),
        burst_start=random.choice((0.01, 0.05)) if is_bursty else 0.0,
        burst_end=random.choice((0.05, 0.2)) if is_bursty else 1.0,
        burst_loss=0.9,
        duplicate=random.choice((0.0, 0.0, 0.05, 0.3)),
        copies=random.choice((2, 2, 2, 50)) if random.random() < 0.1 else 2,
        reorder=random.choice((0.0, 0.0, 0.1, 0.5)),
        reorder_delay=random.choice((1.0, 4.0)) * round_trip,
        delay=round_trip / 2,
        jitter=random.choice((0.0, 0.1, 0.5)) * round_trip,
        flip=random.choice((0.0, 0.0, 0.01, 0.05)),
        truncate=random.choice((0.0, 0.0, 0.02)),
        blackhole=random.random() < 0.04,
    )


def _restarts(random: Random, duration: float) -> tuple[Restart, ...]:
    if random.random() < 0.6:
        return ()
    restarts = []
    at = 0.0
    for _ in range(random.randrange(1, 5)):
        at += random.uniform(0.0, max(duration, 1.0))
        down = random.choice((0.0, 0.5, 2.0, 15.0))
        restarts.append(
            Restart(at, down, graceful=random.random() < 0.3, garbage=random.random() < 0.3)
        )
        at += down
    return tuple(restarts)

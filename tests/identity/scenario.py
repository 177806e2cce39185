"""Random scenarios, each made from a number: what runs, and which fault meets it."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from random import Random

__all__ = ["FAULTS", "Scenario", "scenario"]

Errnos = dict[str, tuple[int, ...]]
WRITE_ERRNOS: Errnos = {
    **{name: (getattr(errno, name),) for name in ("ENOSPC", "EIO", "EDQUOT", "EAGAIN", "EROFS")},
    "mixed": (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EAGAIN),
}
OPEN_ERRNOS: Errnos = {
    name: (getattr(errno, name),) for name in ("ENOSPC", "EIO", "EMFILE", "EACCES")
}
SEND_ERRNOS: Errnos = {
    name: (getattr(errno, name),) for name in ("EAGAIN", "ENOBUFS", "EPERM", "ENETUNREACH")
}
ERRNOS: dict[str, Errnos] = {
    "write error": WRITE_ERRNOS,
    "moved file, open error": OPEN_ERRNOS,
    "send error": SEND_ERRNOS,
}


@dataclass(frozen=True)
class Fault:
    """A kind of fault, and where it can be."""

    name: str
    outlets: tuple[str, ...] = ("file", "stdout", "workers", "program")
    deliveries: tuple[str, ...] = ("one_way", "acknowledged")


FILES = ("file", "workers")
OWN = ("file", "stdout", "workers")
FAULTS = (
    Fault("none"),
    Fault("network"),
    Fault("full queue"),
    Fault("write error", OWN),
    Fault("moved file, open error", FILES),
    Fault("moved file", FILES),
    Fault("removed file", FILES),
    Fault("stalled reader", ("stdout",)),
    Fault("receiver killed", OWN),
    Fault("receiver ended", OWN),
    Fault("sender killed"),
    Fault("sender ended"),
    Fault("send error"),
    Fault("clock of the receiver", OWN),
    Fault("clock of the sender"),
)


@dataclass(frozen=True)
class Scenario:
    """One run; everything in it follows from its seed."""

    seed: int
    fault: str
    outlet: str
    delivery: str
    senders: int
    records: int
    """Of each sender."""
    rate: float
    """Of each sender, per second."""
    has_spool: bool
    detail: str
    """Which errno, or how many seconds a clock jumps."""
    errnos: tuple[int, ...]
    clock_step: int

    def __str__(self) -> str:
        detail = f" {self.detail}" if self.detail else ""
        spool = ", spool" if self.has_spool else ""
        return f"{self.fault}{detail}, {self.outlet}, {self.delivery}{spool}"


def scenario(seed: int) -> Scenario:
    """The scenario of this number; numbers in a row go through all kinds of faults."""
    random = Random(seed)
    fault = FAULTS[seed % len(FAULTS)]
    delivery = random.choice(fault.deliveries)
    detail, errnos = random.choice([*ERRNOS.get(fault.name, {"": ()}).items()])
    step = random.choice([-86_400, -7_200, -60, 60, 7_200, 86_400])
    if "clock" in fault.name:
        detail = f"{step:+} s"
    return Scenario(
        seed=seed,
        fault=fault.name,
        outlet=random.choice(fault.outlets),
        delivery=delivery,
        senders=random.choice([1, 1, 2, 3]),
        records=random.randrange(100, 500),
        rate=random.choice([300.0, 800.0, 0.0]) if fault.name != "full queue" else 0.0,
        has_spool=delivery == "acknowledged" and random.random() < 0.3,
        detail=detail,
        errnos=errnos,
        clock_step=step if "clock" in fault.name else 0,
    )

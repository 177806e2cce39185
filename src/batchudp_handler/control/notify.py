"""The messages to the service manager: ready, alive, or about to end.

The protocol of `sd_notify(3)`: a datagram of assignments to the unix socket that `NOTIFY_SOCKET`
names. Without that variable there is nobody to tell, and nothing happens.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import MutableMapping

from batchudp_handler.platform import AF_UNIX

__all__ = ["Notifier"]


class Notifier:
    """The connection to the service manager.

    Args:
        address: A path, or `@name` for an abstract socket; empty: there is no manager.
        watchdog: Seconds without a sign of life after which it restarts the process; 0: never.
    """

    def __init__(self, address: str = "", *, watchdog: float = 0.0) -> None:
        self.watchdog = watchdog if address else 0.0
        self._address = "\0" + address[1:] if address.startswith("@") else address

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str], pid: int) -> Notifier:
        """Take what systemd set for this process, out of the reach of its children."""
        address = environ.pop("NOTIFY_SOCKET", "")
        microseconds, owner = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        is_ours = microseconds.isdecimal() and owner in {"", str(pid)}
        return cls(address, watchdog=int(microseconds) / 1_000_000 if is_ours else 0.0)

    @property
    def is_active(self) -> bool:
        """Whether anybody listens."""
        return bool(self._address)

    def tell(self, **assignments: str | int) -> None:
        """Send `READY=1`, `STATUS=text` and the like; a manager that is gone is no problem."""
        if not self._address:
            return
        text = "\n".join(
            f"{name}={' '.join(str(value).split())}" for name, value in assignments.items()
        )
        with contextlib.suppress(OSError), socket.socket(AF_UNIX, socket.SOCK_DGRAM) as one:
            one.setblocking(False)  # a manager that does not read must not stop us
            one.sendto(text.encode(), self._address)

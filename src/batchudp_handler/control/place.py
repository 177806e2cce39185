"""The path of a receiver's control socket.

`auto` means the directory that systemd made for the service (`RUNTIME_DIRECTORY`), else the one of
the user's session (`XDG_RUNTIME_DIR`); where there is neither, there is no control socket.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from batchudp_handler.platform import HAS_UNIX_SOCKETS

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["AUTO", "OFF", "places_to_look", "server_place"]

AUTO = "auto"
OFF = "off"
SYSTEMD_PATH = "/run/batchudp/control.sock"
"""Where the unit of `deploy/systemd` has it; an operator's shell lacks its variables."""


def server_place(setting: str, environ: Mapping[str, str]) -> str | None:
    """Return the path of the control socket for this setting; None: there is none."""
    if setting == OFF:
        return None
    if setting != AUTO:
        return setting
    if not HAS_UNIX_SOCKETS:
        return None
    directory = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if directory:
        return os.path.join(directory, "control.sock")
    directory = environ.get("XDG_RUNTIME_DIR", "")
    if directory and os.path.isdir(directory):
        return os.path.join(directory, "batchudp-control.sock")
    return None


def places_to_look(setting: str, environ: Mapping[str, str]) -> list[str]:
    """Return the paths at which a receiver may answer, the likeliest first."""
    own = server_place(setting, environ)
    places = [] if own is None else [own]
    if setting == AUTO and HAS_UNIX_SOCKETS and SYSTEMD_PATH not in places:
        places.append(SYSTEMD_PATH)
    return places

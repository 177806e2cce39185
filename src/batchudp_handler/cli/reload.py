"""A new configuration for a receiver that runs, tried in another process before it is used."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from batchudp_handler.cli.outputs import OutputConfig, Outputs
from batchudp_handler.cli.receive_config import Loaded, load
from batchudp_handler.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["try_logging"]


PARENT_SECONDS = 0.2
"""How often a trial of a configuration looks whether anybody still wants to know."""


def reload_outputs(
    outputs: Outputs, flags: Mapping[str, object], environ: Mapping[str, str], running: Loaded
) -> str:
    """Read the configuration again; what cannot be used is an error, and nothing changes."""
    loaded = load(flags, environ)
    if loaded.logging is not None:
        _try_elsewhere(loaded)
    outputs.apply(loaded.output, loaded.logging)
    changed = loaded.receiver != running.receiver
    return "configuration read" + ("; settings of the receiver need a restart" if changed else "")


def _try_elsewhere(loaded: Loaded) -> None:
    """Try a logging configuration in another process: a bad one would half replace ours."""
    import json  # only a reload needs these two
    import subprocess

    code = "import json, sys; from batchudp_handler.cli import reload; reload.try_logging()"
    run = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps([loaded.logging, sys.path], default=str),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    if run.returncode:
        raise ConfigError(
            run.stderr.strip().rpartition("\n")[2] or "logging configuration refused"
        )


def try_logging() -> None:
    """Build the logging configuration on standard input, and exit with what is wrong with it."""
    import json

    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    config, sys.path[:] = json.load(sys.stdin)
    outputs = Outputs(os.environ, stdout=sys.stdout, stderr=sys.stderr)
    try:
        outputs.apply(OutputConfig(), without_truncation(config))
    except ConfigError as error:
        sys.exit(str(error))


def _end_with(parent: int) -> None:
    """End this process soon after its parent: what it tries may take for ever."""
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    os._exit(1)


def without_truncation(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration for a trial, which must empty no file of the receiver."""
    handlers = config.get("handlers")
    if not isinstance(handlers, dict):
        return dict(config)
    safe = {
        name: {**one, "mode": "a"} if isinstance(one, dict) and one.get("mode") == "w" else one
        for name, one in handlers.items()
    }
    return {**config, "handlers": safe}

"""All settings of `batchudp-receive`, from flags, environment, file and defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batchudp_handler.cli.outputs import OutputConfig
from batchudp_handler.cli.resolve import (
    Origin,
    as_config,
    known_names,
    read_document,
    resolve,
    section,
)
from batchudp_handler.cli.script_config import ScriptConfig
from batchudp_handler.config import ReceiverConfig
from batchudp_handler.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Loaded", "load"]


CONFIGS: tuple[tuple[type, str], ...] = (
    (ReceiverConfig, "receiver"),
    (OutputConfig, "output"),
    (ScriptConfig, "script"),
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """All settings of one start or reload, with their origins."""

    receiver: ReceiverConfig
    output: OutputConfig
    script: ScriptConfig
    logging: Mapping[str, Any] | None
    origins: Mapping[type, Mapping[str, Origin]]


def load(flags: Mapping[str, object], environ: Mapping[str, str]) -> Loaded:
    """Return the settings from flags, environment, file and defaults.

    Raises:
        UsageError: A flag is wrong.
        ConfigError: Anything else is.
    """
    first = resolve(ScriptConfig, flags=flags, environ=environ, document={})
    path = first["config"].value
    document = read_document(path) if isinstance(path, str) else {}
    logging_config = _logging_config(document, str(path))
    table = section(document, "receive", known_names([each for each, _ in CONFIGS]))
    origins = {
        each: resolve(each, flags=flags, environ=environ, document=table, document_name=str(path))
        for each, _ in CONFIGS
    }
    loaded = Loaded(
        receiver=as_config(ReceiverConfig, origins[ReceiverConfig]),
        output=as_config(OutputConfig, origins[OutputConfig]),
        script=as_config(ScriptConfig, origins[ScriptConfig]),
        logging=logging_config,
        origins=origins,
    )
    if logging_config is not None and loaded.output.output is not None:
        message = "output and a logging configuration exclude each other"
        raise ConfigError(message)
    return loaded


def _logging_config(document: Mapping[str, Any], path: str) -> Mapping[str, Any] | None:
    """Return the dictConfig of a file: its `logging` table, or the file without our tables."""
    ours = {"receive", "send", "logging"}
    rest = {key: value for key, value in document.items() if key not in ours}
    if "logging" in document and not rest:
        table = document["logging"]
        return table if isinstance(table, dict) else {"version": None}
    if "version" in rest and "logging" not in document:
        return rest
    if rest:
        message = (
            f"{path}: {next(iter(rest))!r} is neither receive, send, logging nor a dictConfig"
        )
        raise ConfigError(message)
    return None

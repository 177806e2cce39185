"""All settings of `batchudp-send`, from flags, environment, file and defaults."""

from __future__ import annotations

import logging
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchudp_handler.cli.parser import UsageError
from batchudp_handler.cli.resolve import (
    DEFAULT,
    Origin,
    as_config,
    known_names,
    read_document,
    resolve,
    section,
)
from batchudp_handler.config import HandlerConfig
from batchudp_handler.settings import (
    LEVEL,
    PATH,
    PATHS,
    SWITCH,
    TEXT,
    choice,
    optional,
    rate,
    seconds,
    setting,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = ["Loaded", "SendConfig", "load"]

PROGRAM = "batchudp-send"


@dataclass(frozen=True, slots=True)
class SendConfig:
    """What is sent, and how fast."""

    config: str | None = setting(
        None, optional(PATH), "TOML, JSON or YAML file with settings under [send]"
    )
    file: tuple[str, ...] = setting((), PATHS, "send the lines of this file; '-': standard input")
    follow: bool = setting(False, SWITCH, "keep reading when the file grows or is replaced")
    logger: str = setting("batchudp.send", TEXT, "logger name of the records")
    line_level: int = setting(logging.INFO, LEVEL, "level of the records made from lines")
    logs_per_second: float = setting(
        5.0, rate("records", zero=False), "number of sample records per second", plain=True
    )
    run_time: float = setting(
        30.0,
        seconds(zero=True),
        "how many seconds to send sample records; 0: without end",
        plain=True,
    )
    max_rate: float | None = setting(
        None,
        optional(rate("lines", zero=True)),
        "most lines per second; 0: no limit; None: 20000 if delivery is one_way",
    )
    give_up_after: float = setting(
        10.0,
        seconds(zero=True),
        "end if no waiting record could be sent or confirmed for so many seconds",
    )
    summary: str = setting("text", choice("text", "json"), "format of the counters at the end")
    doctor: bool = setting(
        False, SWITCH, "send nothing; check name, round trip, key, clock, path and buffers"
    )


@dataclass(frozen=True, slots=True)
class Loaded:
    """All settings with their origins."""

    handler: HandlerConfig
    script: SendConfig
    origins: Mapping[type, Mapping[str, Origin]]


def load(flags: Mapping[str, object], environ: Mapping[str, str]) -> Loaded:
    """Return the settings from flags, environment, file and defaults."""
    first = resolve(SendConfig, flags=flags, environ=environ, document={})
    path = first["config"].value
    document = read_document(path) if isinstance(path, str) else {}
    table = section(document, "send", known_names([HandlerConfig, SendConfig]))
    origins: dict[type, dict[str, Origin]] = {
        each: resolve(each, flags=flags, environ=environ, document=table, document_name=str(path))
        for each in (HandlerConfig, SendConfig)
    }
    script = as_config(SendConfig, _with_piped_input(origins[SendConfig]))
    if script.follow and (len(script.file) != 1 or script.file == ("-",)):
        message = "--follow needs exactly one --file"
        raise UsageError(message)
    if script.file:
        origins[HandlerConfig] = _for_lines(origins[HandlerConfig])
    return Loaded(as_config(HandlerConfig, origins[HandlerConfig]), script, origins)


def _with_piped_input(settings: dict[str, Origin]) -> dict[str, Origin]:
    """Take standard input if something is piped in, and nothing says samples."""
    names = ("file", "logs_per_second", "run_time")
    if all(settings[name].source == DEFAULT for name in names) and _is_piped():
        settings["file"] = Origin(("-",), "standard input")
    return settings


def _is_piped() -> bool:
    try:
        mode = os.fstat(0).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)


def _for_lines(settings: dict[str, Origin]) -> dict[str, Origin]:
    """Return settings that lose no line, where nothing else was asked for."""
    wanted: dict[str, object] = {"overflow": "block", "overflow_timeout": None}
    if settings["encoding"].value == "compact":
        wanted["delivery"] = "acknowledged"
    changed = {
        name: Origin(value, "default for lines")
        for name, value in wanted.items()
        if settings[name].source == DEFAULT
    }
    return {**settings, **changed}

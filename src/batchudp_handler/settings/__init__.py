"""The settings: their table, and the kinds of values that they hold."""

from batchudp_handler.settings.kind import Kind, optional
from batchudp_handler.settings.numbers import MANY, integer, rate, seconds, timeout
from batchudp_handler.settings.table import (
    Config,
    Setting,
    from_environment,
    setting,
    settings_of,
    values_of,
)
from batchudp_handler.settings.words import (
    FIELDS,
    HOST,
    LEVEL,
    NETWORKS,
    PATH,
    PATHS,
    SWITCH,
    TEXT,
    choice,
    word_or_seconds,
)

__all__ = [
    "FIELDS",
    "HOST",
    "LEVEL",
    "MANY",
    "NETWORKS",
    "PATH",
    "PATHS",
    "SWITCH",
    "TEXT",
    "Config",
    "Kind",
    "Setting",
    "choice",
    "from_environment",
    "integer",
    "optional",
    "rate",
    "seconds",
    "setting",
    "settings_of",
    "timeout",
    "values_of",
    "word_or_seconds",
]

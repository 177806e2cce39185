"""The table of settings: each stands once, as a field of a config class.

A config class declares each field with ``setting(...)``. That declaration makes the conversion
and the check of its values, its environment names, its flag with the help text, its key in a TOML
file and its rows in the documentation; the constructors, whose signatures are written out for
type checkers, and `.env.example` are held to it by tests. ``settings_of(HandlerConfig)`` is the
table.

A value may arrive as its own type or as text (``"9999"``, ``"true"``, ``"WARNING"``), so that a
dictConfig entry, an environment variable and a flag all take the same path.
"""

from __future__ import annotations

from dataclasses import MISSING, field, fields
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from batchudp_handler.core.errors import ConfigError
from batchudp_handler.settings.kind import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batchudp_handler.settings.kind import Kind

__all__ = ["Config", "Setting", "from_environment", "setting", "settings_of", "values_of"]

ENVIRONMENT_PREFIX = "BATCHUDP_"


class Setting(NamedTuple):
    """One setting, with its names in every place where it can be given."""

    name: str
    """Keyword of the constructor, attribute of the config, key in a TOML file."""
    variable: str
    """Environment name without the prefix."""
    flags: tuple[str, ...]
    default: object
    kind: Kind
    help: str
    """What it does, with the unit of its number; without a full stop."""
    plain: bool
    """Whether the environment name counts without the prefix, too."""
    secret: bool
    """Whether it is never shown; then it may also come from the file that ``<variable>_FILE``
    names."""

    @property
    def environment_names(self) -> tuple[str, ...]:
        """The names to look for, the one that wins first."""
        prefixed = ENVIRONMENT_PREFIX + self.variable
        return (prefixed, self.variable) if self.plain else (prefixed,)

    @property
    def sentence(self) -> str:
        """The help as a sentence of a page or a docstring."""
        return f"{self.help[:1].upper()}{self.help[1:]}."

    def convert(self, value: object) -> object:
        """Return the value in its own type.

        Raises:
            ConfigError: It is not allowed; the text says what is.
        """
        try:
            return self.kind.convert(value)
        except Exception:  # noqa: BLE001  # whatever an object answers that is asked to convert itself
            given = "the value given" if self.secret else shown(value)
            message = f"{self.name} must be {self.kind.allowed}, not {given}"
            raise ConfigError(message) from None


def setting(
    default: object,
    kind: Kind,
    text: str,
    *,
    variable: str = "",
    flags: str = "",
    plain: bool = False,
    secret: bool = False,
) -> Any:
    """Declare a field of a config class; names left out follow from the field's name."""
    metadata = {
        "kind": kind,
        "help": text,
        "variable": variable,
        "flags": tuple(flags.split()),
        "plain": plain,
        "secret": secret,
    }
    if isinstance(default, dict):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata, repr=not secret)


def settings_of(config_class: type) -> tuple[Setting, ...]:
    """Return the table of one config class, in the order of its fields."""
    return tuple(
        Setting(
            name=item.name,
            variable=item.metadata["variable"] or item.name.upper(),
            flags=item.metadata["flags"] or ("--" + item.name.replace("_", "-"),),
            default={} if item.default is MISSING else item.default,
            kind=item.metadata["kind"],
            help=item.metadata["help"],
            plain=item.metadata["plain"],
            secret=item.metadata["secret"],
        )
        for item in fields(config_class)
    )


def from_environment(config_class: type, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that the environment gives, as text; an empty variable is unset."""
    found = {}
    for item in settings_of(config_class):
        value = next((environ[name] for name in item.environment_names if environ.get(name)), None)
        if value is not None:
            found[item.name] = value
    return found


def values_of(config: Any) -> dict[str, object]:
    """Return the fields of a config, or of any dataclass, as keywords and values."""
    return {item.name: getattr(config, item.name) for item in fields(config)}


class Config:
    """Base of the frozen dataclasses whose fields are settings."""

    __slots__ = ()

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> Self:
        """Make a config from keywords and values; an unknown name is a ``TypeError``."""
        known = {item.name for item in fields(cls)}  # type: ignore[arg-type]  # a dataclass
        unknown = sorted(set(values) - known)
        if unknown:
            message = f"unknown setting {unknown[0]!r}; known are {', '.join(sorted(known))}"
            raise TypeError(message)
        return cls(**values)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Make a config from ``BATCHUDP_X`` and the plain names; the rest keeps its default."""
        return cls.from_mapping(from_environment(cls, environ))

    def replace(self, changes: Mapping[str, object]) -> Self:
        """Return a validated copy with some values changed."""
        return self.from_mapping({**values_of(self), **changes})

    def _convert(self) -> None:
        """Put the converted values in place while the config is being made."""
        for item in settings_of(type(self)):
            object.__setattr__(self, item.name, item.convert(getattr(self, item.name)))

"""There is one set of settings, whichever place they are read about.

The tables in the code are the truth: `HandlerConfig`, `ReceiverConfig` and what the scripts add.
Constructors, flags, `.env.example`, the Compose file, the systemd unit and every page are held to
them.
"""

from __future__ import annotations

import argparse
import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from batchudp_handler import BatchUDPHandler, BatchUDPReceiver
from batchudp_handler.cli import genkey, receive, receive_config, send, send_config
from batchudp_handler.config import HandlerConfig, ReceiverConfig
from batchudp_handler.settings import Setting, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

REPOSITORY = Path(__file__).parents[2]

RECEIVE = [setting for cls, _ in receive_config.CONFIGS for setting in settings_of(cls)]
SEND = [*settings_of(HandlerConfig), *settings_of(send_config.SendConfig)]

FIXED = {
    "SERVER_HOST": "0.0.0.0",
    "SERVER_PORT": 9999,
    "BUFFER_SIZE": 65535,
    "TARGET_HOST": "localhost",
    "TARGET_PORT": 9999,
    "BATCH_SIZE": 10,
    "FLUSH_INTERVAL": 5.0,
    "COMPRESS": True,
    "MAX_RETRIES": 3,
    "LOGS_PER_SECOND": 5,
    "RUN_TIME": 30,
}
"""Names that people already use; they and their defaults never change."""

NOT_SETTINGS = {"BATCHUDP_REQUIRE", "BATCHUDP_SOAK"}
"""Names that look like settings: switches of the test suite."""


def test_the_fixed_names_have_their_defaults() -> None:
    """The eleven plain environment names are exactly these, with these defaults."""
    plain = {setting.variable: setting.default for setting in [*RECEIVE, *SEND] if setting.plain}

    assert plain == FIXED


def test_every_setting_is_explained() -> None:
    """Each has a prefixed environment name, a flag, and words in the style of the rest."""
    for setting in [*RECEIVE, *SEND]:
        assert setting.environment_names[0] == f"BATCHUDP_{setting.variable}"
        assert all(re.fullmatch(r"--[a-z][a-z-]+", flag) for flag in setting.flags)
        assert setting.help, setting.name
        assert not setting.help.endswith("."), setting.name


@pytest.mark.parametrize(
    ("cls", "config"),
    [(BatchUDPHandler, HandlerConfig), (BatchUDPReceiver, ReceiverConfig)],
    ids=["handler", "receiver"],
)
def test_constructors_have_the_keywords_of_the_table(cls: type, config: type) -> None:
    """Each setting is a keyword with the same default, and explained in the same words."""
    parameters = inspect.signature(cls).parameters
    explained = arguments_of(cls)
    for setting in settings_of(config):
        default = parameters[setting.name].default
        assert setting.convert(default) == setting.convert(setting.default), setting.name
        assert explained[setting.name] == setting.sentence


def arguments_of(cls: type) -> dict[str, str]:
    """Return the entries under `Args` in the docstring of a class."""
    part = (inspect.getdoc(cls) or "").partition("Args:\n")[2].partition("\n\n")[0]
    entries = re.split(r"^    (?=\w)", part, flags=re.MULTILINE)[1:]
    return {
        name: " ".join(text.split())
        for name, _, text in (entry.partition(": ") for entry in entries)
    }


OTHER_VALUES: dict[str, Any] = {
    "host": "logs.example",
    "port": 9,
    "level": 30,
    "batch_size": 11,
    "flush_interval": 1.5,
    "flush_level": None,
    "capacity": 77,
    "capacity_bytes": 77_777,
    "overflow": "block",
    "overflow_timeout": 1.5,
    "protect_level": 40,
    "compress": False,
    "encoding": "json",
    "max_datagram_size": 1_200,
    "max_retries": 7,
    "delivery": "acknowledged",
    "spool_directory": "spool",
    "spool_size_bytes": 77_777,
    "spool_age_seconds": 7.0,
    "spool_fsync": "batch",
    "key_file": "key",
    "static_fields": {"service": "shop"},
    "hostname": "web-7",
    "shutdown_timeout": 1.5,
    "relay": True,
    "resolve_interval": 1.5,
    "drain_on_sigterm": True,
}
"""A value of each setting that is not its default."""


@pytest.mark.parametrize("name", [setting.name for setting in settings_of(HandlerConfig)])
def test_a_keyword_of_the_handler_reaches_its_setting(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The constructor names each keyword twice; none is forgotten or given to another one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key").write_text(genkey.key_line(1, "hmac-sha256"))
    (tmp_path / "key").chmod(0o600)
    needed: dict[str, Any] = {"delivery": "acknowledged"} if name == "spool_directory" else {}
    values = {**needed, name: OTHER_VALUES[name]}

    handler = BatchUDPHandler(**values)
    handler.close()

    assert handler.config == HandlerConfig(**values) != HandlerConfig(**needed)


OTHER_RECEIVER_VALUES: dict[str, Any] = {
    "host": "127.0.0.2",
    "port": 0,
    "buffer_size": 9_000,
    "receive_buffer": 77_777,
    "queue_size": 77_777,
    "logger_prefix": "remote.",
    "restore_exceptions": True,
    "allow": ("10.0.0.0/8",),
    "source_rate": 7.0,
    "key_file": ("key",),
    "accept_unauthenticated": True,
    "gelf": True,
    "max_records": 77,
    "max_batch_size": 7_777,
    "max_streams": 77,
    "remembered_streams": 77,
    "stream_timeout": 7.0,
    "shutdown_timeout": 0.5,
}
"""A value of each setting that is not its default."""


@pytest.mark.parametrize("name", [setting.name for setting in settings_of(ReceiverConfig)])
def test_a_keyword_of_the_receiver_reaches_its_setting(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with the handler; a receiver binds at once, so each of these has a free port."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key").write_text(genkey.key_line(1, "hmac-sha256"))
    (tmp_path / "key").chmod(0o600)
    values: dict[str, Any] = {"host": "127.0.0.1", "port": 0, name: OTHER_RECEIVER_VALUES[name]}

    receiver = BatchUDPReceiver(**values)
    receiver.close()

    assert receiver._config == ReceiverConfig(**values)
    others: dict[str, Any] = (
        {"host": "127.0.0.1", "port": 0} if name not in {"host", "port"} else {}
    )
    assert receiver._config != ReceiverConfig(**others)


def test_every_number_has_its_unit() -> None:
    """A setting that is counted in something says so in its help."""
    for setting in [*RECEIVE, *SEND]:
        assert setting.kind.unit in setting.help, setting.name


@pytest.mark.parametrize(
    ("parser", "settings"),
    [(receive.build_parser(), RECEIVE), (send.build_parser(), SEND)],
    ids=["receive", "send"],
)
def test_scripts_have_the_flags_of_the_table(
    parser: argparse.ArgumentParser, settings: list[Setting]
) -> None:
    """Each setting's flags are there, and no flag is there that is not a setting."""
    known = {flag for setting in settings for flag in setting.flags}
    flags = set(parser._option_string_actions) - {"-h", "--help", "--version"}

    assert {flag for flag in flags if not flag.startswith("--no-")} == known


# --- .env.example ------------------------------------------------------------------------------


def assignments(text: str) -> Iterator[tuple[str, str, bool]]:
    """Name, value, and whether it is commented out."""
    for line in text.splitlines():
        if found := re.fullmatch(r"(#?)([A-Z_]+)=(.*)", line):
            yield found[2], found[3], bool(found[1])


@pytest.mark.parametrize(("part", "settings"), [(1, RECEIVE), (2, SEND)], ids=["receive", "send"])
def test_the_example_environment_is_complete(part: int, settings: list[Setting]) -> None:
    """Each setting is there by the name that people use, with its default, and nothing else is."""
    text = (REPOSITORY / ".env.example").read_text("utf-8").split("# --- ")[part]
    listed = {name: (value, commented) for name, value, commented in assignments(text)}
    names = {setting.environment_names[-1]: setting for setting in settings}

    assert set(listed) == set(names)
    for name, setting in names.items():
        value, commented = listed[name]
        assert commented is not setting.plain, name
        given = setting.convert(value) if value else setting.default
        assert given == setting.convert(setting.default), name


# --- everything else that mentions a name ------------------------------------------------------


def environment_names(settings: Iterable[Setting]) -> set[str]:
    names = {name for setting in settings for name in setting.environment_names}
    return names | {f"{name}_FILE" for name in names}


def test_compose_gives_only_settings() -> None:
    """Every variable of a Compose service is a setting of the script that it runs."""
    services = yaml.safe_load((REPOSITORY / "deploy" / "compose.yaml").read_text("utf-8"))

    for name, settings in {"receiver": RECEIVE, "client": SEND}.items():
        given = services["services"][name]["environment"]
        assert set(given) <= environment_names(settings)
        for variable, value in given.items():
            default = re.fullmatch(r"\$\{(\w+):-(.*)\}", value)
            setting = next(s for s in settings if variable in s.environment_names)
            assert default is None or default[1] == variable
            if default:
                assert setting.convert(default[2]) == setting.default


def pages() -> list[Path]:
    folders = ("docs", "deploy", "examples")
    found = [path for folder in folders for path in (REPOSITORY / folder).rglob("*")]
    return sorted(
        path
        for path in [*found, *REPOSITORY.glob("*.md")]
        if path.suffix in {".md", ".yaml", ".service", ".socket", ".py", ".sh", ".toml"}
        and "_build" not in path.parts
    )


@pytest.mark.parametrize("page", pages(), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_pages_name_only_what_exists(page: Path) -> None:
    """Whatever looks like a prefixed environment name, on any page, is one."""
    mentioned = set(re.findall(r"\bBATCHUDP_[A-Z_]*[A-Z]\b", page.read_text("utf-8")))

    assert mentioned <= environment_names([*RECEIVE, *SEND]) | NOT_SETTINGS


@pytest.mark.parametrize("page", pages(), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_command_lines_on_pages_are_accepted(page: Path) -> None:
    """Every `batchudp-` command line that a page shows has only flags that exist."""
    parsers = {"batchudp-receive": receive.build_parser(), "batchudp-send": send.build_parser()}
    for line in re.findall(r"^ *\$ (.+)$", page.read_text("utf-8"), re.MULTILINE):
        for script, flags in re.findall(r"(batchudp-(?:receive|send))\b([^|>]*)", line):
            used = set(re.findall(r"(?<!\S)--[a-z-]+", flags))
            assert used <= flags_of(parsers[script], flags.split()), line


def flags_of(parser: argparse.ArgumentParser, words: list[str]) -> set[str]:
    """The flags of a script, and those of the command among these words."""
    flags = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            commands = (action.choices[word] for word in words if word in action.choices)
            flags |= {flag for command in commands for flag in command._option_string_actions}
    return flags

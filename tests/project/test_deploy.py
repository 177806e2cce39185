"""The container files and the systemd units hold, as far as can be told without an engine.

Every service of the Compose file is also run as local processes, with the command and environment
that Compose would give it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPOSITORY = Path(__file__).parents[2]
DEPLOY = REPOSITORY / "deploy"
DOCKERFILES = sorted(DEPLOY.glob("Dockerfile.*"))
TIME_LIMIT = 60


# --- containers --------------------------------------------------------------------------------


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_the_linter_has_no_objection(dockerfile: Path, require: Callable[[str], str]) -> None:
    """hadolint finds nothing in a Dockerfile, not even a hint."""
    command = [require("hadolint"), "--no-color", str(dockerfile)]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_images_are_small_and_without_rights(dockerfile: Path) -> None:
    """An image is the Alpine one with the package in it, and its user is nobody special."""
    text = dockerfile.read_text("utf-8")
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    users = re.findall(r"^USER (\S+)", text, re.MULTILINE)

    assert set(bases) == {"python:3.12-alpine"}
    assert [int(user) >= 10_000 for user in users] == [True]


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_what_is_copied_is_sent_to_the_engine(dockerfile: Path) -> None:
    """Everything that a Dockerfile copies from the source tree exists and is not ignored."""
    text = dockerfile.read_text("utf-8")
    kept = re.findall(r"^!(\S+)", (REPOSITORY / ".dockerignore").read_text("utf-8"), re.MULTILINE)

    for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE):
        for name in line.split()[:-1]:
            assert (REPOSITORY / name).exists(), name
            assert name in kept, name


@pytest.fixture(scope="module")
def compose(require: Callable[[str], str]) -> dict[str, Any]:
    """The Compose file as Compose itself understands it."""
    file = str(DEPLOY / "compose.yaml")
    command = [require("docker-compose"), "-f", file, "--profile", "*", "config"]
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}

    done = subprocess.run(
        [*command, "--format", "json"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_compose_has_the_three_profiles(compose: dict[str, Any]) -> None:
    """Server, client and test can be started apart."""
    profiles = {name: service["profiles"] for name, service in compose["services"].items()}

    assert profiles == {"receiver": ["server"], "client": ["client"], "test": ["test"]}


def test_compose_publishes_the_port_as_udp(compose: dict[str, Any]) -> None:
    """The receiver's port is a UDP port, inside as outside."""
    (port,) = compose["services"]["receiver"]["ports"]

    assert (port["protocol"], port["target"], port["published"]) == ("udp", 9999, "9999")


def test_compose_takes_rights_away(compose: dict[str, Any]) -> None:
    """No service keeps capabilities, a writable root or a way to more privileges."""
    for service in compose["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]


def local_command(service: dict[str, Any]) -> list[str]:
    """A service's command with this environment's scripts and this machine's paths."""
    command = [
        *(service.get("entrypoint") or entrypoint(service)),
        *(service.get("command") or []),
    ]
    if command[0] == "python":
        command[0] = sys.executable
    else:
        command[0] = str(Path(sys.executable).parent / command[0])
    for volume in service.get("volumes", []):
        command = [part.replace(volume["target"], volume["source"]) for part in command]
    return command


def entrypoint(service: dict[str, Any]) -> list[str]:
    """What the image runs when Compose says nothing else."""
    text = (REPOSITORY / service["build"]["dockerfile"]).read_text("utf-8")
    (found,) = re.findall(r"^ENTRYPOINT (.+)$", text, re.MULTILINE)
    return list(json.loads(found))


def environment_of(service: dict[str, Any], **changes: str) -> dict[str, str]:
    """What the container would see, with the names of other services made local."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name == "PATH" or name.startswith("COVERAGE")
    }
    return {**inherited, **service.get("environment", {}), **changes}


@pytest.fixture
def receiver(compose: dict[str, Any], tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """The receiver's service as a local process: its port, and the file with its output."""
    service, port, output = compose["services"]["receiver"], free_port(), tmp_path / "records"
    changes = {"SERVER_HOST": "127.0.0.1", "SERVER_PORT": str(port)}
    changes["RUNTIME_DIRECTORY"] = str(tmp_path)
    with output.open("w") as stdout, (tmp_path / "diagnostics").open("w") as stderr:
        process = subprocess.Popen(
            local_command(service),
            env=environment_of(service, **changes),
            stdout=stdout,
            stderr=stderr,
        )
    try:
        wait_until(lambda: is_bound(port), "the receiver to bind its port")
        yield port, output
    finally:
        process.terminate()
        code = process.wait(TIME_LIMIT)
    assert code == 0, (tmp_path / "diagnostics").read_text()


def is_bound(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False


def test_compose_server_and_client_meet(
    compose: dict[str, Any], receiver: tuple[int, Path]
) -> None:
    """The client's command ships sample records to the receiver's command, which prints them."""
    port, output = receiver
    service = compose["services"]["client"]
    changes = {"TARGET_HOST": "127.0.0.1", "TARGET_PORT": str(port)}
    changes |= {"RUN_TIME": "1", "LOGS_PER_SECOND": "20", "FLUSH_INTERVAL": "0.2"}

    done = subprocess.run(
        local_command(service),
        env=environment_of(service, **changes),
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    wait_until(lambda: len(output.read_text().splitlines()) >= 20, "twenty records")


def test_the_receivers_health_is_checked(
    compose: dict[str, Any], receiver: tuple[int, Path]
) -> None:
    """Image and Compose ask the same command, which succeeds while the receiver runs."""
    service = compose["services"]["receiver"]
    text = (REPOSITORY / service["build"]["dockerfile"]).read_text("utf-8")
    (in_image,) = re.findall(r"^HEALTHCHECK .*\n +CMD (.+)$", text, re.MULTILINE)
    kind, *command = service["healthcheck"]["test"]
    assert (kind, command) == ("CMD", json.loads(in_image))
    command[0] = str(Path(sys.executable).parent / command[0])
    _, output = receiver

    living, dead = (
        subprocess.run(
            command,
            env=environment_of(service, RUNTIME_DIRECTORY=str(place)),
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT,
            check=False,
        )
        for place in (output.parent, output.parent / "nowhere")
    )

    assert (living.returncode, dead.returncode) == (0, 1), living.stdout + living.stderr


@pytest.mark.slow
def test_compose_test_profile_passes(compose: dict[str, Any]) -> None:
    """What the test profile runs in its container ends well here, too."""
    service = compose["services"]["test"]

    done = subprocess.run(
        local_command(service),
        env=environment_of(service),
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_makefile_has_the_container_targets(require: Callable[[str], str]) -> None:
    """build, run, client, logs, stop and clean say what they would run."""
    for target in ("build", "run", "client", "logs", "stop", "clean"):
        command = [require("make"), "--dry-run", "--no-print-directory", target]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
        assert "docker compose" in done.stdout
        assert "deploy/compose.yaml" in done.stdout


# --- systemd -----------------------------------------------------------------------------------


@pytest.fixture
def units(tmp_path: Path) -> list[str]:
    """The units, with the script where it is installed here."""
    script = Path(sys.executable).parent / "batchudp-receive"
    for unit in (DEPLOY / "systemd").iterdir():
        text = unit.read_text("utf-8").replace("/usr/local/bin/batchudp-receive", str(script))
        (tmp_path / unit.name).write_text(text, "utf-8")
    return sorted(str(path) for path in tmp_path.iterdir())


def test_systemd_understands_the_units(units: list[str], require: Callable[[str], str]) -> None:
    """`systemd-analyze verify` has nothing to say."""
    command = [require("systemd-analyze"), "verify", *units]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_the_service_is_well_confined(units: list[str], require: Callable[[str], str]) -> None:
    """`systemd-analyze security` rates the exposure at 1.5 of 10 or less."""
    service = next(unit for unit in units if unit.endswith(".service"))
    command = [require("systemd-analyze"), "security", "--offline=true", "--threshold=15", service]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


def test_the_service_names_flags_that_exist(units: list[str]) -> None:
    """The command line of the unit is one that the script accepts."""
    service = next(unit for unit in units if unit.endswith(".service"))
    text = Path(service).read_text("utf-8").replace("${LOGS_DIRECTORY}", "/tmp")
    (line,) = re.findall(r"^ExecStart=(.+)$", text, re.MULTILINE)

    done = subprocess.run(
        [*shlex.split(line), "--help"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr

"""The commands of the documentation exist, with the flags that the pages give them.

The Python of the pages runs in `test_code.py`. Commands start servers or want root, so what
is checked here is that our own are spelled as their parsers want them, that make has the goals,
that a shell can read all lines, and that nginx takes its configuration.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from batchudp_handler.cli import receive, send

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPOSITORY = Path(__file__).parents[2]
PARSERS = {"batchudp-receive": receive.build_parser, "batchudp-send": send.build_parser}
OPERATORS = {"|", "&", "&&", ";", ">", "<"}


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """The blocks in this language, each with its page."""
    for page in [*REPOSITORY.glob("*.md"), *sorted((REPOSITORY / "docs").rglob("*.md"))]:
        found = re.findall(rf"```{language}\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
        yield from ((str(page.relative_to(REPOSITORY)), block) for block in found)


def commands() -> list[tuple[str, str]]:
    """What follows a prompt, lines that are continued included."""
    return [
        (page, command.replace("\\\n", " "))
        for page, block in blocks("console")
        for command in re.findall(r"^ *\$ ((?:.*\\\n)*.*)$", block, re.MULTILINE)
    ]


def words(command: str) -> list[list[str]]:
    """The simple commands of a line."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    simple: list[list[str]] = [[]]
    for word in lexer:
        if word in OPERATORS:
            simple.append([])
        else:
            simple[-1].append(word)
    return simple


def own_commands() -> list[tuple[str, list[str]]]:
    """Each use of our scripts, from its name on."""
    return [
        (page, simple[place:])
        for page, command in commands()
        for simple in words(command)
        for place, word in enumerate(simple)
        if word in PARSERS and place <= 1
    ]


@pytest.mark.parametrize(("page", "command"), own_commands(), ids=lambda part: str(part)[-60:])
def test_our_scripts_take_these_flags(page: str, command: list[str]) -> None:
    """The parser of the script accepts the command."""
    try:
        PARSERS[command[0]]().parse_args(command[1:])
    except SystemExit as end:
        assert end.code == 0, f"{page}: {shlex.join(command)}"  # noqa: PT017 - argparse exits


def test_there_are_commands_to_check() -> None:
    """The reader of pages finds both scripts, behind `sudo` and behind a pipe."""
    assert {command[0] for _, command in own_commands()} == set(PARSERS)


def test_make_has_the_goals() -> None:
    """What the pages ask of make is in the Makefile."""
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    goals = {simple[1] for _, line in commands() for simple in words(line) if simple[0] == "make"}

    assert goals
    assert [goal for goal in goals if not re.search(rf"^{goal}:", makefile, re.MULTILINE)] == []


def test_a_shell_can_read_the_commands() -> None:
    """No command has a quote or a bracket too few."""
    text = "\n".join(command for _, command in commands())
    text += "\n".join(block for _, block in blocks("bash"))

    done = subprocess.run(
        ["bash", "-n"], input=text, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stderr


def test_nginx_takes_its_configuration(require: Callable[[str], str], tmp_path: Path) -> None:
    """The configuration of the balancer is one for nginx."""
    nginx = require("nginx")
    ((_, block),) = blocks("nginx")
    module = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
    load = f"load_module {module};\n" if module.exists() else ""
    (tmp_path / "nginx.conf").write_text(
        f"{load}pid {tmp_path}/pid;\nerror_log stderr;\nevents {{}}\n{block}"
    )

    done = subprocess.run(
        [nginx, "-t", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    if not load and "unknown directive" in done.stderr:
        pytest.skip("nginx has no stream module")
    assert done.returncode == 0, done.stderr

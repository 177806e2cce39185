"""Makes the manual pages from the parsers of the commands.

python man/make.py            write them
python man/make.py --check    say which of them is not what it would write
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from batchudp_handler.cli import receive, send

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).parent
PARSERS = {"batchudp-receive": receive.build_parser, "batchudp-send": send.build_parser}
UNWANTED = {"positional arguments", "commands"}


def escaped(text: str) -> str:
    """Plain text as roff takes it: no escapes, no requests, and hyphens that can be copied."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.MULTILINE)


def page(name: str, parser: argparse.ArgumentParser) -> str:
    """The whole manual page."""
    lines = [
        f'.TH {escaped(name.upper())} 1 "" "batchudp\\-handler" "User Commands"',
        ".SH NAME",
        f"{escaped(name)} \\- {escaped(summary(parser))}",
        ".SH SYNOPSIS",
        f".B {escaped(name)}",
        "[\\fIOPTION\\fR]... [\\fICOMMAND\\fR [\\fIOPTION\\fR]...]",
        ".SH DESCRIPTION",
        escaped(parser.description or ""),
        *commands(parser),
        ".SH OPTIONS",
        "Every option with an environment name may be given there as well; the option wins.",
        *options(parser, known=set()),
        *ending(parser.epilog or ""),
        ".SH SEE ALSO",
        ", ".join(f"\\fB{escaped(other)}\\fR(1)" for other in PARSERS if other != name),
    ]
    return "\n".join(lines) + "\n"


def summary(parser: argparse.ArgumentParser) -> str:
    text = (parser.description or "").partition(".")[0]
    return text[:1].lower() + text[1:]


def commands(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Each with the options that only it has."""
    known = set(parser._option_string_actions)
    for action in parser._actions:
        if not isinstance(action, argparse._SubParsersAction):
            continue
        yield ".SH COMMANDS"
        yield "Without a command the program does what its description says."
        for name, subparser in action.choices.items():
            yield from (".TP", f"\\fB{escaped(name)}\\fR", escaped(subparser.description or ""))
            own = list(options(subparser, known))
            if own:
                yield from (".RS", *own, ".RE")


def options(parser: argparse.ArgumentParser, known: set[str]) -> Iterator[str]:
    """By group; those in `known` are left out."""
    for group in parser._action_groups:
        actions = [
            action
            for action in group._group_actions
            if action.option_strings and not known.intersection(action.option_strings)
        ]
        actions = [action for action in actions if "--help" not in action.option_strings]
        if actions and not known and group.title not in UNWANTED:
            yield f".SS {escaped((group.title or '').capitalize())}"
        for action in actions:
            yield from (".TP", spelling(action), escaped(help_of(action, parser.prog)))


def spelling(action: argparse.Action) -> str:
    flags = ", ".join(f"\\fB{escaped(flag)}\\fR" for flag in action.option_strings)
    if action.nargs == 0:
        return flags
    value = action.metavar or action.dest.upper()
    return f"{flags} \\fI{escaped(str(value))}\\fR"


def help_of(action: argparse.Action, prog: str) -> str:
    text = (action.help or "") % {**vars(action), "prog": prog}
    return text[:1].upper() + text[1:] + "."


def ending(epilog: str) -> Iterator[str]:
    """The examples and the exit codes, line by line as they are."""
    titles = {"examples:": "EXAMPLES", "exit codes:": "EXIT STATUS"}
    is_verbatim = False
    for line in epilog.strip().splitlines():
        title = next((title for start, title in titles.items() if line.startswith(start)), None)
        if title is not None:
            yield from ([".fi"] if is_verbatim else [])
            yield from (f".SH {title}", ".nf")
            is_verbatim = True
        elif not is_verbatim and line:
            yield ".PP"
        text = line if title is None else line.partition(":")[2]
        if text.strip():
            yield escaped(text.strip())
    yield from ([".fi"] if is_verbatim else [])


def main(arguments: Sequence[str]) -> int:
    """Write or check; the exit code says whether a page was out of date."""
    code = 0
    for name, build in PARSERS.items():
        path, text = HERE / f"{name}.1", page(name, build())
        if "--check" not in arguments:
            path.write_text(text, "utf-8")
        elif not path.exists() or path.read_text("utf-8") != text:
            print(f"{path.name} is out of date: python man/make.py")
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

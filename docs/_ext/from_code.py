"""Directives for the tables of the documentation that are made from the code.

`settings` and `keywords` show a config class, `counters` a dataclass of numbers, `limits` one of
bounds, `reasons` and `explained` an enumeration, `transitions` a state machine, `meanings` a
mapping of names, `modules` the package's modules, `files` every file, `command` an argument
parser. A table that is made from the code cannot contradict it.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import textwrap
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from files import descriptions
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

import batchudp_handler
from batchudp_handler.core.send.states import TRANSITIONS, State
from batchudp_handler.settings import Setting, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from docutils import nodes
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata


logger = logging.getLogger(__name__)


def load(path: str) -> Any:
    """The object with this dotted path."""
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def attribute_docstrings(cls: type) -> Iterator[tuple[str, str]]:
    """The names that a class body assigns, each with the string that follows it."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    for statement, after in zip(body.body, [*body.body[1:], ast.Pass()], strict=True):
        if isinstance(statement, ast.AnnAssign):
            target: ast.expr = statement.target
        elif isinstance(statement, ast.Assign):
            target = statement.targets[0]
        else:
            continue
        if isinstance(target, ast.Name):
            yield target.id, text_of(after)


def text_of(statement: ast.stmt) -> str:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        value = statement.value.value
        return " ".join(value.split()) if isinstance(value, str) else ""
    return ""


def meaning_of(name: str, meanings: Mapping[str, str]) -> str:
    """Return the docstring of a name; warn if it is missing."""
    if not meanings.get(name):
        logger.warning("%s has no docstring in the code", name)
    return meanings.get(name, "")


class FromCode(SphinxDirective):
    """Takes a dotted path, gives a table."""

    required_arguments = 1
    header: ClassVar[Sequence[str]]

    def rows(self, subject: Any) -> Iterable[Sequence[str]]:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        subject = load(self.arguments[0])
        self.env.note_dependency(inspect.getfile(subject))
        lines = ["| " + " | ".join(self.header) + " |", "|" + " --- |" * len(self.header)]
        for row in self.rows(subject):
            cells = [cell.replace("|", "\\|") for cell in row]
            lines.append("| " + " | ".join(cells) + " |")
        return self.parse_text_to_nodes("\n".join(lines) + "\n")


class Settings(FromCode):
    """The settings of a config class, with every name that they have."""

    header = ("setting", "default", "environment", "flag", "meaning")

    def rows(self, subject: Any) -> Iterator[Sequence[str]]:
        for setting in settings_of(subject):
            variables = " ".join(f"`{name}`" for name in setting.environment_names)
            flags = " ".join(f"`{flag}`" for flag in setting.flags)
            yield f"`{setting.name}`", f"`{setting.default!r}`", variables, flags, told(setting)


class Keywords(FromCode):
    """The settings of a config class as the keywords of a constructor."""

    header = ("keyword", "default", "meaning")

    def rows(self, subject: Any) -> Iterator[Sequence[str]]:
        for setting in settings_of(subject):
            yield f"`{setting.name}`", f"`{setting.default!r}`", told(setting)


def told(setting: Setting) -> str:
    meaning = setting.help[:1].upper() + setting.help[1:]
    return f"{meaning}. Allowed: {setting.kind.allowed}."


class Counters(FromCode):
    """The fields of a dataclass, each with its docstring."""

    header = ("counter", "meaning")

    def rows(self, subject: Any) -> Iterator[Sequence[str]]:
        meanings = dict(attribute_docstrings(subject))
        for field in dataclasses.fields(subject):
            yield f"`{field.name}`", meaning_of(field.name, meanings)


class Limits(FromCode):
    """The fields of a dataclass with their defaults, each with its docstring."""

    header = ("limit", "default", "meaning")

    def rows(self, subject: Any) -> Iterator[Sequence[str]]:
        meanings = dict(attribute_docstrings(subject))
        for field in dataclasses.fields(subject):
            yield f"`{field.name}`", f"{field.default:,}", meaning_of(field.name, meanings)


class Reasons(FromCode):
    """The members of an enumeration of words."""

    header = ("name", "meaning")

    def rows(self, subject: Any) -> Iterator[Sequence[str]]:
        meanings = dict(attribute_docstrings(subject))
        for member in subject:
            yield f"`{member.value}`", meaning_of(member.name, meanings)


class Explained(FromCode):
    """The members of an enumeration of words that know what they mean and what helps."""

    header = ("name", "meaning", "what helps")

    def rows(self, subject: Any) -> Iterator[Sequence[str]]:
        for member in subject:
            advice = member.advice[:1].upper() + member.advice[1:]
            yield f"`{member.value}`", member.meaning, advice


class Transitions(FromCode):
    """The events of a state machine, and the state to which each leads from every state."""

    header = ("event", "when", *(state.value for state in State))

    def rows(self, subject: Any) -> Iterator[Sequence[str]]:
        meanings = dict(attribute_docstrings(subject))
        for event, targets in TRANSITIONS.items():
            cells = [self.cell(state, targets.get(state)) for state in State]
            yield f"`{event.value}`", meaning_of(event.name, meanings), *cells

    @staticmethod
    def cell(state: State, target: State | None) -> str:
        if target is None:
            return "cannot be"
        return "stays" if target is state else f"**{target.value}**"


class Meanings(SphinxDirective):
    """A mapping of names to what they mean."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        lines = ["| name | meaning |", "| --- | --- |"]
        lines += [f"| `{name}` | {text} |" for name, text in load(self.arguments[0]).items()]
        return self.parse_text_to_nodes("\n".join(lines) + "\n")


class Modules(SphinxDirective):
    """Every module with the first sentence of its docstring, a table for each folder."""

    def run(self) -> list[nodes.Node]:
        root = Path(batchudp_handler.__file__).parent
        lines: list[str] = []
        for folder in [root, *sorted({path.parent for path in root.rglob("*/*.py")})]:
            name = folder.relative_to(root.parent).as_posix()
            lines += ["", f"**{name}**: {self.summary(folder / '__init__.py')}", ""]
            lines += ["| module | contents |", "| --- | --- |"]
            for path in sorted(folder.glob("[a-z]*.py")):
                lines.append(f"| `{path.name}` | {self.summary(path)} |")
        return self.parse_text_to_nodes("\n".join(lines) + "\n")

    def summary(self, path: Path) -> str:
        """Return the first paragraph of a module's docstring."""
        self.env.note_dependency(str(path))
        docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        return " ".join(docstring.partition("\n\n")[0].split()).replace("``", "`")


class Files(SphinxDirective):
    """Every file of the repository with its description, a table for each folder."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        lines: list[str] = []
        last = None
        for path, description in descriptions(Path(self.env.srcdir).parent):
            folder = path.parent.as_posix()
            if folder != last:
                lines += ["", f"**{'top' if folder == '.' else folder}**", ""]
                lines += ["| file | contents |", "| --- | --- |"]
                last = folder
            cell = description.replace("``", "`").replace("|", "\\|")
            lines.append(f"| `{path.name}` | {cell} |")
        return self.parse_text_to_nodes("\n".join(lines) + "\n")


class Command(SphinxDirective):
    """What a command takes, from the function that makes its parser."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        build = load(self.arguments[0])
        self.env.note_dependency(inspect.getfile(build))
        return self.parse_text_to_nodes("\n".join(lines_of(build())) + "\n")


def lines_of(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Usage, then a table for each group of arguments, then the subcommands."""
    formatter = argparse.HelpFormatter(parser.prog, width=90)
    formatter.add_usage(parser.usage, parser._actions, parser._mutually_exclusive_groups)
    yield from ("```text", *formatter.format_help().strip().splitlines(), "```", "")
    if parser.epilog:
        yield from ("```text", *textwrap.dedent(parser.epilog).strip().splitlines(), "```", "")
    subparsers: dict[str, argparse.ArgumentParser] = {}
    for group in parser._action_groups:
        actions = [a for a in group._group_actions if a.help is not argparse.SUPPRESS]
        for action in actions:
            if isinstance(action, argparse._SubParsersAction):
                subparsers |= action.choices
        yield from group_table(group.title or "", [a for a in actions if a.choices != subparsers])
    for name, subparser in subparsers.items():
        yield from (f"**{parser.prog} {name}**", "", *lines_of(subparser))


def group_table(title: str, actions: Sequence[argparse.Action]) -> Iterator[str]:
    if actions:
        yield from (f"| {title} | meaning |", "| --- | --- |")
        yield from (f"| {spelling(action)} | {help_of(action)} |" for action in actions)
        yield ""


def spelling(action: argparse.Action) -> str:
    value = action.metavar or ("|".join(map(str, action.choices)) if action.choices else None)
    if isinstance(value, tuple):
        value = " ".join(value)
    if not action.option_strings:
        return f"`{value or action.dest}`"
    takes_value = action.nargs != 0
    shown = f" {value or action.dest.upper()}" if takes_value else ""
    return ", ".join(f"`{option}{shown}`" for option in action.option_strings).replace("|", "\\|")


def help_of(action: argparse.Action) -> str:
    if not action.help:
        return ""
    values = {**vars(action), "prog": ""}
    return (action.help % values).replace("|", "\\|").replace("\n", " ")


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.add_directive("settings", Settings)
    app.add_directive("keywords", Keywords)
    app.add_directive("counters", Counters)
    app.add_directive("limits", Limits)
    app.add_directive("reasons", Reasons)
    app.add_directive("explained", Explained)
    app.add_directive("transitions", Transitions)
    app.add_directive("meanings", Meanings)
    app.add_directive("modules", Modules)
    app.add_directive("files", Files)
    app.add_directive("command", Command)
    return {"parallel_read_safe": True}

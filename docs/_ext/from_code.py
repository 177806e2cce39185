"""Which tables of the documentation are made from the code?

`settings` and `keywords` show a config class, `counters` a dataclass of numbers, `reasons` an
enumeration. A table made from the code cannot say something that the code does not do.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from sphinx.util.docutils import SphinxDirective

from batchudp_handler.settings import Setting, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from docutils import nodes
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata


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
            yield f"`{field.name}`", meanings.get(field.name, "")


class Reasons(FromCode):
    """The members of an enumeration of words."""

    header = ("name", "meaning")

    def rows(self, subject: Any) -> Iterator[Sequence[str]]:
        meanings = dict(attribute_docstrings(subject))
        for member in subject:
            yield f"`{member.value}`", meanings.get(member.name, "")


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.add_directive("settings", Settings)
    app.add_directive("keywords", Keywords)
    app.add_directive("counters", Counters)
    app.add_directive("reasons", Reasons)
    return {"parallel_read_safe": True}

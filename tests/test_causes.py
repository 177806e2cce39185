"""Every name under which something is counted is explained, and every explanation is of a name.

The source is read with `ast`: a function with a parameter called `cause` says where causes are
given, whoever calls it and with whatever text. What a test run counts is checked elsewhere.
"""

from __future__ import annotations

import ast
import errno
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import batchudp_handler
from batchudp_handler.core.causes import Cause, SendTrouble
from batchudp_handler.core.errors import Reason, explained
from batchudp_handler.core.send.counters import SenderCounters
from batchudp_handler.core.send.stats import SenderStats

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(batchudp_handler.__file__).parent
SENDING = ("core", "flusher", "spool", "handler.py")
"""Where records are dropped; elsewhere the word has other meanings."""


def trees(*places: str) -> Iterator[ast.Module]:
    for place in places or (".",):
        path = ROOT / place
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            yield ast.parse(file.read_text("utf-8"))


def takers() -> dict[str, set[int]]:
    """Names of functions with a parameter `cause`, each with the parameter's places in calls."""
    found: dict[str, set[int]] = {}
    for tree in trees(*SENDING):
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                names = [each.arg for each in node.args.args if each.arg != "self"]
                if "cause" in names:
                    found.setdefault(node.name, set()).add(names.index("cause"))
    return found


def texts(node: ast.AST | None) -> Iterator[str]:
    """The text of an expression; of a choice both."""
    for each in ast.walk(node) if node is not None else ():
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield each.value


def given_to_a_call(node: ast.Call, places: dict[str, set[int]]) -> Iterator[str]:
    """Texts at the place of a `cause`."""
    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
    for place in places.get(name, ()):
        yield from texts(node.args[place] if len(node.args) > place else None)
    for keyword in node.keywords:
        yield from texts(keyword.value if keyword.arg == "cause" else None)


def given_to_a_name(node: ast.Assign | ast.AnnAssign) -> Iterator[str]:
    """Texts that a variable `cause` or the table `CAUSES` of the buffer are made of."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    names = {getattr(each, "id", getattr(each, "attr", "")) for each in targets}
    if names & {"cause", "CAUSES"}:
        yield from texts(node.value)


def causes_in_the_source() -> set[str]:
    """What is given for a `cause`, in calls, defaults, assignments and the table of the buffer."""
    places, found = takers(), set[str]()
    for node in (node for tree in trees(*SENDING) for node in ast.walk(tree)):
        if isinstance(node, ast.Call):
            found |= set(given_to_a_call(node, places))
        elif isinstance(node, ast.FunctionDef) and node.name in places:
            found |= {text for default in node.args.defaults for text in texts(default)}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            found |= set(given_to_a_name(node))
    return found


def test_every_cause_of_a_drop_is_explained_and_used() -> None:
    """A new cause needs a row in the table, and a row needs a cause."""
    assert causes_in_the_source() == set(Cause)


def test_every_reason_of_a_refusal_is_used() -> None:
    """A reason that nothing counts would be a promise."""
    used = set()
    for tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "Reason":
                used.add(node.attr)
    assert {each.name for each in Reason} - used == set()


@pytest.mark.parametrize("each", [*Cause, *SendTrouble, *Reason], ids=str)
def test_an_explanation_is_a_sentence(each: Cause | SendTrouble | Reason) -> None:
    """It stands in the reference as it is, and in messages with an advice behind it."""
    assert each.meaning[0].isupper()
    assert each.meaning.endswith(".")
    assert not each.advice.endswith(".")


def test_errors_of_sending_are_errnos_or_families() -> None:
    """So that every key of `send_errors` is in the table or is an errno's name."""
    for each in SendTrouble:
        is_family = each.endswith("_*") or each.startswith("spool_")
        is_ours = each in {SendTrouble.NAME, SendTrouble.THREADS, SendTrouble.NO_REPLY_PATH}
        assert is_family or is_ours or each in errno.errorcode.values()


def test_an_unknown_reason_is_shown_as_it_is() -> None:
    """A worker of somebody else's may reject for reasons of its own."""
    assert explained("of my own") == "of my own"


def test_every_counter_of_the_machine_is_shown() -> None:
    """What is counted and never shown helps nobody."""
    hidden = set(SenderCounters.__slots__) - set(SenderStats.__slots__)
    assert hidden == set()

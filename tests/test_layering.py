"""The rooms of the package, and who imports whom: the core decides, the shell does.

The rules are read from the source with `ast`, so nothing has to be imported or run. Whoever adds
a room adds a line to `MAY_IMPORT`, and says with it who may look at whom.
"""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PACKAGE = "batchudp_handler"
ROOT = Path(__file__).parent.parent / "src" / PACKAGE

MAX_FUNCTION_LINES = 50
"""Without the docstring. Most functions have 5 to 15."""

FORBIDDEN_IN_CORE = frozenset(
    {
        *(
            "socket",
            "socketserver",
            "select",
            "selectors",
            "ssl",
            "http",
            "subprocess",
            "tempfile",
        ),
        *("threading", "queue", "asyncio", "concurrent", "multiprocessing", "signal"),
        *("time", "random", "secrets", "uuid", "os", "sys"),
    }
)
"""What does something, or knows something that was not told as an argument."""

MAY_USE_LOGGING = frozenset(
    {
        f"core.records.{name}"
        for name in ("snapshot", "rebuild", "plain", "record_names", "arrival")
    }
)
"""The one room of the core that knows what a LogRecord looks like."""

MAY_IMPORT_IN_CORE: Mapping[str, frozenset[str]] = {
    "": frozenset(),
    "records": frozenset({""}),
    "wire": frozenset({""}),
    # rows are whole datagrams, in the layout of the baseline
    "payload": frozenset({"", "records", "wire"}),
    "send": frozenset({"", "records", "payload", "wire"}),
    "receive": frozenset({"", "records", "payload", "wire"}),
    "output": frozenset({""}),
}
"""Room of the core to those below it; "" are the modules beside the rooms.

The sending and the receiving machine know nothing of each other: they meet on the wire only."""

LIBRARY = frozenset(
    {"", "core", "config", "settings", "handler", "receiver", "signals", "waits", "platform"}
)
"""What a program of ours may use, as any other program may."""

MAY_IMPORT: Mapping[str, frozenset[str]] = {
    "core": frozenset(),
    "waits": frozenset(),
    "platform": frozenset({"waits"}),
    "unix_paths": frozenset({"platform"}),
    # settings
    "settings": frozenset({"core"}),
    "config": frozenset({"core", "settings", "platform"}),
    # the sending shell
    "fork": frozenset({"platform"}),
    "signals": frozenset({"fork"}),
    "transport": frozenset({"core", "waits", "platform", "unix_paths"}),
    "spool": frozenset({"core"}),
    "flusher": frozenset({"core", "transport", "spool", "waits"}),
    "sending": frozenset({"core", "config", "settings", "keys", "transport", "flusher"}),
    "handler": frozenset({"core", "config", "settings", "sending", "fork", "signals", "flusher"}),
    # the receiving shell
    "keys": frozenset({"core"}),
    "receiver": frozenset(
        {"core", "config", "settings", "keys", "waits", "platform", "unix_paths"}
    ),
    # the ways past one machine
    "engines": frozenset({"core", "config", "receiver", "waits"}),
    # what an operator looks through
    "control": frozenset({"core", "receiver", "console", "waits", "platform", "unix_paths"}),
    # datagrams for people to read
    "decode": frozenset({"core", "console"}),
    # what people start
    "": frozenset({"core", "config", "handler", "receiver", "signals"}),
    "testing": LIBRARY,
    "console": frozenset({"core"}),
    "outputs": frozenset({"core", "console", "waits", "platform"}),
    "cli": LIBRARY | {"console", "outputs", "keys", "engines", "control", "decode"},
    "__main__": frozenset({"cli"}),
}
"""Room to rooms, between the top-level names of the package; "" is the package itself."""

ONLY_IN: Mapping[str, frozenset[str]] = {
    "socket": frozenset(
        {"transport", "receiver", "control", "testing", "cli", "unix_paths", "platform"}
    ),
    "select": frozenset({"platform"}),
    "fcntl": frozenset({"platform", "spool", "cli"}),
    "selectors": frozenset({"transport", "receiver", "control", "testing"}),
    "threading": frozenset(
        {"flusher", "handler", "receiver", "engines", "control", "testing", "cli", "waits"}
    ),
}
"""Who owns a socket or a thread."""

EXTRAS: Mapping[str, frozenset[str]] = {
    "testing": frozenset({"pytest"}),
    "engines": frozenset({"nats"}),
    "control": frozenset({"prometheus_client"}),
}
"""Rooms that are only entered by those who installed an extra."""


@dataclass(frozen=True, slots=True)
class Module:
    """One source file, parsed."""

    name: str
    """Dotted, below the package: `core.wire.datagram`; the package itself is the empty string."""
    tree: ast.Module
    is_package: bool = False

    @property
    def room(self) -> str:
        return self.name.partition(".")[0]

    def imports(self, *, top_level_only: bool = False) -> Iterator[str]:
        """The absolute dotted names that this module imports."""
        nodes = run_at_import(self.tree) if top_level_only else ast.walk(self.tree)
        for node in nodes:
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from self._from_names(node)

    def _from_names(self, node: ast.ImportFrom) -> Iterator[str]:
        base = node.module or ""
        if node.level:
            parts = [PACKAGE, *self.name.split(".")] if self.name else [PACKAGE]
            parts = parts[: len(parts) - node.level + self.is_package]
            base = ".".join([*parts, *([base] if base else [])])
        # `from . import wire` names a module, `from .wire import parse` names something in one
        yield from (f"{base}.{alias.name}" for alias in node.names)

    def own_imports(self, modules: Mapping[str, Module]) -> set[str]:
        """The names of our modules that this one imports, `core.wire.datagram` and the like."""
        found = set()
        for name in self.imports():
            if name.partition(".")[0] == PACKAGE:
                inner = name.partition(".")[2]
                found.add(inner if inner in modules else inner.rpartition(".")[0])
        return found - {self.name}


def run_at_import(tree: ast.Module) -> Iterator[ast.AST]:
    """The nodes that run when the module is imported: nothing inside functions."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            waiting.extend(node.orelse)
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            waiting.extend(ast.iter_child_nodes(node))


@cache
def modules() -> Mapping[str, Module]:
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        found[name] = Module(name, ast.parse(path.read_text("utf-8")), is_package)
    return found


def impure_imports(module: Module) -> list[str]:
    """What a module of the core imports although it may not."""
    forbidden = FORBIDDEN_IN_CORE
    if module.name not in MAY_USE_LOGGING:
        forbidden |= {"logging"}
    return [name for name in module.imports() if name.partition(".")[0] in forbidden]


def in_core() -> list[Module]:
    return [module for module in modules().values() if module.room == "core"]


def functions(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(module.tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of a function without its docstring."""
    total = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None:
        total -= (first.end_lineno or first.lineno) - first.lineno + 1
    return total


def by_name(module: Module) -> str:
    return module.name or PACKAGE


@pytest.mark.parametrize("module", in_core(), ids=by_name)
def test_the_core_does_nothing_by_itself(module: Module) -> None:
    """No module of the core imports what opens, waits, draws, reads a clock or the environment."""
    assert impure_imports(module) == []


@pytest.mark.parametrize("module", in_core(), ids=by_name)
def test_a_socket_in_the_core_would_be_noticed(module: Module) -> None:
    """Put `import socket` into any module of the core, and the check above names it."""
    stained = ast.parse(ast.unparse(module.tree) + "\nimport socket\n")
    assert impure_imports(Module(module.name, stained, module.is_package)) == ["socket"]


@pytest.mark.parametrize("module", modules().values(), ids=by_name)
def test_imports_point_one_way(module: Module) -> None:
    """A module imports only from the rooms that its own room may look into."""
    assert module.room in MAY_IMPORT, "a new room: say in MAY_IMPORT what it may import"
    rooms = {name.partition(".")[0] for name in module.own_imports(modules())}
    assert rooms <= MAY_IMPORT[module.room] | {module.room}


def test_no_two_modules_import_each_other() -> None:
    """The imports of the package have no cycle, not even inside functions."""
    edges = {
        name: {other for other in module.own_imports(modules()) if other}
        for name, module in modules().items()
        if not module.is_package
    }
    done: set[str] = set()
    while ready := {name for name, needs in edges.items() if needs <= done | _packages()} - done:
        done |= ready
    assert set(edges) - done == set()


def _packages() -> set[str]:
    return {name for name, module in modules().items() if module.is_package}


def core_room(name: str) -> str:
    """`core.wire.auth` is in the room `wire`, `core.errors` in the room ""."""
    parts = name.split(".")
    return parts[1] if len(parts) > 2 or (name in _packages() and len(parts) > 1) else ""


@pytest.mark.parametrize("module", in_core(), ids=by_name)
def test_the_rooms_of_the_core_import_those_below_them(module: Module) -> None:
    """A room of the core imports the rooms below it, and never the one beside it."""
    room = core_room(module.name)
    assert room in MAY_IMPORT_IN_CORE, "a new room: say in MAY_IMPORT_IN_CORE what it may import"
    used = {core_room(name) for name in module.own_imports(modules()) if name.startswith("core.")}
    assert used <= MAY_IMPORT_IN_CORE[room] | {room}


@pytest.mark.parametrize("name", sorted(_packages()), ids=lambda name: name or PACKAGE)
def test_a_package_gives_no_name_to_two_things(name: str) -> None:
    """Importing a module puts it into its package, in place of a function of the same name."""
    tree = modules()[name].tree
    given = {
        node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))
    }
    given |= {
        alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    inner = {
        other.rpartition(".")[2]
        for other in modules()
        if other and other.rpartition(".")[0] == name
    }
    assert given & inner == set()


def fields_of_the_buffer(module: Module) -> list[str]:
    """Return the assignments to an attribute of something that is called a buffer."""
    stores = [n for n in ast.walk(module.tree) if isinstance(n, ast.Attribute)]
    owners = [ast.unparse(n.value) for n in stores if isinstance(n.ctx, ast.Store)]
    return [owner for owner in owners if owner.rpartition(".")[2].strip("_") == "buffer"]


@pytest.mark.parametrize("module", modules().values(), ids=by_name)
def test_nobody_writes_the_fields_of_the_buffer(module: Module) -> None:
    """Callers and the owner share them, so the order of stores is the buffer's own business."""
    assert fields_of_the_buffer(module) == []


def test_a_written_field_of_the_buffer_would_be_noticed() -> None:
    """Whatever the way to it."""
    tree = ast.parse("self.buffer.wake_at = 1\nurgent, buffer.urgent = buffer.urgent, False")

    assert sorted(fields_of_the_buffer(Module("flusher.loop", tree))) == ["buffer", "self.buffer"]


@pytest.mark.parametrize("module", modules().values(), ids=by_name)
def test_sockets_and_threads_have_few_owners(module: Module) -> None:
    """Sockets are opened by the transport, threads are started by those who own a loop."""
    for name in module.imports():
        owners = ONLY_IN.get(name.partition(".")[0])
        assert owners is None or module.room in owners, name


@pytest.mark.parametrize("module", modules().values(), ids=by_name)
def test_the_environment_is_read_in_one_place(module: Module) -> None:
    """Only the configuration and the scripts that call it look at `os.environ`."""
    if module.room in {"config", "cli"}:
        return
    names = {node.attr for node in ast.walk(module.tree) if isinstance(node, ast.Attribute)}
    assert names & {"environ", "getenv"} == set()


@pytest.mark.parametrize("module", modules().values(), ids=by_name)
def test_the_standard_library_is_enough(module: Module) -> None:
    """Importing the package needs nothing else; extras are imported inside functions."""
    known = sys.stdlib_module_names | {PACKAGE} | EXTRAS.get(module.room, frozenset())
    imported = {name.partition(".")[0] for name in module.imports(top_level_only=True)}
    assert imported - known == set()


@pytest.mark.parametrize("module", modules().values(), ids=by_name)
def test_functions_are_short(module: Module) -> None:
    """No function has more than fifty lines."""
    too_long = {f.name: lines_of(f) for f in functions(module) if lines_of(f) > MAX_FUNCTION_LINES}
    assert too_long == {}


@pytest.mark.parametrize("module", modules().values(), ids=by_name)
def test_a_module_says_what_it_is_for(module: Module) -> None:
    """A module's first lines say what is in it, as a statement or as the question it answers."""
    docstring = ast.get_docstring(module.tree) or ""
    assert docstring.partition("\n\n")[0], "no docstring"


# --- platforms ---------------------------------------------------------------------------------

ON_EVERY_SYSTEM = frozenset({"SO_RCVBUF", "SO_SNDBUF", "SO_REUSEADDR", "SO_REUSEPORT"})
"""Socket options that may be named anywhere; the last one behind `CAN_SHARE_PORT`."""

OF_THE_SYSTEM = frozenset({"os", "sys", "socket", "select", "signal", "errno", "time", "stat"})
"""Modules of which some systems lack parts."""

OPTION = re.compile(r"_?(SO|IP|IPV6|SCM|SIO|TCP|UDP)_[A-Z_]+")


def platform_questions(module: Module) -> list[str]:
    """The expressions that ask what kind of system this is, or that are right on one only."""
    return [ast.unparse(node) for node in ast.walk(module.tree) if _asks_for_platform(node)]


def _asks_for_platform(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(ast.Name("sys"), "platform") | ast.Attribute(ast.Name("os"), "name"):
            return True
        case ast.Attribute(ast.Name("socket"), name):
            return name == "AF_UNIX" or (
                OPTION.fullmatch(name) is not None and name not in ON_EVERY_SYSTEM
            )
        case ast.Name(name, ast.Store()):
            return OPTION.fullmatch(name) is not None
        case ast.Call(ast.Name("hasattr" | "getattr"), [ast.Name(name), *_]):
            return name in OF_THE_SYSTEM
        case ast.Call(ast.Attribute(_, "setsockopt" | "getsockopt"), [level, option, *_]):
            return isinstance(level, ast.Constant) or isinstance(option, ast.Constant)
    return False


@pytest.mark.parametrize("module", modules().values(), ids=by_name)
def test_one_module_knows_the_platforms(module: Module) -> None:
    """Only `platform` asks what a system can do, and names a number of one system."""
    assert module.name == "platform" or platform_questions(module) == []


@pytest.mark.parametrize(
    "question",
    [
        "sys.platform",
        "os.name",
        "hasattr(os, 'pread')",
        "getattr(socket, 'AF_UNIX', None)",
        "socket.AF_UNIX",
        "socket.SO_PEERCRED",
        "sock.setsockopt(socket.SOL_SOCKET, 33, size)",
    ],
)
def test_a_question_for_the_platform_would_be_noticed(question: str) -> None:
    """Each of these is right on one system and wrong on another."""
    assert platform_questions(Module("receiver.server", ast.parse(question))) == [question]


# --- waits -------------------------------------------------------------------------------------

WAITS = frozenset({"acquire", "join", "poll", "select", "settimeout", "sleep", "wait", "wait_for"})
"""Methods and functions of the standard library that take a time, and raise if it is too long."""

CLAMPS = frozenset({"clamped", "milliseconds"})
"""What makes any time one that they take."""

OWN_WAITS = frozenset(
    {
        "request.wait",
        "gate.wait",
        "transport.wait",
        "loop.sleep",
        "self.transport.wait",
        "self._request(0.0).wait",
        "self._room.wait",
        "self._socket.wait",
    }
)
"""Our own, which go through `waits` further down."""

ANY_TIME = frozenset({"os.path.join", "asyncio.sleep", "asyncio.wait", "asyncio.wait_for"})
"""Of the same name, and no wait; or a wait of asyncio, which clamps by itself."""


def unclamped_waits(module: Module) -> list[str]:
    """The calls that wait for a time which nobody has clamped."""
    return [
        ast.unparse(node)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and _is_wait(node) and not all(map(_is_short, _times(node)))
    ]


def _is_wait(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    name = call.func.id if isinstance(call.func, ast.Name) else name
    text = isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Constant)
    return name in WAITS and not text and ast.unparse(call.func) not in OWN_WAITS | ANY_TIME


def _times(call: ast.Call) -> Iterator[ast.expr]:
    """The arguments that may be times: the last by place, and those that say so."""
    yield from call.args[-1:]
    yield from (word.value for word in call.keywords if word.arg == "timeout")


def _is_short(time: ast.expr) -> bool:
    """Whether a time is written down here, named as a constant, clamped, or a piece of one."""
    if isinstance(time, ast.Call):
        return isinstance(time.func, ast.Name) and time.func.id in CLAMPS
    name = time.id if isinstance(time, ast.Name) else ""
    name = time.attr if isinstance(time, ast.Attribute) else name
    if isinstance(time, ast.IfExp):
        return _is_short(time.body) and _is_short(time.orelse)
    return isinstance(time, ast.Constant) or name.isupper() or name == "piece"


@pytest.mark.parametrize("module", modules().values(), ids=by_name)
def test_nothing_waits_for_a_time_that_may_be_too_long(module: Module) -> None:
    """Only `waits` calls what waits with a time that came from somewhere else."""
    assert module.name == "waits" or unclamped_waits(module) == []


@pytest.mark.parametrize(
    "call",
    [
        "event.wait(timeout)",
        "lock.acquire(timeout=left)",
        "self._thread.join(patience)",
        "poll.poll(int(seconds * 1000))",
        "time.sleep(delay)",
        "sock.settimeout(left)",
        "select.select([a], [], [], timeout)",
        "wait([a, b], self._patience())",
    ],
)
def test_a_wait_without_a_bound_would_be_noticed(call: str) -> None:
    """Each of these raises `OverflowError` for some time that a setting may have."""
    assert unclamped_waits(Module("flusher.thread", ast.parse(call))) == [call]

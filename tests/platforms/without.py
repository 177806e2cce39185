"""This interpreter without what another system lacks.

It is no Windows and no macOS: the modules and attributes that these lack are taken away, and calls
fail as they do there. Numbers of errors stay Linux's. To be called first in a fresh interpreter,
before the package is imported.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import errno
import importlib
import logging.handlers
import os
import select
import selectors
import signal
import socket
import stat
import sys
import tempfile
import tomllib
import zipfile
from typing import Any, NoReturn

__all__ = ["SYSTEMS"]

LOADED_FIRST = (asyncio, concurrent.futures, logging.handlers, tempfile, tomllib, zipfile)
"""They look at `sys.platform` when they are imported, and would take us at our word."""

KNOWN_OPTIONS = {socket.SO_RCVBUF, socket.SO_SNDBUF, socket.SO_REUSEADDR, socket.SO_ERROR}

ONLY_ON_LINUX = {
    os: ("memfd_create", "posix_fallocate", "sched_getaffinity"),
    select: ("epoll",),
    socket: ("SO_ATTACH_REUSEPORT_CBPF", "AF_NETLINK", "AF_VSOCK"),
}
NOT_ON_WINDOWS = {
    os: (
        *("fork", "register_at_fork", "pread", "pwrite", "fchown", "fchmod", "chown", "mkfifo"),
        *("geteuid", "getuid", "getgid", "getppid", "killpg", "setsid", "posix_spawn"),
        *("O_NONBLOCK", "O_NOFOLLOW", "O_NOCTTY", "O_CLOEXEC", "O_DIRECTORY", "O_SYNC"),
    ),
    select: ("poll",),
    signal: ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGKILL", "SIGALRM", "pthread_sigmask"),
    socket: ("AF_UNIX", "SO_REUSEPORT", "fromfd", "send_fds", "recv_fds"),
}
MODULES_NOT_ON_WINDOWS = ("fcntl", "resource", "termios", "tty", "pty", "grp", "pwd")
METHODS_NOT_ON_WINDOWS = ("recvmsg", "recvmsg_into", "sendmsg")


def macos() -> None:
    """No abstract names, no options of Linux, no /proc."""
    _take_away(ONLY_ON_LINUX)
    _refuse_options()
    _refuse_proc()
    sys.platform = "darwin"


def windows() -> None:
    """No unix sockets, forks, file locks, `poll`, `fstat` of sockets, renaming of open files."""
    _take_away(ONLY_ON_LINUX)
    _take_away(NOT_ON_WINDOWS)
    for name in MODULES_NOT_ON_WINDOWS:
        sys.modules[name] = None  # type: ignore[assignment]  # importing it is an ImportError
    for name in METHODS_NOT_ON_WINDOWS:
        setattr(socket.socket, name, property(_is_missing))
    selectors.DefaultSelector = selectors.SelectSelector  # type: ignore[assignment,misc]
    socket.socketpair = _pair_over_tcp  # type: ignore[assignment]
    _refuse_options()
    _refuse_proc()
    _refuse_status_of_sockets()
    _refuse_strange_selects()
    _refuse_moves_of_open_files()
    sys.platform = "win32"


SYSTEMS = {"linux": lambda: None, "macos": macos, "windows": windows}


def _take_away(names: dict[Any, tuple[str, ...]]) -> None:
    for module, attributes in names.items():
        for name in attributes:
            if hasattr(module, name):
                delattr(module, name)


def _is_missing(_: object) -> NoReturn:
    raise AttributeError("not on this system")


def _pair_over_tcp() -> tuple[socket.socket, socket.socket]:
    """Two ends of a connection over loopback, as Python makes them where there are no pairs."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.create_connection(server.getsockname())
        other, _ = server.accept()
    return one, other


def _refuse_options() -> None:
    """Options that the system does not know, and those that need other numbers there."""
    set_option, get_option = socket.socket.setsockopt, socket.socket.getsockopt

    def setsockopt(self: socket.socket, level: int, option: int, *rest: Any) -> None:
        _check_option(level, option)
        set_option(self, level, option, *rest)

    def getsockopt(self: socket.socket, level: int, option: int, *rest: Any) -> Any:
        _check_option(level, option)
        return get_option(self, level, option, *rest)

    socket.socket.setsockopt = setsockopt  # type: ignore[assignment,method-assign]
    socket.socket.getsockopt = getsockopt  # type: ignore[assignment,method-assign]


def _check_option(level: int, option: int) -> None:
    if level == socket.SOL_SOCKET and option not in KNOWN_OPTIONS:
        raise OSError(errno.ENOPROTOOPT, "no such option on this system")
    if level in {socket.IPPROTO_IP, socket.IPPROTO_IPV6} and option in {10, 14, 23, 24}:
        # there they exist and mean something else, which is worse: 14 is IP_DONTFRAGMENT
        raise AssertionError("a number of Linux was used on another system")


def _refuse_proc() -> None:
    for name in ("open", "stat", "listdir", "readlink"):
        setattr(os, name, _without_proc(getattr(os, name)))


def _without_proc(function: Any) -> Any:
    def call(path: Any, *rest: Any, **named: Any) -> Any:
        if isinstance(path, str) and path.startswith("/proc"):
            raise FileNotFoundError(errno.ENOENT, "no /proc", path)
        return function(path, *rest, **named)

    return call


def _refuse_status_of_sockets() -> None:
    fstat = os.fstat

    def without_sockets(descriptor: int) -> os.stat_result:
        status = fstat(descriptor)
        if stat.S_ISSOCK(status.st_mode):
            raise OSError(errno.EBADF, "no descriptor of the C library")
        return status

    os.fstat = without_sockets  # type: ignore[assignment]


def _refuse_strange_selects() -> None:
    select_any, fstat = select.select, importlib.import_module("posix").fstat

    def only_sockets(readable: Any, writable: Any, broken: Any, *timeout: Any) -> Any:
        waited_for = [*readable, *writable, *broken]
        if not waited_for:
            raise OSError(errno.EINVAL, "WSAEINVAL: nothing to wait for")
        for each in waited_for:
            number = each if isinstance(each, int) else each.fileno()
            if not stat.S_ISSOCK(fstat(number).st_mode):
                raise OSError(errno.ENOTSOCK, "WSAENOTSOCK")
        return select_any(readable, writable, broken, *timeout)

    select.select = only_sockets
    selectors.SelectSelector._select = only_sockets  # type: ignore[attr-defined]


def _refuse_moves_of_open_files() -> None:
    for name in ("rename", "replace", "remove", "unlink"):
        setattr(os, name, _unless_open(getattr(os, name)))


def _unless_open(function: Any) -> Any:
    posix = importlib.import_module("posix")

    def call(path: Any, *rest: Any, **named: Any) -> Any:
        for number in posix.listdir("/proc/self/fd"):
            try:
                target = posix.readlink(f"/proc/self/fd/{number}")
            except OSError:
                continue  # the descriptor that lists them
            if target == os.path.realpath(path):
                raise PermissionError(errno.EACCES, "WinError 32: the file is open", path)
        return function(path, *rest, **named)

    return call

"""Several sockets on one port, of which each sender always reaches the same one.

Linux lets sockets of one user bind one address when they have SO_REUSEPORT, and chooses one of
them for each datagram: by a hash of both addresses, or by a classic BPF program. Ours reads the
stream id, which stands at a fixed place in every datagram with a version 1 header, so a stream
stays with its process although its sender's port may change. Datagrams without that header, and
all where a program cannot be attached, are spread by the kernel's hash.

The sockets stay open in the process that made them. The end of one that reads from a socket
therefore changes no order, needs no new program, and what waits in the kernel is kept.
"""

from __future__ import annotations

import array
import contextlib
import socket
import struct
from typing import TYPE_CHECKING

from batchudp_handler.core.errors import ConfigError
from batchudp_handler.platform import CAN_SHARE_PORT, SO_ATTACH_REUSEPORT_CBPF

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["bind_group", "steer_by_stream"]

_INSTRUCTION = struct.Struct("=HBBI")
_LOAD_HALF, _LOAD_BYTE, _LOAD_WORD = 0x28, 0x30, 0x20
_COPY_TO_X, _XOR_X, _MODULO, _JUMP_EQUAL = 0x07, 0xAC, 0x94, 0x15
_RETURN, _RETURN_VALUE = 0x16, 0x06
_NO_SOCKET = 0xFFFFFFFF
"""An index that no group has: the kernel falls back to its hash."""


def bind_group(host: str, port: int, count: int) -> list[socket.socket]:
    """Bind `count` UDP sockets to one address, in the order in which the kernel numbers them.

    The first one binds without SO_REUSEPORT: where another program has the address, even another
    group of the same user, that is an error, and no sharing of its datagrams.

    Raises:
        ConfigError: This system cannot share an address so.
        OSError: The address cannot be bound.
    """
    if not CAN_SHARE_PORT:
        message = "more than one worker needs Linux, where sockets can share a port"
        raise ConfigError(message)
    if host.startswith("unix://"):
        message = "more than one worker needs a UDP address: a unix socket cannot be shared so"
        raise ConfigError(message)
    flags = socket.AI_PASSIVE
    found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=flags)
    family, kind, protocol, _, address = found[0]
    with contextlib.ExitStack() as undo:
        group: list[socket.socket] = []
        for _ in range(count):
            one = undo.enter_context(socket.socket(family, kind, protocol))
            if group:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            one.bind(group[0].getsockname() if group else address)
            if not group:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            group.append(one)
        undo.pop_all()
    return group


def steer_by_stream(group: Sequence[socket.socket]) -> None:
    """Let the kernel choose among them by the stream id.

    Raises:
        OSError: It is not permitted here; the hash of the addresses goes on choosing.
    """
    program = steering_program(len(group))
    code = array.array("B", b"".join(_INSTRUCTION.pack(*each) for each in program))
    where, _ = code.buffer_info()
    group[0].setsockopt(
        socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, struct.pack("@HP", len(program), where)
    )


def steering_program(count: int) -> list[tuple[int, int, int, int]]:
    """Return the program: both halves of the stream id, XOR, modulo the number of sockets.

    Each instruction is a code, a jump if true, a jump if false, and an operand.
    """
    return [
        (_LOAD_HALF, 0, 0, 0),
        (_JUMP_EQUAL, 0, 8, 0xCBF2),  # the magic number
        (_LOAD_BYTE, 0, 0, 2),
        (_JUMP_EQUAL, 0, 6, 0x81),  # the version
        (_LOAD_WORD, 0, 0, 8),
        (_COPY_TO_X, 0, 0, 0),
        (_LOAD_WORD, 0, 0, 12),
        (_XOR_X, 0, 0, 0),
        (_MODULO, 0, 0, count),
        (_RETURN, 0, 0, 0),
        (_RETURN_VALUE, 0, 0, _NO_SOCKET),
    ]

"""Sockets of the sending side: the one that sends, and the pair that wakes its thread.

`udp` has the socket that sends, `wakeup` the pair that ends a wait, `resolver` looks names up
aside, and `owned` keeps all of them from touching a descriptor that is no longer theirs.
"""

from batchudp_handler.transport.resolver import host_name, is_out_of_threads, look_up
from batchudp_handler.transport.send_error import SendError
from batchudp_handler.transport.udp import UDPTransport
from batchudp_handler.transport.wakeup import Wakeup

__all__ = ["SendError", "UDPTransport", "Wakeup", "host_name", "is_out_of_threads", "look_up"]

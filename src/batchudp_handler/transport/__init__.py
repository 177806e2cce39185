"""How do datagrams leave the process, and who wakes the thread that sends them?

The only sockets of the sending side: `udp` has the one that sends, `wakeup` the pair that ends a
wait, `resolver` looks names up aside, and `owned` keeps all of them from touching a descriptor
that is no longer theirs.
"""

from batchudp_handler.transport.resolver import host_name, is_out_of_threads, look_up
from batchudp_handler.transport.udp import SendError, UDPTransport
from batchudp_handler.transport.wakeup import Wakeup

__all__ = ["SendError", "UDPTransport", "Wakeup", "host_name", "is_out_of_threads", "look_up"]

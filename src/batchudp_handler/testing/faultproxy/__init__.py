"""A seeded UDP proxy that loses, delays, doubles, reorders and damages datagrams, by script.

>>> from batchudp_handler.testing.faultproxy import Faults, FaultyLink
>>> from random import Random
>>> link = FaultyLink(Faults(delay=0.25), random=Random(7))
>>> link.receive_datagram(b"hello", "a route", now=10.0)
>>> link.datagrams_to_send(now=10.0), link.next_timeout()
([], 10.25)
>>> link.datagrams_to_send(now=10.25)
[(b'hello', 'a route')]
"""

from batchudp_handler.testing.faultproxy.link import Faults, FaultyLink, LinkCounters
from batchudp_handler.testing.faultproxy.proxy import FaultProxy
from batchudp_handler.testing.faultproxy.scenario import FaultyPath, Phase, Scenario

__all__ = [
    "FaultProxy",
    "Faults",
    "FaultyLink",
    "FaultyPath",
    "LinkCounters",
    "Phase",
    "Scenario",
]

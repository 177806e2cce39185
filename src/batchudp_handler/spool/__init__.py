"""Files in which sealed datagrams wait while the receiver is away.

    <spool directory>/<stream id>/lock              held for as long as a process owns the stream
    <spool directory>/<stream id>/<first seq>.seg   frames (core.wire.spool_frame), at most 1 MiB

`SpoolDirectory` holds the streams of one process and the room that they share; `Spool` is one
stream; `files` makes the system calls. Only the flusher's thread uses them.
"""

from batchudp_handler.spool.counters import SpoolCounters
from batchudp_handler.spool.directory import SpoolDirectory
from batchudp_handler.spool.stream import Spool

__all__ = ["Spool", "SpoolCounters", "SpoolDirectory"]

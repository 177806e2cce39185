"""Who takes waiting records and sends them, and when?

`thread` has the one thread of the sending side and its life, `pump` what is done in one turn of
it, `requests` how callers wait for it, and `note` the line on stderr about what was lost.
"""

from batchudp_handler.flusher.thread import Flusher, FlusherSettings

__all__ = ["Flusher", "FlusherSettings"]

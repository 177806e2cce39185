"""The sending shell: the buffer, the thread that empties it, and those who wait for it.

`thread` has the one thread of the sending side and its life, `loop` what is done in one turn of
it, `requests` how callers wait for it, and `note` the line on stderr about what was lost.
"""

from batchudp_handler.flusher.settings import FlusherSettings
from batchudp_handler.flusher.thread import Flusher

__all__ = ["Flusher", "FlusherSettings"]

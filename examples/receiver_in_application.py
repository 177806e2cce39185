"""A program receives records into its own logging.

A monitor that prints what goes wrong anywhere, and counts the rest by host. It listens on a free
port, starts a client of its own, and ends when it has seen the client's last record.

python examples/receiver_in_application.py
"""

import argparse
import collections
import logging
import subprocess
import sys
import threading

from batchudp_handler import BatchUDPReceiver

CLIENT = """
import logging, sys
from batchudp_handler import BatchUDPHandler
logging.basicConfig(level=logging.INFO, handlers=[BatchUDPHandler(sys.argv[1])])
log = logging.getLogger("pump.north")
for number in range(100):
    log.info("pressure %.2f bar", 1 + number / 100)
log.error("pressure too high", extra={"valve": 4})
log.info("bye")
"""


class CountByHost(logging.Handler):
    """Counts records by the host that sent them, and says when the last one came."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: collections.Counter[str] = collections.Counter()
        self.bye = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Called on the receiver's thread, as for any record."""
        self.counts[record.__dict__["hostname"]] += 1
        if record.getMessage() == "bye":
            self.bye.set()


def main() -> int:
    """Receive until the client says goodbye."""
    argparse.ArgumentParser(description="Receive from a client of its own.").parse_args()
    alarm = logging.StreamHandler(sys.stdout)
    alarm.setLevel(logging.ERROR)
    alarm.setFormatter(logging.Formatter("{remote_addr} {name}: {message} ({valve})", style="{"))
    counter = CountByHost()
    remote = logging.getLogger("remote")  # remote records are kept apart from our own
    remote.setLevel(logging.INFO)
    remote.propagate = False
    remote.addHandler(alarm)
    remote.addHandler(counter)

    with BatchUDPReceiver("127.0.0.1", 0, logger_prefix="remote.") as receiver:
        host, port = receiver.address[:2]
        subprocess.run([sys.executable, "-c", CLIENT, f"{host}:{port}"], check=True)
        arrived = counter.bye.wait(10)
    print(", ".join(f"{host}: {count} records" for host, count in counter.counts.items()))
    return 0 if arrived else 1


if __name__ == "__main__":
    sys.exit(main())

"""A program that has nothing but a socket logs.

One JSON object in a datagram is a record; so is an array of them, and so is the same behind three
bytes and zlib. Nothing here needs the package, or Python.

python examples/netcat.py [HOST:PORT]
"""

import argparse
import json
import socket
import time
import zlib

MAGIC = b"\xcb\xf2"
ZLIB = b"\x01"


def main() -> None:
    """Send the three forms."""
    parser = argparse.ArgumentParser(description="Send seven records without the package.")
    parser.add_argument("receiver", nargs="?", default="localhost:9999", metavar="HOST:PORT")
    host, _, port = parser.parse_args().receiver.rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((host, int(port)))

        sock.send(json.dumps({"message": "hi", "level": "warning"}).encode())

        batch = [
            {
                "message": f"step {n}",
                "level": "info",
                "name": "cron.backup",
                "created": time.time(),
            }
            for n in (1, 2, 3)
        ]
        sock.send(json.dumps(batch).encode())

        sock.send(MAGIC + ZLIB + zlib.compress(json.dumps(batch).encode()))


if __name__ == "__main__":
    main()

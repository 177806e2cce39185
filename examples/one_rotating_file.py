"""Many processes write one rotating file.

One process receives and writes; the others send. Nothing is shared but a port.

python examples/one_rotating_file.py [DIRECTORY]
"""

import argparse
import logging
import logging.handlers
import multiprocessing
import sys
from pathlib import Path

from batchudp_handler import BatchUDPHandler, BatchUDPReceiver

PROCESSES = 4
RECORDS_EACH = 2_000


def work(number: int, port: int) -> None:
    """What each worker does; with fork or spawn, in a pool or under a server, it is the same."""
    handler = BatchUDPHandler("127.0.0.1", port, batch_size=100)
    log = logging.getLogger("shop")
    log.setLevel(logging.INFO)
    log.handlers = [handler]
    for task in range(RECORDS_EACH):
        log.info("worker %d finished task %d", number, task)
    handler.close()


def write_to(directory: Path) -> logging.Handler:
    """The one handler that opens the file and rotates it."""
    file = logging.handlers.RotatingFileHandler(
        directory / "shop.log", maxBytes=100_000, backupCount=50, encoding="utf-8"
    )
    file.setFormatter(logging.Formatter("%(asctime)s %(process)d %(name)s %(message)s"))
    return file


def lines_in(directory: Path) -> int:
    """How many lines all the files have together."""
    return sum(len(path.read_bytes().splitlines()) for path in directory.glob("shop.log*"))


def main() -> int:
    """Run the workers, then compare what they sent with what is in the files."""
    parser = argparse.ArgumentParser(description="Four processes write one rotating file.")
    parser.add_argument("directory", nargs="?", type=Path, default=Path("logs"))
    directory: Path = parser.parse_args().directory
    directory.mkdir(parents=True, exist_ok=True)
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    root.addHandler(write_to(directory))

    context = multiprocessing.get_context("spawn")
    with BatchUDPReceiver("127.0.0.1", 0) as receiver:
        port = receiver.address[1]
        workers = [context.Process(target=work, args=(n, port)) for n in range(PROCESSES)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    stats, files = receiver.stats(), len(list(directory.glob("shop.log*")))
    print(f"sent {PROCESSES * RECORDS_EACH}, delivered {stats.delivered}, lost {stats.lost}")
    print(f"{lines_in(directory)} lines in {files} files")
    return 0 if stats.delivered + stats.lost == PROCESSES * RECORDS_EACH else 1


if __name__ == "__main__":
    sys.exit(main())

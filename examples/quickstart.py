"""A program ships its records.

python examples/quickstart.py [HOST:PORT]
"""

import argparse
import logging

from batchudp_handler import BatchUDPHandler

parser = argparse.ArgumentParser(description="Ship three records.")
parser.add_argument("receiver", nargs="?", default="localhost:9999", metavar="HOST:PORT")
arguments = parser.parse_args()

logging.basicConfig(level=logging.INFO, handlers=[BatchUDPHandler(arguments.receiver)])
log = logging.getLogger("shop.orders")

log.info("order %s paid: %.2f", "A-17", 12.5)
log.warning("stock is low", extra={"item": "tea", "left": 3})
try:
    1 / 0  # noqa: B018 - it is the point
except ZeroDivisionError:
    log.exception("no discount for order %s", "A-18")

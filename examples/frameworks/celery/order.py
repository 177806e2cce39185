"""Queue some orders: `python order.py 100`."""

import sys

from tasks import order

for number in range(int(sys.argv[1])):
    order.delay(number)

"""Mistakes that are found before the program runs: every marked line is refused, no other."""

from __future__ import annotations

import logging

from batchudp_handler import BatchUDPHandler, BatchUDPReceiver, HandlerConfig
from batchudp_handler.engines import forwarder

handler = BatchUDPHandler("logs.example", batch_sise=10)  # refused
handler = BatchUDPHandler("logs.example", 9999, "INFO")  # refused
handler = BatchUDPHandler(port=[9999])  # refused
handler = BatchUDPHandler(batch_size="many")  # refused
handler = BatchUDPHandler(static_fields=["service"])  # refused
handler = BatchUDPHandler(overflow="drop")  # refused
handler = BatchUDPHandler(delivery="acked")  # refused
handler.flush("soon")  # refused
handler.handle("a line")  # refused
handler.stats().accepted = 0  # refused
handler.stats().acepted  # refused
receiver = BatchUDPReceiver("127.0.0.1", "9999", allow=3)  # refused
receiver.stats().delivered + "3"  # refused
config = HandlerConfig.from_env(["BATCHUDP_HOST=logs"])  # refused
config.batch_size = 3  # refused
forwarder(3)  # refused
logging.getLogger().addHandler(receiver)  # refused

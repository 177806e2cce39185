"""Assert on what a program ships, with the fixture `log_receiver`. Run `pytest` here."""

import logging
import subprocess
import sys
from pathlib import Path

import shop


def test_selling_the_last_one_is_an_error(log_receiver, caplog):
    """In this process: attach a handler, run the code, ask."""
    caplog.set_level(logging.INFO)
    log_receiver.handler(logger="shop")

    shop.sell("tea", left=1)

    assert log_receiver.has_record(level="ERROR", match="out of stock: tea", logger="shop")
    assert [record.getMessage() for record in log_receiver.records] == [
        "sold: tea",
        "out of stock: tea",
    ]
    assert log_receiver.records[0].left == 0


def test_a_program_from_outside(log_receiver):
    """In another process: tell it the address, wait until its records are here."""
    host, port = log_receiver.address
    program = (
        "import logging, shop, batchudp_handler\n"
        f"handler = batchudp_handler.BatchUDPHandler({host!r}, {port})\n"
        "logging.basicConfig(level=logging.INFO, handlers=[handler])\n"
        "shop.sell('coffee', left=2)\n"
    )

    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parent)

    [record] = log_receiver.wait_for(1)
    assert record.getMessage() == "sold: coffee"
    assert not log_receiver.has_record(level="ERROR")

"""Tests whose log records are collected in one place, with the worker that ran them."""

import logging

import pytest

log = logging.getLogger("shop")


@pytest.mark.parametrize("number", range(100))
def test_order(number):
    """Each test logs once."""
    log.info("order %d", number)

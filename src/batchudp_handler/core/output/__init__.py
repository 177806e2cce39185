"""Outputs: which lines wait, when to try again, which pattern a line follows."""

"""Attacks on a receiver that is a real process, while an honest sender logs."""

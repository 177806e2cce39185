"""Senders, a receiver and its output under faults: every accepted record is written or counted."""

"""Payloads: a batch of records as bytes, and back."""

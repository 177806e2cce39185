"""Ship log records in compressed batches over UDP, and feed them into local logging again."""

__version__ = "0.1.0"

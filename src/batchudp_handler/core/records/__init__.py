"""Log records: snapshots taken from them, and records rebuilt from what arrived."""

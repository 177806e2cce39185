"""Senders in other languages, each against the real receiver and the published vectors."""

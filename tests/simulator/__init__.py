"""Both machines back to back, in virtual time, over a bad network."""

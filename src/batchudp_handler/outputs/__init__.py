"""Where the scripts write records: a file that is rotated, or standard output."""

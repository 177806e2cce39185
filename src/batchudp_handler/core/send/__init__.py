"""The sending machine: what is sent when, and sent again."""

"""The deciding half: bytes, records and time in; datagrams, events and deadlines out."""

"""Help for tests of programs that ship their logs: a receiver that remembers, a bad network.

`batchudp_handler.testing.plugin` is the pytest plugin with the fixture `log_receiver`;
`batchudp_handler.testing.faultproxy` is a seeded UDP proxy that also runs as a process. Importing
`batchudp_handler` imports nothing from here.
"""

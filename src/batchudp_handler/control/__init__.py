"""How a running receiver is looked at from outside: socket, pulse, systemd, Prometheus."""

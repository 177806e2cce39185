"""The views into a running receiver: control socket, heartbeats, systemd, Prometheus."""

#!/bin/sh
# How does a shell script log?   examples/netcat.sh [HOST [PORT]]
set -eu
printf '{"message": "backup of %s done", "level": "warning", "name": "cron.backup"}' "$HOME" |
    nc -u -w1 "${1:-localhost}" "${2:-9999}"

#!/bin/sh
# A shell script that logs.   examples/netcat.sh [HOST [PORT]]
set -eu
printf '{"message": "backup of %s done", "level": "warning", "name": "cron.backup"}' "$HOME" |
    nc -u -w1 "${1:-localhost}" "${2:-9999}"

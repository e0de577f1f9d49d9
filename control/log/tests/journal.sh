#!/bin/bash
# journal.sh PROGRAM ARGUMENT...: runs PROGRAM as systemd would, standard error connected to a journald
# of its own, and prints what the journal has as JSON. In a mount and PID namespace of its own.
set -euo pipefail
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/journal /run/log/journal
/lib/systemd/systemd-journald &
echo $! > /run/journald.pid
until [ -S /run/systemd/journal/stdout ]; do sleep 0.05; done
systemd-cat bash -c 'JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec "$@" > /run/program.out' bash "$@" ||
    { cat /run/program.out >&2; exit 1; }
journalctl --sync
journalctl -D /run/log/journal --no-pager -o json --identifier=program

#!/bin/sh
# Starts Pktgen-DPDK on two ports with a capture on the port that sends:
#   pktgen.sh PCI-OF-PORT-0 PCI-OF-PORT-1 CAPTURE [ARGUMENTS OF PKTGEN]
# Captures whose names begin with "downlink" go out of port 1, others out of port 0.
set -eu

[ $# -ge 3 ] || { echo "usage: $0 PCI0 PCI1 CAPTURE [ARGUMENTS]" >&2; exit 2; }
port0=$1 port1=$2 capture=$3
shift 3
case ${capture##*/} in
    downlink*) sender=1 ;;
    *) sender=0 ;;
esac
here=$(dirname "$0")

# Core 1 is the console's; 2 and 3 receive and send for port 0, 4 and 5 for port 1.
SENDER=$sender exec "${PKTGEN:-pktgen}" -l "${CORES:-1-5}" -n 4 -a "$port0" -a "$port1" \
    --file-prefix pktgen -- -P -T -m "[2:3].0,[4:5].1" -s "$sender:$capture" \
    -f "$here/rfc2544.lua" "$@"

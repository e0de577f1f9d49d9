#!/bin/sh
# Writes the captures that a generator replays: captures.sh SAS MAC-OF-ACCESS MAC-OF-HOME
#
# Sequence numbers of the uplink captures go on where the last run ended; the next one is kept in
# the file next-seq. Remove it after a restart of hearthd.
set -eu

[ $# = 3 ] || { echo "usage: $0 SAS MAC-OF-ACCESS MAC-OF-HOME" >&2; exit 2; }
sas=$1 access=$2 home=$3
perf=${HEARTH_PERF:-hearth-perf}
packets=${PACKETS:-1000000}
suite=${SUITE:-AES_128_CBC_SHA}
seq=$(cat next-seq 2>/dev/null || echo 0)

"$perf" capture --registrations --suite "$suite" --sas "$sas" --first-seq "$seq" \
    --dut-mac "$access" --out register.pcap
seq=$((seq + 1))
for inner in 64 576 1400 imix; do
    "$perf" capture --suite "$suite" --sas "$sas" --inner "$inner" --packets "$packets" \
        --first-seq "$seq" --dut-mac "$access" --out "uplink-$inner.pcap"
    seq=$((seq + packets))
    "$perf" capture --direction downlink --suite "$suite" --sas "$sas" --inner "$inner" \
        --packets "$packets" --dut-mac "$home" --out "downlink-$inner.pcap"
done
echo "$seq" > next-seq

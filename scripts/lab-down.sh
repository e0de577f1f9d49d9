#!/bin/bash
# Takes the lab down; works before anything is built as well.
set -euo pipefail

lab=${1:?usage: lab-down.sh PATH/TO/hearth-lab}
if [ -x "$lab" ]; then
    exec "$lab" down
fi
for namespace in hearth-mn hearth-net6 hearth-nat4 hearth-ha hearth-cn; do
    [ -e "/run/netns/$namespace" ] || continue
    ip netns pids "$namespace" | xargs -r kill
    ip netns delete "$namespace"
done
rm -rf /run/hearth-lab
echo "lab: down"

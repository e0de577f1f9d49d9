#!/bin/bash
# Runs once at boot inside the virtual machine, and writes to its console: installs the packages, binds both
# NICs to vfio-pci, starts the daemons, and hands the mobile node outside what it needs.
set -euo pipefail
. /vm/nics

say() { echo "vm: $*"; }
driver_of() { basename "$(readlink -f "/sys/bus/pci/devices/$1/driver")"; }
trap 'say FAILED; hearth setup --check; journalctl --no-pager -n 60 -u "hearth*"; dmesg | tail -20; sync; poweroff -f' ERR

say "install"
DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends /vm/packages/*.deb >/dev/null
say "kernel drivers: $(driver_of "$ACCESS") $(driver_of "$HOME_NIC")"
/vm/daemons.sh "$ACCESS" "$HOME_NIC" true
! hearth setup --check >/vm/before || { say "nothing is missing before hearth setup"; false; }
hearth setup
hearth setup --check
say "DPDK's drivers: $(driver_of "$ACCESS") $(driver_of "$HOME_NIC")"
systemctl enable --now hearth-hac hearthd 2>/dev/null
hearth --hac-socket /run/hearth-hac/hac.sock subscriber add car@example.net --psk-generate /vm/car.psk
hearth show ports
echo "psk: $(cat /vm/car.psk)"
cat /etc/hearth/hac.pem
say "ready"

# The mobile node comes and goes.
until hearth show bindings | grep -q car@example.net; do sleep 0.2; done
while hearth show bindings | grep -q car@example.net; do sleep 0.2; done
hearth show ports
hearth show drops
systemctl stop hearthd
say "done"
poweroff

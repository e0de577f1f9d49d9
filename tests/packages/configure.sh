#!/bin/bash
# Inside the fresh Debian: networks, and the configuration of all three.
set -euo pipefail

link() { # NAMESPACE ITS-END OUR-END ADDRESS GATEWAY
    ip netns add "$1"
    ip link add "$3" type veth peer name "$2" netns "$1"
    ip link set "$3" up
    # A veth leaves checksums to a NIC that is not there.
    ip netns exec "$1" ethtool -K "$2" tx off >/dev/null
    ethtool -K "$3" tx off >/dev/null
    ip -n "$1" link set lo up
    ip netns exec "$1" sysctl -qw "net.ipv6.conf.$2.dad_transmits=0" 2>/dev/null || true
    ip -n "$1" link set "$2" up
    ip -n "$1" address add "$4" dev "$2" nodad
    ip -n "$1" route add default via "$5"
}
link mn v-mn v-access 2001:db8:a::100/64 2001:db8:a::1
link cn v-cn v-home 2001:db8:b::100/64 2001:db8:b::1

useradd --groups hearth watcher

"$(dirname "$0")/daemons.sh" net_af_packet,iface=v-access net_af_packet,iface=v-home false

cd /etc/hearth
cat >mn/car.yaml <<'YAML'
mn_id: car@example.net
psk: {file: /etc/hearth/mn/car.psk}
hac:
  name: hac.example.net
  ca: /etc/hearth/hac.pem
  addresses: ["2001:db8:a::1"]
YAML
# The mobile node is in a network of its own.
mkdir -p /etc/systemd/system/hearth-mn@.service.d
printf '[Service]\nNetworkNamespacePath=/run/netns/mn\n' >/etc/systemd/system/hearth-mn@.service.d/netns.conf
systemctl daemon-reload

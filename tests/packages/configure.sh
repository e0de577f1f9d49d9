#!/bin/bash
# Inside the fresh Debian: networks, and the configuration as docs/hac.md and configs/ say.
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

cd /etc/hearth
openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -keyout hac.key -out hac.pem \
    -days 90 -subj /CN=hac -addext subjectAltName=DNS:hac.example.net \
    -addext basicConstraints=critical,CA:FALSE 2>/dev/null
chmod 0600 hac.key
(umask 077 && openssl rand -hex 32 >subscribers.key)
chown hearth-hac subscribers.key

cat >hac.yaml <<'YAML'
listen: ["[::]:7873"]
tls: {certificate: /etc/hearth/hac.pem, key: /run/credentials/hearth-hac.service/hac.key}
directory: {socket: /run/hearth-hac/directory.sock}
admin: {socket: /run/hearth-hac/hac.sock}
subscriber_store: {key_file: /etc/hearth/subscribers.key}
home_agents:
  - name: ha1
    ip6: 2001:db8:a::1
    spi_range: [1, 1000]
    home_prefix_ip6: "2001:db8:100::/64"
    pools: {ip6: ["2001:db8:100::1000", "2001:db8:100::ffff"]}
YAML
chgrp hearth-hac hac.yaml
chmod 0640 hac.yaml

# The example, with the kernel's interfaces in the place of NICs.
sed -e 's/huge_pages: true /huge_pages: false/' -e 's/memory_mb: 1024 /memory_mb: 512  /' \
    -e 's|device: "0000:01:00.0"|device: "net_af_packet,iface=v-access"|' \
    -e 's|device: "0000:01:00.1"|device: "net_af_packet,iface=v-home"|' \
    -e 's/checksum_offload: true/checksum_offload: false/' -e 's/mbufs: 16384/mbufs: 8192 /' \
    -e 's|socket: /run/hearth/directory.sock|socket: /run/hearth-hac/directory.sock|' \
    -e "s|# uid: 990  |uid: $(id -u hearth-hac)   |" \
    -e 's|, "203.0.113.128/25"\]|]|' \
    /usr/share/doc/hearth/examples/hearthd.yaml >hearthd.yaml
hearthd --check

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

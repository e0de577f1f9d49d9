#!/bin/bash
# daemons.sh ACCESS HOME HUGE_PAGES: keys and YAML of both daemons as docs/hac.md and configs/ say, hearthd's
# the example with these devices as its ports and huge pages true or false.
set -euo pipefail
access=$1 home=$2 huge_pages=$3

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

sed -e "s/huge_pages: true /huge_pages: $huge_pages /" -e 's/memory_mb: 1024 /memory_mb: 512  /' \
    -e "s|device: \"0000:01:00.0\"|device: \"$access\"|" \
    -e "s|device: \"0000:01:00.1\"|device: \"$home\"|" \
    -e 's/checksum_offload: true/checksum_offload: false/' -e 's/mbufs: 16384/mbufs: 8192 /' \
    -e 's|socket: /run/hearth/directory.sock|socket: /run/hearth-hac/directory.sock|' \
    -e "s|# uid: 990  |uid: $(id -u hearth-hac)   |" \
    -e 's|, "203.0.113.128/25"\]|]|' \
    /usr/share/doc/hearth/examples/hearthd.yaml >hearthd.yaml
hearthd --check

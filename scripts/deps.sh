#!/bin/bash
# Installs what building and testing Hearth needs from Debian; `deps.sh bench` also what the mobile
# node is compared with, `deps.sh deb` what makes packages and tries them, `deps.sh browser` and `deps.sh
# vm` what `make test-dashboard` and `make test-vm` need. Asks nothing, and does
# nothing (without root, without the network) where everything is there.
set -euo pipefail

build=(build-essential pkg-config clang libclang-dev libdpdk-dev dpdk-dev libipsec-mb-dev)
run=(curl iproute2 nftables ethtool iputils-ping conntrack procps openssl tshark python3-scapy python3-cryptography
    python3-jsonschema python3-yaml frr radvd
    eapoltest freeradius hostapd libfaketime nsd ldnsutils systemd prometheus man-db)
peers=(iperf3 charon-systemd strongswan-swanctl libcharon-extra-plugins libstrongswan-standard-plugins
    wireguard-tools)
packaging=(debhelper debootstrap systemd-container)
browser=(chromium)
# Another Node.js than Debian's will do.
command -v npm >/dev/null || browser+=(nodejs npm)
vm=(debootstrap e2fsprogs qemu-system-x86)
[ "${1:-}" = bench ] || peers=()
[ "${1:-}" = deb ] || packaging=()
[ "${1:-}" = browser ] || browser=()
[ "${1:-}" = vm ] || vm=()

missing=()
for package in "${build[@]}" "${run[@]}" "${peers[@]}" "${packaging[@]}" "${browser[@]}" "${vm[@]}"; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$package")
done

if [ ${#missing[@]} -gt 0 ]; then
    if ! command -v apt-get >/dev/null; then
        echo "deps: this is no Debian (apt-get is missing); install the equivalents of: ${missing[*]}" >&2
        exit 1
    fi
    as_root=()
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "deps: missing ${missing[*]}; run this as root, or install sudo" >&2
            exit 1
        fi
        as_root=(sudo)
    fi
    echo "deps: installing ${missing[*]}"
    apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 "$@"; }
    apt update
    apt install -y --no-install-recommends "${missing[@]}" >/dev/null
    # Tests start daemons of their own; nobody asked for them on this machine.
    for daemon in frr freeradius nsd prometheus strongswan; do
        package=${daemon/strongswan/charon-systemd}
        if [[ " ${missing[*]} " == *" $package "* ]] && [ -d /run/systemd/system ]; then
            "${as_root[@]}" systemctl disable --now --quiet "$daemon" || true
        fi
    done
fi

if ! command -v "${CARGO:-cargo}" >/dev/null; then
    echo "deps: Rust is missing; install the version that Cargo.toml names as rust-version" >&2
    exit 1
fi

# One of the mobile node's peers is no Debian package. Without it its rows say so.
if [ "${1:-}" = bench ] && ! command -v boringtun-cli >/dev/null && [ ! -x target/peers/bin/boringtun-cli ]; then
    echo "deps: building boringtun-cli"
    "${CARGO:-cargo}" install --quiet --locked --root target/peers boringtun-cli ||
        echo "deps: boringtun-cli can't be built; its rows will not be measured" >&2
fi

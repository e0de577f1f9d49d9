#!/bin/bash
# Installs the Debian packages in a virtual machine with emulated PCI NICs behind an emulated IOMMU, has
# `hearth setup` bind these to vfio-pci, and carries traffic of a mobile node outside through DPDK's own
# drivers. `make test-vm` runs it, as root.
#
#   tests/vm/try.sh FOLDER-WITH-PACKAGES [NIC...]     NICs as qemu names them; virtio-net-pci and e1000e
#
# In network namespaces of its own:
#
#   mn: hearth-mn@car --m0 --- vm: [access] hearthd in qemu [home] --- c0-- cn
set -euo pipefail

packages=$(realpath "$1")
shift
nics=("$@")
[ ${#nics[@]} -gt 0 ] || nics=(virtio-net-pci e1000e)
here=$(cd "$(dirname "$0")" && pwd)
work=$packages/vm
root=$work/root
name=hearth-vm-$$

. "$here/../packages/root.sh"

fail() {
    echo "FAILED: $*" >&2
    tail -60 "$work/console.log" >&2 || true
    exit 1
}

# Once for each set of dependencies: the kernel is the larger part.
make_root() {
    local depends stamp
    depends=$(depends_of "$packages" | tr '\n' ' ')
    stamp="$(. /etc/os-release && echo "$VERSION_CODENAME") $depends"
    if [ "$(cat "$work/root.stamp" 2>/dev/null)" = "$stamp" ]; then return; fi
    say "a fresh Debian with a kernel"
    rm -f "$work/root.stamp"
    debian_root "$root" "$work/debootstrap.log" kmod udev
    # shellcheck disable=SC2086
    add_packages "$root" "$work/apt.log" linux-image-amd64 initramfs-tools $depends
    echo "$stamp" >"$work/root.stamp"
}

make_image() {
    rm -rf "$root/vm"
    mkdir -p "$root/vm/packages"
    cp "$packages"/*.deb "$root/vm/packages/"
    cp "$here/guest.sh" "$here/../packages/daemons.sh" "$root/vm/"
    printf 'ACCESS=0000:00:05.0\nHOME_NIC=0000:00:06.0\n' >"$root/vm/nics"
    install -D -m 0644 "$here/hearth-vm.service" "$root/etc/systemd/system/hearth-vm.service"
    ln -sf /etc/systemd/system/hearth-vm.service "$root/etc/systemd/system/multi-user.target.wants/"
    rm -f "$work/disk.img"
    mke2fs -q -t ext4 -d "$root" "$work/disk.img" 3G >/dev/null
}

# NAMESPACE ITS-END OUR-END BRIDGE TAP ADDRESS GATEWAY
link() {
    ip netns add "$name-$1"
    ip -n "$name-vm" link add "$4" type bridge
    ip -n "$name-vm" tuntap add "$5" mode tap
    ip -n "$name-vm" link add "$3" type veth peer name "$2" netns "$name-$1"
    ip -n "$name-vm" link set "$3" master "$4"
    ip -n "$name-vm" link set "$5" master "$4"
    local each
    for each in "$3" "$4" "$5"; do ip -n "$name-vm" link set "$each" up; done
    # A veth leaves checksums to a NIC that is not there.
    ip netns exec "$name-$1" ethtool -K "$2" tx off >/dev/null
    ip -n "$name-$1" link set lo up
    ip -n "$name-$1" link set "$2" up
    ip -n "$name-$1" address add "$6" dev "$2" nodad
    ip -n "$name-$1" route add default via "$7"
}

networks() {
    ip netns add "$name-vm"
    link mn m0 m1 br-access access 2001:db8:a::100/64 2001:db8:a::1
    link cn c0 c1 br-home home 2001:db8:b::100/64 2001:db8:b::1
}

inside() { # NAMESPACE COMMAND...
    local namespace=$1
    shift
    ip netns exec "$name-$namespace" "$@"
}

cleanup() {
    local pid each
    for pid in ${mn:-} ${server:-} ${qemu:-}; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    for each in mn cn vm; do ip netns del "$name-$each" 2>/dev/null || true; done
    rm -rf "${folder:-}"
}
trap cleanup EXIT

# KVM where it starts a Debian kernel, which not every nested one does; else qemu translates, and
# everything takes some ten times as long.
choose_accelerator() {
    local log=$work/kvm.log kernel=("$root"/boot/vmlinuz-*)
    cpu=(-accel kvm -cpu 'host,-arch-capabilities')
    patience=120
    if [ -w /dev/kvm ]; then
        timeout 10 qemu-system-x86_64 -machine q35 "${cpu[@]}" -m 512 -nodefaults -no-reboot -display none \
            -serial "file:$log" -kernel "${kernel[0]}" -append "console=ttyS0 panic=-1" 2>/dev/null || true
        if grep -q 'Linux version' "$log"; then return; fi
    fi
    say "without KVM: qemu translates"
    cpu=(-accel tcg,thread=multi -cpu max)
    patience=900
}

boot() { # NIC
    local device=$1
    case $device in virtio-*) device+=,disable-legacy=on,iommu_platform=on ;; esac
    local kernel=("$root"/boot/vmlinuz-*) initrd=("$root"/boot/initrd.img-*)
    : >"$work/console.log"
    # Not by a function, so that its process is the one that is ended.
    ip netns exec "$name-vm" qemu-system-x86_64 -machine q35,kernel-irqchip=split "${cpu[@]}" -smp 2 -m 2048 \
        -nodefaults -no-reboot -display none -serial "file:$work/console.log" \
        -device intel-iommu,intremap=on,caching-mode=on \
        -drive "file=$work/disk.img,format=raw,if=none,id=disk,cache=unsafe" \
        -device virtio-blk-pci,drive=disk,addr=4 \
        -netdev tap,id=access,ifname=access,script=no,downscript=no \
        -device "$device,netdev=access,mac=02:00:00:00:05:00,addr=5" \
        -netdev tap,id=home,ifname=home,script=no,downscript=no \
        -device "$device,netdev=home,mac=02:00:00:00:06:00,addr=6" \
        -kernel "${kernel[0]}" -initrd "${initrd[0]}" \
        -append "root=/dev/vda rw console=ttyS0 quiet intel_iommu=on iommu=pt systemd.mask=serial-getty@ttyS0.service" &
    qemu=$!
    until_console "vm: ready" "$patience"
}

# Waits until the machine says so; it has to go on running.
until_console() { # WORDS SECONDS
    local end=$((SECONDS + $2))
    until grep -q "$1" "$work/console.log"; do
        ! grep -q 'vm: FAILED' "$work/console.log" || fail "the machine"
        kill -0 "$qemu" 2>/dev/null || grep -q "$1" "$work/console.log" || fail "qemu ended"
        [ "$SECONDS" -lt "$end" ] || fail "no '$1' within $2 s"
        sleep 0.2
    done
}

# Waits until a command succeeds.
until_true() {
    local try
    for ((try = 0; try < patience; try++)); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        sleep 0.2
    done
    fail "$* does not come true"
}

mobile_node() {
    folder=$(mktemp -d)
    dpkg-deb -x "$packages"/hearth-mn_*.deb "$folder"
    tr -d '\r' <"$work/console.log" | sed -n 's/^psk: //p' >"$folder/car.psk"
    tr -d '\r' <"$work/console.log" | sed -n '/BEGIN CERTIFICATE/,/END CERTIFICATE/p' >"$folder/hac.pem"
    chmod 0600 "$folder/car.psk"
    cat >"$folder/car.yaml" <<YAML
mn_id: car@example.net
psk: {file: $folder/car.psk}
hac:
  name: hac.example.net
  ca: $folder/hac.pem
  addresses: ["2001:db8:a::1"]
YAML
    ip netns exec "$name-mn" "$folder/usr/bin/hearth-mn" up "$folder/car.yaml" >"$work/mn.log" 2>&1 &
    mn=$!
    until_true inside cn ping -c 1 -W 1 2001:db8:100::1000
}

# A file from the correspondent to the mobile node by TCP, through the tunnel.
transfer() {
    head -c 20000000 /dev/urandom >"$folder/sent"
    (cd "$folder" && exec ip netns exec "$name-cn" python3 -m http.server --bind 2001:db8:b::100 8080) \
        >"$work/server.log" 2>&1 &
    server=$!
    until_true inside mn python3 - <<PY
import urllib.request
with urllib.request.urlopen("http://[2001:db8:b::100]:8080/sent", timeout=60) as answer:
    open("$folder/received", "wb").write(answer.read())
PY
    cmp "$folder/sent" "$folder/received" || fail "the file is another one"
    kill "$server"
    wait "$server" 2>/dev/null || true
}

try() { # NIC
    say "$1"
    make_image
    networks
    boot "$1"
    tr -d '\r' <"$work/console.log" | grep -E '^vm: (kernel|DPDK)|^(port|NIC|IOMMU|huge)' || true
    mobile_node
    inside cn ping -q -c 20 -i 0.05 2001:db8:100::1000 | tail -2
    transfer
    say "20 MB by TCP through the tunnel are intact"
    kill "$mn"
    wait "$mn" || true
    until_console "vm: done" 60
    tr -d '\r' <"$work/console.log" | tail -20 | grep -A 3 ^PORT || true
    wait "$qemu" || true
    mn='' qemu='' server=''
    cleanup
}

mkdir -p "$work"
make_root
choose_accelerator
for nic in "${nics[@]}"; do try "$nic"; done
say "all is well"

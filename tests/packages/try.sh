#!/bin/bash
# Installs the Debian packages in a fresh Debian with systemd in it, starts them by what their pages say,
# carries traffic, upgrades, removes and purges them. `make deb-test` runs it, as root.
#
#   tests/packages/try.sh FOLDER-WITH-PACKAGES
#
# The root is made by debootstrap and booted by systemd-nspawn with a network of its own. In it:
#
#   netns mn: hearth-mn@car --v-mn --- v-access--[access] hearthd [home]--v-home --- v-cn-- netns cn
set -euo pipefail

packages=$(realpath "$1")
here=$(cd "$(dirname "$0")" && pwd)
work=$packages/try
root=$work/root
version=$(dpkg-deb -f "$packages"/hearth_*.deb Version)
newer=$version+upgrade1

. "$here/root.sh"

fail() {
    echo "FAILED: $*" >&2
    inside hearth show drops >&2 || true
    inside journalctl --no-pager -n 40 -u 'hearth*' >&2 || true
    exit 1
}

make_root() {
    say "a fresh Debian"
    debian_root "$root" "$work/debootstrap.log"
    mkdir -p "$root/packages" "$root/newer"
    cp "$packages"/*.deb "$root/packages/"
    # The packages themselves wait for systemd.
    # shellcheck disable=SC2046
    add_packages "$root" "$work/apt.log" $(depends_of "$packages")
}

# The next version: the same programs under a higher number.
make_newer() {
    local deb unpacked
    for deb in "$packages"/*.deb; do
        unpacked=$work/unpacked
        rm -rf "$unpacked"
        dpkg-deb -R "$deb" "$unpacked"
        sed -i -E "s/^Version: .*/Version: $newer/; s/\(= [^)]*\)/(= $newer)/" "$unpacked/DEBIAN/control"
        dpkg-deb --root-owner-group -Znone -b "$unpacked" "$root/newer" >/dev/null
    done
}

boot() {
    say "boot"
    systemd-nspawn -q -D "$root" --boot --register=no --keep-unit --private-network \
        --bind=/dev/net/tun --capability=CAP_NET_ADMIN,CAP_NET_RAW,CAP_IPC_LOCK,CAP_SYS_NICE \
        --system-call-filter=@memlock </dev/null >"$work/boot.log" 2>&1 &
    nspawn=$!
    trap halt EXIT
    local try
    for ((try = 0; try < 300; try++)); do
        # Its first process is the child of systemd-nspawn's child or of systemd-nspawn itself.
        init=$(pgrep -P "$nspawn" -x systemd || true)
        if [ -n "$init" ] && inside systemctl is-system-running 2>/dev/null | grep -qE 'running|degraded'; then
            # A container of systemd's sees parts of /sys; DPDK asks there for the kernel's modules.
            inside sh -ec 'mkdir -p /run/sysfs; mount -t sysfs sysfs /run/sysfs; mount -o remount,rw /sys
                mkdir -p /sys/module; mount --bind /run/sysfs/module /sys/module; umount /run/sysfs'
            return
        fi
        sleep 0.2
    done
    tail -5 "$work/boot.log" >&2
    echo "the root does not boot" >&2
    exit 1
}

halt() {
    kill -RTMIN+4 "$init" 2>/dev/null || kill "$nspawn" 2>/dev/null || true
    wait "$nspawn" 2>/dev/null || true
}

inside() { nsenter -t "$init" -m -u -i -n -p -- env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb "$@"; }

# Waits until a command inside succeeds.
until_inside() {
    local try
    for ((try = 0; try < 150; try++)); do
        if inside "$@" >/dev/null 2>&1; then return 0; fi
        sleep 0.2
    done
    fail "$* does not come true"
}

install_packages() {
    say "install"
    inside sh -c 'DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends /packages/*.deb' \
        >"$work/install.log" 2>&1 || { cat "$work/install.log" >&2; exit 1; }
    inside getent passwd hearth-hac >/dev/null || fail "no user hearth-hac"
    inside getent group hearth >/dev/null || fail "no group hearth"
    local unit
    for unit in hearthd hearth-hac hearth-mn@car; do
        ! inside systemctl -q is-enabled "$unit" || fail "$unit was enabled unasked"
        ! inside systemctl -q is-active "$unit" || fail "$unit was started unasked"
    done
    # Without a configuration there is nothing to start.
    inside systemctl start hearthd || fail "a start without a configuration is an error"
    ! inside systemctl -q is-active hearthd || fail "hearthd runs without a configuration"
}

configure() {
    say "configure"
    cp "$here/configure.sh" "$here/daemons.sh" "$root/"
    inside bash /configure.sh || fail "configure.sh"
    inside hearth setup --check || fail "hearth setup --check"
}

start() {
    say "start"
    inside systemctl enable --now hearth-hac hearthd 2>/dev/null || fail "start"
    inside hearth --hac-socket /run/hearth-hac/hac.sock subscriber add car@example.net \
        --psk-generate /etc/hearth/mn/car.psk || fail "subscriber add"
    inside systemctl start hearth-mn@car || fail "start of the mobile node"
    until_inside ip netns exec cn ping -c 1 -W 1 2001:db8:100::1000
    inside hearth show bindings | grep car@example.net || fail "no binding"
    until_inside sh -c 'systemctl status hearthd | grep -q "1 bindings, 1 SAs"'
    inside runuser -u watcher -- hearth show workers >/dev/null || fail "the group hearth may look"
    inside systemctl reload hearthd hearth-hac || fail "reload"
    inside systemctl -q is-active hearthd hearth-hac || fail "reload ended a daemon"
}

upgrade() {
    say "upgrade"
    make_newer
    local before after
    before=$(inside systemctl show -P MainPID hearthd)
    inside sh -c 'DEBIAN_FRONTEND=noninteractive dpkg -i /newer/*.deb' >"$work/upgrade.log" 2>&1 ||
        { cat "$work/upgrade.log" >&2; exit 1; }
    after=$(inside systemctl show -P MainPID hearthd)
    [ "$before" != "$after" ] || fail "the upgrade did not restart hearthd"
    [ "$(inside dpkg-query -W -f '${Version}' hearth)" = "$newer" ] || fail "the upgrade did not come"
    inside hearth show bindings | grep car@example.net || fail "the binding was lost"
    until_inside ip netns exec cn ping -c 1 -W 1 2001:db8:100::1000
}

remove() {
    say "remove"
    inside dpkg -r hearth-mn hearth hearth-hac hearth-cli >"$work/remove.log" 2>&1 || fail "remove"
    ! inside sh -c 'grep -s ^hearth /proc/[0-9]*/comm' || fail "something still runs"
    local path
    for path in /etc/hearth/hearthd.yaml /var/lib/hearth /var/lib/hearth-hac/hac.redb; do
        inside test -e "$path" || fail "$path is gone with the packages"
    done
    ! inside test -e /usr/bin/hearthd || fail "hearthd is still there"
    say "install again: the subscriber and its address are there"
    inside sh -c 'dpkg -i /newer/*.deb' >"$work/again.log" 2>&1 || fail "install again"
    inside systemctl start hearth-hac hearthd hearth-mn@car || fail "start again"
    until_inside ip netns exec cn ping -c 1 -W 1 2001:db8:100::1000
    say "purge"
    inside dpkg -P hearth-mn hearth hearth-hac hearth-cli >"$work/purge.log" 2>&1 || fail "purge"
    for path in /var/lib/hearth /var/lib/hearth-hac; do
        ! inside test -e "$path" || fail "$path stayed after the purge"
    done
    inside test -e /etc/hearth/hearthd.yaml || fail "the operator's own file is gone"
}

mkdir -p "$work"
make_root
boot
install_packages
configure
start
upgrade
remove
say "all is well"

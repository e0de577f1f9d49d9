# A Debian of its own, for scripts to source: what is installed into it comes from this machine's mirror.

say() { echo "== $*"; }

# debian_root ROOT LOG PACKAGE...: the release of this machine, with systemd and these packages.
debian_root() {
    local root=$1 log=$2 suite mirror include
    shift 2
    suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -1)
    local packages=(systemd systemd-sysv dbus ethtool iproute2 iputils-ping openssl "$@")
    include=$(IFS=,; echo "${packages[*]}")
    rm -rf "$root"
    mkdir -p "$root"
    debootstrap --variant=minbase --include="$include" "$suite" "$root" "$mirror" >"$log"
}

# What the packages in FOLDER depend on and do not bring.
depends_of() { # FOLDER
    local deb
    for deb in "$1"/*.deb; do dpkg-deb -f "$deb" Depends; done |
        tr ',' '\n' | sed -E 's/\(.*//; s/\|.*//; s/ //g' | grep -v '^hearth' | sort -u
}

# add_packages ROOT LOG PACKAGE...: while there is a network.
add_packages() {
    local root=$1 log=$2
    shift 2
    chroot "$root" env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
        "$@" >"$log" 2>&1 || { tail -5 "$log" >&2; exit 1; }
}

#!/bin/bash
# mn-static.sh x86_64|aarch64: installs what a static build of hearth-mn needs: Rust's musl target, and a
# C compiler (ring has assembly and a little C). Asks nothing, and does nothing where both are there.
set -euo pipefail

case "${1:-x86_64}" in
    x86_64) compiler=musl-gcc package=musl-tools ;;
    # ring's C asks nothing of a C library, so that Debian's compiler for glibc will do.
    aarch64) compiler=aarch64-linux-gnu-gcc package=gcc-aarch64-linux-gnu ;;
    *) echo "mn-static: ARCH is x86_64 or aarch64, not $1" >&2; exit 2 ;;
esac
target=${1:-x86_64}-unknown-linux-musl
if [ ! -d "$(rustc --print sysroot)/lib/rustlib/$target" ]; then
    rustup target add "$target"
fi
if ! command -v "$compiler" >/dev/null; then
    as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get -qq update
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$package"
fi

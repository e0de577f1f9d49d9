#!/bin/bash
# Installs what a static build of hearth-mn needs: Rust's musl target, and a C compiler for musl (ring
# has assembly and a little C). Asks nothing, and does nothing where both are there.
set -euo pipefail

target=x86_64-unknown-linux-musl
if [ ! -d "$(rustc --print sysroot)/lib/rustlib/$target" ]; then
    rustup target add "$target"
fi
if ! command -v musl-gcc >/dev/null; then
    as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get -qq update
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends musl-tools
fi

#!/bin/sh
# Installs what isobench needs and this machine lacks: on Debian and Ubuntu by apt (with sudo where not root), elsewhere
# it prints what to install. Cheap where nothing is missing. What is optional never fails the set-up: a backend that
# cannot run costs its row, and `isobench doctor` says why.
set -eu

say() { echo "setup: $*" >&2; }

# Program (or file) → Debian package → what it is for.
missing=
need() {
    if ! command -v "$1" >/dev/null 2>&1 && ! [ -e "$1" ]; then
        missing="$missing $2"
        say "$1 is missing: $3"
    fi
}

need cc gcc "to link Rust programs"
need /usr/lib/x86_64-linux-gnu/libc.a libc6-dev "static programs: the agents"
need bwrap bubblewrap "the bwrap backend"
need containerd containerd "the containerd backend"
need dockerd docker.io "the docker backend"
need runc runc "the oci backend"
need lxc-start lxc "the lxc backend"
need systemd-nspawn systemd-container "the nspawn backend"
need qemu-system-x86_64 qemu-system-x86 "the qemu backend"
need dpkg-deb dpkg "to unpack a guest kernel"
need xz xz-utils "to unpack a guest kernel"
for program in make flex bison bc; do
    need $program $program "to build the minimal guest kernel"
done
need strip binutils "to build the minimal guest kernel"
need /usr/include/libelf.h libelf-dev "to build the minimal guest kernel"
[ "$(uname -m)" = x86_64 ] || missing=$(echo "$missing" | sed 's/ libc6-dev//')

# Packages that only the tests and the Wasm guests' rebuild want: ISOBENCH_SETUP=all.
if [ "${ISOBENCH_SETUP:-}" = all ]; then
    if ! [ -d "$(rustc --print sysroot 2>/dev/null)/lib/rustlib/wasm32-unknown-unknown" ]; then
        need /usr/lib/rustlib/src/rust/library/std/Cargo.toml "rustc-web cargo-web rust-web-src lld-22" "to rebuild Wasm guests (or: rustup target add wasm32-unknown-unknown)"
    fi
    need npm npm "to fetch the programs of the node and workerd backends"
    need node nodejs "to check that guest.js runs outside isobench"
    need python3 python3 "to run the handler of exported OpenLambda functions"
fi

# Rungs that not every distribution has: one that apt does not know must not keep the others from being installed.
want() {
    if ! command -v "$1" >/dev/null 2>&1 && apt-cache show "$2" 2>/dev/null | grep -q .; then
        missing="$missing $2"
        say "$1 is missing: $3"
    fi
}
want crun crun "oci/crun, containerd/crun and docker/crun"
want runsc runsc "oci/runsc and docker/runsc: gVisor"

if [ -n "$missing" ]; then
    if command -v apt-get >/dev/null 2>&1; then
        sudo=
        [ "$(id -u)" = 0 ] || sudo=sudo
        say "installing$missing"
        # shellcheck disable=SC2086
        if ! { $sudo apt-get update -qq && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing; } >/dev/null; then
            say "apt could not install$missing; going on without: \`isobench doctor\` will say what cannot run"
        fi
    else
        say "no apt here. Install with your package manager:$missing (Debian's names); going on without"
    fi
fi

if ! command -v cargo >/dev/null 2>&1; then
    say "cargo is missing: install Rust 1.95 or newer from https://rustup.rs"
    exit 1
fi

# Minutes, once; what it makes stays in the cache.
"$(dirname "$0")/../harness/backends/qemu/kernel/build.sh" ||
    say "no minimal guest kernel: qemu/boot-minimal will be absent"
"$(dirname "$0")/node.sh" >/dev/null || say "no pinned Node: the node backend takes one on the path"
"$(dirname "$0")/deno.sh" >/dev/null || say "no pinned Deno: the deno backend takes one on the path"
"$(dirname "$0")/workerd.sh" >/dev/null || say "no workerd: the workerd backend will be absent"

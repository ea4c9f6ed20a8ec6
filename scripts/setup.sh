#!/bin/sh
# Installs what isobench needs and this machine lacks: on Debian and Ubuntu by apt (with sudo where not root), elsewhere
# it prints what to install. It first prints what it will install. Cheap where nothing is missing. What is optional never
# fails the set-up: a backend that cannot run costs its row, and `isobench doctor` says why.
#
# ISOBENCH_SETUP=quick   what `isobench run --quick` uses (default)
# ISOBENCH_SETUP=all     what every backend and every test uses, and a guest kernel built from source
# ISOBENCH_SETUP=none    nothing: only Rust is looked for
set -eu

say() { echo "setup: $*" >&2; }

wanted=${ISOBENCH_SETUP:-quick}
case $wanted in
none | quick | all) ;;
*)
    say "invalid ISOBENCH_SETUP=$wanted: expected none, quick or all"
    exit 2
    ;;
esac

# Program (or file) → Debian package → what it is for.
missing=
need() {
    if ! command -v "$1" >/dev/null 2>&1 && ! [ -e "$1" ]; then
        missing="$missing $2"
        say "$1 is missing: $3"
    fi
}
# Variants that not every distribution has: one that apt does not know must not keep the others from being installed.
want() {
    if ! command -v "$1" >/dev/null 2>&1 && apt-cache show "$2" 2>/dev/null | grep -q .; then
        missing="$missing $2"
        say "$1 is missing: $3"
    fi
}

if [ "$wanted" != none ]; then
    need cc gcc "to link Rust programs"
    [ "$(uname -m)" != x86_64 ] || need /usr/lib/x86_64-linux-gnu/libc.a libc6-dev "static programs: the agents"
    need bwrap bubblewrap "the bwrap backend"
    need dockerd docker.io "the docker backend"
    need runc runc "the oci backend"
    need qemu-system-x86_64 qemu-system-x86 "the qemu backend"
    need dpkg-deb dpkg "to unpack a guest kernel"
    need xz xz-utils "to unpack a guest kernel"
fi
if [ "$wanted" = all ]; then
    need containerd containerd "the containerd backend"
    need lxc-start lxc "the lxc backend"
    need systemd-nspawn systemd-container "the nspawn backend"
    for program in make flex bison bc; do
        need $program $program "to build the minimal guest kernel"
    done
    need strip binutils "to build the minimal guest kernel"
    need /usr/include/libelf.h libelf-dev "to build the minimal guest kernel"
    if ! [ -d "$(rustc --print sysroot 2>/dev/null)/lib/rustlib/wasm32-unknown-unknown" ]; then
        need /usr/lib/rustlib/src/rust/library/std/Cargo.toml "rustc-web cargo-web rust-web-src lld-22" "to rebuild Wasm guests (or: rustup target add wasm32-unknown-unknown)"
    fi
    need npm npm "to fetch the programs of the node, deno and workerd backends"
    need node nodejs "to check that guest.js runs outside isobench"
    need python3 python3 "to run the handler of exported OpenLambda functions"
    want crun crun "oci/crun, containerd/crun and docker/crun"
    want runsc runsc "oci/runsc and docker/runsc: gVisor"
fi

# Megabytes that apt would download; "some" where its lists are too old to know.
download() {
    # shellcheck disable=SC2086
    apt-get install --print-uris -y -qq --no-install-recommends $missing 2>/dev/null |
        awk '{ bytes += $3 } END { if (bytes) printf "%.0f", bytes / 1e6; else printf "some" }'
}

if [ -n "$missing" ]; then
    if command -v apt-get >/dev/null 2>&1; then
        sudo=
        [ "$(id -u)" = 0 ] || sudo=sudo
        say "ISOBENCH_SETUP=$wanted installs$missing"
        say "by ${sudo:+sudo }apt-get: a download of $(download) MB, one to three minutes; stop it now, or use ISOBENCH_SETUP=none, to install nothing"
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

[ "$wanted" = all ] || exit 0
cache=${ISOBENCH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/isobench}
absent=
for program in node deno workerd; do
    [ -e "$cache/$program/pinned" ] || absent="$absent $program"
done
[ -z "$absent" ] || say "fetching$absent by npm into $cache: up to 460 MB there, less than a minute"
# Minutes, once: it says itself what it downloads.
"$(dirname "$0")/../harness/backends/qemu/kernel/build.sh" ||
    say "no minimal guest kernel: qemu/boot-minimal will be absent"
"$(dirname "$0")/node.sh" >/dev/null || say "no pinned Node: the node backend takes one on the path"
"$(dirname "$0")/deno.sh" >/dev/null || say "no pinned Deno: the deno backend takes one on the path"
"$(dirname "$0")/workerd.sh" >/dev/null || say "no workerd: the workerd backend will be absent"

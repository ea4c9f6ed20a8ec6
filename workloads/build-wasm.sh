#!/bin/sh
# Builds guest.wasm of the given workloads (all that have a rust/ folder, if none is given) and notes in guest.wasm.txt
# what built it. The results are committed, so that nobody needs a Wasm toolchain to run the benchmarks:
#
#     workloads/build-wasm.sh [NAME...]
#     workloads/build-wasm.sh --out FILE NAME     # to FILE instead: how isobench builds a guest that is not committed
#
# With a `cargo` whose toolchain has the wasm32-unknown-unknown target (rustup target add wasm32-unknown-unknown) that one
# is used; else Debian's rustc-web, which has no such target but its source, and builds the standard library itself.
set -eu
out=
if [ "${1:-}" = --out ]; then
    [ $# -eq 3 ] || { echo "usage: build-wasm.sh --out FILE NAME" >&2; exit 2; }
    case $2 in /*) out=$2 ;; *) out=$PWD/$2 ;; esac
    shift 2
fi
cd "$(dirname "$0")"

target=wasm32-unknown-unknown
# Outside the tree, and one for all workloads: the standard library is built once.
CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$(cd .. && pwd)/target}/wasm-guests"
export CARGO_TARGET_DIR

# No path of this machine in the artifact: not of the sources, not of the registry. The encoded form of the flags is the
# one that bears a space in a path.
us=$(printf '\037')
flags="-Cstrip=symbols$us--remap-path-prefix=$(cd .. && pwd)=.$us--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo"

sysroot=$(rustc --print sysroot 2>/dev/null || true)
if [ -d "$sysroot/lib/rustlib/$target" ]; then
    compiler=$(rustc --version)
    flags="$flags$us-Cpanic=abort"
    build() { cargo build --release $locked --target $target --message-format json-render-diagnostics; }
elif [ -f /usr/lib/rustlib/src/rust/library/std/Cargo.toml ] && [ -x "${linker:=$(ls /usr/bin/wasm-ld-* 2>/dev/null | sort -V | tail -n 1)}" ]; then
    compiler="$(/usr/bin/rustc --version), Debian's, with its standard library built anew"
    # With the standard library built here a panic can be a plain trap: no message is formatted that nobody would see.
    flags="$flags$us-Zunstable-options$us-Cpanic=immediate-abort$us--remap-path-prefix=/usr/lib/rustlib/src/rust=rust"
    RUSTC_BOOTSTRAP=1
    RUSTC=/usr/bin/rustc
    CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$linker
    export RUSTC_BOOTSTRAP RUSTC CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER
    build() { /usr/bin/cargo build --release $locked --target $target -Z build-std=std,panic_abort --message-format json-render-diagnostics; }
else
    echo "build-wasm.sh: no Rust compiler for $target here. Either of these gives you one:" >&2
    echo "  rustup target add $target" >&2
    echo "  apt-get install rustc-web cargo-web rust-web-src lld-22" >&2
    exit 1
fi
export CARGO_ENCODED_RUSTFLAGS="$flags"

[ $# -gt 0 ] || set -- */rust
for name in "$@"; do
    name=${name%/rust}
    if [ ! -f "$name/rust/Cargo.toml" ]; then
        echo "build-wasm.sh: workloads/$name/rust/Cargo.toml does not exist" >&2
        exit 1
    fi
    # A new workload has no lock file yet, and gets one here; commit it.
    locked=
    [ ! -f "$name/rust/Cargo.lock" ] || locked=--locked
    # Packages of one name share the file in release/: without it Cargo puts this workload's there, built anew or not.
    # The lock keeps another build from doing so at the same time. The last file that Cargo names is the workload's.
    mkdir -p "$CARGO_TARGET_DIR"
    exec 8>"$CARGO_TARGET_DIR/isobench.lock"
    flock 8
    rm -f "$CARGO_TARGET_DIR/$target/release/"*.wasm
    built=$(cd "$name/rust" && build) || exit 1
    built=$(printf '%s\n' "$built" | sed -n 's/.*"filenames":\["\([^"]*\.wasm\)".*/\1/p' | tail -n 1)
    [ -n "$built" ] || { echo "build-wasm.sh: workloads/$name/rust makes no .wasm: it needs a src/main.rs" >&2; exit 1; }
    cp "$built" "${out:-$name/guest.wasm}"
    flock -u 8
    [ -z "$out" ] || continue
    chmod 644 "$name/guest.wasm"
    printf 'compiler: %s\nsha256: %s\n' "$compiler" "$(sha256sum "$name/guest.wasm" | cut -d ' ' -f 1)" >"$name/guest.wasm.txt"
    echo "workloads/$name/guest.wasm: $(wc -c <"$name/guest.wasm") bytes"
done

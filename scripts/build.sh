#!/bin/sh
# Builds everything: programs, tests, benches. One selection of packages and features for all that follows.
set -eu
cd "$(dirname "$0")/.."
# A backend that does not build here costs its row, never the others: --keep-going builds what can be built.
if ! cargo build --release --workspace --all-targets --keep-going; then
    home=${CARGO_HOME:-${HOME:-}/.cargo}
    [ -w "$home" ] || { [ ! -e "$home" ] && [ -w "$(dirname "$home")" ]; } ||
        echo "build: Cargo cannot write to $home: set HOME or CARGO_HOME to a folder of your own" >&2
    if [ "${CI:-}" != true ] && scripts/isobench.sh --version 2>/dev/null; then
        echo "build: not everything could be built; what was built can run (see \`isobench doctor\`)" >&2
    else
        echo "build: failed; Cargo's errors above say why. Build again when their cause is gone" >&2
        exit 1
    fi
fi

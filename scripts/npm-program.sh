#!/bin/sh
# Fetches a program that npm distributes, x86-64 Linux only, into isobench's cache, and prints its path:
#
#     npm-program.sh NAME PACKAGE VERSION FILE SHA256
#
# FILE is the program in the package, checked by its SHA-256. A link `NAME/pinned` in the cache leads to it.
set -eu
name=$1 package=$2 version=$3 file=$4 sha256=$5

fail() {
    echo "$name.sh: $*" >&2
    exit 1
}

[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || fail "pinned for x86-64 Linux only"
command -v npm >/dev/null 2>&1 || fail "npm is missing (Debian: apt install npm)"

. "$(dirname "$0")/cache.sh"
home="$cache/$name"
folder="$home/$version"
program="$folder/node_modules/$package/$file"
right() { echo "$sha256  $program" | sha256sum --check --status 2>/dev/null; }

if ! right; then
    mkdir -p "$folder"
    npm install --prefix "$folder" --no-save --ignore-scripts --no-audit --no-fund "$package@$version" >&2
    right || fail "$program is not what it was when it was pinned"
fi
ln -sfn "$program" "$home/pinned"
echo "$program"

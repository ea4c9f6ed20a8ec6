#!/bin/sh
# Runs the built isobench, wherever Cargo put it.
set -eu
root=$(cd "$(dirname "$(readlink -f "$0")")/.." && pwd)
# So that it works from any folder.
export ISOBENCH_ROOT="${ISOBENCH_ROOT:-$root}"
target=${CARGO_TARGET_DIR:-$root/target}
for program in "$target"/*/release/isobench "$target"/release/isobench; do
    [ -x "$program" ] && exec "$program" "$@"
done
echo "isobench is not built: run \`make build\`" >&2
exit 1

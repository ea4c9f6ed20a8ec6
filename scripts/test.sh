#!/usr/bin/env bash
# Every test, real backends included. One test program at a time, and one test at a time in those that start daemons
# and virtual machines: two cores must do.
set -euo pipefail
cd "$(dirname "$0")/.."
ISOBENCH_SETUP=all scripts/setup.sh
# The first use fetches a guest kernel and asks whether KVM really boots: before the tests, so that none waits for it.
scripts/isobench.sh doctor
# All of them, whatever fails: the next run is minutes away.
output=$(mktemp)
trap 'rm -f "$output"' EXIT
cargo test --release --workspace --no-fail-fast 2>&1 | tee "$output"
# A program that panics under a test is a fault, even if the test did not look at its output.
if grep -n panicked "$output"; then
    echo "test: the lines above show a panic" >&2
    exit 1
fi

#!/bin/sh
# Every test, real backends included. One test program at a time, and one test at a time in those that start daemons
# and virtual machines: two cores must do.
set -eu
cd "$(dirname "$0")/.."
ISOBENCH_SETUP=all scripts/setup.sh
# The first use fetches a guest kernel and asks whether KVM really boots: before the tests, so that none waits for it.
scripts/isobench.sh doctor
# All of them, whatever fails: the next run is minutes away.
cargo test --release --workspace --no-fail-fast

#!/bin/sh
# rustfmt, clippy and cargo-deny (licences, bans, sources).
set -eu
cd "$(dirname "$0")/.."
cargo fmt --all --check
cargo clippy --release --workspace --all-targets -- -D warnings
command -v cargo-deny >/dev/null 2>&1 || env -u CARGO_TARGET_DIR cargo install --quiet --locked cargo-deny
cargo deny check licenses bans sources

#!/bin/sh
# rustfmt, clippy and cargo-deny (licences, bans, sources).
set -eu
cd "$(dirname "$0")/.."
cargo fmt --all --check
cargo clippy --release --workspace --all-targets -- -D warnings
# Its own target folder would be the workspace's; a temporary one keeps them apart.
command -v cargo-deny >/dev/null 2>&1 || CARGO_TARGET_DIR= cargo install --quiet --locked --target "$(rustc -vV | sed -n 's/^host: //p')" cargo-deny
cargo deny check licenses bans sources

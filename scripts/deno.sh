#!/bin/sh
# Fetches the Deno of the deno backend: a pinned version of the npm package that holds the official build. Prints the
# program's path. ISOBENCH_DENO names another one.
set -eu
exec "$(dirname "$0")/npm-program.sh" deno @deno/linux-x64-glibc 2.9.6 deno \
    bceb5b6a6239b0b010418406d8c77a508f67cf4337d94288f1c19fe71304aab0

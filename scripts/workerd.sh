#!/bin/sh
# Fetches the workerd of the workerd backend: a pinned version of Cloudflare's npm package. Prints the program's path.
# ISOBENCH_WORKERD names another one.
set -eu
exec "$(dirname "$0")/npm-program.sh" workerd @cloudflare/workerd-linux-64 1.20261117.1 bin/workerd \
    2c950df972c039779162ed3803db9fe3f407b70709db2c9ef5a523b36cac4583

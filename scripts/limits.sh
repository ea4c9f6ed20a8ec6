#!/bin/bash
# Runs isobench under one limit after another and prints what it says about each: docs/LIMITS.md is its output, explained.
#
#   scripts/limits.sh             every limit
#   scripts/limits.sh NAME...     these: taskset quota memory files processes address-space hidepid noexec long-path
#   scripts/limits.sh container   a container, as its processes see cgroups: only where they are of version 2 alone, as
#                                 in scripts/kvm-in-tcg.sh scripts/limits.sh container
#
# Build first (make build). Wants root for quota, memory, hidepid and noexec; ISOBENCH names another isobench program.
set -uo pipefail
cd "$(dirname "$0")/.."

isobench=${ISOBENCH:-scripts/isobench.sh}
work=$(mktemp -d /tmp/isobench-under-XXXX)
export ISOBENCH_STATE=$work/s
cgroups=()
trap 'for cgroup in "${cgroups[@]}"; do rmdir "$cgroup"; done; ! mountpoint -q "$work/noexec" || umount "$work/noexec"; rm -rf "$work"' EXIT

rows=(--only process/spawn/native/echo/small --only v8/fresh/js/echo/small --only wasmtime/pooling/wasm/echo/small)

# What ends a run.
bounds=(--budget 20s)

# What a run says, without its progress, and what it recorded.
run() {
    "$isobench" run --quick "${bounds[@]}" --out "$work/out" "$@" >"$work/said" 2>&1
    local status=$? last
    grep -E 'ERROR|disturbed|left out|limit|no cell|too long|[Pp]anicked' "$work/said" | sort -u | cut -c1-400
    echo "exit status $status"
    last=$(find "$work/out/results" -mindepth 1 -maxdepth 1 -type d 2>/dev/null | sort | tail -1)
    [ -n "$last" ] || return 0
    python3 - "$last" <<'PYTHON'
import collections, json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
run = json.loads((folder / "run.json").read_text())
print("machine.allowance", json.dumps(run["machine"].get("allowance")))
names = {c["id"]: "/".join(str(c["cell"][k]) for k in ("backend", "variant", "guest")) for c in run["cells"]}
throttled, blocks, seen = 0, 0, collections.OrderedDict()
for line in (folder / "samples.jsonl").read_text().splitlines():
    record = json.loads(line)
    if record["t"] == "block":
        blocks += 1
        throttled += bool(record.get("throttled_us"))
    elif record["t"] == "bound":
        seen[f'bound {names[record["c"]]} {record["e"]}: {record["n"]}, {record["by"]}: {record["why"][:300]}'] = 1
    elif record["t"] == "fault":
        seen[f'fault {names[record["c"]]}: {record["fault"]["kind"]}: {record["fault"]["message"][:300]}'] = 1
print(f"{blocks} blocks, {throttled} of them throttled", *seen, sep="\n")
PYTHON
    rm -rf "$work/out"
}

# Enters a cgroup of ours with one limit, of whichever version has the controller, and becomes the command.
in_cgroup() {
    local controller=$1 v1=$2 v2=$3
    shift 3
    local mount=/sys/fs/cgroup/$controller limits=$v1
    if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
        mount=/sys/fs/cgroup limits=$v2
        echo "+$controller" >"$mount/cgroup.subtree_control"
    fi
    local cgroup=$mount/isobench-limits-$$
    mkdir -p "$cgroup" && cgroups+=("$cgroup")
    for limit in $limits; do echo "${limit#*=}" | tr _ ' ' >"$cgroup/${limit%%=*}"; done
    (echo "$BASHPID" >"$cgroup/cgroup.procs" && "$@")
}

hidden() {
    # As a user to whom /proc shows nothing of other users.
    chmod 755 "$work" && mkdir -p "$work/user" && chown nobody "$work/user"
    unshare --mount bash -c '
        mount -o remount,hidepid=2 /proc || mount -t proc -o hidepid=2 proc /proc
        state=$1/user/s out=$1/user; shift
        HOME=$out ISOBENCH_STATE=$state ISOBENCH_CACHE=$out/cache exec setpriv --reuid nobody --clear-groups "$@" --out "$out/out"' \
        hidden "$work" "$isobench" run --quick --budget 20s "${rows[@]}" 2>&1 | grep -E 'ERROR|left out|process|v8|wasmtime' | cut -c1-300
}

# A cgroup namespace whose root has processes in it, and limits that nothing below it can have.
container() {
    [ -e /sys/fs/cgroup/cgroup.controllers ] || { echo "only where cgroups are of version 2 alone" && return 0; }
    # All that nspawn and runc ask for, as a container's runtime hands it down.
    echo "+memory +pids +cpu" >/sys/fs/cgroup/cgroup.subtree_control
    in_cgroup memory "" memory.max=max unshare --cgroup --mount bash -c \
        'umount /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && cat /proc/self/cgroup && exec "$0" in-container' \
        scripts/limits.sh
}

limit() {
    case $1 in
        taskset) (taskset -cp "$(($(nproc --all) - 1))" "$BASHPID" >/dev/null && run "${rows[@]}") ;;
        quota) in_cgroup cpu "cpu.cfs_period_us=100000 cpu.cfs_quota_us=50000" "cpu.max=50000_100000" run "${rows[@]}" ;;
        memory) in_cgroup memory memory.limit_in_bytes=1073741824 memory.max=1073741824 run --density "${rows[@]}" ;;
        files) (ulimit -n 256 && run --burst 256 "${rows[@]}") ;;
        processes) in_cgroup pids pids.max=40 pids.max=40 run --burst 64 "${rows[@]}" ;;
        address-space) (ulimit -v 4000000 && run "${rows[@]}") ;;
        hidepid) hidden ;;
        noexec)
            mkdir -p "$work/noexec" && mount -t tmpfs -o noexec,nosuid,nodev tmpfs "$work/noexec" &&
                (export ISOBENCH_STATE=$work/noexec/s && run "${rows[@]}" --only bwrap/namespaces/native/echo/small)
            ;;
        long-path) (ISOBENCH_STATE=$work/$(printf 'x%.0s' {1..60}) run "${rows[@]}") ;;
        container) container ;;
        in-container)
            bounds=(--rounds 1)
            run --only process/spawn/native/echo/small --only nspawn/plain/native/echo/small --only oci/runc/native/echo/small
            ;;
        *) echo "unknown limit: $1" >&2 && return 2 ;;
    esac
}

[ $# -gt 0 ] || set -- taskset quota memory files processes address-space hidepid noexec long-path
for name in "$@"; do
    echo "== $name"
    limit "$name"
done

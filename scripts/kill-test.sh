#!/usr/bin/env bash
# Kills runs at random moments and counts what is left after `isobench clean`.
#
#   scripts/kill-test.sh [ROUNDS [SEED]]     60 rounds unless told otherwise; the seed is printed
#
# Each round starts a run of a few random rows, waits 0.2 to 12 s, and sends SIGKILL to the coordinator; in every second
# round a random process of the run is killed first. Then `isobench clean` runs once, and the script counts processes,
# mounts, sockets, cgroups, network interfaces, state folders, temporary files and unfinished files in the cache.
# One workload of the script has a guest that forks twice, leaves its session and clears its environment.
#
# Everything happens in a folder of the script's own. Cgroups count if they are new and the process in their owner tag is
# gone. Interfaces are compared with those before the round: another program's can appear in that count.
# Exit code: 0 if nothing was left in any round, 1 otherwise.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
rounds=${1:-60}
RANDOM=${2:-$$}
echo "kill test: $rounds rounds, seed ${2:-$$}"

work=$(mktemp -d /tmp/ibkill-XXXXXX)
finish() {
    ISOBENCH_STATE=$work/s "$root/scripts/isobench.sh" clean >/dev/null 2>&1 || true
    # `mktemp -d` above made this folder.
    rm -rf "$work"
}
trap finish EXIT
mkdir "$work/tmp" "$work/root" "$work/root/workloads"
for part in harness benches .cargo Cargo.toml Cargo.lock third_party; do
    ln -s "$root/$part" "$work/root/$part"
done
ln -s "$root/workloads/build-wasm.sh" "$work/root/workloads/build-wasm.sh"
cp -r "$root/workloads/echo" "$root/workloads/json" "$work/root/workloads/"

# The number on the command line tells the orphan from any other process of this machine.
orphan=$((100000000 + RANDOM * 1000 + RANDOM % 1000))
mkdir -p "$work/root/workloads/orphan/rust/src"
printf hello >"$work/root/workloads/orphan/input"
cat >"$work/root/workloads/orphan/workload.toml" <<TOML
name = "orphan"
summary = "Answers with its request and leaves a grandchild behind"
[guests]
native = "rust"
[[case]]
name = "small"
input = "input"
expected_sha256 = "$(printf hello | sha256sum | cut -d' ' -f1)"
TOML
sed 's/^name = .*/name = "orphan"/' "$root/workloads/echo/rust/Cargo.toml" >"$work/root/workloads/orphan/rust/Cargo.toml"
cat >"$work/root/workloads/orphan/rust/src/main.rs" <<RUST
use std::process::{Command, Stdio};
fn handle(input: &[u8]) -> Vec<u8> {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "setsid env -i /bin/sh -c '/bin/sleep $orphan & exit' &"]);
    let _ = shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    input.to_vec()
}
isobench_guest::handler!(handle);
RUST

export ISOBENCH_ROOT=$work/root ISOBENCH_STATE=$work/s TMPDIR=$work/tmp
# A copy of the cache: some rounds begin without guests, so that the kill falls into a build.
. "$root/scripts/cache.sh"
cp -a "$cache" "$work/c"
export ISOBENCH_CACHE=$work/c

rows=(process/spawn process/zygote v8/fresh quickjs/fresh wasmtime/pooling bwrap/namespaces oci/runc docker/runc
    containerd/runc lxc/privileged nspawn/plain qemu/boot-minimal node/snapshot deno/fresh workerd/static workerd/pool)

# Processes of the run: by the cookie, or because their command line or folder lies in our own folder.
ours() {
    local process
    for process in /proc/[0-9]*; do
        [ "${process#/proc/}" != $$ ] || continue
        if { tr '\0' '\n' <"$process/environ" | grep -q "^ISOBENCH_COOKIE=$work/"; } 2>/dev/null ||
            { tr '\0' ' ' <"$process/cmdline" | grep -qE "isobench.*$work|$work.*isobench|sleep $orphan|$work/(s|root|c)/"; } 2>/dev/null; then
            echo "${process#/proc/}"
        fi
    done
}
# Cgroups named after a process that is gone.
cgroups() {
    local folder pid
    find /sys/fs/cgroup -maxdepth 2 -type d -name 'isobench-*' 2>/dev/null | sort | while read -r folder; do
        pid=$(echo "$folder" | sed -n 's/.*-\([0-9]*\)-[0-9]*$/\1/p')
        kill -0 "$pid" 2>/dev/null || echo "$folder"
    done
}
interfaces() { find /sys/class/net -mindepth 1 -printf '%f\n' | sort; }
count() { grep -c . || true; }

program=$root/scripts/isobench.sh # becomes isobench by `exec`, so its process id is the coordinator's
"$program" check >"$work/log" 2>&1 || { tail -n 5 "$work/log"; } # builds every guest once
left_in_all=0
for ((round = 1; round <= rounds; round++)); do
    cgroups >"$work/cgroups"
    interfaces >"$work/interfaces"
    only=(--only process/spawn/native/orphan)
    for _ in 1 2 3; do only+=(--only "${rows[RANDOM % ${#rows[@]}]}/"); done
    phase=warm
    if ((RANDOM % 4 == 0)); then phase=building && mv "$work/c/guests" "$work/c/built"; fi
    "$program" run --quick --budget 60s --out "$work/r" "${only[@]}" >"$work/log" 2>&1 &
    coordinator=$!
    wait_ms=$((200 + RANDOM % 11800))
    sleep "$(printf '%d.%03d' $((wait_ms / 1000)) $((wait_ms % 1000)))"
    also=-
    if ((round % 2 == 0)); then
        mapfile -t all < <(ours | grep -vx "$coordinator" || true)
        if ((${#all[@]} > 0)); then
            also=${all[RANDOM % ${#all[@]}]}
            also="$also ($(cat "/proc/$also/comm" 2>/dev/null || echo gone))"
            kill -9 "${also%% *}" 2>/dev/null || true
        fi
    fi
    kill -9 "$coordinator" 2>/dev/null || true
    wait "$coordinator" 2>/dev/null || true
    "$program" clean >"$work/clean" 2>&1 || { echo "clean failed:"; cat "$work/clean"; }

    if [ "$phase" = building ]; then rm -rf "$work/c/guests" && mv "$work/c/built" "$work/c/guests"; fi

    sleep 0.5 # what SIGKILL has reached is gone within this time
    processes=$(ours | count)
    mounts=$(cat /proc/[0-9]*/mountinfo 2>/dev/null | grep -c "$work/" || true)
    sockets=$(grep -c "$work/" /proc/net/unix || true)
    groups=$(cgroups | comm -13 "$work/cgroups" - | count)
    links=$(interfaces | comm -13 "$work/interfaces" - | count)
    states=$(find "$work/s" -mindepth 1 -maxdepth 1 -type d 2>/dev/null | count)
    files=$(find "$work/tmp" -mindepth 1 2>/dev/null | count)
    parts=$(find "$work/c" -name '.part-*' 2>/dev/null | count)
    left=$((processes + mounts + sockets + groups + links + states + files + parts))
    printf 'round %2d: %5d ms, %-8s also killed %-24s left: %d' "$round" "$wait_ms" "$phase" "$also" "$left"
    if ((left > 0)); then
        printf ' (processes %d, mounts %d, sockets %d, cgroups %d, interfaces %d, state folders %d, temporary files %d, .part %d)' \
            "$processes" "$mounts" "$sockets" "$groups" "$links" "$states" "$files" "$parts"
        left_in_all=$((left_in_all + left))
        printf '\n  run: %s\n' "${only[*]}"
        ours | while read -r pid; do printf '  process %s: %s\n' "$pid" "$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | cut -c1-200)"; done
        sed 's/^/  clean: /' "$work/clean"
    fi
    echo
done
echo "kill test: $rounds rounds, $left_in_all leftovers"
((left_in_all == 0))

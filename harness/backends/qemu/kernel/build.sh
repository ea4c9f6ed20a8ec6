#!/bin/sh
# Builds the guest's kernel of `qemu/boot-minimal` from the distribution's kernel source (Debian: the package that
# `linux-source` depends on) and the few options beside this script. Once: the result stays in isobench's cache, in a
# folder named by the hash of script and options and by the package's version. Remove it for a kernel of newer source.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
. "$here/../../../../scripts/cache.sh"
kernels=$cache/kernel
# As in src/minimal.rs.
key=$(cat "$here/build.sh" "$here/minimal.config" | sha256sum | cut -c1-16)
# Files that are compiled with Linux 6.1: for the progress only.
files=920
# It takes four minutes of one core; longer than this is a hang.
longest=1800

say() { echo "kernel: $*" >&2; }
fail() { say "$*"; exit 1; }
built() { ls -d "$kernels/minimal-$key-"* >/dev/null 2>&1; }

built && exit 0
[ "$(uname -m)" = x86_64 ] || fail "guests are x86-64, this machine is not"
for program in apt-get apt-cache dpkg-deb make gcc flex bison bc xz strip flock timeout; do
    command -v "$program" >/dev/null 2>&1 || fail "$program is missing"
done
[ -e /usr/include/libelf.h ] || fail "libelf's headers are missing"

mkdir -p "$kernels"
exec 9>"$kernels/minimal.lock"
flock 9
built && exit 0
# What a killed build left; ours is the only one.
rm -rf "$kernels"/building-*
work=$(mktemp -d "$kernels/building-XXXXXX")
make=
clean_up() {
    [ -z "$make" ] || kill "$make" 2>/dev/null || :
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

package=$(apt-cache depends linux-source 2>/dev/null | sed -n 's/^ *|*Depends: \(linux-source-.*\)/\1/p' | head -n 1)
[ -n "$package" ] || fail "apt knows no linux-source: apt-get update?"
cd "$work"
say "fetching $package (140 MB)"
timeout 600 apt-get download -qq "$package" 2>fetched || fail "apt-get download $package: $(cat fetched)"
version=$(dpkg-deb -f ./*.deb Version)
dpkg-deb -x ./*.deb . || fail "unpacking $package"
rm ./*.deb
# Its longest headers are never read.
mkdir tree
tar -xf "$(find usr -name 'linux-source-*.tar.*')" -C tree --strip-components=1 \
    --exclude='*/drivers/gpu/drm/amd/include' || fail "unpacking"
rm -r usr

cd tree
# The same source and compiler give the same kernel, byte by byte.
export KBUILD_BUILD_USER=isobench KBUILD_BUILD_HOST=isobench KBUILD_BUILD_TIMESTAMP='Thu Jan 1 00:00:00 UTC 1970'
log=$work/log
make -s allnoconfig KCONFIG_ALLCONFIG="$here/minimal.config" >"$log" 2>&1 || fail "configuring: $(tail -n 3 "$log")"
for option in $(sed -n 's/^\(CONFIG_[A-Z0-9_]*=y\)$/\1/p' "$here/minimal.config"); do
    grep -qx "$option" .config || fail "this kernel refuses $option"
done
timeout "$longest" make -j"$(nproc)" vmlinux >"$log" 2>&1 9>&- &
make=$!
last=
while kill -0 "$make" 2>/dev/null; do
    sleep 2
    done=$(grep -c '^  \(CC\|AS\|AR\) ' "$log" || :)
    share=$((done * 100 / files))
    [ "$share" -le 99 ] || share=99
    if [ -t 2 ]; then
        printf '\rkernel: compiling %s, %s %%' "$version" "$share" >&2
    elif [ "$((share / 20))" != "$last" ]; then
        last=$((share / 20))
        say "compiling $version, $share %"
    fi
done
[ ! -t 2 ] || echo >&2
wait "$make" || { make=; fail "compiling: $(tail -n 3 "$log")"; }
make=
strip -o "$work/vmlinux" vmlinux
mkdir "$work/result"
mv "$work/vmlinux" "$work/result/"
echo "$package $version" >"$work/result/source"
# Renamed when whole, so that who sees the folder sees all of it.
mv "$work/result" "$kernels/minimal-$key-$version"
say "built from $package $version"

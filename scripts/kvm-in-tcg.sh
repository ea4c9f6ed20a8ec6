#!/bin/bash
# Runs a command of this checkout in a machine that QEMU emulates in software, with nested virtualisation: KVM works in
# there, so the code paths of KVM can be run on a computer that has none. No time in it means anything, and isobench
# flags every row of such a machine `emulated`.
#
#   scripts/kvm-in-tcg.sh                     a run of qemu/boot-minimal, native echo
#   scripts/kvm-in-tcg.sh COMMAND [ARG...]    any other command, in this folder
#   scripts/kvm-in-tcg.sh --tests [NAME...]   the tests of qemu, firecracker and cloud-hypervisor (those with such a
#                                             name) by KVM, and by the real programs where ISOBENCH_FIRECRACKER and
#                                             ISOBENCH_CLOUD_HYPERVISOR name them
#
# The emulated machine sees this one's files through virtiofs and keeps what it writes in memory, so nothing it does
# stays. Build first: it is a hundred times slower. Wants Debian: qemu-system-x86, its virtiofsd, apt-get, dpkg-deb.
# ISOBENCH_NESTED_DEADLINE: seconds for all of it, 1800 unless said (with --tests 7200). Its exit status is the command's.
# ISOBENCH_NESTED_KERNEL: a folder with another kernel package of Debian's, unpacked (dpkg-deb -x), and busybox in bin/.
# ISOBENCH_NESTED_APPEND: more of the kernel's command line. Control groups are of version 2 alone in there.
set -euo pipefail
cd "$(dirname "$0")/.."

[ $# -gt 0 ] || set -- scripts/isobench.sh run --quick --only qemu/boot-minimal/native/echo/small --rounds 1 --out /tmp/out

fail() {
    echo "kvm-in-tcg: $*" >&2
    exit 1
}

# The programs of the tests, and in their cache the guests, which a few of the tests build when they run out here.
if [ "$1" = --tests ]; then
    shift
    build=(cargo test --release --no-run --message-format json)
    build+=(-p isobench-qemu -p isobench-firecracker -p isobench-cloud-hypervisor)
    names='qemu\|firecracker\|cloud_hypervisor'
    mapfile -t programs < <("${build[@]}" | sed -n 's#.*"executable":"\([^"]*/deps/\('$names'\)-[^"]*\)".*#\1#p')
    [ ${#programs[@]} -eq 3 ] || fail "the tests do not build"
    for program in "${programs[@]}"; do
        env -u ISOBENCH_FIRECRACKER -u ISOBENCH_CLOUD_HYPERVISOR \
            "$program" --test-threads 1 mid_call guests_answer leftovers ||
            fail "the tests that build the guests failed out here"
    done
    : "${ISOBENCH_NESTED_DEADLINE:=7200}"
    set -- bash -c 'status=0; programs=("${@:1:3}"); shift 3
        for program in "${programs[@]}"; do "$program" --test-threads 1 --nocapture "$@" || status=1; done
        exit $status' tests "${programs[@]}" "$@"
fi
virtiofsd=$(ls /usr/lib/qemu/virtiofsd /usr/libexec/virtiofsd 2>/dev/null | head -1) || true
[ -n "$virtiofsd" ] || fail "virtiofsd is missing: apt install qemu-system-common (or virtiofsd)"
command -v qemu-system-x86_64 >/dev/null || fail "qemu-system-x86_64 is missing: apt install qemu-system-x86"

work=$(mktemp -d)
# What runs beside this shell, which waits for all of it: only so does a signal end it at once.
daemon=
machine=
trap 'kill $machine $daemon 2>/dev/null || true; wait; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# The outer kernel and a shell for its root, unpacked and not installed.
package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -1)
[ -n "$package" ] || fail "apt knows no linux-image-cloud-amd64: this script wants Debian's"
. scripts/cache.sh
unpacked=${ISOBENCH_NESTED_KERNEL:-$cache/kvm-in-tcg/$package}
if ! [ -d "$unpacked" ]; then
    mkdir -p "$(dirname "$unpacked")" "$work/packages" "$work/unpacked"
    (cd "$work/packages" && apt-get download -qq -o APT::Sandbox::User=root "$package-unsigned" busybox-static) || fail "apt-get download failed"
    for file in "$work"/packages/*.deb; do dpkg-deb -x "$file" "$work/unpacked"; done
    mv "$work/unpacked" "$unpacked"
fi

root=$work/root
mkdir -p "$root"/{bin,modules,dev,proc,sys,host,rw,merged}
cp "$unpacked/bin/busybox" "$root/bin/"
modules=$(echo "$unpacked"/lib/modules/*/kernel)
number=10
for module in drivers/virtio/virtio_ring drivers/virtio/virtio drivers/virtio/virtio_pci_modern_dev \
    drivers/virtio/virtio_pci_legacy_dev drivers/virtio/virtio_pci fs/fuse/fuse fs/fuse/virtiofs fs/overlayfs/overlay \
    virt/lib/irqbypass arch/x86/kvm/kvm arch/x86/kvm/kvm-amd; do
    number=$((number + 1))
    # Kernels before 5.12 have the first two parts of virtio_pci in one module.
    [[ $module == drivers/virtio/virtio_pci_*_dev && ! -e $modules/$module.ko ]] || cp "$modules/$module.ko" "$root/modules/$number.ko"
done

# What the command finds: this folder, and the variables that say where things are.
{
    printf 'cd %q\n' "$PWD"
    for name in HOME PATH CARGO_TARGET_DIR "${!ISOBENCH_@}"; do
        [ -z "${!name:-}" ] || printf 'export %s=%q\n' "$name" "${!name}"
    done
    # On memory: sockets on virtiofs are files and no more.
    echo 'export ISOBENCH_STATE=/tmp/state'
    printf '%q ' "$@"
    echo
} >"$root/command"
cat >"$root/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in /modules/*.ko; do insmod "$module"; done
mount -t virtiofs -o ro host /host && mount -t tmpfs tmpfs /rw && mkdir /rw/up /rw/work &&
    mount -t overlay -o lowerdir=/host,upperdir=/rw/up,workdir=/rw/work overlay /merged
for folder in dev proc sys; do mount --bind /$folder /merged/$folder; done
mount -t tmpfs tmpfs /merged/tmp
mkdir -p /merged/dev/shm && mount -t tmpfs tmpfs /merged/dev/shm
mount -t cgroup2 cgroup2 /merged/sys/fs/cgroup
ls -l /dev/kvm
cp /command /merged/tmp/command
# Through a pipe, so that no progress bar draws on the console; the status must cross it.
{ chroot /merged /bin/bash /tmp/command </dev/null 2>&1; echo "kvm-in-tcg: exit status $?"; } | cat
poweroff -f
INIT
chmod +x "$root/init"
(cd "$root" && find . | cpio -o -H newc --quiet) >"$work/root.cpio"

"$virtiofsd" --socket-path="$work/fs.sock" -o source=/ -o cache=auto -o sandbox=chroot >"$work/virtiofsd.log" 2>&1 &
daemon=$!
for _ in $(seq 100); do [ -S "$work/fs.sock" ] && break || sleep 0.1; done
[ -S "$work/fs.sock" ] || fail "virtiofsd does not listen: $(tail -1 "$work/virtiofsd.log")"

# The kernel cannot measure the clock of a processor that is emulated beside others.
khz=$(awk '/cpu MHz/ { printf "%d", $4 * 1000; exit }' /proc/cpuinfo)
mkfifo "$work/serial"
stdbuf -oL tr -d '\r' <"$work/serial" | tee "$work/console" &
console=$!
timeout "${ISOBENCH_NESTED_DEADLINE:-1800}" qemu-system-x86_64 -M q35 -accel tcg,thread=multi -cpu max -smp 2 -m 4G \
    -object memory-backend-memfd,id=memory,size=4G,share=on -numa node,memdev=memory \
    -chardev "socket,id=fs,path=$work/fs.sock" -device vhost-user-fs-pci,chardev=fs,tag=host \
    -kernel "$unpacked"/boot/vmlinuz-* -initrd "$work/root.cpio" \
    -append "console=ttyS0 loglevel=1 panic=-1 no_timer_check ${khz:+tsc_early_khz=$khz} ${ISOBENCH_NESTED_APPEND:-}" \
    -nodefaults -display none -no-reboot -serial stdio </dev/null >"$work/serial" &
machine=$!
wait "$machine" || fail "the machine did not end in time"
wait "$console"
status=$(sed -n 's/^kvm-in-tcg: exit status //p' "$work/console" | tail -1)
exit "${status:-1}"

//! The OCI runtime's configuration: what containerd's own clients ask for by default (`oci.WithDefaultSpec`), with the
//! limits of our other containers, without capabilities, and with the socket.

use isobench_core::Limits;
use isobench_oci::config::resources;
use isobench_oci::layer::Entry;
use isobench_runner::processors::OURS;
use serde_json::{Value, json};
use std::path::Path;

/// Where the agent lies in the image.
pub const AGENT: &str = "/agent";
/// Where the prepared guest lies in the image.
pub const GUEST: &str = "/guest";
/// Where the socket appears.
const SOCKET: &str = "/socket";
/// What the agent is told to dial.
pub const CONNECT: &str = "unix:/socket";

/// What is in the image beside the agent and the guest: whatever is mounted over.
pub const MOUNT_POINTS: [Entry; 5] =
    [Entry::Empty(SOCKET), Entry::Folder("/proc"), Entry::Folder("/dev"), Entry::Folder("/sys"), Entry::Folder("/run")];

/// What containerd's clients hide of `/proc` and `/sys` and make read-only (containerd, `oci/spec.go`).
const MASKED: [&str; 10] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/proc/scsi",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The configuration of all containers of a deployment; [`of_one`] is that of one. `args` are the agent's.
pub fn spec(args: &[String], limits: &Limits, environment: Vec<String>, limit_swap: bool) -> Value {
    let mut resources = resources(limits, limit_swap);
    // A daemon does not inherit the processors that isobench may use.
    if let Some(cpus) = OURS.restriction() {
        resources["cpu"] = json!({ "cpus": cpus });
    }
    let mut command = vec![AGENT.to_string()];
    command.extend_from_slice(args);
    let mount = |to: &str, kind: &str, source: &str, options: &[&str]| {
        json!({
            "destination": to, "type": kind, "source": source, "options": options,
        })
    };
    // SAFETY: neither can fail.
    let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
    json!({
        "ociVersion": "1.0.2",
        "root": { "path": "rootfs", "readonly": true },
        "process": {
            "terminal": false,
            // Ourselves: without capabilities even root may only dial a socket that is its own.
            "user": { "uid": uid, "gid": gid },
            "cwd": "/",
            "args": command,
            "env": environment,
            "capabilities": {},
            "noNewPrivileges": true,
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
        },
        "mounts": [
            // First the socket, the one that differs. It can be dialled through a read-only mount.
            mount(SOCKET, "bind", "", &["bind", "ro", "nosuid", "nodev"]),
            mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
            mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", "devpts",
                &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            mount("/run", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        ],
        "linux": {
            "namespaces": [
                // One that is named without a path is made: a network of its own is one without a way out.
                { "type": "pid" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" }, { "type": "network" },
            ],
            "cgroupsPath": "",
            "resources": resources,
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
        },
    })
}

/// The configuration of the container that dials `socket` and is in the cgroup `cgroup`.
pub fn of_one(spec: &Value, socket: &Path, cgroup: &str) -> Value {
    let mut one = spec.clone();
    one["mounts"][0]["source"] = json!(socket);
    one["linux"]["cgroupsPath"] = format!("/{cgroup}").into();
    one
}

/// The bytes that a container may use, of a configuration: for who types it.
pub fn memory(spec: &Value) -> u64 {
    spec["linux"]["resources"]["memory"]["limit"].as_u64().unwrap_or(u64::MAX)
}

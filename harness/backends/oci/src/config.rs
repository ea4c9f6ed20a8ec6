//! `config.json`: what an OCI runtime is told of a container.

use isobench_core::Limits;
use isobench_runner::agents::AgentPackage;
use isobench_runner::containers::{AGENT, GUEST, PIDS, SOCKET, memory_limit};
use serde_json::{Value, json};
use std::path::Path;

/// The folders of the root folder, beside its files.
pub(crate) const FOLDERS: [&str; 2] = ["proc", "dev"];

/// What Docker hides of `/proc` and makes read-only (moby, `oci/defaults.go`).
const MASKED: [&str; 8] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/scsi",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The configuration of all containers of a deployment; [`of_one`] is that of one.
///
/// `root` is the folder of the empty mount points, `environment` the container's, `limit_swap` whether the kernel can
/// forbid it swap.
pub fn config(
    package: &AgentPackage,
    root: &Path,
    limits: &Limits,
    environment: Vec<String>,
    limit_swap: bool,
) -> Value {
    let mut args = vec![AGENT.to_string()];
    args.extend(package.args(&format!("unix:{SOCKET}"), GUEST));
    let bind = |to: &str, from: &Path| {
        json!({
            "destination": to, "type": "bind", "source": from, "options": ["bind", "ro", "nosuid", "nodev"],
        })
    };
    // First the socket, the one that differs.
    let mut mounts = vec![bind(SOCKET, Path::new("")), bind(AGENT, &package.program)];
    mounts.extend(package.guest.as_deref().map(|guest| bind(GUEST, guest)));
    mounts.push(json!({
        "destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"],
    }));
    mounts.push(json!({
        "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
        "options": ["nosuid", "strictatime", "mode=755", "size=64k"],
    }));
    // SAFETY: neither can fail.
    let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
    json!({
        "ociVersion": "1.0.2",
        "root": { "path": root, "readonly": true },
        "process": {
            "terminal": false,
            // Ourselves: without capabilities even root may only dial a socket that is its own.
            "user": { "uid": uid, "gid": gid },
            "cwd": "/",
            "args": args,
            "env": environment,
            "capabilities": {},
            "noNewPrivileges": true,
        },
        "mounts": mounts,
        "linux": {
            "namespaces": [
                // One that is named without a path is made: a network of its own is one without a way out.
                { "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" },
                { "type": "cgroup" },
            ],
            "cgroupsPath": "",
            "resources": resources(limits, limit_swap),
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
        },
    })
}

/// `linux.resources`: what a container may use, and no device. `limit_swap` says whether the kernel can forbid it swap.
pub fn resources(limits: &Limits, limit_swap: bool) -> Value {
    let memory = i64::try_from(memory_limit(limits)).unwrap_or(i64::MAX);
    let mut memory_limits = json!({ "limit": memory });
    if limit_swap {
        // The same with swap included: none of it.
        memory_limits["swap"] = memory.into();
    }
    json!({
        "memory": memory_limits,
        "pids": { "limit": PIDS },
        "devices": [{ "allow": false, "access": "rwm" }],
    })
}

/// The configuration of the container that dials `socket` and is in the cgroup `cgroup`.
pub fn of_one(config: &Value, socket: &Path, cgroup: &str) -> Value {
    let mut one = config.clone();
    one["mounts"][0]["source"] = json!(socket);
    one["linux"]["cgroupsPath"] = format!("/{cgroup}").into();
    one
}

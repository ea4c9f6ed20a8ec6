//! A containerd of our own, which runs where the user names none.

use crate::daemon::CGROUP;
use isobench_core::Fault;
use isobench_runner::daemon::Daemon;
use isobench_runner::place::installed;
use isobench_runner::{RunContext, owner};
use serde_json::json;
use std::ffi::CStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the sockets of the shims are wherever containerd's state lies.
const HIDDEN: &[&CStr] = &[c"/run/containerd"];

/// Plugins that nothing here asks for: the kubelet's interface, other snapshotters, and what makes
/// folders or restarts containers by itself.
const DISABLED: [&str; 8] = [
    "io.containerd.grpc.v1.cri",
    "io.containerd.internal.v1.opt",
    "io.containerd.internal.v1.restart",
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.native",
    "io.containerd.snapshotter.v1.zfs",
];

/// Starts one whose files are all below the state folder; `answers` says whether it does at its socket. Answers with
/// both.
pub fn start(ctx: &RunContext, answers: impl Fn(&Path) -> bool) -> Result<(Daemon, PathBuf), Fault> {
    let program = installed("containerd").ok_or_else(|| Fault::backend("containerd is not in PATH"))?;
    let dir = ctx.state.join("d");
    let (config, socket) = (dir.join("config.toml"), dir.join("s"));
    fs::create_dir_all(&dir)
        .and_then(|()| fs::write(&config, configuration(&dir, &socket)))
        .map_err(|e| Fault::backend(format!("{}: {e}", config.display())))?;
    let mut command = Command::new(program);
    command.arg("--config").arg(config);
    let mut daemon = Daemon::spawn(command, &dir, format!("{CGROUP}{}", owner::me()), HIDDEN)?;
    daemon.wait(|| (socket.exists() && answers(&socket)).then_some(()))?;
    Ok((daemon, socket))
}

fn configuration(dir: &Path, socket: &Path) -> String {
    format!(
        "version = 2\nroot = {}\nstate = {}\ndisabled_plugins = {}\n[grpc]\naddress = {}\n",
        json!(dir.join("r")),
        json!(dir.join("x")),
        json!(DISABLED),
        json!(socket),
    )
}

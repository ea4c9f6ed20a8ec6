//! A daemon of our own, for machines where none runs.

use crate::api::connect;
use crate::daemon::named;
use crate::variant::RUNC;
use bollard::Docker;
use isobench_core::Fault;
use isobench_oci::runtime::{KNOWN, Runtime};
use isobench_runner::daemon::Daemon;
use isobench_runner::place::installed;
use isobench_runner::{RunContext, owner};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::ffi::CStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the parent of all containers' cgroups is called, before the tag of the daemon's owner.
pub const CGROUP: &str = "isobench-docker-";
/// Folders that containerd and dockerd use wherever their state lies. The sockets of containerd's shims are in the
/// first.
const HIDDEN: &[&CStr] = &[c"/run/containerd", c"/run/docker"];

/// A running dockerd. Dropping it leaves nothing of it.
#[derive(Debug)]
pub struct PrivateDaemon {
    daemon: Daemon,
    socket: PathBuf,
}

impl PrivateDaemon {
    /// Starts one whose files are all below the state folder, and waits until it answers. Without a bridge where it
    /// cannot make one.
    pub fn start(ctx: &RunContext) -> Result<(PrivateDaemon, Docker), Fault> {
        let (dir, runtimes) = (ctx.state.join("d"), runtimes(ctx));
        let start = |more: &[&str]| PrivateDaemon::start_with(&dir, &runtimes, more);
        start(&[]).or_else(|_| start(&["--bridge=none"]))
    }

    fn start_with(dir: &Path, runtimes: &Value, more: &[&str]) -> Result<(PrivateDaemon, Docker), Fault> {
        let program = installed("dockerd").ok_or_else(|| Fault::backend("dockerd is not in PATH"))?;
        let (cgroup, socket) = (format!("{CGROUP}{}", owner::me()), dir.join("s"));
        let mut command = command(&program, dir, &cgroup, runtimes)
            .map_err(|e| Fault::backend(format!("its configuration in {}: {e}", dir.display())))?;
        command.arg(format!("--host=unix://{}", socket.display())).args(more);
        let mut daemon = Daemon::spawn(command, dir, cgroup, HIDDEN)?;
        let docker = daemon.wait(|| socket.exists().then(|| connect(&socket).ok())?)?;
        Ok((PrivateDaemon { daemon, socket }, docker))
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.socket.clone()
    }

    /// dockerd and its containerd.
    pub fn pids(&self) -> BTreeSet<u32> {
        let mut pids: BTreeSet<u32> = named("containerd").intersection(&self.daemon.family()).copied().collect();
        pids.insert(self.daemon.pid());
        pids
    }
}

/// What the daemon is told of the runtimes that are installed: their programs, and how they are called. One that does
/// not work is found out when its variant is proved.
fn runtimes(ctx: &RunContext) -> Value {
    let known = KNOWN.into_iter().filter(|known| known.name != RUNC);
    let found = known.filter_map(|known| Runtime::find(ctx, known.name).ok());
    let entry = |runtime: Runtime| {
        (runtime.known.name.to_string(), json!({ "path": runtime.program, "runtimeArgs": runtime.flags }))
    };
    Value::Object(found.map(entry).collect())
}

fn command(program: &Path, dir: &Path, cgroup: &str, runtimes: &Value) -> io::Result<Command> {
    fs::create_dir_all(dir)?;
    // The system's configuration is not for us.
    let config = dir.join("daemon.json");
    fs::write(&config, json!({ "runtimes": runtimes }).to_string())?;
    let mut command = Command::new(program);
    command
        .arg("--config-file")
        .arg(config)
        .arg("--data-root")
        .arg(dir.join("data"))
        .arg("--exec-root")
        .arg(dir.join("x"))
        .arg("--pidfile")
        .arg(dir.join("pid"))
        .arg(format!("--cgroup-parent=/{cgroup}"))
        .args([
            "--exec-opt=native.cgroupdriver=cgroupfs",
            "--iptables=false",
            "--ip6tables=false",
            "--ip-forward=false",
            "--ip-masq=false",
            "--userland-proxy=false",
        ])
        .env_remove("DOCKER_HOST");
    Ok(command)
}

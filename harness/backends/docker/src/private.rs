//! A daemon of our own: its data, socket, cgroups and mounts are apart from everyone else's, and go with it.
//!
//! It runs in a mount and a network namespace of its own. So whatever it and its containers mount, and its bridge, is
//! seen by nobody else, and the kernel removes it when the last of them is killed: taking it down, politely or after a
//! `kill -9`, is to kill processes, which are found by cookie (dockerd, containerd, shims) and by cgroup (what runs in
//! containers).

use crate::api::connect;
use crate::daemon::named;
use crate::variant::RUNC;
use bollard::Docker;
use isobench_core::Fault;
use isobench_oci::runtime::{KNOWN, Runtime};
use isobench_runner::place::installed;
use isobench_runner::{Deadline, RunContext, cgroup, owner, reap};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::ffi::CStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Longest wait for it to answer: 0.3 s is usual, a busy machine with a slow disk takes many times longer.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// Longest wait for its folder to be removable: the kernel unmounts behind the killed processes.
const REMOVE_DEADLINE: Duration = Duration::from_secs(5);

/// What the parent of all containers' cgroups is called, before the tag of the daemon's owner.
const CGROUP: &str = "isobench-docker-";
/// Folders that containerd and dockerd use wherever their state lies: in the namespace, each is an empty one. The
/// sockets of containerd's shims are in the first.
const HIDDEN: [&CStr; 2] = [c"/run/containerd", c"/run/docker"];

/// A running dockerd. Dropping it leaves nothing of it.
#[derive(Debug)]
pub struct PrivateDaemon {
    child: Child,
    dir: PathBuf,
    owner: String,
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
        // SAFETY: cannot fail.
        if unsafe { libc::geteuid() } != 0 {
            return Err(Fault::backend("only root can start one"));
        }
        let owner = owner::me();
        let child = spawn(&program, dir, &owner, runtimes, more)
            .map_err(|e| Fault::backend(format!("starting {} in {}: {e}", program.display(), dir.display())))?;
        let mut daemon = PrivateDaemon { child, dir: dir.into(), owner };
        let docker = daemon.wait()?;
        Ok((daemon, docker))
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("s")
    }

    /// dockerd and its containerd.
    pub fn pids(&self) -> BTreeSet<u32> {
        let family: BTreeSet<u32> = reap::with_cookie(&self.dir).into_iter().collect();
        let mut pids: BTreeSet<u32> = named("containerd").intersection(&family).copied().collect();
        pids.insert(self.child.id());
        pids
    }

    fn wait(&mut self) -> Result<Docker, Fault> {
        let deadline = Deadline::after(START_DEADLINE);
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(Fault::backend(format!("dockerd ended with {status}: {}", self.last_words())));
            }
            if self.socket().exists()
                && let Ok(docker) = connect(&self.socket())
            {
                return Ok(docker);
            }
            if deadline.passed() {
                return Err(deadline.fault(format!("dockerd did not come up: {}", self.last_words())));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        log.lines().rev().find(|l| !l.is_empty()).unwrap_or("it said nothing").to_string()
    }
}

impl Drop for PrivateDaemon {
    fn drop(&mut self) {
        // First who could start something, then what was started.
        reap::kill_cookie(&self.dir);
        let _ = self.child.wait();
        cgroup::clear(&format!("{CGROUP}{}", self.owner));
        let deadline = Deadline::after(REMOVE_DEADLINE);
        while fs::remove_dir_all(&self.dir).is_err() && self.dir.exists() && !deadline.passed() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Takes down what is left of daemons whose owners are gone; `dead` are the state folders of dead runs. Answers with a
/// line for each.
pub fn reap(dead: &[PathBuf]) -> Vec<String> {
    let mut reaped = Vec::new();
    for dir in dead {
        let killed = reap::kill_cookie(dir);
        if !killed.is_empty() {
            reaped.push(format!("docker: killed {} processes of {}", killed.len(), dir.display()));
        }
    }
    for tag in cgroup::gone_owners(CGROUP) {
        let killed = cgroup::clear(&format!("{CGROUP}{tag}"));
        reaped.push(format!("docker: removed the cgroups of a private daemon, and {killed} processes in them"));
    }
    reaped
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

fn spawn(program: &Path, dir: &Path, owner: &str, runtimes: &Value, more: &[&str]) -> io::Result<Child> {
    fs::create_dir_all(dir)?;
    for hidden in HIDDEN {
        fs::create_dir_all(hidden.to_str().expect("ASCII"))?;
    }
    // The system's configuration is not for us.
    let config = dir.join("daemon.json");
    fs::write(&config, json!({ "runtimes": runtimes }).to_string())?;
    let log = File::create(dir.join("log"))?;
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
        .arg(format!("--host=unix://{}", dir.join("s").display()))
        .arg(format!("--cgroup-parent=/{CGROUP}{owner}"))
        .args([
            "--exec-opt=native.cgroupdriver=cgroupfs",
            "--iptables=false",
            "--ip6tables=false",
            "--ip-forward=false",
            "--ip-masq=false",
            "--userland-proxy=false",
        ])
        .args(more)
        .env_remove("DOCKER_HOST")
        .env(reap::COOKIE, dir)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    // SAFETY: only system calls between fork and exec.
    unsafe { command.pre_exec(enter_namespace) };
    command.spawn()
}

/// In the child: a mount namespace and a network of its own, and death with the owner.
fn enter_namespace() -> io::Result<()> {
    let none = std::ptr::null();
    let check = |answer: libc::c_int| if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: all pointers are to constants; null where the kernel ignores the argument.
    unsafe {
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
        check(libc::unshare(libc::CLONE_NEWNS | libc::CLONE_NEWNET))?;
        // The host's mounts keep coming in, ours do not get out.
        check(libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_SLAVE, none.cast()))?;
        for hidden in HIDDEN {
            check(libc::mount(c"tmpfs".as_ptr(), hidden.as_ptr(), c"tmpfs".as_ptr(), 0, c"mode=711".as_ptr().cast()))?;
        }
    }
    Ok(())
}

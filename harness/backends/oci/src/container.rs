//! A container: its bundle, its start, and that nothing of it is left.

use crate::config::{FOLDERS, config, of_one};
use crate::runtime::Runtime;
use isobench_core::{Fault, FaultKind};
use isobench_runner::agents::AgentPackage;
use isobench_runner::containers::{self, AGENT, Tree, empty_root};
use isobench_runner::reap::COOKIE;
use isobench_runner::spawned::{AgentProcess, Boundary, Origin, Role, Surroundings};
use isobench_runner::{Attribution, Deadline, RunContext, Target, cgroup, owner};
use serde_json::Value;
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// What the parent of all containers' cgroups is called, before the tag of the process that starts them.
pub(crate) const CGROUP: &str = "isobench-oci-";
/// Longest wait for `delete`, which has no process to wait for.
const DELETE_DEADLINE: Duration = Duration::from_secs(5);

/// Bytes that a container's bundle and a runtime's records of it surely fit into: 20 KiB by runc.
const RECORDS: u64 = 64 << 10;

/// What all containers of a deployment are made of.
#[derive(Debug)]
pub struct Bundles {
    runtime: Runtime,
    config: Value,
    /// Where the runtime keeps its records.
    records: PathBuf,
    /// Where the bundles are made.
    folder: PathBuf,
    /// The containers' cgroups.
    tree: Tree,
}

impl Bundles {
    /// For containers of `target` by `runtime`.
    ///
    /// # Errors
    /// The fault of a folder that cannot be made.
    pub fn new(ctx: &RunContext, target: &Target, origin: &Origin, runtime: Runtime) -> Result<Bundles, Fault> {
        Bundles::of(ctx, target, &origin.package, runtime)
    }

    /// The same for an agent that something else starts.
    ///
    /// # Errors
    /// The fault of a folder that cannot be made.
    pub fn of(ctx: &RunContext, target: &Target, package: &AgentPackage, runtime: Runtime) -> Result<Bundles, Fault> {
        // What a runtime leaves running when it ends becomes a child of this process, which then learns how it died.
        // SAFETY: a plain system call.
        unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
        let (root, records) = (ctx.state.join("fs"), ctx.state.join("r"));
        empty_root(&root, &FOLDERS)?;
        fs::create_dir_all(&records).map_err(|e| Fault::backend(format!("{}: {e}", records.display())))?;
        let cookie = std::env::var(COOKIE).map(|cookie| format!("{COOKIE}={cookie}"));
        let environment = cookie.into_iter().collect();
        Ok(Bundles {
            runtime,
            config: config(package, &root, &target.limits, environment, cgroup::counts_swap()),
            records,
            folder: ctx.state.clone(),
            tree: Tree::new(CGROUP),
        })
    }

    /// The bundle of one container whose agent will dial `socket`. Part of the cold start.
    ///
    /// # Errors
    /// The fault of a file that cannot be written.
    pub fn bundle(&self, socket: &Path) -> Result<Container, Fault> {
        let (n, cgroup) = self.tree.next();
        let container = Container {
            runtime: self.runtime.clone(),
            records: self.records.clone(),
            id: format!("isobench-{}-{n}", owner::me()),
            bundle: self.folder.join(format!("b{n}")),
            cgroup,
            cleared: false,
        };
        let text = of_one(&self.config, socket, &container.cgroup).to_string();
        fs::create_dir(&container.bundle)
            .and_then(|()| fs::write(container.bundle.join("config.json"), text))
            .map_err(|e| Fault::backend(format!("the bundle {}: {e}", container.bundle.display())))?;
        Ok(container)
    }
}

impl Boundary for Bundles {
    fn launch(&self, origin: &Origin, socket: &Path, deadline: Deadline) -> Result<AgentProcess, Fault> {
        let container = self.bundle(socket)?;
        let name = self.runtime.known.name;
        let run = origin
            .command(&self.runtime.program)
            .and_then(|mut command| AgentProcess::spawn(container.run(&mut command), Role::Agent))
            .and_then(|run| run.finish(deadline.remaining()))
            .map_err(|e| Fault::backend(format!("{name} cannot be started: {e}")))?;
        match run {
            None => return Err(deadline.fault(format!("{name} run"))),
            Some(status) if !status.success() => {
                let fault = failed(name, status, &origin.last_words());
                // Runtimes forget to say this of their records.
                let full = || format!("no space left in {}: {}", self.folder.display(), fault.message);
                return Err(if is_full(&self.folder) { Fault::new(FaultKind::DiskFull, full()) } else { fault });
            }
            Some(_) => {}
        }
        let agent = container.pid().map_err(|e| e.to_string());
        let agent = agent.and_then(|pid| AgentProcess::inherit(pid, self.runtime.role()).map_err(|e| e.to_string()));
        match agent {
            Ok(agent) => Ok(agent.within(container)),
            Err(e) => Err(Fault::backend(format!("{name} has run, but its container is not to be found: {e}"))),
        }
    }

    fn own_kernel(&self) -> bool {
        self.runtime.own_kernel()
    }
}

/// Whether there is no room in a folder for a bundle and a runtime's records.
fn is_full(folder: &Path) -> bool {
    let Ok(path) = CString::new(folder.as_os_str().as_bytes()) else { return false };
    // SAFETY: all zeroes is a valid value of a C struct of numbers, and both pointers are valid.
    unsafe {
        let mut found: libc::statvfs = std::mem::zeroed();
        libc::statvfs(path.as_ptr(), &mut found) == 0 && found.f_bavail.saturating_mul(found.f_bsize) < RECORDS
    }
}

/// Why there is no container. What a runtime says of the agent's file is that it cannot be executed.
fn failed(name: &str, status: std::process::ExitStatus, words: &str) -> Fault {
    let kind = if words.contains(AGENT) { FaultKind::InvalidGuest } else { FaultKind::BackendFailed };
    Fault::new(kind, format!("{name} run: {status}: {words}"))
}

/// A container, from its bundle to its end. Dropping it takes it down.
#[derive(Debug)]
pub struct Container {
    runtime: Runtime,
    records: PathBuf,
    id: String,
    bundle: PathBuf,
    cgroup: String,
    cleared: bool,
}

impl Container {
    /// Tells `command`, which is the runtime, to run the container and to end once it runs: one command, where `create`
    /// and `start` would be two starts of the runtime.
    pub fn run<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let command = command.args(&self.runtime.flags).arg("--root").arg(&self.records);
        command
            .args(["run", "--detach", "--pid-file"])
            .arg(self.pid_file())
            .arg("--bundle")
            .arg(&self.bundle)
            .arg(&self.id)
    }

    /// The same as a person types it, in the foreground.
    pub fn shell_line(&self) -> String {
        let (runtime, records) = (&self.runtime, self.records.display());
        let (program, flags) = (runtime.program.display(), runtime.flags.join(" "));
        format!("{program} {flags} --root {records} run --bundle {} {}", self.bundle.display(), self.id)
    }

    /// The process that the runtime has left.
    fn pid(&self) -> std::io::Result<u32> {
        let text = fs::read_to_string(self.pid_file())?;
        text.trim().parse().map_err(|_| std::io::Error::other(format!("`{text}` is no process id")))
    }

    fn pid_file(&self) -> PathBuf {
        self.bundle.join("pid")
    }

    /// gVisor's Gofer: it ends by itself when its Sentry has, and is in no cgroup then, but `delete` waits in vain for
    /// one that nobody has reaped. The runtime's record of the container knows it.
    fn helpers(&self) -> Vec<u32> {
        let records = fs::read_dir(&self.records).into_iter().flatten().flatten();
        let ours = records.filter(|entry| entry.file_name().to_string_lossy().starts_with(&format!("{}_", self.id)));
        let texts = ours.filter_map(|entry| fs::read_to_string(entry.path()).ok());
        let gofer = |text: String| {
            let (_, rest) = text.split_once("\"goferPid\":")?;
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        };
        texts.filter_map(gofer).collect()
    }

    /// Has the runtime remove its records, and what it finds of a container that it did not finish.
    fn delete(&self) -> Result<(), Fault> {
        let name = self.runtime.known.name;
        let mut command = Command::new(&self.runtime.program);
        command.args(&self.runtime.flags).arg("--root").arg(&self.records).args(["delete", "--force", &self.id]);
        command.env_clear().envs(std::env::var_os(COOKIE).map(|cookie| (COOKIE, cookie)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let ended = AgentProcess::spawn(&mut command, Role::Agent).and_then(|run| run.finish(DELETE_DEADLINE));
        match ended {
            Ok(Some(status)) if status.success() => Ok(()),
            Ok(Some(status)) => Err(Fault::backend(format!("{name} delete: {status}"))),
            Ok(None) => Err(Fault::backend(format!("{name} delete: not done in {} s", DELETE_DEADLINE.as_secs()))),
            Err(e) => Err(Fault::backend(format!("{name} delete: {e}"))),
        }
    }
}

impl Surroundings for Container {
    /// The container's processes, and what gVisor has around them: all are in its cgroup.
    fn attribution(&self) -> Attribution {
        containers::attribution(&self.cgroup)
    }

    fn verdict(&self) -> Option<Fault> {
        containers::out_of_memory(&self.cgroup)
    }

    fn clear(&mut self) -> Result<(), Fault> {
        if std::mem::replace(&mut self.cleared, true) {
            return Ok(());
        }
        // `delete` would wait for what still lives, and ask for it seldom (runc and gVisor: every 100 ms).
        for pid in cgroup::members(&self.cgroup) {
            drop(AgentProcess::inherit(pid, Role::Agent));
        }
        self.helpers().into_iter().for_each(reap);
        let deleted = self.delete();
        // Where the runtime was killed before it had written down what it had made.
        cgroup::clear(&self.cgroup);
        // This container's own folder, inside the block's state folder.
        let _ = fs::remove_dir_all(&self.bundle);
        deleted
    }
}

/// Takes down a process if it is a child of this one.
fn reap(pid: u32) {
    // SAFETY: a plain system call; of a child that has ended nobody else waits for.
    if pid > 0 && unsafe { libc::waitpid(pid as i32, std::ptr::null_mut(), libc::WNOHANG) } == 0 {
        drop(AgentProcess::inherit(pid, Role::Agent));
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.clear();
    }
}

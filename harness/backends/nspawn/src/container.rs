//! A container: its start, and that nothing of it is left.

use crate::Variant;
use isobench_core::Fault;
use isobench_runner::Cleaned;
use isobench_runner::agents::AgentPackage;
use isobench_runner::cgroup::{Limit, Made, Maker};
use isobench_runner::containers::{self, AGENT, GUEST, Ids, PIDS, SOCKET, Tree, empty_root, memory_limit};
use isobench_runner::place::installed;
use isobench_runner::reap::COOKIE;
use isobench_runner::spawned::{AgentProcess, Boundary, Origin, Role, Surroundings};
use isobench_runner::{Attribution, Deadline, RunContext, Target, cgroup, owner};
use std::ffi::CString;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

/// What the parent of all containers' cgroups is called, before the tag of the process that starts them.
pub(crate) const CGROUP: &str = "isobench-nspawn-";

/// The program.
pub(crate) const NSPAWN: &str = "systemd-nspawn";

/// What a machine's name begins with, before the tag and a number.
const MACHINE: &str = "isobench-";

/// Where nspawn has a folder for each machine, and later versions mount one.
const FOLDERS: [&str; 2] = ["/run/systemd/nspawn/propagate", "/run/systemd/nspawn/unix-export"];

/// What nspawn makes in a root folder that lacks it. It refuses one without `usr`.
const ROOT: [&str; 9] = ["dev", "etc", "proc", "root", "run", "sys", "tmp", "usr", "var"];

/// What is the same for every container.
const OPTIONS: [&str; 12] = [
    "--quiet",
    // No files beside the root folder are looked for, no running systemd is asked for a scope.
    "--settings=no",
    "--register=no",
    "--keep-unit",
    // The streams as they are, not a terminal whose bytes nspawn would carry.
    "--console=pipe",
    "--read-only",
    "--private-network",
    "--drop-capability=all",
    "--no-new-privileges=yes",
    // Nothing of the host is bound that nobody here reads.
    "--link-journal=no",
    "--timezone=off",
    "--resolv-conf=off",
];

/// The signals by which guests die, as nspawn spells them.
const SIGNALS: [(&str, i32); 9] = [
    ("ABRT", libc::SIGABRT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("ILL", libc::SIGILL),
    ("KILL", libc::SIGKILL),
    ("SEGV", libc::SIGSEGV),
    ("SYS", libc::SIGSYS),
    ("TERM", libc::SIGTERM),
    ("TRAP", libc::SIGTRAP),
];

/// What all containers of a deployment are made of.
#[derive(Debug)]
pub struct Containers {
    program: PathBuf,
    options: Vec<String>,
    /// The agent and its arguments.
    agent: Vec<String>,
    environment: Vec<(&'static str, &'static str)>,
    /// Whose users the container's are, where it has users of its own.
    ids: Option<Ids>,
    maker: Maker,
    tree: Tree,
}

impl Containers {
    /// For containers of `target`.
    ///
    /// # Errors
    /// The fault of nspawn missing, of a variant that is none, or of a folder that cannot be made.
    pub fn new(ctx: &RunContext, target: &Target, package: &AgentPackage) -> Result<Containers, Fault> {
        let variant = Variant::named(&target.variant)?;
        let missing = || Fault::backend("systemd-nspawn is not installed: `apt install systemd-container`");
        let program = installed(NSPAWN).ok_or_else(missing)?;
        let root = ctx.state.join("fs");
        empty_root(&root, &ROOT)?;
        let mut options: Vec<String> = OPTIONS.map(String::from).into();
        options.push(format!("--directory={}", root.display()));
        options.push(bind(&package.program, AGENT));
        options.extend(package.guest.as_deref().map(|guest| bind(guest, GUEST)));
        options.extend(std::env::var(COOKIE).map(|cookie| format!("--setenv={COOKIE}={cookie}")));
        let ids = (variant == Variant::PrivateUsers).then(Ids::of_root);
        if let Some(Ids { uid, .. }) = ids {
            options.push(format!("--private-users={uid}:{}", Ids::COUNT));
            // The root folder has no files: nobody in there need own them.
            options.push("--private-users-ownership=off".into());
        }
        // Read-only folders need no lock; a writable /tmp would be memory.
        let mut environment = vec![("SYSTEMD_NSPAWN_LOCK", "0"), ("SYSTEMD_NSPAWN_TMPFS_TMP", "0")];
        if variant != Variant::Seccomp {
            environment.push(("SYSTEMD_SECCOMP", "0"));
        }
        if cgroup::has_v2() {
            // One mount inside, where version 1 would be one for each controller.
            environment.push(("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1"));
        }
        let mut agent = vec![AGENT.to_string()];
        agent.extend(package.args(&format!("unix:{SOCKET}"), GUEST));
        let maker = Maker::new(Limit::all(memory_limit(&target.limits), PIDS));
        Ok(Containers { program, options, agent, environment, ids, maker, tree: Tree::new(CGROUP) })
    }

    /// The container whose agent will dial `socket`, in a cgroup of its own. Part of the cold start.
    ///
    /// # Errors
    /// The fault of a cgroup that cannot be made, or of a socket that cannot be given to the container's root.
    pub fn container(&self, socket: &Path) -> Result<Container, Fault> {
        let mut container = self.planned(socket)?;
        let made = self.maker.make(&container.cgroup);
        container.made = Some(made.map_err(|e| Fault::backend(format!("a cgroup: {e}")))?);
        Ok(container)
    }

    /// The same without its cgroup, for who makes that otherwise.
    ///
    /// # Errors
    /// The fault of a socket that cannot be given to the container's root.
    pub fn planned(&self, socket: &Path) -> Result<Container, Fault> {
        self.ids.map_or(Ok(()), |ids| ids.give(socket))?;
        let (n, cgroup) = self.tree.next();
        let machine = format!("{MACHINE}{}-{n}", owner::me());
        Ok(Container { machine, socket: bind(socket, SOCKET), cgroup, made: None, cleared: false })
    }

    /// nspawn's program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// What nspawn finds in its environment.
    pub fn environment(&self) -> &[(&'static str, &'static str)] {
        &self.environment
    }

    /// What makes cgroups with the containers' limits.
    pub fn maker(&self) -> &Maker {
        &self.maker
    }

    /// Tells `command`, which is nspawn, to run the container in its cgroup, and to stay around it.
    pub fn start<'a>(&self, container: &mut Container, command: &'a mut Command) -> &'a mut Command {
        command.args(&self.options).arg(format!("--machine={}", container.machine)).arg(&container.socket);
        command.arg("--").args(&self.agent).envs(self.environment.iter().copied());
        if let Some(made) = container.made.take() {
            made.hold(command);
        }
        command
    }
}

/// The option that binds a file read-only. A colon ends a path, unless it is quoted.
fn bind(from: &Path, to: &str) -> String {
    let source = from.display().to_string().replace('\\', r"\\").replace(':', r"\:");
    format!("--bind-ro={source}:{to}")
}

impl Boundary for Containers {
    fn launch(&self, origin: &Origin, socket: &Path, _: Deadline) -> Result<AgentProcess, Fault> {
        let mut container = self.container(socket)?;
        let started = origin
            .command(&self.program)
            .and_then(|mut command| AgentProcess::spawn(self.start(&mut container, &mut command), Role::Keeper));
        let process =
            started.map_err(|e| Fault::backend(format!("{} cannot be started: {e}", self.program.display())))?;
        Ok(process.within(container))
    }
}

/// A container, from its cgroup to its end. Dropping it takes it down.
#[derive(Debug)]
pub struct Container {
    machine: String,
    socket: String,
    /// The name of its cgroup.
    pub cgroup: String,
    made: Option<Made>,
    cleared: bool,
}

impl Container {
    /// Takes it down.
    ///
    /// # Errors
    /// The fault of a process that does not go.
    pub fn clear(&mut self) -> Result<(), Fault> {
        if std::mem::replace(&mut self.cleared, true) {
            return Ok(());
        }
        cgroup::clear(&self.cgroup);
        FOLDERS.iter().for_each(|folder| remove(&Path::new(folder).join(&self.machine)));
        match cgroup::members(&self.cgroup) {
            left if left.is_empty() => Ok(()),
            left => Err(Fault::backend(format!("processes {left:?} of cgroup {} do not go", self.cgroup))),
        }
    }
}

impl Surroundings for Container {
    /// nspawn, the agent, and their memory.
    fn attribution(&self) -> Attribution {
        containers::attribution(&self.cgroup)
    }

    fn verdict(&self) -> Option<Fault> {
        containers::out_of_memory(&self.cgroup)
    }

    fn ending(&self, words: &str) -> Option<ExitStatus> {
        ending(words, &self.machine)
    }

    fn clear(&mut self) -> Result<(), Fault> {
        Container::clear(self)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = Container::clear(self);
    }
}

/// The signal that ended a machine, in nspawn's words. Its exit code is that of any failure then.
fn ending(words: &str, machine: &str) -> Option<ExitStatus> {
    let (_, rest) = words.split_once(&format!("Container {machine} terminated by signal "))?;
    let name = rest.split(|c: char| !c.is_ascii_alphanumeric()).next()?;
    let (_, signal) = SIGNALS.into_iter().find(|(known, _)| *known == name)?;
    Some(ExitStatus::from_raw(signal))
}

/// Removes the folders that nspawn made for machines of processes that are gone, if nspawn itself was killed. The name
/// of each holds the tag of the runner that started the machine.
pub(crate) fn reap_folders(cleaned: &mut Cleaned) {
    let entries = FOLDERS.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    for entry in entries {
        let (name, path) = (entry.file_name(), entry.path());
        let Some(tag) = name.to_str().and_then(|name| Some(name.strip_prefix(MACHINE)?.rsplit_once('-')?.0)) else {
            continue;
        };
        let folder = path.display();
        cleaned.judge(&format!("nspawn: folder {folder}"), tag, &format!("rmdir {folder}"), || {
            remove(&path);
            true
        });
    }
}

/// Removes an empty folder, and what may be mounted there.
fn remove(folder: &Path) {
    if let Ok(path) = CString::new(folder.as_os_str().as_encoded_bytes()) {
        // SAFETY: a path that ends with a zero byte. What is no mount, or nothing at all, is as wanted.
        unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
    }
    let _ = fs::remove_dir(folder);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_machines_own_end_counts() {
        let words = "Container a-1 terminated by signal SEGV. Container a-2 terminated by signal ABRT.";
        assert_eq!(ending(words, "a-2").and_then(|status| status.signal()), Some(libc::SIGABRT));
        assert_eq!(ending(words, "a-3"), None);
        assert_eq!(ending("Container a failed with error code 3.", "a"), None);
    }

    #[test]
    fn a_colon_does_not_end_a_path() {
        assert_eq!(bind(Path::new("/a:b\\c"), "/agent"), r"--bind-ro=/a\:b\\c:/agent");
    }
}

//! A container: its start, and that nothing of it is left.

use crate::Variant;
use crate::config::{FOLDERS, Files, config, of_one, payload};
use isobench_core::Fault;
use isobench_runner::agents::AgentPackage;
use isobench_runner::containers::{self, Ids, Tree, empty_root, memory_limit};
use isobench_runner::place::installed;
use isobench_runner::reap::COOKIE;
use isobench_runner::spawned::{AgentProcess, Boundary, Origin, Role, Surroundings};
use isobench_runner::{Attribution, Deadline, RunContext, Target, cgroup, owner};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

/// What the parent of all containers' cgroups is called, before the tag of the process that starts them.
pub(crate) const CGROUP: &str = "isobench-lxc-";

/// The program that starts a container.
pub(crate) const START: &str = "lxc-start";

/// Where LXC looks for folders of containers that it knows: it knows none of ours. It leaves an empty folder named
/// after this one under `/run/lxc/lock`, so it is no folder of ours.
const KNOWN: &str = "/.";

/// Bits of a file's mode that let everybody read it, and execute it.
const READABLE: u32 = 0o004;
const EXECUTABLE: u32 = 0o005;

/// What all containers of a deployment are made of.
#[derive(Debug)]
pub struct Containers {
    program: PathBuf,
    config: PathBuf,
    /// Whose users the container's are, where it has users of its own.
    ids: Option<Ids>,
    /// In bytes.
    memory: u64,
    /// Where logs are written.
    folder: PathBuf,
    tree: Tree,
    args: Vec<String>,
}

impl Containers {
    /// For containers of `target`.
    ///
    /// # Errors
    /// The fault of LXC missing, of a variant that is none, or of a file that cannot be written.
    pub fn new(ctx: &RunContext, target: &Target, package: &AgentPackage) -> Result<Containers, Fault> {
        let variant = Variant::named(&target.variant)?;
        let program = installed(START).ok_or_else(|| Fault::backend("LXC is not installed: `apt install lxc`"))?;
        let root = ctx.state.join("fs");
        empty_root(&root, &FOLDERS)?;
        let (mut ids, mut agent, mut guest) = (None, package.program.clone(), package.guest.clone());
        if variant == Variant::Unprivileged {
            ids = Some(Ids::of_root());
            agent = for_everybody(&agent, ctx.state.join("agent"), EXECUTABLE)?;
            guest = guest.map(|guest| for_everybody(&guest, ctx.state.join("guest"), READABLE)).transpose()?;
        }
        let cookie = std::env::var(COOKIE).map(|cookie| format!("{COOKIE}={cookie}")).ok();
        let files = Files { root: &root, agent: &agent, guest: guest.as_deref() };
        let text = config(&files, package, &target.limits, ids, cookie.as_deref());
        let config = ctx.state.join("config");
        fs::write(&config, text).map_err(|e| Fault::backend(format!("{}: {e}", config.display())))?;
        Ok(Containers {
            program,
            config,
            ids,
            memory: memory_limit(&target.limits),
            folder: ctx.state.clone(),
            tree: Tree::new(CGROUP),
            args: package.args(&format!("unix:{}", containers::SOCKET), containers::GUEST),
        })
    }

    /// The container whose agent will dial `socket`. Part of the cold start.
    ///
    /// # Errors
    /// The fault of a socket that cannot be given to the container's root.
    pub fn container(&self, socket: &Path) -> Result<Container, Fault> {
        self.ids.map_or(Ok(()), |ids| ids.give(socket))?;
        let (n, cgroup) = self.tree.next();
        let id = format!("isobench-{}-{n}", owner::me());
        let mut common: Vec<String> = ["-n", &id, "-P", KNOWN, "-f"].map(String::from).into();
        common.push(self.config.display().to_string());
        for setting in of_one(socket, &cgroup, self.tree.name()) {
            common.extend(["-s".into(), setting]);
        }
        let log = self.folder.join(format!("l{n}"));
        Ok(Container { common, cgroup, log, memory: self.memory, ending: None, cleared: false })
    }

    /// The program that starts a container.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// What a person types who wants `container` at once: `lxc-execute`, which is given the command.
    pub fn execute(&self, container: &Container) -> Command {
        let mut command = Command::new(self.program.with_file_name("lxc-execute"));
        command.args(&container.common).args(["--", containers::AGENT]).args(&self.args);
        command
    }
}

/// A file that a user without rights may read: the same under a name whose path he may go, or a copy where that cannot
/// be had.
fn for_everybody(file: &Path, at: PathBuf, wanted: u32) -> Result<PathBuf, Fault> {
    let prepared = || {
        // What an earlier deployment left there may be a name of the same file: it must never be written to.
        match fs::remove_file(&at) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let readable = fs::metadata(file)?.permissions().mode() & wanted == wanted;
        if readable && fs::hard_link(file, &at).is_ok() {
            return Ok(());
        }
        let mut copy = File::create_new(&at)?;
        io::copy(&mut File::open(file)?, &mut copy)?;
        copy.set_permissions(fs::Permissions::from_mode(0o755))
    };
    prepared().map_err(|e| Fault::backend(format!("{} for everybody, at {}: {e}", file.display(), at.display())))?;
    Ok(at)
}

impl Boundary for Containers {
    fn launch(&self, origin: &Origin, socket: &Path, _: Deadline) -> Result<AgentProcess, Fault> {
        let container = self.container(socket)?;
        let started = origin
            .command(&self.program)
            .and_then(|mut command| AgentProcess::spawn(container.start(&mut command), Role::Keeper));
        let process =
            started.map_err(|e| Fault::backend(format!("{} cannot be started: {e}", self.program.display())))?;
        Ok(process.within(container))
    }
}

/// A container, from its start to its end. Dropping it takes it down.
#[derive(Debug)]
pub struct Container {
    /// What every program of LXC is told of it.
    common: Vec<String>,
    cgroup: String,
    log: PathBuf,
    memory: u64,
    ending: Option<ExitStatus>,
    cleared: bool,
}

impl Container {
    /// Tells `command`, which is `lxc-start`, to run the container and to stay as its monitor.
    pub fn start<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        // Only its log tells how the agent ended: its exit code is 0.
        command.arg("-F").args(&self.common).arg("-o").arg(&self.log).args(["-l", "INFO"])
    }

    /// Takes it down.
    ///
    /// # Errors
    /// The fault of a process that does not go.
    pub fn clear(&mut self) -> Result<(), Fault> {
        if std::mem::replace(&mut self.cleared, true) {
            return Ok(());
        }
        self.ending = fs::read_to_string(&self.log).ok().and_then(|log| ending(&log));
        let _ = fs::remove_file(&self.log);
        // What is left of it where LXC has ended by itself, and all of it where LXC was killed.
        cgroup::clear(&self.cgroup);
        match cgroup::members(&self.cgroup) {
            left if left.is_empty() => Ok(()),
            left => Err(Fault::backend(format!("processes {left:?} of cgroup {} do not go", self.cgroup))),
        }
    }
}

impl Surroundings for Container {
    /// The agent's cgroup, and that of LXC's monitor.
    fn attribution(&self) -> Attribution {
        containers::attribution(&self.cgroup)
    }

    /// Where LXC has ended by itself, the cgroup that had the limit is gone. The one around it stays. Version 1 does
    /// not count there what happened below, but how much memory there ever was: with the monitor's, which has no limit.
    fn verdict(&self) -> Option<Fault> {
        let counted = [&payload(&self.cgroup), &self.cgroup].into_iter().find_map(|c| containers::out_of_memory(c));
        counted.or_else(|| (cgroup::peak(&self.cgroup)? >= self.memory).then(containers::at_its_limit))
    }

    fn ending(&self, _: &str) -> Option<ExitStatus> {
        self.ending
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

/// How the agent ended, of LXC's log: `Child <7> ended on signal (11)`, in later versions `signal SIGSEGV(11)`, or
/// `Child <7> ended on error (3)`. It says nothing where all was well.
fn ending(log: &str) -> Option<ExitStatus> {
    let number = |text: &str| text.split_once('(')?.1.split_once(')')?.0.parse::<i32>().ok();
    let said = |line: &str| {
        let (_, how) = line.split_once("ended on ")?;
        let number = number(how)?;
        // As `wait` has it: a signal, or an exit code in the byte above.
        Some(ExitStatus::from_raw(if how.starts_with("signal") { number } else { number << 8 }))
    };
    log.lines().rev().find_map(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_for_everybody_is_the_same_or_a_copy_and_the_file_stays_as_it_is() {
        let folder = std::env::temp_dir().join(format!("isobench-lxc-test-{}", owner::me()));
        fs::create_dir(&folder).expect("a folder");
        let (file, at) = (folder.join("file"), folder.join("at"));
        for mode in [0o755, 0o700] {
            fs::write(&file, "what it is").expect("a file");
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("its mode");
            // Twice, as two deployments in one place do.
            for _ in 0..2 {
                for_everybody(&file, at.clone(), EXECUTABLE).expect("at hand");
                assert_eq!(fs::read_to_string(&at).expect("the other"), "what it is");
                assert_eq!(fs::metadata(&at).expect("its mode").permissions().mode() & EXECUTABLE, EXECUTABLE);
                assert_eq!(fs::read_to_string(&file).expect("the file"), "what it is");
                assert_eq!(fs::metadata(&file).expect("its mode").permissions().mode() & 0o777, mode);
            }
        }
        fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn the_log_tells_how_the_agent_ended() {
        let log = |how: &str| format!("lxc-start c 2026 NOTICE start - it runs\nlxc-start c 2026 INFO error - {how}\n");
        assert_eq!(ending(&log("Child <7> ended on signal (11)")).and_then(|s| s.signal()), Some(11));
        assert_eq!(ending(&log("Child <7> ended on signal SIGSEGV(11)")).and_then(|s| s.signal()), Some(11));
        assert_eq!(ending(&log("Child <7> ended on error (3)")).and_then(|s| s.code()), Some(3));
        assert_eq!(ending(&log("it stops")), None);
    }
}

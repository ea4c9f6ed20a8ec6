//! One sandbox: what `bwrap` is told.

use crate::filter::Filter;
use isobench_core::Fault;
use isobench_runner::Deadline;
use isobench_runner::agents::AgentPackage;
use isobench_runner::spawned::{AgentProcess, Boundary, Origin, Role};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Every namespace there is, no way back to a terminal, no capability (root would keep all), no sandbox that outlives
/// the runner.
const WALLS: [&str; 7] = ["--unshare-all", "--new-session", "--cap-drop", "ALL", "--die-with-parent", "--chdir", "/"];

const AGENT: &str = "/agent";
const GUEST: &str = "/guest";
const SOCKET: &str = "/socket";

/// A way of running the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// Namespaces alone.
    Namespaces,
    /// Namespaces, and a filter of system calls.
    Seccomp,
}

impl Variant {
    /// Every variant.
    pub const ALL: [Variant; 2] = [Variant::Namespaces, Variant::Seccomp];

    /// Its name, a row's.
    pub fn name(self) -> &'static str {
        match self {
            Variant::Namespaces => "namespaces",
            Variant::Seccomp => "seccomp",
        }
    }
}

/// A root folder that holds an agent, its guest and its socket and nothing else, all of it read-only, in namespaces of
/// its own.
pub struct Sandbox {
    bwrap: PathBuf,
    filter: Option<Filter>,
}

impl Sandbox {
    /// The sandbox of a variant.
    ///
    /// # Errors
    /// The fault of a variant that is none, of a missing bwrap, or of a filter that cannot be had here.
    pub fn new(variant: &str) -> Result<Sandbox, Fault> {
        let known = Variant::ALL.into_iter().find(|known| known.name() == variant);
        let filter = match known.ok_or_else(|| Fault::backend(format!("bwrap has no variant `{variant}`")))? {
            Variant::Namespaces => None,
            Variant::Seccomp => Some(Filter::new().map_err(|e| Fault::backend(format!("seccomp filter: {e}")))?),
        };
        // The whole path: with a name alone the C library's `posix_spawn` would not be used.
        let bwrap = program().ok_or_else(|| Fault::backend("bwrap is not installed: `apt install bubblewrap`"))?;
        Ok(Sandbox { bwrap, filter })
    }

    /// bwrap's program.
    pub fn program(&self) -> &Path {
        &self.bwrap
    }

    /// Tells `command`, which is `bwrap`, to make an agent that dials `socket`, and has `spawn` start it.
    ///
    /// # Errors
    /// That of the system or of `spawn`.
    pub fn start<T>(
        &self,
        mut command: Command,
        package: &AgentPackage,
        socket: &Path,
        spawn: impl FnOnce(&mut Command) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut files = vec![(package.program.as_path(), AGENT), (socket, SOCKET)];
        files.extend(package.guest.as_deref().map(|guest| (guest, GUEST)));
        command.args(walls(&files));
        let run = |command: &mut Command| {
            command.arg(AGENT).args(package.args(&format!("unix:{SOCKET}"), GUEST));
            spawn(command)
        };
        match &self.filter {
            None => run(&mut command),
            Some(filter) => filter.lend(|number| run(command.args(["--seccomp", &number.to_string()])))?,
        }
    }
}

impl Boundary for Sandbox {
    fn launch(&self, origin: &Origin, socket: &Path, _: Deadline) -> Result<AgentProcess, Fault> {
        let started = origin.command(&self.bwrap).and_then(|command| {
            self.start(command, &origin.package, socket, |command| AgentProcess::spawn(command, Role::Keeper))
        });
        started.map_err(|e| Fault::backend(format!("{} cannot be started: {e}", self.bwrap.display())))
    }
}

/// bwrap's options for a root folder with these files alone: where each lies here, and where there.
pub(crate) fn walls(files: &[(&Path, &str)]) -> Vec<OsString> {
    let bind = |&(here, there): &(&Path, &str)| -> [OsString; 3] { ["--ro-bind".into(), here.into(), there.into()] };
    let mut options: Vec<OsString> = WALLS.map(OsString::from).into();
    options.extend(files.iter().flat_map(bind));
    // The root is a tmpfs: what a guest could write there would be memory beyond its limit.
    options.extend(["--remount-ro", "/"].map(OsString::from));
    options
}

/// Where bwrap is installed.
pub(crate) fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join("bwrap")).find(|program| program.is_file())
}

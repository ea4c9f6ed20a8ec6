//! An agent that is a script: the files of a guest, and what the runtime that runs them is told. What Node and runtimes
//! of its kind have in common.

use isobench_core::{Fault, FaultKind, sha256_hex};
use isobench_guest::fault::AgentFault;
use isobench_guest::frame::PROTOCOL_VERSION;
use isobench_runner::agents::{AgentPackage, program_stamp};
use isobench_runner::part;
use isobench_runner::spawned::{AgentProcess, Boundary, Origin, Role};
use isobench_runner::{Deadline, RunContext, Target};
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The agent.
pub const AGENT: &str = include_str!("agent/agent.cjs");

/// Its last line, where the guest is not in the same script already.
pub const START: &str = include_str!("agent/start.cjs");

/// An option that is not known before there is a socket: it stands in for the socket's path.
pub const SOCKET: &str = "{socket}";

/// A guest that is ready to be started.
#[derive(Debug, Clone)]
pub struct Scripted {
    /// The guest's file: the artifact under a name by which such runtimes know a module.
    pub guest: PathBuf,
    /// The runtime's options, and what it runs where that is no snapshot. [`SOCKET`] in them is the instance's socket.
    pub options: Vec<String>,
    /// The runtime's environment beside the cookie.
    pub env: Vec<(&'static str, OsString)>,
}

impl Scripted {
    /// Tells `command`, which is the runtime, to be an agent that dials `socket`.
    pub fn tell(&self, command: &mut Command, package: &AgentPackage, socket: &Path) {
        let socket = socket.display().to_string();
        self.set(command, &socket);
        command.args(package.args(&format!("unix:{socket}"), &self.guest.display().to_string()));
        command.args(["--protocol", &PROTOCOL_VERSION.to_string()]);
    }

    /// Tells it to load the guest and to end.
    pub fn tell_to_load(&self, command: &mut Command) {
        // An option may want a path to be one.
        self.set(command, "/none");
        command.arg("--guest").arg(&self.guest);
    }

    fn set(&self, command: &mut Command, socket: &str) {
        command.args(self.options.iter().map(|option| option.replace(SOCKET, socket))).envs(self.env.iter().cloned());
    }
}

impl Boundary for Scripted {
    fn launch(&self, origin: &Origin, socket: &Path, _: Deadline) -> Result<AgentProcess, Fault> {
        let program = &origin.package.program;
        let spawned = origin.command(program).and_then(|mut command| {
            self.tell(&mut command, &origin.package, socket);
            AgentProcess::spawn(&mut command, Role::Agent)
        });
        spawned.map_err(|e| Fault::backend(format!("{} cannot be started: {e}", program.display())))
    }
}

/// The folder of a guest's files in the cache.
#[derive(Debug)]
pub struct Home(PathBuf);

impl Home {
    /// The home of a guest for a runtime's program and a variant; `words` are whatever else the files are made from.
    /// Runtimes look compiled code up by absolute paths, so a cache that was moved has other homes.
    ///
    /// # Errors
    /// The fault of a program that cannot be read.
    pub fn of(ctx: &RunContext, backend: &str, program: &Path, target: &Target, words: &str) -> Result<Home, Fault> {
        let Target { variant, artifact_sha256, limits, .. } = target;
        let memory = limits.memory_bytes;
        let homes = ctx.cache.join(backend).join("guests");
        let program = program_stamp(program)?;
        let stamp = format!("{homes:?} {program} {variant} {memory} {artifact_sha256} {AGENT} {START} {words}");
        Ok(Home(homes.join(sha256_hex(stamp.as_bytes()))))
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file, unless it is there with that content.
    ///
    /// # Errors
    /// Returns a fault if the file cannot be written.
    pub fn put(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf, Fault> {
        let path = self.file(name);
        if fs::read(&path).is_ok_and(|there| there == content.as_ref()) {
            return Ok(path);
        }
        let written = part::write(&path, content);
        written.map(|()| path.clone()).map_err(|e| Fault::backend(format!("{}: {e}", path.display())))
    }

    /// Waits until no other process has the home locked, and locks it until the returned file is dropped.
    ///
    /// # Errors
    /// Returns a fault if the lock cannot be had, or not within `allowed`.
    pub fn lock(&self, allowed: Duration) -> Result<File, Fault> {
        let path = self.file("lock");
        let failed = |e: String| Fault::backend(format!("{}: {e}", path.display()));
        let opened = fs::create_dir_all(&self.0)
            .and_then(|()| File::options().create(true).truncate(false).write(true).open(&path));
        let file = opened.map_err(|e| failed(e.to_string()))?;
        let deadline = Deadline::after(allowed);
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if deadline.passed() => {
                    return Err(failed(format!("locked by another run for {} s", allowed.as_secs())));
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(10)),
                Err(TryLockError::Error(e)) => return Err(failed(e.to_string())),
            }
        }
    }

    /// Writes the guest as `guest.mjs`: an ES module by its name.
    ///
    /// # Errors
    /// The fault of a file that cannot be read or written.
    pub fn put_guest(&self, target: &Target) -> Result<PathBuf, Fault> {
        let source = fs::read(&target.artifact);
        let source = source.map_err(|e| Fault::backend(format!("{}: {e}", target.artifact.display())))?;
        self.put("guest.mjs", source)
    }
}

/// Why a runtime did not load a guest ahead: what the agent's scripts say of it, or else the runtime itself.
pub fn refused(words: &str) -> Fault {
    if let Some(told) = words.lines().find_map(|line| AgentFault::parse(line.as_bytes())) {
        return Fault::new(FaultKind::from_name(told.kind), told.message);
    }
    let kind = match words {
        _ if words.contains("SyntaxError") => FaultKind::InvalidGuest,
        _ if words.contains(": not done after ") => FaultKind::DeadlineExceeded,
        _ => FaultKind::BackendFailed,
    };
    Fault::new(kind, words.split_whitespace().collect::<Vec<_>>().join(" "))
}

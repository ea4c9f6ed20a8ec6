//! A process of workerd that listens on a socket of ours.

use hyper::{Method, StatusCode};
use isobench_core::{Fault, FaultKind};
use isobench_runner::http::Http;
use isobench_runner::reap;
use isobench_runner::spawned::{AgentProcess, Origin, Role};
use isobench_runner::{Attribution, Deadline};
use std::ffi::OsString;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Descriptors are lent one at a time, so that no process inherits another's socket.
static LENDING: Mutex<()> = Mutex::new(());

/// What workerd prints of a guest that it could not load, and what that is called. The first that is found counts.
const WORDS: [(&str, FaultKind); 8] = [
    ("heap out of memory", FaultKind::OutOfMemory),
    ("out_of_memory:", FaultKind::OutOfMemory),
    ("guest_trap:", FaultKind::GuestTrap),
    ("invalid_guest:", FaultKind::InvalidGuest),
    ("Uncaught SyntaxError", FaultKind::InvalidGuest),
    ("Uncaught CompileError", FaultKind::InvalidGuest),
    ("No such module", FaultKind::InvalidGuest),
    ("Uncaught", FaultKind::GuestThrow),
];

/// What a process is told beside its socket (`--socket-fd http=N`), whose path is given.
pub type Args = Box<dyn Fn(&Path) -> Vec<OsString> + Send + Sync>;

/// How a process is started that answers over HTTP.
pub struct Recipe {
    /// Its program, and the pipe for what it prints.
    pub origin: Arc<Origin>,
    /// Its arguments.
    pub args: Args,
    /// What it is to the guest.
    pub role: Role,
    /// Longest answer in bytes.
    pub limit: u64,
}

/// A workerd, or what stands in for it. Dropping it kills the process and removes the socket.
#[derive(Debug)]
pub(crate) struct Server {
    process: Mutex<AgentProcess>,
    origin: Arc<Origin>,
    socket: Socket,
    limit: u64,
}

/// A socket's path, removed on drop.
#[derive(Debug)]
struct Socket(PathBuf);

impl Drop for Socket {
    fn drop(&mut self) {
        // The folder is removed with the block; a socket that is gone already is what we want.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Recipe {
    /// Starts a process that is to listen at `socket`. Whoever connects from now on waits until it does.
    pub(crate) fn spawn(&self, socket: PathBuf) -> Result<Server, Fault> {
        let program = &self.origin.package.program;
        let process = self.lend(&socket).map_err(|e| Fault::backend(format!("{}: {e}", program.display())));
        let socket = Socket(socket);
        let (origin, limit) = (Arc::clone(&self.origin), self.limit);
        Ok(Server { process: Mutex::new(process?), origin, socket, limit })
    }

    fn lend(&self, socket: &Path) -> io::Result<AgentProcess> {
        let listener = UnixListener::bind(socket)?;
        let mut command = self.origin.command(&self.origin.package.program)?;
        let _alone = LENDING.lock().unwrap_or_else(PoisonError::into_inner);
        // A duplicate is handed down by `posix_spawn`, which closes nothing but what is marked so.
        let lent = rustix::io::dup(&listener)?;
        command.args((self.args)(socket)).args(["--socket-fd", &format!("http={}", lent.as_raw_fd())]);
        // It listens for ever, whether its runner lives or not.
        AgentProcess::spawn(reap::die_with_parent(&mut command), self.role)
    }
}

impl Server {
    fn process(&self) -> MutexGuard<'_, AgentProcess> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects, and waits until what is at `path` says that it is ready: its code is in and evaluated.
    pub(crate) fn ready(&self, path: &str, deadline: Deadline) -> Result<Http, Fault> {
        let ready = self.connect(deadline).and_then(|mut http| {
            let answer = self.ask(&mut http, Method::GET, path, b"", deadline)?;
            if answer == b"ready" {
                Ok(http)
            } else {
                Err(Fault::new(FaultKind::BadFrame, "the answer to a first GET is not `ready`"))
            }
        });
        ready.map_err(|fault| match fault.kind {
            FaultKind::DeadlineExceeded | FaultKind::ChannelClosed => Fault::new(FaultKind::NoHello, fault.message),
            _ => fault,
        })
    }

    /// Connects, and asks for nothing.
    pub(crate) fn connect(&self, deadline: Deadline) -> Result<Http, Fault> {
        Http::unix(&self.socket.0, self.limit, deadline).map_err(|fault| self.explain(fault))
    }

    /// One request; the answer's body, or the fault that it names. A process that has not answered by the deadline is
    /// killed: workerd has one thread for all isolates, and none that would interrupt a guest.
    pub(crate) fn ask(
        &self,
        http: &mut Http,
        method: Method,
        path: &str,
        body: &[u8],
        deadline: Deadline,
    ) -> Result<Vec<u8>, Fault> {
        match http.ask(method, path, body, deadline) {
            Ok(answer) if answer.status == StatusCode::OK => Ok(answer.body.into()),
            Ok(answer) => {
                let words = String::from_utf8_lossy(&answer.body);
                Err(match words.split_once(": ").map(|(kind, message)| (FaultKind::from_name(kind), message)) {
                    None | Some((FaultKind::Internal, _)) => {
                        named(Fault::backend(format!("the answer has status {}: {words}", answer.status)))
                    }
                    Some((kind, message)) => Fault::new(kind, message),
                })
            }
            Err(fault) => {
                if fault.kind == FaultKind::DeadlineExceeded {
                    let _ = self.kill();
                }
                Err(self.explain(fault))
            }
        }
    }

    /// Ends the process: it keeps nothing that would have to be written down.
    pub(crate) fn kill(&self) -> Result<(), Fault> {
        self.process().leave(|| {}, Duration::ZERO)
    }

    /// Whether the process lives.
    pub(crate) fn lives(&self) -> bool {
        self.process().alive(&self.origin).is_ok()
    }

    pub(crate) fn footprint(&self) -> Attribution {
        self.process().attribution()
    }

    fn explain(&self, fault: Fault) -> Fault {
        named(self.process().explain(fault, &self.origin))
    }
}

/// The fault by the name of what workerd said of the guest, where it said anything.
fn named(fault: Fault) -> Fault {
    if !matches!(fault.kind, FaultKind::ChannelClosed | FaultKind::BackendFailed) {
        return fault;
    }
    let found = WORDS.into_iter().find(|(words, _)| fault.message.contains(words));
    found.map_or_else(|| fault.clone(), |(_, kind)| Fault::new(kind, fault.message.clone()))
}

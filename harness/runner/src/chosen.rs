//! The daemon that a run's probe has chosen, and the proof that `prepare` of the same run gets the same one: versions and
//! settings in the run's record are those of the daemon that is measured.

use crate::backend::RunContext;
use crate::reap;
use isobench_core::Fault;
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Begins the names of the state folders of probes; the name of the backend (and of the side) follows.
const PROBE: &str = "p-";
/// The same of owners, which prepare.
const OWNER: &str = "o-";

/// The process that made a socket a listening one: the daemon, or systemd if that hands the socket to the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// Its process id and its start time in clock ticks since boot; `None` if it is in a PID namespace that cannot be
    /// seen from here, or too busy to accept.
    process: Option<(u32, u64)>,
}

impl Listener {
    /// Connects to a socket and looks who listens there. Does not wait: a process that hangs is found too.
    ///
    /// # Errors
    /// Returns the system's error if no process listens there, or this user may not connect.
    pub fn at(socket: &Path) -> io::Result<Listener> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let end = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        match connect(&end, &SocketAddrUnix::new(socket)?) {
            Ok(()) => {}
            // Its queue of connections is full.
            Err(Errno::AGAIN) => return Ok(Listener { process: None }),
            Err(error) => return Err(error.into()),
        }
        let pid = socket_peercred(&end)?.pid.as_raw_nonzero().get();
        let process = u32::try_from(pid).ok().and_then(|pid| Some((pid, reap::start_time(pid)?)));
        Ok(Listener { process })
    }

    /// The process id, if the process can be seen from here.
    pub fn pid(&self) -> Option<u32> {
        self.process.map(|(pid, _)| pid)
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.process {
            Some((pid, started)) => write!(f, "process {pid} of start time {started}"),
            None => f.write_str("a process that cannot be seen from here"),
        }
    }
}

/// Writes down which daemon a run's probe has chosen. `identity` is a text that tells the daemon from every other.
///
/// # Errors
/// Returns an error if it cannot be written down: the run could not tell whether it measures that daemon.
pub fn remember(ctx: &RunContext, identity: &str) -> Result<(), Fault> {
    match note(ctx) {
        Some(note) => fs::write(&note, identity).map_err(|e| Fault::backend(format!("{}: {e}", note.display()))),
        None => Ok(()),
    }
}

/// Checks that the daemon with this `identity` is the one that the probe of the same run has chosen.
///
/// # Errors
/// Returns an error if it is another one, or if the probe has left no note.
pub fn confirm(ctx: &RunContext, identity: &str) -> Result<(), Fault> {
    let Some(note) = note(ctx) else { return Ok(()) };
    let probed = fs::read_to_string(&note).map_err(|e| {
        let why =
            "the daemon that the probe has chosen is not known, so it may not be the one that is measured; run again";
        Fault::backend(format!("{}: {e}: {why}", note.display()))
    })?;
    if probed == identity {
        return Ok(());
    }
    let message = format!(
        "the probe found {probed}, and now there is {identity}: the daemon was started, stopped or replaced in between; \
         run again"
    );
    Err(Fault::backend(message))
}

/// The note beside the state folders of a run's probe (`p-docker`) and owner (`o-docker`), and of one side of an A/B run.
/// `None` for a folder that is neither, as of a test that prepares what no probe has chosen.
fn note(ctx: &RunContext) -> Option<PathBuf> {
    let name = ctx.state.file_name()?.to_str()?;
    let of = name.strip_prefix(PROBE).or_else(|| name.strip_prefix(OWNER))?;
    Some(ctx.state.with_file_name(format!("chosen-{of}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    fn context(state: PathBuf) -> RunContext {
        RunContext { run: "test".into(), state, cache: PathBuf::new(), programs: PathBuf::new() }
    }

    #[test]
    fn prepare_gets_the_daemon_of_the_probe_or_none() {
        let run = tempfile::tempdir().unwrap();
        let of = |name: &str| context(run.path().join(name));
        let error = confirm(&of("o-docker"), "this").unwrap_err().to_string();
        assert!(error.contains("chosen-docker") && error.contains("is not known"), "{error}");
        remember(&of("p-docker"), "this").unwrap();
        assert!(confirm(&of("o-docker"), "this").is_ok());
        let error = confirm(&of("o-docker"), "that").unwrap_err().to_string();
        assert!(error.contains("the probe found this, and now there is that"), "{error}");
        assert!(confirm(&of("o-docker-A"), "this").is_err(), "the other side's probe is another one");
        assert!(confirm(&of("7"), "this").is_ok(), "no probe belongs to it");
    }

    #[test]
    fn a_choice_that_cannot_be_written_down_is_an_error() {
        let ctx = context("/nonexistent/p-docker".into());
        assert!(remember(&ctx, "this").unwrap_err().to_string().contains("/nonexistent/chosen-docker"));
    }

    #[test]
    fn a_listener_is_told_from_a_file_that_its_daemon_left() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let found = Listener::at(&socket).unwrap();
        assert_eq!(found.pid(), Some(std::process::id()));
        assert_eq!(Listener::at(&socket).unwrap(), found);
        drop(listener);
        assert_eq!(Listener::at(&socket).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(Listener::at(&dir.path().join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}

//! QMP, QEMU's control channel, over a pair of sockets of which QEMU inherits one: `quit` ends a machine in order, and
//! `query-status` says of one that keeps silent whether it runs at all.

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Longest wait for an answer: it comes from QEMU's own thread, whatever the guest does.
const ANSWER_DEADLINE: Duration = Duration::from_secs(2);

/// Commands are refused until this one has been said.
const NEGOTIATE: &str = r#"{"execute":"qmp_capabilities"}"#;

/// Our end.
#[derive(Debug)]
pub struct Control {
    stream: UnixStream,
    negotiated: bool,
}

impl Control {
    /// A control channel, and QEMU's end of it.
    pub fn pair() -> io::Result<(Control, UnixStream)> {
        let (stream, theirs) = UnixStream::pair()?;
        stream.set_read_timeout(Some(ANSWER_DEADLINE))?;
        stream.set_write_timeout(Some(ANSWER_DEADLINE))?;
        Ok((Control { stream, negotiated: false }, theirs))
    }

    /// Asks QEMU to end. Its end is the answer; a QEMU that is gone already is what was asked for.
    pub fn quit(&mut self) {
        let _ = self.send(r#"{"execute":"quit"}"#);
    }

    /// The machine's state in QEMU's words (`running`, `paused`, `internal-error`), if it answers.
    pub fn status(&mut self) -> Option<String> {
        self.send(r#"{"execute":"query-status","id":"status"}"#).ok()?;
        // Before the answer come the greeting, the answer to the negotiation and events.
        for line in BufReader::new(&self.stream).lines() {
            let line: serde_json::Value = serde_json::from_str(&line.ok()?).ok()?;
            if line.get("id").is_some() {
                return Some(line.get("return")?.get("status")?.as_str()?.to_string());
            }
        }
        None
    }

    fn send(&mut self, command: &str) -> io::Result<()> {
        if !self.negotiated {
            self.stream.write_all(NEGOTIATE.as_bytes())?;
            self.negotiated = true;
        }
        self.stream.write_all(command.as_bytes())
    }
}

/// Lets the next program that this process becomes keep `fd` open. To be called between fork and exec.
pub fn keep_open(fd: RawFd) -> io::Result<()> {
    // SAFETY: a plain system call, allowed after fork.
    if unsafe { libc::fcntl(fd, libc::F_SETFD, 0) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The number under which QEMU finds its end.
pub fn number(stream: &UnixStream) -> RawFd {
    stream.as_raw_fd()
}

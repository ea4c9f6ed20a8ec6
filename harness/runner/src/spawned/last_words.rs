//! What agents print on their standard error. Nobody is served by it until an agent dies: then it says why.

use std::collections::VecDeque;
use std::ffi::CString;
use std::fs::OpenOptions;
use std::io::{self, PipeWriter, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Bytes kept.
const KEPT: usize = 4096;

/// How long the reading thread may need for what a dead agent left in the pipe.
const DRAIN: Duration = Duration::from_millis(20);

/// One pipe for all agents of a deployment, drained by a thread: an agent that prints much neither stops at a full pipe
/// nor fills a disk, and no start or call pays for it.
#[derive(Debug)]
pub struct LastWords {
    pipe: PipeWriter,
    tail: Arc<Mutex<VecDeque<u8>>>,
}

impl LastWords {
    pub(super) fn listen() -> io::Result<LastWords> {
        let (reader, pipe) = io::pipe()?;
        Ok(LastWords::drain(reader, pipe))
    }

    /// The same for agents that something else starts, which is told of a fifo at `path`. The file is the caller's to
    /// remove.
    ///
    /// # Errors
    /// That of the system.
    pub fn fifo(path: &Path) -> io::Result<LastWords> {
        let name = CString::new(path.as_os_str().as_bytes())?;
        // SAFETY: a valid string.
        if unsafe { libc::mkfifo(name.as_ptr(), 0o600) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // Opening it would wait for the other end, which is opened next.
        let reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        let writer = OpenOptions::new().write(true).open(path)?;
        // SAFETY: an open descriptor; reading is to wait again.
        if unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_SETFL, 0) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(LastWords::drain(reader, OwnedFd::from(writer).into()))
    }

    fn drain(mut reader: impl Read + Send + 'static, pipe: PipeWriter) -> LastWords {
        let tail = Arc::new(Mutex::new(VecDeque::with_capacity(KEPT)));
        let kept = Arc::clone(&tail);
        // Ends when the deployment and its last agent are gone.
        thread::spawn(move || {
            let mut buffer = [0; 1024];
            while let Ok(n @ 1..) = reader.read(&mut buffer) {
                let Ok(mut kept) = kept.lock() else { return };
                let excess = (kept.len() + n).saturating_sub(KEPT).min(kept.len());
                kept.drain(..excess);
                kept.extend(&buffer[..n]);
            }
        });
        LastWords { pipe, tail }
    }

    /// A standard error for one agent.
    pub(super) fn stderr(&self) -> io::Result<Stdio> {
        self.pipe.try_clone().map(Stdio::from)
    }

    /// What has been printed of late, on one line.
    pub fn read(&self) -> String {
        thread::sleep(DRAIN);
        let bytes: Vec<u8> = self.tail.lock().map(|tail| tail.iter().copied().collect()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

//! The host's end of the transport: the guest dials the host. Every wait has a deadline, every failure a name.

use crate::stopwatch::Deadline;
use isobench_core::{Fault, FaultKind};
use isobench_guest::frame::{self, FrameError, Kind, Memory, PROTOCOL_VERSION, Wake};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often a wait for a connection looks whether the other side still lives. A connection ends the wait at once.
const ALIVE_CHECK: Duration = Duration::from_millis(20);

/// A Unix socket that an agent will dial. The file is removed on drop.
#[derive(Debug)]
pub struct Listener {
    listener: UnixListener,
    path: PathBuf,
}

impl Listener {
    /// Listens at `path`, whose folder must exist.
    pub fn bind(path: impl Into<PathBuf>) -> Result<Listener, Fault> {
        let path = path.into();
        let listener = UnixListener::bind(&path)
            .and_then(|l| l.set_nonblocking(true).map(|()| l))
            .map_err(|e| Fault::backend(format!("socket {}: {e}", path.display())))?;
        Ok(Listener { listener, path })
    }

    /// The socket's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the agent to connect. `alive` is asked now and then whether there is still something to wait for.
    /// `frame_limit` bounds every frame read from it.
    pub fn accept(
        &self,
        frame_limit: u64,
        deadline: Deadline,
        mut alive: impl FnMut() -> Result<(), Fault>,
    ) -> Result<Channel, Fault> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => return Channel::new(stream, frame_limit),
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(e) => return Err(Fault::backend(format!("socket {}: {e}", self.path.display()))),
            }
            let wait = deadline.remaining().min(ALIVE_CHECK);
            if wait.is_zero() {
                return Err(no_hello(&deadline, "the agent did not connect"));
            }
            if !readable(self.listener.as_raw_fd(), wait)? {
                alive()?;
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // The folder is removed with the block; a socket that is gone already is what we want.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn no_hello(deadline: &Deadline, what: &str) -> Fault {
    Fault::new(FaultKind::NoHello, deadline.fault(what).message)
}

/// Whether `fd` has something to read (or has ended) within `wait`.
fn readable(fd: i32, wait: Duration) -> Result<bool, Fault> {
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let millis = wait.as_millis().clamp(1, 1_000) as libc::c_int;
    // SAFETY: one valid pollfd.
    let n = unsafe { libc::poll(&mut poll, 1, millis) };
    let error = io::Error::last_os_error();
    if n < 0 && error.kind() != ErrorKind::Interrupted {
        return Err(Fault::new(FaultKind::Internal, format!("poll: {error}")));
    }
    Ok(n > 0)
}

/// A connection to one agent.
#[derive(Debug)]
pub struct Channel {
    stream: UnixStream,
    limit: usize,
    timeout: Duration,
    buffer: Vec<u8>,
}

impl Channel {
    /// Wraps a connected stream.
    pub fn new(stream: UnixStream, frame_limit: u64) -> Result<Channel, Fault> {
        Ok(Channel { stream, limit: frame_limit as usize, timeout: Duration::ZERO, buffer: Vec::new() })
    }

    /// Waits for the agent's first act.
    pub fn expect_up(&mut self, deadline: Deadline) -> Result<Instant, Fault> {
        self.expect(Kind::Up, deadline, "the agent's `up`")
    }

    /// Waits for `hello`: the guest is evaluated. Answers with the instant it arrived.
    pub fn expect_hello(&mut self, deadline: Deadline) -> Result<Instant, Fault> {
        let at = self.expect(Kind::Hello, deadline, "the agent's `hello`")?;
        match self.buffer.get(..2).map(|v| u16::from_le_bytes([v[0], v[1]])) {
            Some(PROTOCOL_VERSION) => Ok(at),
            other => Err(Fault::new(
                FaultKind::BadFrame,
                format!("the agent speaks protocol {other:?}, this harness {PROTOCOL_VERSION}: rebuild the guests"),
            )),
        }
    }

    /// Tells the agent of a restored or resumed instance that it is one: here are fresh entropy and the time. Its new
    /// `hello` says that it shares neither with another instance any more. Answers with the instant that arrived.
    pub fn wake(&mut self, deadline: Deadline) -> Result<Instant, Fault> {
        let wake = Wake { entropy: entropy()?, unix_ns: unix_ns() };
        self.set_timeout(deadline)?;
        frame::write_frame(&mut self.stream, Kind::Wake, &wake.encode()).map_err(|e| match e.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => no_hello(&deadline, "sending the agent `wake`"),
            _ => Fault::new(FaultKind::ChannelClosed, format!("sending the agent `wake`: {e}")),
        })?;
        self.expect_hello(deadline)
    }

    /// One request, one answer.
    pub fn call(&mut self, request: &[u8], deadline: Deadline) -> Result<Vec<u8>, Fault> {
        self.set_timeout(deadline)?;
        frame::write_frame(&mut self.stream, Kind::Call, request).map_err(|e| write_fault(e, &deadline))?;
        match self.read(deadline, "the answer")? {
            Kind::Answer => Ok(std::mem::take(&mut self.buffer)),
            Kind::Fault => Err(self.fault()),
            other => Err(unexpected(other, "an answer")),
        }
    }

    /// What the kernel on the agent's side says of memory; `None` where it says nothing.
    pub fn memory(&mut self, deadline: Deadline) -> Result<Option<Memory>, Fault> {
        self.set_timeout(deadline)?;
        frame::write_frame(&mut self.stream, Kind::Memory, &[]).map_err(|e| write_fault(e, &deadline))?;
        match self.read(deadline, "the agent's memory")? {
            Kind::Memory => Ok(Memory::decode(&self.buffer)),
            Kind::Fault => Err(self.fault()),
            other => Err(unexpected(other, "the agent's memory")),
        }
    }

    /// Asks the agent to leave. An agent that is gone already is what was asked for.
    pub fn send_stop(&mut self) {
        let _ = frame::write_frame(&mut self.stream, Kind::Stop, &[]);
    }

    fn expect(&mut self, kind: Kind, deadline: Deadline, what: &str) -> Result<Instant, Fault> {
        self.set_timeout(deadline)?;
        let got = self.read(deadline, what).map_err(|fault| match fault.kind {
            FaultKind::DeadlineExceeded => Fault::new(FaultKind::NoHello, fault.message),
            _ => fault,
        })?;
        let at = Instant::now();
        match got {
            Kind::Fault => Err(self.fault()),
            got if got == kind => Ok(at),
            other => Err(unexpected(other, what)),
        }
    }

    /// The timeout is set on the socket only when it changes, so that a series of calls pays no system call for it. A
    /// peer that drips bytes can prolong one read to twice the deadline, no further.
    fn set_timeout(&mut self, deadline: Deadline) -> Result<(), Fault> {
        let wanted = deadline.allowed().max(Duration::from_millis(1));
        if wanted != self.timeout {
            let set =
                self.stream.set_read_timeout(Some(wanted)).and_then(|()| self.stream.set_write_timeout(Some(wanted)));
            set.map_err(|e| Fault::backend(format!("socket: {e}")))?;
            self.timeout = wanted;
        }
        Ok(())
    }

    fn read(&mut self, deadline: Deadline, what: &str) -> Result<Kind, Fault> {
        let mut reader = Bounded { stream: &self.stream, deadline };
        frame::read_frame(&mut reader, self.limit, &mut self.buffer).map_err(|e| match e {
            FrameError::TooLarge { len, limit } => Fault::new(
                FaultKind::FrameTooLarge,
                format!("{what}: {len} bytes, the limit is {limit} (frame_mib in the workload's [limits])"),
            ),
            FrameError::UnknownKind(kind) => {
                Fault::new(FaultKind::BadFrame, format!("{what}: frame of unknown kind {kind}"))
            }
            FrameError::Closed => Fault::new(FaultKind::ChannelClosed, format!("{what}: the agent closed the channel")),
            FrameError::Short => {
                Fault::new(FaultKind::ChannelClosed, format!("{what}: the channel closed inside a frame"))
            }
            FrameError::Io(e) => match e.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => deadline.fault(what),
                _ => Fault::new(FaultKind::ChannelClosed, format!("{what}: {e}")),
            },
        })
    }

    /// The fault that the agent named.
    fn fault(&self) -> Fault {
        let text = String::from_utf8_lossy(&self.buffer);
        let (kind, message) = text.split_once(": ").unwrap_or(("internal", &text));
        Fault::new(FaultKind::from_name(kind), message)
    }
}

/// Bytes that nobody has seen, from the host's kernel.
fn entropy() -> Result<[u8; 32], Fault> {
    let mut bytes = [0; 32];
    // SAFETY: as many writable bytes as are asked for; so few come at once or not at all.
    match unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) } {
        32 => Ok(bytes),
        _ => Err(Fault::new(FaultKind::Internal, format!("getrandom: {}", io::Error::last_os_error()))),
    }
}

fn unix_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64)
}

fn unexpected(kind: Kind, wanted: &str) -> Fault {
    Fault::new(FaultKind::BadFrame, format!("a frame of kind {kind:?} where {wanted} was due"))
}

fn write_fault(e: io::Error, deadline: &Deadline) -> Fault {
    match e.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => deadline.fault("sending the request"),
        _ => Fault::new(FaultKind::ChannelClosed, format!("sending the request: {e}")),
    }
}

/// Reads that end at the deadline even where each one brings a byte.
struct Bounded<'a> {
    stream: &'a UnixStream,
    deadline: Deadline,
}

impl io::Read for Bounded<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut stream = self.stream;
        let n = io::Read::read(&mut stream, buf)?;
        if n > 0 && self.deadline.passed() {
            return Err(ErrorKind::TimedOut.into());
        }
        Ok(n)
    }
}

//! The program inside a boundary: dials the host, loads the guest, answers calls.
//!
//! An agent is an engine ([`Guest`]) and [`serve`]. Its order of acts is the definition of the phases the host
//! measures: connect, `up`, load, `hello`, then one answer per call until `stop` or the end of the channel. Over a
//! vsock, which ends when its machine is restored from a snapshot, it connects again: `up`, and on `wake` another
//! `hello`.

use std::fs::File;
use std::io::{self, BufReader};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
#[cfg(target_os = "linux")]
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicI32, Ordering};

use crate::fault;
pub use crate::fault::AgentFault;
use crate::frame::{FrameError, Hello, Kind, Memory, PROTOCOL_VERSION, Wake, read_frame, write_frame};

mod args;
#[cfg(target_os = "linux")]
pub mod init;
#[cfg(target_os = "linux")]
mod vsock;
#[cfg(target_os = "linux")]
mod zygote;

pub use args::{Args, Connect};

/// Header and payload of a small request arrive in one read; a larger one passes the buffer by.
const READ_BUFFER: usize = 8 * 1024;

/// A loaded guest: an engine that answers requests.
pub trait Guest {
    /// Answers one request.
    ///
    /// # Errors
    /// The guest's failure. The agent reports it and goes on, so the next call must find the guest usable or fail too.
    fn handle(&mut self, request: &[u8]) -> Result<Vec<u8>, AgentFault>;

    /// The instance was restored or resumed: here are fresh entropy and the time, in ns since the Unix epoch. In a
    /// microVM the kernel has been told already; what remains is what the engine keeps itself.
    fn wake(&mut self, entropy: &[u8; 32], unix_ns: u64) {
        let _ = (entropy, unix_ns);
    }

    /// Whether a copy made by `fork` is whole. An engine with threads of its own has lost them there.
    fn survives_fork(&self) -> bool {
        false
    }
}

/// The `main` of an agent. `name` names the agent and its engine's version; `load` makes the guest and is called after
/// `up` has been sent.
///
/// Exit codes: 0 after `stop` or when the host closed the channel, 1 when the guest could not be loaded or the channel
/// failed, 2 for wrong arguments. As the init of a microVM (see [`init`]) it ends the machine instead.
pub fn serve<G: Guest>(name: &str, load: impl FnOnce(&Args) -> Result<G, AgentFault>) -> ExitCode {
    #[cfg(target_os = "linux")]
    if init::is_init() {
        // A panic that left this function would end init, and the kernel with it, which then hangs until the deadline.
        let life = AssertUnwindSafe(|| init::set_up().and_then(|args| run(name, &args, load)));
        init::end_machine(catch_unwind(life).unwrap_or_else(|_| Err(format!("{name} panicked"))));
    }
    let args = match Args::parse(std::env::args_os().skip(1)) {
        Ok(args) => args,
        Err(message) => {
            eprintln!("{name}: {message}\n{}", args::USAGE);
            return ExitCode::from(2);
        }
    };
    match run(name, &args, load) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{name}: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run<G: Guest>(name: &str, args: &Args, load: impl FnOnce(&Args) -> Result<G, AgentFault>) -> Result<(), String> {
    let channel =
        connect(&args.connect).map_err(|error| format!("can't reach the host at {}: {error}", args.connect))?;
    CHANNEL.store(channel.as_raw_fd(), Ordering::Relaxed);
    let served = session(&channel, name, args, connect, load);
    CHANNEL.store(-1, Ordering::Relaxed);
    #[cfg(target_os = "linux")]
    if served.is_err() && matches!(args.connect, Connect::Vsock(_)) {
        vsock::linger(channel.as_raw_fd());
    }
    served
}

fn connect(to: &Connect) -> io::Result<File> {
    match to {
        Connect::Unix(path) => Ok(File::from(OwnedFd::from(UnixStream::connect(path)?))),
        #[cfg(target_os = "linux")]
        Connect::Port(port) => init::open_port(port),
        #[cfg(target_os = "linux")]
        Connect::Vsock(port) => vsock::connect(*port),
        #[cfg(not(target_os = "linux"))]
        Connect::Port(_) | Connect::Vsock(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Everything after the connection; the error is a sentence for the standard error. `dial` connects again.
fn session<G: Guest>(
    channel: &File,
    name: &str,
    args: &Args,
    dial: impl Fn(&Connect) -> io::Result<File>,
    load: impl FnOnce(&Args) -> Result<G, AgentFault>,
) -> Result<(), String> {
    let send = |kind, payload: &[u8]| {
        write_frame(&mut &*channel, kind, payload).map_err(|error| format!("can't write to the host: {error}"))
    };
    let send_fault = |fault: &AgentFault| send(Kind::Fault, fault.to_string().as_bytes());

    send(Kind::Up, &[])?;
    let mut guest = match load(args) {
        Ok(guest) => guest,
        Err(fault) => {
            send_fault(&fault)?;
            return Err(format!("the guest can't be loaded: {fault}"));
        }
    };
    let hello = Hello { version: PROTOCOL_VERSION, agent: name }.encode();
    send(Kind::Hello, &hello)?;

    #[cfg(target_os = "linux")]
    if args.zygote {
        if !guest.survives_fork() {
            return Err(format!("{name} can't be a zygote: its engine does not survive a fork"));
        }
        if !zygote::copies(channel)? {
            return Ok(());
        }
        send(Kind::Up, &[])?;
        send(Kind::Hello, &hello)?;
    }

    let mut incoming = BufReader::with_capacity(READ_BUFFER, channel);
    let mut request = Vec::new();
    loop {
        match read_frame(&mut incoming, args.frame, &mut request) {
            Ok(Kind::Call) => match guest.handle(&request).and_then(|answer| within(answer, args.frame)) {
                Ok(answer) => send(Kind::Answer, &answer)?,
                Err(fault) => send_fault(&fault)?,
            },
            Ok(Kind::Wake) => {
                let wake = Wake::decode(&request).ok_or("the host sent a malformed wake")?;
                #[cfg(target_os = "linux")]
                if std::process::id() == 1 && !matches!(args.connect, Connect::Unix(_)) {
                    init::wake(&wake).map_err(|error| format!("can't seed the kernel and set its clock: {error}"))?;
                }
                guest.wake(&wake.entropy, wake.unix_ns);
                send(Kind::Hello, &hello)?;
            }
            Ok(Kind::Memory) => {
                let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
                send(Kind::Memory, &Memory::parse(&meminfo).map(|memory| memory.encode()).unwrap_or_default())?;
            }
            Ok(Kind::Stop) => return Ok(()),
            #[cfg(target_os = "linux")]
            Err(error) if matches!(args.connect, Connect::Vsock(_)) && vsock::is_gone(&error) => {
                match dial(&args.connect).and_then(|new| vsock::replace(channel, &new)) {
                    Ok(()) => {}
                    // It was no restore: the host has closed the channel and left.
                    Err(_) if matches!(error, FrameError::Closed) => return Ok(()),
                    Err(e) => return Err(format!("can't reach the host at {} again: {e}", args.connect)),
                }
                // What the host has to say to a restored machine is `wake`, which `hello` answers.
                send(Kind::Up, &[])?;
                incoming = BufReader::with_capacity(READ_BUFFER, channel);
            }
            Err(FrameError::Closed) => return Ok(()),
            Ok(kind) => return Err(format!("the host sent {kind:?}, which only an agent sends")),
            Err(error @ FrameError::TooLarge { .. }) => {
                send_fault(&AgentFault::new(fault::FRAME_TOO_LARGE, format!("the request: {error}")))?;
                return Err(error.to_string());
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

fn within(answer: Vec<u8>, limit: usize) -> Result<Vec<u8>, AgentFault> {
    if answer.len() <= limit {
        return Ok(answer);
    }
    let message = format!("the answer has {} bytes, the limit is {limit}", answer.len());
    Err(AgentFault::new(fault::FRAME_TOO_LARGE, message))
}

/// The channel for last words; negative when there is none.
static CHANNEL: AtomicI32 = AtomicI32::new(-1);

/// Tells the host that the guest ran out of memory and ends the process. Needs no memory itself.
pub fn exit_out_of_memory() -> ! {
    const LINE: &[u8] = b"out_of_memory: the guest asked for more memory than its limit";
    let mut frame = [0; crate::frame::HEADER_LEN + LINE.len()];
    // An array as a channel: no allocation, and it can't fail because it is just long enough.
    let _ = write_frame(&mut &mut frame[..], Kind::Fault, LINE);
    // SAFETY: the frame outlives the call; a descriptor that is not open is refused by the kernel.
    unsafe {
        libc::write(CHANNEL.load(Ordering::Relaxed), frame.as_ptr().cast(), frame.len());
        #[cfg(target_os = "linux")]
        if libc::getpid() == 1 {
            vsock::linger(CHANNEL.load(Ordering::Relaxed));
            init::reboot();
        }
        libc::_exit(1)
    }
}

#[cfg(test)]
#[path = "agent_tests.rs"]
mod tests;

//! One microVM: a QEMU process, the agent's channel, and what the guest's console said.

use crate::control::{self, Control};
use crate::machine::{Machine, Parts};
use isobench_core::{Fault, FaultKind};
use isobench_runner::channel::{Channel, Listener};
use isobench_runner::{Attribution, Deadline, Instance, Phases};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The most a guest's console may write, in bytes; what comes after is lost.
pub const LOG_LIMIT: u64 = 256 << 10;

/// Longest wait for a QEMU whose channel has closed to be gone too, so that its fault can say why.
const DEATH_DEADLINE: Duration = Duration::from_secs(2);

/// What the kernel or an agent says when memory is out, in a panic's words or its own.
const MEMORY_WORDS: [&str; 3] = ["System is deadlocked on memory", "Out of memory", "memory allocation of"];

/// Numbers the machines of this process: their files share one folder.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// What a machine is started from.
#[derive(Debug, Clone)]
pub struct Image {
    /// The machine.
    pub machine: Machine,
    /// The guest's memory.
    pub memory_mib: u64,
    /// The root file system.
    pub initramfs: PathBuf,
    /// The folder for socket and log.
    pub state: PathBuf,
    /// The longest frame taken in.
    pub frame_limit: u64,
}

/// A running microVM. Dropping it kills QEMU.
#[derive(Debug)]
pub struct Vm {
    // Fields are dropped in this order: QEMU before its files.
    qemu: Qemu,
    channel: Channel,
}

impl Vm {
    /// Boots a machine to its agent's hello. `create` ends when QEMU, with its devices made, has connected the port to our
    /// socket; `boot` ends at the agent's `up`.
    pub fn start(image: &Image, phases: &mut Phases, deadline: Deadline) -> Result<Vm, Fault> {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let listener = Listener::bind(image.state.join(format!("vm{n}.sock")))?;
        let mut qemu = Qemu::spawn(image, listener.path(), image.state.join(format!("vm{n}.log")))?;
        let mut channel = listener.accept(image.frame_limit, deadline, || qemu.alive())?;
        phases.end("create");
        let begun = channel.expect_up(deadline).and_then(|up| {
            phases.end_at("boot", up);
            channel.expect_hello(deadline)
        });
        match begun {
            Ok(_) => Ok(Vm { qemu, channel }),
            Err(fault) => Err(qemu.explain(fault)),
        }
    }
}

impl Instance for Vm {
    fn call(&mut self, request: &[u8], deadline: Deadline) -> Result<Vec<u8>, Fault> {
        self.channel.call(request, deadline).map_err(|fault| self.qemu.explain(fault))
    }

    fn footprint(&self) -> Attribution {
        Attribution::process(self.qemu.child.id())
    }

    fn stop(mut self: Box<Self>, deadline: Deadline) -> Result<(), Fault> {
        self.qemu.control.quit();
        match self.qemu.wait(deadline.remaining())? {
            Some(_) => Ok(()),
            // Dropped on return, and so killed.
            None => Err(deadline.fault("QEMU, asked to quit")),
        }
    }
}

/// The QEMU process and the log of its guest's console. Dropping it kills the one and removes the other.
#[derive(Debug)]
struct Qemu {
    child: Child,
    /// Readable when the process has ended: a wait with a deadline and without polling.
    ended: OwnedFd,
    control: Control,
    log: PathBuf,
}

impl Qemu {
    fn spawn(image: &Image, socket: &Path, log: PathBuf) -> Result<Qemu, Fault> {
        let failed = |what: &dyn std::fmt::Display, e: io::Error| Fault::backend(format!("{what}: {e}"));
        // QEMU's own complaints and the guest's console share the file, both at its end.
        let stderr = OpenOptions::new().create(true).append(true).open(&log).map_err(|e| failed(&log.display(), e))?;
        let (control, theirs) = Control::pair().map_err(|e| failed(&"control socket", e))?;
        let theirs_number = control::number(&theirs);
        let parts = Parts {
            initramfs: &image.initramfs,
            memory_mib: image.memory_mib,
            socket,
            log: &log,
            control: theirs_number,
        };
        let program = &image.machine.qemu.program;
        let mut command = Command::new(program);
        command.args(image.machine.arguments(&parts)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        // SAFETY: only system calls that are allowed after fork.
        unsafe { command.pre_exec(move || prepare_child(theirs_number)) };
        let child = command.spawn().map_err(|e| failed(&program.display(), e))?;
        drop(theirs);
        match pidfd(&child) {
            Ok(ended) => Ok(Qemu { child, ended, control, log }),
            Err(e) => {
                let mut child = child;
                let _ = child.kill();
                let _ = child.wait();
                Err(failed(&"pidfd_open", e))
            }
        }
    }

    /// A fault if the process has ended.
    fn alive(&mut self) -> Result<(), Fault> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(Fault::backend(format!("QEMU {}{}", how(status), self.last_words()))),
            Err(e) => Err(Fault::backend(format!("waiting for QEMU: {e}"))),
        }
    }

    /// How the process ended, if it has within `wait`.
    fn wait(&mut self, wait: Duration) -> Result<Option<ExitStatus>, Fault> {
        let mut poll = libc::pollfd { fd: self.ended.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let millis = wait.as_millis().min(i32::MAX as u128) as libc::c_int;
        // SAFETY: one valid pollfd. An interrupted wait is looked at like one that has passed.
        unsafe { libc::poll(&mut poll, 1, millis) };
        self.child.try_wait().map_err(|e| Fault::backend(format!("waiting for QEMU: {e}")))
    }

    /// Adds to a fault of the channel what QEMU and the guest's console know about it.
    fn explain(&mut self, fault: Fault) -> Fault {
        match fault.kind {
            FaultKind::ChannelClosed => match self.wait(DEATH_DEADLINE) {
                // With `-no-reboot`, a guest that restarts or panics ends QEMU in order.
                Ok(Some(status)) if status.success() => {
                    let words = self.last_words();
                    let memory = MEMORY_WORDS.iter().any(|w| words.contains(w));
                    let kind = if memory { FaultKind::OutOfMemory } else { fault.kind };
                    Fault::new(kind, format!("the guest ended its machine{words}")).context(fault.message)
                }
                Ok(Some(status)) => {
                    Fault::backend(format!("QEMU {}{}", how(status), self.last_words())).context(fault.message)
                }
                _ => fault,
            },
            FaultKind::NoHello => {
                let status = self.control.status().unwrap_or_else(|| "silent".into());
                let message = format!("{}; the machine is {status}{}", fault.message, self.last_words());
                Fault::new(fault.kind, message)
            }
            _ => fault,
        }
    }

    /// What was said last, behind a colon: the agent's or the panic's own line where there is one.
    fn last_words(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        words_of(&String::from_utf8_lossy(&text)).map_or_else(String::new, |words| format!(": {words}"))
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // A process that has ended and been waited for is left alone by `kill`.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.log);
    }
}

fn words_of(log: &str) -> Option<String> {
    let telling = ["isobench agent:", "Kernel panic - not syncing:"];
    let line = log.lines().find_map(|line| telling.iter().find_map(|t| Some(&line[line.find(t)?..])));
    let last: Vec<&str> =
        log.lines().map(str::trim).filter(|l| !l.is_empty() && !l.ends_with("Restarting system")).collect();
    let last = last[last.len().saturating_sub(3)..].join(" | ");
    line.map(|l| l.trim().to_string()).or((!last.is_empty()).then_some(last))
}

fn how(status: ExitStatus) -> String {
    status.signal().map_or_else(|| format!("ended with {status}"), |signal| format!("was killed by signal {signal}"))
}

/// What must be true of QEMU before it is QEMU: it dies with the thread that made it, keeps its end of the control
/// socket, and its guest's console cannot fill the disk (over the limit writes fail, and QEMU goes on).
fn prepare_child(control: i32) -> io::Result<()> {
    control::keep_open(control)?;
    let limit = libc::rlimit { rlim_cur: LOG_LIMIT, rlim_max: LOG_LIMIT };
    // SAFETY: plain system calls; the struct lives through the call that reads it.
    let done = unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0
            && libc::signal(libc::SIGXFSZ, libc::SIG_IGN) != libc::SIG_ERR
            && libc::setrlimit(libc::RLIMIT_FSIZE, &limit) == 0
    };
    if done { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn pidfd(child: &Child) -> io::Result<OwnedFd> {
    // SAFETY: a plain system call on a child that has not been waited for; the new descriptor is owned here alone.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, child.id() as libc::pid_t, 0);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd as i32)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_telling_line_of_a_console_is_found() {
        let panic = "[ 1.0] Kernel panic - not syncing: System is deadlocked on memory\n[ 1.1] CPU: 0 PID: 1\n";
        assert_eq!(words_of(panic).unwrap(), "Kernel panic - not syncing: System is deadlocked on memory");
        let agent = "[ 0.5] x\nisobench agent: can't load\n[ 0.6] reboot: Restarting system\n";
        assert_eq!(words_of(agent).unwrap(), "isobench agent: can't load");
        assert_eq!(words_of("a\n\nb\n[ 1.1] reboot: Restarting system\n").unwrap(), "a | b");
        assert_eq!(words_of(""), None);
    }
}

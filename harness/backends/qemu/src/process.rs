//! The QEMU process of a machine: how it is made, how it ends, and what it and the guest's console said.

use crate::control::{self, Control};
use crate::machine::{Beginning, Parts};
use crate::vm::Image;
use isobench_core::{Fault, FaultKind};
use isobench_runner::Deadline;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// The most a guest's console may write, in bytes; what comes after is lost.
pub const LOG_LIMIT: u64 = 256 << 10;

/// Longest wait for a QEMU whose channel has closed to be gone too, so that its fault can say why.
const DEATH_DEADLINE: Duration = Duration::from_secs(2);

/// What the kernel or an agent says when memory is out, in a panic's words or its own.
const MEMORY_WORDS: [&str; 3] = ["System is deadlocked on memory", "Out of memory", "memory allocation of"];

/// The QEMU process and the log of its guest's console. Dropping it kills the one and removes the other.
#[derive(Debug)]
pub struct Qemu {
    child: Child,
    /// Readable when the process has ended: a wait with a deadline and without polling.
    ended: OwnedFd,
    /// How it is spoken to.
    pub control: Control,
    log: PathBuf,
}

impl Qemu {
    /// Starts QEMU with its files below the image's folder.
    pub fn spawn(image: &Image, beginning: &Beginning, socket: &Path, log: PathBuf) -> Result<Qemu, Fault> {
        let failed = |what: &dyn std::fmt::Display, e: io::Error| Fault::backend(format!("{what}: {e}"));
        // QEMU's own complaints and the guest's console share the file, both at its end.
        let stderr = OpenOptions::new().create(true).append(true).open(&log).map_err(|e| failed(&log.display(), e))?;
        let (control, theirs) = Control::pair().map_err(|e| failed(&"control socket", e))?;
        let theirs_number = control::number(&theirs);
        let parts = Parts {
            beginning: *beginning,
            initramfs: &image.initramfs,
            memory_mib: image.memory_mib,
            socket,
            log: &log,
            control: theirs_number,
        };
        let program = &image.machine.qemu.program;
        let mut command = Command::new(program);
        command.args(image.machine.arguments(&parts)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        let kept = [Some(theirs_number), beginning.inherited()];
        // SAFETY: only system calls that are allowed after fork.
        unsafe { command.pre_exec(move || prepare_child(kept)) };
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

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// A fault if the process has ended.
    pub fn alive(&mut self) -> Result<(), Fault> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(Fault::backend(format!("QEMU {}{}", how(status), self.last_words()))),
            Err(e) => Err(Fault::backend(format!("waiting for QEMU: {e}"))),
        }
    }

    /// How the process ended, if it has within `wait`.
    pub fn wait(&mut self, wait: Duration) -> Result<Option<ExitStatus>, Fault> {
        let mut poll = libc::pollfd { fd: self.ended.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let millis = wait.as_millis().min(i32::MAX as u128) as libc::c_int;
        // SAFETY: one valid pollfd. An interrupted wait is looked at like one that has passed.
        unsafe { libc::poll(&mut poll, 1, millis) };
        self.child.try_wait().map_err(|e| Fault::backend(format!("waiting for QEMU: {e}")))
    }

    /// The fault of QMP that did not do what it was asked to.
    pub fn failed(&mut self, what: &str, error: &io::Error, deadline: &Deadline) -> Fault {
        let kind = match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                Fault::new(FaultKind::NoHello, deadline.fault(what).message)
            }
            io::ErrorKind::Other => Fault::backend(format!("{what}: {error}")),
            // It hung up, and ends.
            _ => Fault::new(FaultKind::ChannelClosed, format!("{what}: {error}")),
        };
        self.explain(kind)
    }

    /// Adds to a fault of the channel what QEMU and the guest's console know about it.
    pub fn explain(&mut self, fault: Fault) -> Fault {
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
/// socket and what else it is to find open, and its guest's console cannot fill the disk (over the limit writes fail, and
/// QEMU goes on).
fn prepare_child(kept: [Option<RawFd>; 2]) -> io::Result<()> {
    for fd in kept.into_iter().flatten() {
        control::keep_open(fd)?;
    }
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

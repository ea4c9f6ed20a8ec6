//! A virtual machine monitor's process, whichever it is: how it is made, how it ends, and what it and the guest's
//! console said.

use isobench_core::{Fault, FaultKind};
use isobench_runner::Deadline;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// The most a guest's console may write, in bytes; what comes after is lost.
pub const LOG_LIMIT: u64 = 256 << 10;

/// Longest wait for a process whose channel has closed to be gone too, so that its fault can say why.
const DEATH_DEADLINE: Duration = Duration::from_secs(2);

/// What the kernel or an agent says when memory is out, in a panic's words or its own.
const MEMORY_WORDS: [&str; 3] = ["System is deadlocked on memory", "Out of memory", "memory allocation of"];

/// The process and the log of its guest's console. Dropping it kills the one and removes the other.
#[derive(Debug)]
pub struct Vmm {
    name: &'static str,
    child: Child,
    /// Readable when the process has ended: a wait with a deadline and without polling.
    ended: OwnedFd,
    log: PathBuf,
}

impl Vmm {
    /// Starts `command`, which messages call `name`. What it says goes to `log`, the guest's console with it: no file
    /// that it writes may have more than `file_limit` bytes. `prepare` runs in the new process, between fork and exec.
    ///
    /// # Errors
    /// The fault of a file or a program that cannot be had.
    pub fn spawn(
        name: &'static str,
        command: &mut Command,
        log: PathBuf,
        file_limit: u64,
        mut prepare: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
    ) -> Result<Vmm, Fault> {
        let failed = |what: &dyn std::fmt::Display, e: io::Error| Fault::backend(format!("{what}: {e}"));
        // All who write to the file do so at its end.
        let open = || OpenOptions::new().create(true).append(true).open(&log);
        let (stdout, stderr) =
            open().and_then(|out| Ok((out.try_clone()?, out))).map_err(|e| failed(&log.display(), e))?;
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        // SAFETY: only system calls that are allowed after fork.
        unsafe { command.pre_exec(move || prepare_child(file_limit).and_then(|()| prepare())) };
        let mut child = command.spawn().map_err(|e| {
            let _ = fs::remove_file(&log);
            failed(&command.get_program().display(), e)
        })?;
        match pidfd(&child) {
            Ok(ended) => Ok(Vmm { name, child, ended, log }),
            Err(e) => {
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
            Ok(Some(status)) => Err(Fault::backend(self.ending(status))),
            Err(e) => Err(self.unwaited(e)),
        }
    }

    /// How the process ended, if it has within `wait`.
    pub fn wait(&mut self, wait: Duration) -> Result<Option<ExitStatus>, Fault> {
        let mut poll = libc::pollfd { fd: self.ended.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let millis = wait.as_millis().min(i32::MAX as u128) as libc::c_int;
        // SAFETY: one valid pollfd. An interrupted wait is looked at like one that has passed.
        unsafe { libc::poll(&mut poll, 1, millis) };
        self.child.try_wait().map_err(|e| self.unwaited(e))
    }

    /// Kills it, and waits until it is gone.
    fn kill(&mut self) {
        // A process that has ended and been waited for is left alone by `kill`.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The same with a deadline.
    ///
    /// # Errors
    /// It is not gone by then.
    pub fn end(&mut self, deadline: Deadline) -> Result<(), Fault> {
        let _ = self.child.kill();
        match self.wait(deadline.remaining())? {
            Some(_) => Ok(()),
            None => Err(deadline.fault(format!("{}, killed,", self.name))),
        }
    }

    /// Adds to a fault of the channel what the process and the guest's console know about it; `state` asks how the
    /// machine is.
    pub fn explain(&mut self, fault: Fault, state: impl FnOnce() -> String) -> Fault {
        match fault.kind {
            FaultKind::ChannelClosed => match self.wait(DEATH_DEADLINE) {
                // A guest that restarts or panics ends its machine in order.
                Ok(Some(status)) if status.success() => {
                    let words = self.last_words();
                    let memory = MEMORY_WORDS.iter().any(|w| words.contains(w));
                    let kind = if memory { FaultKind::OutOfMemory } else { fault.kind };
                    Fault::new(kind, format!("the guest ended its machine{words}")).context(fault.message)
                }
                Ok(Some(status)) => Fault::backend(self.ending(status)).context(fault.message),
                _ => fault,
            },
            FaultKind::NoHello => {
                let message = format!("{}; the machine is {}{}", fault.message, state(), self.last_words());
                Fault::new(fault.kind, message)
            }
            _ => fault,
        }
    }

    fn ending(&self, status: ExitStatus) -> String {
        format!("{} {}{}", self.name, how(status), self.last_words())
    }

    fn unwaited(&self, e: io::Error) -> Fault {
        Fault::backend(format!("waiting for {}: {e}", self.name))
    }

    /// What was said last, behind a colon: the agent's or the panic's own line where there is one.
    fn last_words(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        words_of(&String::from_utf8_lossy(&text)).map_or_else(String::new, |words| format!(": {words}"))
    }
}

impl Drop for Vmm {
    fn drop(&mut self) {
        self.kill();
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

/// What must be true of the process before it is its program: it dies with the thread that made it, and its guest's
/// console cannot fill the disk (over the limit writes fail, and it goes on).
fn prepare_child(file_limit: u64) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: plain system calls; the struct lives through those that write and read it.
    let done = unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0
            && libc::signal(libc::SIGXFSZ, libc::SIG_IGN) != libc::SIG_ERR
            && libc::getrlimit(libc::RLIMIT_FSIZE, &mut limit) == 0
            && {
                // The soft limit: it bounds a console, and is no fence against the program.
                limit.rlim_cur = file_limit.min(limit.rlim_max);
                libc::setrlimit(libc::RLIMIT_FSIZE, &limit) == 0
            }
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

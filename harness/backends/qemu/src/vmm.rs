//! A virtual machine monitor's process, whichever it is: how it is made, how it ends, and what it and the guest's
//! console said.

use isobench_core::{Fault, FaultKind};
use isobench_runner::Deadline;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

/// The most a guest's console may write, in bytes; what comes after is lost.
pub const LOG_LIMIT: u64 = 256 << 10;

/// Longest wait for a process whose channel has closed to be gone too, so that its fault can say why.
const DEATH_DEADLINE: Duration = Duration::from_secs(2);

/// What the kernel or an agent says when memory is out, in a panic's words or its own.
const MEMORY_WORDS: [&str; 3] = ["System is deadlocked on memory", "Out of memory", "memory allocation of"];

/// Where what a process and its guest's console say is kept, of at most [`LOG_LIMIT`] bytes.
#[derive(Debug)]
pub enum Log {
    /// A file that the process opens by its name, too; removed in the end. No file that it writes may have more.
    Named(PathBuf),
    /// A file without a name that cannot grow: what is more is refused, and no signal sent, on which Firecracker ends.
    Sealed(File),
}

impl Log {
    /// A file without a name.
    ///
    /// # Errors
    /// The fault of the system.
    pub fn sealed() -> Result<Log, Fault> {
        sealed(LOG_LIMIT).map(Log::Sealed).map_err(|e| Fault::backend(format!("a log in memory: {e}")))
    }

    /// What the process is to write to; both at one place.
    fn open(&self) -> io::Result<(File, File)> {
        let file = match self {
            // All who write to the file do so at its end.
            Log::Named(path) => OpenOptions::new().create(true).append(true).open(path)?,
            Log::Sealed(file) => file.try_clone()?,
        };
        Ok((file.try_clone()?, file))
    }

    fn read(&self) -> Vec<u8> {
        match self {
            Log::Named(path) => fs::read(path).unwrap_or_default(),
            Log::Sealed(file) => {
                let mut text = vec![0; LOG_LIMIT as usize];
                let got = file.read_at(&mut text, 0).unwrap_or(0);
                // What has not been written to is zeros.
                let end = text[..got].iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
                text.truncate(end);
                text
            }
        }
    }

    fn remove(&self) {
        if let Log::Named(path) = self {
            let _ = fs::remove_file(path);
        }
    }
}

fn sealed(bytes: u64) -> io::Result<File> {
    // SAFETY: a C string that lives through the call; the new descriptor is owned here alone.
    let file = unsafe {
        match libc::memfd_create(c"console".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) {
            ..0 => return Err(io::Error::last_os_error()),
            fd => File::from_raw_fd(fd),
        }
    };
    file.set_len(bytes)?;
    // SAFETY: a plain system call.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, libc::F_SEAL_GROW | libc::F_SEAL_SHRINK) } {
        0 => Ok(file),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The process and the log of its guest's console. Dropping it kills the one and removes the other.
#[derive(Debug)]
pub struct Vmm {
    name: &'static str,
    /// A child of this process, not waited for while there is no `status`.
    id: u32,
    status: Option<ExitStatus>,
    /// Readable when the process has ended: a wait with a deadline and without polling.
    ended: OwnedFd,
    log: Log,
}

impl Vmm {
    /// Starts `command`, which messages call `name`. What it says goes to `log`, the guest's console with it. `prepare`
    /// runs in the new process, between fork and exec.
    ///
    /// # Errors
    /// The fault of a file or a program that cannot be had.
    pub fn spawn(
        name: &'static str,
        command: &mut Command,
        log: Log,
        mut prepare: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
    ) -> Result<Vmm, Fault> {
        let failed = |what: &dyn std::fmt::Display, e: io::Error| Fault::backend(format!("{what}: {e}"));
        let (stdout, stderr) = log.open().map_err(|e| failed(&"the log of a console", e))?;
        let limited = matches!(log, Log::Named(_));
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        // SAFETY: only system calls that are allowed after fork.
        unsafe { command.pre_exec(move || prepare_child(limited).and_then(|()| prepare())) };
        let mut child = command.spawn().map_err(|e| {
            log.remove();
            failed(&command.get_program().display(), e)
        })?;
        match pidfd(child.id()) {
            Ok(ended) => Ok(Vmm { name, id: child.id(), status: None, ended, log }),
            Err(e) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(failed(&"pidfd_open", e))
            }
        }
    }

    /// Goes on with another child of this process, called `name`, which the one that has ended left in its place.
    ///
    /// # Errors
    /// The fault of one that there is not.
    pub fn succeeded_by(&mut self, name: &'static str, id: u32) -> Result<(), Fault> {
        self.ended = pidfd(id).map_err(|e| Fault::backend(format!("{name}, process {id}: {e}")))?;
        (self.name, self.id, self.status) = (name, id, None);
        Ok(())
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// A fault if the process has ended.
    pub fn alive(&mut self) -> Result<(), Fault> {
        match self.reap(libc::WNOHANG) {
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
        self.reap(libc::WNOHANG).map_err(|e| self.unwaited(e))
    }

    /// How it ended, if it has.
    fn reap(&mut self, options: libc::c_int) -> io::Result<Option<ExitStatus>> {
        let mut status = 0;
        while self.status.is_none() {
            // SAFETY: the struct lives through the call. Only this waits for the child.
            match unsafe { libc::waitpid(self.id as libc::pid_t, &mut status, options) } {
                0 => break,
                ..0 => match io::Error::last_os_error() {
                    e if e.kind() == io::ErrorKind::Interrupted => {}
                    e => return Err(e),
                },
                _ => self.status = Some(ExitStatus::from_raw(status)),
            }
        }
        Ok(self.status)
    }

    fn kill(&self) {
        if self.status.is_none() {
            // SAFETY: a signal to a child that has not been waited for.
            unsafe { libc::kill(self.id as libc::pid_t, libc::SIGKILL) };
        }
    }

    /// Kills it, and waits until it is gone.
    ///
    /// # Errors
    /// It is not gone by then.
    pub fn end(&mut self, deadline: Deadline) -> Result<(), Fault> {
        self.kill();
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
                Ok(Some(status)) if !status.success() => Fault::backend(self.ending(status)).context(fault.message),
                // A guest that restarts or panics ends its machine in order; Cloud Hypervisor has it begin anew.
                Ok(ended) if ended.is_some() || telling(&self.said()).is_some() => {
                    let words = self.last_words();
                    let memory = MEMORY_WORDS.iter().any(|w| words.contains(w));
                    let kind = if memory { FaultKind::OutOfMemory } else { fault.kind };
                    Fault::new(kind, format!("the guest ended its machine{words}")).context(fault.message)
                }
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
        words_of(&self.said()).map_or_else(String::new, |words| format!(": {words}"))
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&self.log.read()).into_owned()
    }
}

impl Drop for Vmm {
    fn drop(&mut self) {
        self.kill();
        let _ = self.reap(0);
        self.log.remove();
    }
}

/// The line that says why a guest's machine has ended.
fn telling(log: &str) -> Option<&str> {
    let beginnings = ["isobench agent:", "Kernel panic - not syncing:"];
    log.lines().find_map(|line| beginnings.iter().find_map(|t| Some(&line[line.find(t)?..])))
}

fn words_of(log: &str) -> Option<String> {
    let line = telling(log);
    let last: Vec<&str> =
        log.lines().map(str::trim).filter(|l| !l.is_empty() && !l.ends_with("Restarting system")).collect();
    let last = last[last.len().saturating_sub(3)..].join(" | ");
    line.map(|l| l.trim().to_string()).or((!last.is_empty()).then_some(last))
}

fn how(status: ExitStatus) -> String {
    status.signal().map_or_else(|| format!("ended with {status}"), |signal| format!("was killed by signal {signal}"))
}

/// What must be true of the process before it is its program: it dies with the thread that made it, and where its files
/// are `limited`, its guest's console cannot fill the disk (over the limit writes fail, and it goes on).
fn prepare_child(limited: bool) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: plain system calls; the struct lives through those that write and read it.
    let done = unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0
            && (!limited
                || libc::signal(libc::SIGXFSZ, libc::SIG_IGN) != libc::SIG_ERR
                    && libc::getrlimit(libc::RLIMIT_FSIZE, &mut limit) == 0
                    && {
                        // The soft limit: it bounds a console, and is no fence against the program.
                        limit.rlim_cur = LOG_LIMIT.min(limit.rlim_max);
                        libc::setrlimit(libc::RLIMIT_FSIZE, &limit) == 0
                    })
    };
    if done { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn pidfd(id: u32) -> io::Result<OwnedFd> {
    // SAFETY: a plain system call; the new descriptor is owned here alone.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, id as libc::pid_t, 0);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd as i32)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_sealed_log_keeps_the_beginning_and_refuses_the_rest() {
        let log = Log::sealed().unwrap();
        let (mut out, mut err) = log.open().unwrap();
        out.write_all(b"first\n").unwrap();
        err.write_all(b"second").unwrap();
        assert_eq!(log.read(), b"first\nsecond");
        assert!(out.write_all(&[b'x'; LOG_LIMIT as usize]).is_err());
        assert!(log.read().len() <= LOG_LIMIT as usize && log.read().starts_with(b"first\nsecond"));
    }

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

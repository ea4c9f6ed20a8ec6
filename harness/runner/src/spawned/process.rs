//! One agent's process: waited for with a deadline, killed with all that belongs to it, its death turned into a named
//! fault.

use super::Origin;
use crate::backend::Attribution;
use crate::stopwatch::Deadline;
use isobench_core::{Fault, FaultKind};
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::time::Duration;

/// How long a killed process may need until the kernel has taken it down.
const DEATH: Duration = Duration::from_secs(5);

/// How long the death of an agent may come after the end of its channel.
const AFTER_CLOSE: Duration = Duration::from_millis(200);

/// The same of a keeper, which may have a container to take down between the two.
const KEEPER_AFTER_CLOSE: Duration = Duration::from_secs(2);

/// What engines and allocators print before they end a process that is out of memory.
const MEMORY_WORDS: [&str; 4] = ["out of memory", "OOM", "memory allocation of", "Allocation failed"];

/// The highest signal.
const SIGNALS: i32 = 64;

/// What the process that was made is to the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The agent itself.
    Agent,
    /// A helper around the agent, as long as that lives. It reports a death by a signal as shells do, as the exit code
    /// 128 + signal.
    Keeper,
}

/// What an instance is made of beside its process: a cgroup, a runtime's helpers and records.
pub trait Surroundings: Send + std::fmt::Debug {
    /// The processes and cgroups in them.
    fn attribution(&self) -> Attribution;

    /// What they tell of the death of the process, where that is more than its exit status does.
    fn verdict(&self) -> Option<Fault>;

    /// How the agent ended, where its keeper's exit status does not say. Asked once they are taken down; `words` is
    /// what has been printed of late.
    fn ending(&self, words: &str) -> Option<ExitStatus> {
        let _ = words;
        None
    }

    /// Takes them down. Called once the process has ended.
    ///
    /// # Errors
    /// The fault of what is left.
    fn clear(&mut self) -> Result<(), Fault>;
}

/// A running agent, the leader of a process group of its own and a child of this process. Dropping it kills the group.
#[derive(Debug)]
pub struct AgentProcess {
    pid: u32,
    role: Role,
    /// Readable once the process has ended: a wait with a deadline that costs no polling.
    pidfd: OwnedFd,
    /// What a keeper has started, and what that has. They need not be in its group and are not ours to reap: gone only
    /// some time after it.
    kept: Vec<OwnedFd>,
    reaped: Option<ExitStatus>,
    surroundings: Option<Box<dyn Surroundings>>,
    verdict: Option<Fault>,
}

impl AgentProcess {
    /// Spawns `command`. What the C library's `posix_spawn` cannot do is set on it only where there is no other way, for that
    /// one shares the runner's memory until `exec` where `fork` copies its page tables.
    ///
    /// # Errors
    /// That of the system.
    pub fn spawn(command: &mut Command, role: Role) -> io::Result<AgentProcess> {
        // Dropping a `Child` neither kills nor reaps it: from here on the number is ours to wait for.
        let pid = command.process_group(0).spawn()?.id();
        AgentProcess::take(pid, role)
    }

    /// Takes in a child that something else made, and gives it a group of its own.
    ///
    /// # Errors
    /// That of the system; the child is gone then.
    pub fn adopt(pid: u32) -> io::Result<AgentProcess> {
        let process = AgentProcess::take(pid, Role::Agent)?;
        // SAFETY: a plain system call on our own child, which has called no `exec` of its own.
        if unsafe { libc::setpgid(pid as i32, pid as i32) } == 0 || process.ends_within(Duration::ZERO) {
            return Ok(process);
        }
        Err(io::Error::last_os_error())
    }

    /// Takes in a process that has become a child of this one, because whoever made it is gone: what a detached runtime
    /// leaves to a subreaper.
    ///
    /// # Errors
    /// That of the system; the process is gone then.
    pub fn inherit(pid: u32, role: Role) -> io::Result<AgentProcess> {
        AgentProcess::take(pid, role)
    }

    /// The same process in its surroundings, which go with it.
    pub fn within(mut self, surroundings: impl Surroundings + 'static) -> AgentProcess {
        self.surroundings = Some(Box::new(surroundings));
        self
    }

    /// Waits for the end of a process that is to end by itself, a command of a runtime: what it started lives on.
    /// `None`, and it is killed, where the end does not come within `allowed`.
    ///
    /// # Errors
    /// That of the system.
    pub fn finish(mut self, allowed: Duration) -> io::Result<Option<ExitStatus>> {
        if self.ends_within(allowed) {
            self.reaped = Some(reap(self.pid)?);
        }
        Ok(self.reaped)
    }

    fn take(pid: u32, role: Role) -> io::Result<AgentProcess> {
        let (kept, reaped, surroundings, verdict) = (Vec::new(), None, None, None);
        match pidfd_open(pid) {
            Ok(pidfd) => Ok(AgentProcess { pid, role, pidfd, kept, reaped, surroundings, verdict }),
            Err(error) => {
                // SAFETY: a signal to our own child, which has not been waited for.
                unsafe { libc::kill(pid as i32, libc::SIGKILL) };
                let _ = reap(pid);
                Err(error)
            }
        }
    }

    /// The processes that the instance is made of.
    pub fn attribution(&self) -> Attribution {
        let mut all = Attribution::process(self.pid);
        if self.role == Role::Keeper {
            all.pids = family([self.pid]);
        }
        if let Some(surroundings) = &self.surroundings {
            all.unite(surroundings.attribution());
        }
        all
    }

    /// Waits until it has ended; false if it has not within `allowed`.
    fn ends_within(&self, allowed: Duration) -> bool {
        self.reaped.is_some() || ends_within(&self.pidfd, allowed)
    }

    /// Lets it end by itself once `ask` has asked it to, and kills what is left after `grace`.
    ///
    /// # Errors
    /// The fault of a process that does not die.
    pub fn leave(&mut self, ask: impl FnOnce(), grace: Duration) -> Result<(), Fault> {
        // Before it ends: of a keeper that is gone nobody can tell what it has started, which may live yet.
        self.know_kept();
        ask();
        self.ends_within(grace);
        self.end().map(drop)
    }

    fn know_kept(&mut self) {
        if self.role == Role::Keeper && self.kept.is_empty() {
            // One that is gone by now has no descriptor, and needs none.
            let kept = family([self.pid]).into_iter().filter(|pid| *pid != self.pid);
            self.kept = kept.filter_map(|pid| pidfd_open(pid).ok()).collect();
        }
    }

    /// Kills what is left of the group and of what it keeps, and reaps the process.
    fn end(&mut self) -> Result<ExitStatus, Fault> {
        if let Some(status) = self.reaped {
            return Ok(status);
        }
        self.know_kept();
        let pid = self.pid;
        // SAFETY: a signal to a group that is ours: its leader has not been reaped, so the number is not used again.
        unsafe { libc::kill(-(pid as i32), libc::SIGKILL) };
        let all = || [&self.pidfd].into_iter().chain(&self.kept);
        for process in all() {
            // SAFETY: a plain system call on an open descriptor. One that has ended is what is wanted.
            unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), libc::SIGKILL, 0, 0) };
        }
        if !all().all(|process| ends_within(process, DEATH)) {
            return Err(Fault::backend(format!("process {pid} is not gone {} s after SIGKILL", DEATH.as_secs())));
        }
        let status = reap(pid).map_err(|e| Fault::backend(format!("waiting for process {pid}: {e}")))?;
        let status = match (self.role, status.code()) {
            (Role::Keeper, Some(code)) => status_of_shell(code),
            _ => status,
        };
        self.reaped = Some(status);
        if let Some(surroundings) = &mut self.surroundings {
            self.verdict = surroundings.verdict();
            surroundings.clear()?;
        }
        Ok(status)
    }

    /// The name of its death.
    fn death(&mut self, origin: &Origin, otherwise: FaultKind) -> Result<Fault, Fault> {
        let status = self.end()?;
        Ok(self.verdict.clone().unwrap_or_else(|| {
            let words = origin.last_words();
            let told = self.surroundings.as_ref().and_then(|surroundings| surroundings.ending(&words));
            death(told.unwrap_or(status), &words, otherwise)
        }))
    }

    /// What became of an agent that stopped answering: `fault`, unless it died, which says more.
    pub fn explain(&mut self, fault: Fault, origin: &Origin) -> Fault {
        let allowed = if self.role == Role::Keeper { KEEPER_AFTER_CLOSE } else { AFTER_CLOSE };
        if fault.kind != FaultKind::ChannelClosed || !self.ends_within(allowed) {
            return fault;
        }
        self.death(origin, FaultKind::ChannelClosed).unwrap_or(fault)
    }

    /// Whether it still lives.
    ///
    /// # Errors
    /// The fault of an agent that has died without a `hello`.
    pub fn alive(&mut self, origin: &Origin) -> Result<(), Fault> {
        if !self.ends_within(Duration::ZERO) {
            return Ok(());
        }
        Err(self.death(origin, FaultKind::NoHello)?)
    }
}

impl Drop for AgentProcess {
    fn drop(&mut self) {
        // One that resists SIGKILL still carries the cookie: the coordinator finds it.
        let _ = self.end();
    }
}

/// A descriptor of a process, which stays that of this process and of no other that gets its number.
fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: a plain system call.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made the descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Waits until a process has ended; false if it has not within `allowed`.
fn ends_within(pidfd: &OwnedFd, allowed: Duration) -> bool {
    let deadline = Deadline::after(allowed);
    loop {
        let mut poll = libc::pollfd { fd: pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // Rounded up, or the last millisecond would be spent in a busy loop.
        let millis = deadline.remaining().as_micros().div_ceil(1000) as libc::c_int;
        // SAFETY: one valid pollfd.
        match unsafe { libc::poll(&mut poll, 1, millis) } {
            1.. => return true,
            0 => return false,
            _ if deadline.passed() => return false,
            // Interrupted by a signal: go on waiting.
            _ => {}
        }
    }
}

/// Waits for a child that has ended or is about to.
fn reap(pid: u32) -> io::Result<ExitStatus> {
    loop {
        let mut status = 0;
        // SAFETY: a plain system call on our own child.
        if unsafe { libc::waitpid(pid as i32, &mut status, 0) } >= 0 {
            return Ok(ExitStatus::from_raw(status));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// The children of a process, those of all its threads. None where it is gone.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

/// Processes, and all that they have started and have not outlived.
pub(crate) fn family(pids: impl IntoIterator<Item = u32>) -> BTreeSet<u32> {
    let (mut all, mut found) = (BTreeSet::new(), Vec::from_iter(pids));
    while let Some(pid) = found.pop() {
        if all.insert(pid) {
            found.extend(children(pid));
        }
    }
    all
}

/// How a process ended whose end is told as shells do: as its exit code, or as 128 + the signal that killed it.
pub fn status_of_shell(code: i32) -> ExitStatus {
    let killed = (129..=128 + SIGNALS).contains(&code);
    ExitStatus::from_raw(if killed { code - 128 } else { code << 8 })
}

/// The name of an agent's death, where `words` are its last ones. `otherwise` is that of an exit on purpose.
pub fn death(status: ExitStatus, words: &str, otherwise: FaultKind) -> Fault {
    let signal = status.signal();
    let memory = MEMORY_WORDS.iter().any(|word| words.contains(word));
    let (kind, how) = match signal {
        // The last where the agent is the first process of a PID namespace, which cannot abort.
        Some(libc::SIGABRT | libc::SIGTRAP | libc::SIGILL | libc::SIGSEGV) if memory => {
            (FaultKind::OutOfMemory, "the agent gave up for want of memory".to_string())
        }
        Some(libc::SIGKILL) => (
            FaultKind::ChannelClosed,
            "the agent was killed by SIGKILL: by the kernel for want of memory (see dmesg), or by somebody".into(),
        ),
        Some(signal) => (FaultKind::GuestTrap, format!("the agent died of signal {signal} ({})", spell(signal))),
        None => (otherwise, format!("the agent ended with {status} before its time")),
    };
    Fault::new(kind, if words.is_empty() { how } else { format!("{how}: {words}") })
}

fn spell(signal: i32) -> &'static str {
    match signal {
        libc::SIGSEGV => "SIGSEGV: it used memory that is not there",
        libc::SIGBUS => "SIGBUS: it used memory that could not be had",
        libc::SIGILL => "SIGILL: an instruction that this processor does not have, or a trap",
        libc::SIGFPE => "SIGFPE: arithmetic",
        libc::SIGABRT => "SIGABRT: it gave up",
        libc::SIGTRAP => "SIGTRAP: a trap",
        _ => "sent by somebody",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_signal(signal: i32, words: &str) -> FaultKind {
        death(ExitStatus::from_raw(signal), words, FaultKind::NoHello).kind
    }

    #[test]
    fn a_death_is_named_by_its_signal_and_its_last_words() {
        assert_eq!(of_signal(libc::SIGSEGV, ""), FaultKind::GuestTrap);
        assert_eq!(of_signal(libc::SIGABRT, "memory allocation of 1073741824 bytes failed"), FaultKind::OutOfMemory);
        assert_eq!(
            of_signal(libc::SIGTRAP, "Fatal JavaScript out of memory: Reached heap limit"),
            FaultKind::OutOfMemory
        );
        assert_eq!(of_signal(libc::SIGABRT, "thread main has overflowed its stack"), FaultKind::GuestTrap);
        assert_eq!(of_signal(libc::SIGKILL, ""), FaultKind::ChannelClosed);
        let exit = death(ExitStatus::from_raw(3 << 8), "", FaultKind::NoHello);
        assert_eq!(exit.kind, FaultKind::NoHello);
        assert!(exit.message.contains("exit status: 3"), "{exit}");
    }
}

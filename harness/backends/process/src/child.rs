//! One agent's process: waited for with a deadline, killed with its whole group, its death turned into a named fault.

use crate::last_words::LastWords;
use isobench_core::{Fault, FaultKind};
use isobench_runner::Deadline;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

/// How long a killed process may need until the kernel has taken it down.
const DEATH: Duration = Duration::from_secs(5);

/// How long the death of an agent may come after the end of its channel.
const AFTER_CLOSE: Duration = Duration::from_millis(200);

/// What engines and allocators print before they end a process that is out of memory.
const MEMORY_WORDS: [&str; 4] = ["out of memory", "OOM", "memory allocation of", "Allocation failed"];

/// A running agent, the leader of a process group of its own. Dropping it kills the group.
#[derive(Debug)]
pub(crate) struct AgentProcess {
    child: Child,
    /// Readable once the process has ended: a wait with a deadline that costs no polling.
    pidfd: OwnedFd,
    reaped: Option<ExitStatus>,
}

impl AgentProcess {
    /// Spawns `command`. Nothing may be set on it that the C library's `posix_spawn` cannot do, for that one shares the
    /// runner's memory until `exec` where `fork` would copy its page tables.
    pub(crate) fn spawn(command: &mut Command) -> io::Result<AgentProcess> {
        let child = command.process_group(0).spawn()?;
        // SAFETY: a plain system call on our own child, which has not been waited for.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, child.id(), 0) };
        if fd < 0 {
            let error = io::Error::last_os_error();
            let mut child = child;
            let _ = child.kill();
            let _ = child.wait();
            return Err(error);
        }
        // SAFETY: the kernel just made the descriptor for us.
        let pidfd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        Ok(AgentProcess { child, pidfd, reaped: None })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has ended; false if it has not within `allowed`.
    pub(crate) fn ends_within(&self, allowed: Duration) -> bool {
        if self.reaped.is_some() {
            return true;
        }
        let deadline = Deadline::after(allowed);
        loop {
            let mut poll = libc::pollfd { fd: self.pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
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

    /// Kills what is left of the group and reaps the process.
    pub(crate) fn end(&mut self) -> Result<ExitStatus, Fault> {
        if let Some(status) = self.reaped {
            return Ok(status);
        }
        let pid = self.child.id();
        // SAFETY: a signal to a group that is ours: its leader has not been reaped, so the number is not used again.
        unsafe { libc::kill(-(pid as i32), libc::SIGKILL) };
        if !self.ends_within(DEATH) {
            return Err(Fault::backend(format!("process {pid} is not gone {} s after SIGKILL", DEATH.as_secs())));
        }
        let status = self.child.wait().map_err(|e| Fault::backend(format!("waiting for process {pid}: {e}")))?;
        self.reaped = Some(status);
        Ok(status)
    }

    /// What became of an agent that stopped answering: `fault`, unless it died, which says more.
    pub(crate) fn explain(&mut self, fault: Fault, words: &LastWords) -> Fault {
        if fault.kind != FaultKind::ChannelClosed || !self.ends_within(AFTER_CLOSE) {
            return fault;
        }
        match self.end() {
            Ok(status) => death(status, &words.read(), FaultKind::ChannelClosed),
            Err(_) => fault,
        }
    }

    /// An error if the agent has died without a `hello`.
    pub(crate) fn alive(&mut self, words: &LastWords) -> Result<(), Fault> {
        if !self.ends_within(Duration::ZERO) {
            return Ok(());
        }
        Err(death(self.end()?, &words.read(), FaultKind::NoHello))
    }
}

impl Drop for AgentProcess {
    fn drop(&mut self) {
        // One that resists SIGKILL still carries the cookie: the coordinator finds it.
        let _ = self.end();
    }
}

/// The name of a death. `otherwise` is that of an exit on purpose.
fn death(status: ExitStatus, words: &str, otherwise: FaultKind) -> Fault {
    let signal = status.signal();
    let memory = MEMORY_WORDS.iter().any(|word| words.contains(word));
    let (kind, how) = match signal {
        Some(libc::SIGABRT | libc::SIGTRAP | libc::SIGILL) if memory => {
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

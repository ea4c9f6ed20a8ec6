//! The guest's agent: a child of the adapter, which ends with it, and which ends it.

use super::Unit;
use isobench_core::{Fault, FaultKind};
use isobench_runner::Deadline;
use isobench_runner::agents::AgentPackage;
use isobench_runner::channel::{Channel, Listener};
use isobench_runner::spawned::{Origin, death};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ExitStatus, exit};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How much longer than its own deadline an agent is waited for: engines end a call by themselves, and say so.
const GRACE: Duration = Duration::from_secs(1);

/// How long the death of an agent may come after the end of its channel.
const AFTER_CLOSE: Duration = Duration::from_millis(200);

/// How long the adapter outlives its agent: until the call that was in flight has been answered.
const LAST_ANSWER: Duration = Duration::from_secs(2);

/// An agent that has said `hello`.
pub(crate) struct Agent {
    channel: Channel,
    process: Arc<Process>,
    origin: Arc<Origin>,
    /// Longest wait for an answer.
    patience: Duration,
}

/// How it ended, once it has.
#[derive(Default)]
struct Process {
    pid: u32,
    ended: Mutex<Option<ExitStatus>>,
    told: Condvar,
}

impl Agent {
    /// Starts the agent of `unit`, which is to dial `socket`, and waits until its guest is evaluated.
    ///
    /// Once the agent has ended, for whatever reason, this process ends as it did: what cannot answer any more is to be
    /// replaced, which is the platform's part.
    pub(crate) fn start(unit: &Unit, socket: &Path) -> Result<Agent, Fault> {
        let limits = &unit.limits;
        let package = AgentPackage::of(&unit.target(), unit.agent.clone(), unit.guest_file.clone())?;
        let guest = package.guest.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        let origin = Origin::of(package)?;
        let listener = Listener::bind(socket)?;
        let failed = |e: std::io::Error| Fault::backend(format!("{}: {e}", unit.agent.display()));
        let mut command = origin.command(&origin.package.program).map_err(failed)?;
        command.args(origin.package.args(&format!("unix:{}", socket.display()), &guest));
        // SAFETY: one system call between fork and exec. An agent whose guest never returns would not see its channel end.
        unsafe {
            command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            })
        };
        let process = Process::watch(command.spawn().map_err(failed)?);
        let alive =
            || process.status().map_or(Ok(()), |ended| Err(death(ended, &origin.last_words(), FaultKind::NoHello)));
        let deadline = Deadline::after(limits.start_deadline(false));
        let channel = listener.accept(limits.frame_bytes, deadline, alive)?;
        let patience = limits.call_deadline(false) + GRACE;
        let mut agent = Agent { channel, process, origin, patience };
        let hello = agent.channel.expect_up(deadline).and_then(|_| agent.channel.expect_hello(deadline));
        hello.map_err(|fault| agent.explain(fault))?;
        Ok(agent)
    }

    /// One request.
    pub(crate) fn call(&mut self, request: &[u8]) -> Result<Vec<u8>, Fault> {
        let answer = self.channel.call(request, Deadline::after(self.patience));
        answer.map_err(|fault| {
            let fault = self.explain(fault);
            // After these nobody knows whether an answer is still to come, which the next call would take for its own.
            use FaultKind::{BadFrame, ChannelClosed, DeadlineExceeded, FrameTooLarge};
            if matches!(fault.kind, BadFrame | ChannelClosed | DeadlineExceeded | FrameTooLarge) {
                self.process.kill();
            }
            fault
        })
    }

    /// Whether it can answer once more.
    pub(crate) fn lives(&self) -> bool {
        self.process.status().is_none()
    }

    /// `fault`, unless it is that the agent is gone: how it died says more.
    fn explain(&self, fault: Fault) -> Fault {
        if fault.kind != FaultKind::ChannelClosed {
            return fault;
        }
        let ended = self.process.ends_within(AFTER_CLOSE);
        ended.map_or(fault, |ended| death(ended, &self.origin.last_words(), FaultKind::ChannelClosed))
    }
}

impl Process {
    fn watch(mut child: Child) -> Arc<Process> {
        let process = Arc::new(Process { pid: child.id(), ..Process::default() });
        let watched = Arc::clone(&process);
        std::thread::spawn(move || {
            wait_for_the_end(watched.pid);
            let status = {
                let mut ended = watched.lock();
                let status = child.wait();
                *ended = status.as_ref().ok().copied();
                status
            };
            watched.told.notify_all();
            std::thread::sleep(LAST_ANSWER);
            exit(as_shells_do(status.ok()));
        });
        process
    }

    fn lock(&self) -> MutexGuard<'_, Option<ExitStatus>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn status(&self) -> Option<ExitStatus> {
        *self.lock()
    }

    fn ends_within(&self, allowed: Duration) -> Option<ExitStatus> {
        let waited = self.told.wait_timeout_while(self.lock(), allowed, |ended| ended.is_none());
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Kills it, and waits until it is gone.
    fn kill(&self) {
        let ended = self.lock();
        if ended.is_none() {
            // SAFETY: a signal to our own child: it is reaped under this lock, so the number is still its own.
            unsafe { libc::kill(self.pid as i32, libc::SIGKILL) };
        }
        drop(ended);
        self.ends_within(GRACE);
    }
}

/// Waits until a child has ended, and leaves it to be reaped.
fn wait_for_the_end(pid: u32) {
    loop {
        // SAFETY: an all-zero siginfo is valid; the call fills it or fails.
        let waited = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            libc::waitid(libc::P_PID, pid, &mut info, libc::WEXITED | libc::WNOWAIT)
        };
        if waited == 0 || std::io::Error::last_os_error().kind() != std::io::ErrorKind::Interrupted {
            return;
        }
    }
}

/// An exit code that tells how a child ended, as shells do: its own, or 128 + the signal that killed it. Never 0, since
/// an agent that is not asked to leave has no reason to.
fn as_shells_do(status: Option<ExitStatus>) -> i32 {
    let code = status.and_then(|status| status.code().or_else(|| Some(128 + status.signal()?)));
    code.filter(|code| *code != 0).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_tells_how_the_agent_ended() {
        assert_eq!(as_shells_do(Some(ExitStatus::from_raw(3 << 8))), 3);
        assert_eq!(as_shells_do(Some(ExitStatus::from_raw(libc::SIGKILL))), 137);
        assert_eq!(as_shells_do(Some(ExitStatus::from_raw(0))), 1);
        assert_eq!(as_shells_do(None), 1);
    }
}

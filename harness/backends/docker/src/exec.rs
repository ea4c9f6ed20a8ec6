//! An agent that is executed in a container that lives already: no namespace and no cgroup is made.

use crate::api::{ANSWER_DEADLINE, within};
use crate::container::{Container, death};
use bollard::Docker;
use bollard::exec::StartExecOptions;
use bollard::models::{ContainerState, ExecConfig, ExecInspectResponse};
use isobench_core::{Fault, FaultKind, Limits};
use isobench_runner::channel::{Channel, Listener};
use isobench_runner::containers;
use isobench_runner::{Attribution, Deadline, Instance, Phases, reap};
use std::time::{Duration, Instant};

/// How often a wait asks the daemon: as for a container's start.
const ALIVE_CHECK: Duration = Duration::from_millis(250);
/// Longest wait for the daemon to notice that the agent ended.
const VERDICT_DEADLINE: Duration = Duration::from_secs(2);
/// How often a killed process is looked for.
const GONE_CHECK: Duration = Duration::from_millis(1);

/// A running one. Dropping it kills it.
pub struct Executed {
    docker: Docker,
    id: String,
    /// The id of the container.
    container: String,
    channel: Channel,
    stopped: bool,
}

/// The daemon's record of one.
struct Record<'a> {
    docker: &'a Docker,
    id: &'a str,
    container: &'a str,
}

impl Record<'_> {
    fn read(&self) -> Result<ExecInspectResponse, Fault> {
        Ok(within(Deadline::after(ANSWER_DEADLINE), "exec inspect", self.docker.inspect_exec(self.id))?)
    }

    fn pid(&self) -> Option<u32> {
        let record = self.read().ok().filter(|record| record.running == Some(true))?;
        record.pid.and_then(|pid| u32::try_from(pid).ok()).filter(|&pid| pid > 0)
    }

    /// A fault if it has ended without a `hello`.
    fn alive(&self) -> Result<(), Fault> {
        let record = self.read()?;
        if record.running == Some(true) { Ok(()) } else { Err(named(&record, FaultKind::NoHello)) }
    }

    fn kill(&self, deadline: Deadline) -> Result<(), Fault> {
        let Some(pid) = self.pid() else { return Ok(()) };
        let Some(started) = reap::start_time(pid) else { return Ok(()) };
        if !containers::is_of(pid, self.container) {
            let what = format!("process {pid} that the daemon executed in container {}", self.container);
            return Err(Fault::backend(format!(
                "{what} is not to be seen here: the daemon is in another PID namespace"
            )));
        }
        // SAFETY: a signal to a process that the daemon executed for us, proven by its container, and that still runs.
        unsafe { libc::kill(pid as i32, libc::SIGKILL) };
        while reap::start_time(pid) == Some(started) {
            if deadline.passed() {
                return Err(deadline.fault(format!("the end of process {pid}")));
            }
            std::thread::sleep(GONE_CHECK);
        }
        Ok(())
    }
}

impl Executed {
    /// Executes `command` in `container` and waits for the `hello` of the agent that dials `listener`.
    pub fn start(
        container: &Container,
        command: Vec<String>,
        listener: &Listener,
        limits: &Limits,
        phases: &mut Phases,
        deadline: Deadline,
    ) -> Result<Executed, Fault> {
        let docker = container.docker();
        let config = ExecConfig { cmd: Some(command), ..Default::default() };
        let id = within(deadline, "exec create", docker.create_exec(container.id(), config))?.id;
        phases.end("create.api");
        let detach = StartExecOptions { detach: true, ..Default::default() };
        let record = Record { docker, id: &id, container: container.id() };
        within(deadline, "exec start", docker.start_exec(&id, Some(detach)))?;
        phases.end("create.start");
        let mut asked = Instant::now();
        let mut connect = || {
            let mut channel = listener.accept(limits.frame_bytes, deadline, || {
                if asked.elapsed() < ALIVE_CHECK {
                    return Ok(());
                }
                asked = Instant::now();
                record.alive()
            })?;
            phases.end_at("boot", channel.expect_up(deadline)?);
            channel.expect_hello(deadline)?;
            Ok(channel)
        };
        match connect() {
            Ok(channel) => {
                Ok(Executed { docker: docker.clone(), id, container: container.id().into(), channel, stopped: false })
            }
            Err(fault) => {
                let _ = record.kill(Deadline::after(ANSWER_DEADLINE));
                Err(fault)
            }
        }
    }

    fn record(&self) -> Record<'_> {
        Record { docker: &self.docker, id: &self.id, container: &self.container }
    }

    /// What lies behind a closed channel.
    fn explain(&self, fault: Fault) -> Fault {
        if fault.kind != FaultKind::ChannelClosed {
            return fault;
        }
        let deadline = Deadline::after(VERDICT_DEADLINE);
        while !deadline.passed() {
            match self.record().read() {
                Ok(record) if record.running == Some(false) => {
                    return named(&record, fault.kind).context(fault.message);
                }
                Ok(_) => std::thread::sleep(Duration::from_millis(10)),
                Err(error) => return error.context(fault.message),
            }
        }
        fault
    }

    fn stop_now(&mut self, deadline: Deadline) -> Result<(), Fault> {
        if std::mem::replace(&mut self.stopped, true) {
            return Ok(());
        }
        self.record().kill(deadline)
    }
}

/// The name of its death, by the container's rules. Who of several the kernel killed for want of memory is not said.
fn named(record: &ExecInspectResponse, otherwise: FaultKind) -> Fault {
    death(&ContainerState { exit_code: record.exit_code, ..Default::default() }, otherwise)
}

impl Instance for Executed {
    fn call(&mut self, request: &[u8], deadline: Deadline) -> Result<Vec<u8>, Fault> {
        self.channel.call(request, deadline).map_err(|fault| self.explain(fault))
    }

    /// Its own process; the container is everyone's.
    fn footprint(&self) -> Attribution {
        let Some(pid) = self.record().pid() else { return Attribution::default() };
        containers::proven(pid, &self.container, || Attribution::process(pid).readable())
    }

    fn stop(mut self: Box<Self>, deadline: Deadline) -> Result<(), Fault> {
        self.stop_now(deadline)
    }
}

impl Drop for Executed {
    fn drop(&mut self) {
        let _ = self.stop_now(Deadline::after(ANSWER_DEADLINE));
    }
}

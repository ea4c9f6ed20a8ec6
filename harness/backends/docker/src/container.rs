//! The container: its settings, and a handle that leaves nothing behind.

use crate::api::{ANSWER_DEADLINE, ApiError, within};
use crate::variant::{Variant, Way};
use bollard::Docker;
use bollard::models::{ContainerCreateBody, ContainerState, HostConfig, HostConfigLogConfig, Mount, MountType};
use bollard::query_parameters::{KillContainerOptions, RemoveContainerOptions};
use isobench_core::{Fault, FaultKind, Limits};
use isobench_runner::containers::{self, PIDS, memory_limit};
use isobench_runner::processors::OURS;
use isobench_runner::{Attribution, Deadline, cgroup, owner, reap};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where the agent lies in the image.
pub const AGENT: &str = "/agent";
/// Where the prepared guest lies in the image.
pub const GUEST: &str = "/guest";
/// Where the socket's folder appears.
pub const FOLDER: &str = "/run/isobench";
/// The socket's name in its folder.
pub const SOCKET: &str = "s";
/// What the agent is told to dial.
pub const CONNECT: &str = "unix:/run/isobench/s";
/// The label with the tag of the process that made the container.
pub const LABEL: &str = "isobench.owner";

/// Longest wait for the daemon to notice that a container ended, and why.
const VERDICT_DEADLINE: Duration = Duration::from_secs(2);
/// The kernel tells of an out-of-memory kill on a way of its own, which may be slower than that of the exit.
const OOM_GRACE: Duration = Duration::from_millis(500);
/// Exit code of a process killed by SIGKILL.
const KILLED: i64 = 128 + libc::SIGKILL as i64;

/// The whole of a container's settings. `folder` holds the socket, `args` are the agent's.
pub fn settings(
    run: &str,
    image: &str,
    args: &[String],
    folder: &Path,
    limits: &Limits,
    variant: Variant,
) -> ContainerCreateBody {
    // Agents that are executed in one container share its limits.
    let agents = if variant.way == Way::Exec { u64::from(MOST_INSTANCES) + 1 } else { 1 };
    let memory = memory_limit(limits).saturating_mul(agents);
    let memory = i64::try_from(memory).unwrap_or(i64::MAX);
    let label = |name: &str, value: String| (name.to_string(), value);
    // SAFETY: neither can fail.
    let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
    ContainerCreateBody {
        image: Some(image.into()),
        entrypoint: Some(vec![AGENT.into()]),
        cmd: Some(args.to_vec()),
        // Ourselves: without capabilities even root may only dial a socket that is its own.
        user: Some(format!("{uid}:{gid}")),
        labels: Some(HashMap::from([
            label("isobench", "1".into()),
            label("isobench.run", run.into()),
            label(LABEL, owner::me()),
        ])),
        host_config: Some(HostConfig {
            runtime: Some(variant.runtime.into()),
            network_mode: Some(variant.network.into()),
            readonly_rootfs: Some(true),
            cap_drop: Some(vec!["ALL".into()]),
            security_opt: Some(vec!["no-new-privileges".into()]),
            log_config: Some(HostConfigLogConfig { typ: Some("none".into()), config: None }),
            auto_remove: Some(false),
            memory: Some(memory),
            // The same with swap included: none of it.
            memory_swap: Some(memory),
            pids_limit: Some((PIDS * agents) as i64),
            // A daemon does not inherit the processors that isobench may use.
            cpuset_cpus: OURS.restriction(),
            mounts: Some(vec![Mount {
                typ: Some(MountType::BIND),
                source: Some(folder.to_string_lossy().into_owned()),
                target: Some(FOLDER.into()),
                // A socket can be dialled through it all the same.
                read_only: Some(true),
                ..Default::default()
            }]),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Most instances that a footprint visit keeps alive.
pub const MOST_INSTANCES: u32 = 16;

/// A created container and the folder of its socket. Dropping it removes both.
#[derive(Debug)]
pub struct Container {
    docker: Docker,
    id: String,
    folder: PathBuf,
    removed: bool,
}

impl Container {
    /// Creates it; `folder` becomes its own.
    pub fn create(
        docker: &Docker,
        settings: ContainerCreateBody,
        folder: PathBuf,
        deadline: Deadline,
    ) -> Result<Container, Fault> {
        let created = within(deadline, "container create", docker.create_container(None, settings))?;
        Ok(Container { docker: docker.clone(), id: created.id, folder, removed: false })
    }

    /// Starts it: answers when its process runs.
    pub fn start(&self, deadline: Deadline) -> Result<(), Fault> {
        Ok(within(deadline, "container start", self.docker.start_container(&self.id, None))?)
    }

    /// Stops it where it is: nothing of it runs until [`Container::unpause`].
    pub fn pause(&self, deadline: Deadline) -> Result<(), Fault> {
        Ok(within(deadline, "container pause", self.docker.pause_container(&self.id))?)
    }

    /// Lets it run on.
    pub fn unpause(&self, deadline: Deadline) -> Result<(), Fault> {
        Ok(within(deadline, "container unpause", self.docker.unpause_container(&self.id))?)
    }

    /// The daemon it is in.
    pub fn docker(&self) -> &Docker {
        &self.docker
    }

    /// The daemon's name for it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The folder of its socket.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The processes in it and the shim that is their parent; its cgroup.
    pub fn attribution(&self) -> Attribution {
        let state = self.state(Deadline::after(ANSWER_DEADLINE)).unwrap_or_default();
        let init = state.pid.and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0);
        // One that is created and not started has no process yet.
        if init == 0 && state.running == Some(false) {
            return Attribution::default();
        }
        let members = || {
            let mut attribution = Attribution::process(init);
            attribution.pids.extend(reap::parent(init));
            if let Some((folder, pids)) = cgroup::of_process(init) {
                attribution.pids.extend(pids);
                attribution.cgroups.insert(folder);
            }
            attribution.readable()
        };
        containers::proven(init, &self.id, members)
    }

    /// What the daemon knows of its state.
    pub fn state(&self, deadline: Deadline) -> Result<ContainerState, ApiError> {
        let inspected = within(deadline, "container inspect", self.docker.inspect_container(&self.id, None))?;
        Ok(inspected.state.unwrap_or_default())
    }

    /// Kills and removes it, and waits until it is gone.
    pub fn remove(mut self, deadline: Deadline) -> Result<(), Fault> {
        self.remove_now(deadline)
    }

    fn remove_now(&mut self, deadline: Deadline) -> Result<(), Fault> {
        if std::mem::replace(&mut self.removed, true) {
            return Ok(());
        }
        // The killed container is removed in 6 ms; one that `remove` has to kill first takes 10 ms longer than the two
        // requests together. A container that ended by itself cannot be killed, and that is as well.
        let kill = KillContainerOptions { signal: "SIGKILL".into() };
        let _ = within(deadline, "container kill", self.docker.kill_container(&self.id, Some(kill)));
        let options = RemoveContainerOptions { force: true, v: true, ..Default::default() };
        let removed = within(deadline, "container remove", self.docker.remove_container(&self.id, Some(options)));
        // Removed with the container or not, the folder is empty once the listener is gone.
        let _ = std::fs::remove_dir(&self.folder);
        match removed {
            Err(error) if error.status() != Some(404) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// What lies behind a closed channel: asks the daemon how the container ended. `fault` stands where it did not.
    pub fn explain(&self, fault: Fault) -> Fault {
        if fault.kind != FaultKind::ChannelClosed {
            return fault;
        }
        let deadline = Deadline::after(VERDICT_DEADLINE);
        let mut ended_since = None;
        while !deadline.passed() {
            let state = match self.state(deadline) {
                Ok(state) => state,
                Err(error) => return Fault::from(error).context(fault.message),
            };
            if state.running == Some(false) {
                // Only of a kill may there be more to learn.
                let since = ended_since.get_or_insert_with(Instant::now);
                if state.oom_killed == Some(true) || state.exit_code != Some(KILLED) || since.elapsed() > OOM_GRACE {
                    return death(&state, fault.kind).context(fault.message);
                }
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        fault
    }

    /// A fault if it no longer runs: for waits in which it might have died.
    pub fn alive(&self) -> Result<(), Fault> {
        let state = self.state(Deadline::after(ANSWER_DEADLINE))?;
        if state.running == Some(true) {
            return Ok(());
        }
        let hint = "the agent never connected; a native guest must be a static program for this machine";
        Err(death(&state, FaultKind::NoHello).context(hint))
    }
}

/// The name of a container's death. `otherwise` is that of an exit on purpose.
pub(crate) fn death(state: &ContainerState, otherwise: FaultKind) -> Fault {
    let code = state.exit_code.unwrap_or(0);
    if state.oom_killed == Some(true) {
        return Fault::new(
            FaultKind::OutOfMemory,
            "the kernel killed the container at its memory limit; memory_mib in the workload's [limits] can allow more",
        );
    }
    match code {
        KILLED => Fault::new(FaultKind::ChannelClosed, "the container was killed by somebody"),
        129.. => Fault::new(FaultKind::GuestTrap, format!("the agent died of signal {}", code - 128)),
        _ => Fault::new(otherwise, format!("the agent ended with exit code {code} before its time")),
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // What cannot be removed now is found by its label.
        let _ = self.remove_now(Deadline::after(ANSWER_DEADLINE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(exit_code: i64, oom_killed: bool) -> FaultKind {
        let state = ContainerState { exit_code: Some(exit_code), oom_killed: Some(oom_killed), ..Default::default() };
        death(&state, FaultKind::NoHello).kind
    }

    #[test]
    fn a_death_is_named_by_what_the_daemon_saw() {
        assert_eq!(name(137, true), FaultKind::OutOfMemory);
        assert_eq!(name(137, false), FaultKind::ChannelClosed);
        assert_eq!(name(139, false), FaultKind::GuestTrap);
        assert_eq!(name(3, false), FaultKind::NoHello);
        assert_eq!(name(0, false), FaultKind::NoHello);
    }
}

//! A container, from its snapshot to its end, and what it is made of.

use crate::api::{ANSWER_DEADLINE, ApiError, Client, unless};
use crate::image::{Imported, SNAPSHOTTER};
use crate::messages::{
    self, Any, CreateContainer, CreateTask, DeleteContainer, DeleteTask, GetTask, KillTask, Labels, Mount,
    PrepareSnapshot, Process, RemoveSnapshot, StartTask, WaitTask,
};
use crate::spec::{AGENT, of_one};
use isobench_core::{Fault, FaultKind};
use isobench_runner::containers;
use isobench_runner::spawned::{LastWords, death, status_of_shell};
use isobench_runner::{Attribution, Deadline, Phases, cgroup, owner, reap};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tonic::Code;

/// The label with the tag of the process that made the container.
pub const LABEL: &str = "isobench.owner";

/// The type of a container's configuration.
const SPEC: &str = "types.containerd.io/opencontainers/runtime-spec/1/Spec";
/// Longest wait for the shim to notice that a process ended, and how.
const VERDICT_DEADLINE: Duration = Duration::from_secs(2);
/// Longest wait for a shim that has been told to end.
const SHIM_DEADLINE: Duration = Duration::from_secs(2);
/// What a shim's process is called, up to the runtime.
const SHIM: &str = "containerd-shim";

/// What all containers of a deployment have in common: the requests that make one.
#[derive(Debug)]
pub struct Recipe {
    /// The daemon.
    pub client: Client,
    /// The image.
    pub image: Imported,
    /// The runtime.
    pub runtime: messages::Runtime,
    /// The configuration of each, but for its socket and cgroup.
    pub spec: Value,
    /// The cgroup that theirs are in.
    pub parent: String,
    /// The fifo of their standard errors.
    pub stderr: PathBuf,
}

impl Recipe {
    /// Asks for the files of the container `id`.
    pub fn snapshot(&self, id: &str) -> PrepareSnapshot {
        PrepareSnapshot { snapshotter: SNAPSHOTTER.into(), key: id.into(), parent: self.image.chain.clone() }
    }

    /// Asks for the container `id`, whose agent will dial `socket`.
    pub fn container(&self, id: &str, socket: &Path) -> CreateContainer {
        let spec = of_one(&self.spec, socket, &self.cgroup(id)).to_string().into_bytes();
        CreateContainer {
            container: Some(messages::Container {
                id: id.into(),
                labels: Labels::from([(LABEL.into(), owner::me())]),
                image: self.image.name.clone(),
                runtime: Some(self.runtime.clone()),
                spec: Some(Any { type_url: SPEC.into(), value: spec }),
                snapshotter: SNAPSHOTTER.into(),
                snapshot_key: id.into(),
            }),
        }
    }

    /// Asks for its process.
    pub fn task(&self, id: &str, rootfs: Vec<Mount>) -> CreateTask {
        let stderr = self.stderr.to_string_lossy().into_owned();
        CreateTask { container_id: id.into(), rootfs, stdout: "/dev/null".into(), stderr }
    }

    fn cgroup(&self, id: &str) -> String {
        format!("{}/{id}", self.parent)
    }
}

/// A container. Dropping it removes it.
#[derive(Debug)]
pub struct Container {
    client: Client,
    id: String,
    cgroup: String,
    /// Its first process; 0 before there is one.
    init: u32,
    removed: bool,
}

impl Container {
    /// Makes and starts one whose agent will dial `socket`. Answers when its process runs.
    pub fn start(
        recipe: &Recipe,
        id: &str,
        socket: &Path,
        phases: &mut Phases,
        deadline: Deadline,
    ) -> Result<Container, Fault> {
        let client = recipe.client.clone();
        // From here on, whatever is made under this name goes with it.
        let mut container = Container { client, id: id.into(), cgroup: recipe.cgroup(id), init: 0, removed: false };
        let client = &container.client;
        let rootfs = match client.call(recipe.snapshot(id), deadline) {
            // Of a process that had this one's tag before the machine was started anew.
            Err(error) if error.code() == Some(Code::AlreadyExists) => {
                remove(client, id, deadline)?;
                client.call(recipe.snapshot(id), deadline)?.mounts
            }
            answer => answer?.mounts,
        };
        phases.end("create.snapshot");
        client.call(recipe.container(id, socket), deadline)?;
        phases.end("create.container");
        container.init = client.call(recipe.task(id, rootfs), deadline).map_err(unstartable)?.pid;
        phases.end("create.task");
        client.call(StartTask { container_id: id.into() }, deadline).map_err(unstartable)?;
        phases.end("create.start");
        Ok(container)
    }

    /// Its processes, and the shim that is the parent of the first; its cgroup.
    pub fn attribution(&self) -> Attribution {
        let members = || {
            let mut all = containers::attribution(&self.cgroup);
            all.pids.insert(self.init);
            all.pids.extend(shim_of(self.init));
            all.readable()
        };
        containers::proven(self.init, &self.id, members)
    }

    /// Kills and removes it, and waits until it is gone.
    pub fn remove(mut self, deadline: Deadline) -> Result<(), Fault> {
        self.remove_now(deadline)
    }

    fn remove_now(&mut self, deadline: Deadline) -> Result<(), Fault> {
        if std::mem::replace(&mut self.removed, true) {
            return Ok(());
        }
        let shim = shim_of(self.init);
        let removed = remove(&self.client, &self.id, deadline);
        // The daemon is gone or stuck, or a runtime was killed that had not finished: what it made is nobody's.
        if removed.is_err() || self.init == 0 {
            cgroup::clear(&self.cgroup);
            return removed;
        }
        // It has been told to end, which it does in its own time.
        let patience = Deadline::after(SHIM_DEADLINE);
        while shim.is_some_and(|shim| reap::start_time(shim).is_some()) && !patience.passed() {
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }

    /// What lies behind a closed channel: waits for the end of the process. `fault` stands where that does not come.
    pub fn explain(&self, fault: Fault, words: &LastWords) -> Fault {
        if fault.kind != FaultKind::ChannelClosed {
            return fault;
        }
        let wait = WaitTask { container_id: self.id.clone() };
        match self.client.call(wait, Deadline::after(VERDICT_DEADLINE)) {
            Ok(ended) => self.death(ended.exit_status, words, fault.kind),
            Err(ApiError::Late { .. }) => fault,
            Err(error @ ApiError::Unreachable { .. }) => Fault::from(error).context(fault.message),
            Err(ApiError::Refused { .. }) => Fault::new(
                FaultKind::ChannelClosed,
                "containerd no longer knows the container's process: its shim is gone, and what it kept was killed \
                 (SIGKILL)",
            ),
        }
    }

    /// A fault if it no longer runs: for waits in which it might have died.
    pub fn alive(&self, words: &LastWords) -> Result<(), Fault> {
        let get = GetTask { container_id: self.id.clone() };
        let process = self.client.call(get, Deadline::after(ANSWER_DEADLINE))?.process.unwrap_or_default();
        if process.status != Process::STOPPED {
            return Ok(());
        }
        let fault = self.death(process.exit_status, words, FaultKind::NoHello);
        Err(fault.context("the agent never connected; a native guest must be a static program for this machine"))
    }

    /// The name of its process's death.
    fn death(&self, exit_status: u32, words: &LastWords, otherwise: FaultKind) -> Fault {
        let kills = cgroup::memory_folder(&self.cgroup).map_or(0, |folder| cgroup::oom_kills(&folder));
        if kills > 0 {
            return Fault::new(
                FaultKind::OutOfMemory,
                "the kernel killed the container at its memory limit; memory_mib in the workload's [limits] can allow \
                 more",
            );
        }
        let words = words.read();
        let otherwise = if is_no_program(&words) { FaultKind::InvalidGuest } else { otherwise };
        death(status_of_shell(exit_status as i32), &words, otherwise)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // What cannot be removed now is found by its label.
        let _ = self.remove_now(Deadline::after(ANSWER_DEADLINE));
    }
}

/// Kills and removes the container of that name, its process and its snapshot, as far as there is any.
pub fn remove(client: &Client, id: &str, deadline: Deadline) -> Result<(), Fault> {
    let container_id = || id.to_string();
    // What has ended by itself cannot be killed, and needs no waiting for.
    if client.call(KillTask { container_id: container_id(), signal: libc::SIGKILL as u32 }, deadline).is_ok() {
        let _ = client.call(WaitTask { container_id: container_id() }, deadline);
    }
    delete_task(client, id, deadline)?;
    unless(Code::NotFound, client.call(DeleteContainer { id: id.into() }, deadline))?;
    let snapshot = RemoveSnapshot { snapshotter: SNAPSHOTTER.into(), key: id.into() };
    Ok(unless(Code::NotFound, client.call(snapshot, deadline))?)
}

/// A task whose shim was killed cannot be deleted for the time that containerd takes to do so by itself.
fn delete_task(client: &Client, id: &str, deadline: Deadline) -> Result<(), ApiError> {
    loop {
        match unless(Code::NotFound, client.call(DeleteTask { container_id: id.into() }, deadline)) {
            Err(ApiError::Refused { message, .. }) if message.contains("ttrpc: closed") && !deadline.passed() => {
                std::thread::sleep(Duration::from_millis(5));
            }
            answer => return answer,
        }
    }
}

/// Why there is no container.
fn unstartable(error: ApiError) -> Fault {
    let fault = Fault::from(error);
    let guests = fault.kind == FaultKind::BackendFailed && is_no_program(&fault.message);
    Fault { kind: if guests { FaultKind::InvalidGuest } else { fault.kind }, ..fault }
}

/// Whether a runtime says of the agent's file that it cannot be executed.
fn is_no_program(words: &str) -> bool {
    [format!("exec {AGENT}:"), format!("exec: \"{AGENT}\"")].iter().any(|said| words.contains(said))
}

/// The shim that is the parent of a container's first process, as long as both live.
fn shim_of(init: u32) -> Option<u32> {
    let shim = reap::parent(init)?;
    let name = std::fs::read_to_string(format!("/proc/{shim}/comm")).ok()?;
    // The kernel keeps 15 bytes of a name.
    name.starts_with(SHIM).then_some(shim)
}

//! A guest that is ready to be started, and a started one.

use crate::api::ANSWER_DEADLINE;
use crate::cgroup;
use crate::container::{Container, SOCKET, settings};
use crate::daemon::Shared;
use crate::image::REPOSITORY;
use bollard::Docker;
use isobench_core::{Fault, Limits};
use isobench_runner::agents::AgentPackage;
use isobench_runner::channel::{Channel, Listener};
use isobench_runner::{Attribution, Deadline, Deployment, Instance, Phases, RunContext, Target};
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How often a wait for the agent's connection asks the daemon whether the container still runs. Seldom: the question
/// costs a millisecond of the processor that the agent needs.
const ALIVE_CHECK: Duration = Duration::from_millis(250);

/// Numbers the sockets' folders of this process.
static FOLDERS: AtomicU32 = AtomicU32::new(0);

/// The image's name: the run that it belongs to and its content.
pub fn image_of(shared: &Shared, package: &AgentPackage) -> String {
    format!("{REPOSITORY}{}:{}", shared.owner, &package.sha256[..16])
}

/// An imported image and how to start it.
pub struct Deployed {
    docker: Docker,
    image: String,
    args: Vec<String>,
    run: String,
    state: PathBuf,
    limits: Limits,
    daemon: Attribution,
}

impl Deployed {
    /// `image` must be in the daemon.
    pub fn new(
        docker: Docker,
        shared: &Shared,
        image: String,
        args: Vec<String>,
        ctx: &RunContext,
        target: &Target,
    ) -> Deployed {
        let daemon = Attribution { pids: shared.pids.clone(), ..Default::default() };
        let (run, state, limits) = (ctx.run.clone(), ctx.state.clone(), target.limits.clone());
        Deployed { docker, image, args, run, state, limits, daemon: readable(daemon) }
    }
}

impl Deployment for Deployed {
    fn start(&self, phases: &mut Phases, deadline: Deadline) -> Result<Box<dyn Instance>, Fault> {
        let folder = self.state.join(FOLDERS.fetch_add(1, Ordering::Relaxed).to_string());
        fs::create_dir(&folder).map_err(|e| Fault::backend(format!("{}: {e}", folder.display())))?;
        let listener = Listener::bind(folder.join(SOCKET))?;
        let settings = settings(&self.run, &self.image, &self.args, &folder, &self.limits);
        let container = Container::create(&self.docker, settings, folder, deadline)?;
        phases.end("create.api");
        container.start(deadline)?;
        phases.end("create.start");
        let mut asked = Instant::now();
        let mut channel = listener.accept(self.limits.frame_bytes, deadline, || {
            if asked.elapsed() < ALIVE_CHECK {
                return Ok(());
            }
            asked = Instant::now();
            container.alive()
        })?;
        // The connection may be older than the daemon's answer to `start`: then `boot` is what was left of it.
        let up = channel.expect_up(deadline).map_err(|fault| container.explain(fault))?;
        phases.end_at("boot", up);
        channel.expect_hello(deadline).map_err(|fault| container.explain(fault))?;
        Ok(Box::new(Started { channel, container }))
    }

    fn footprint(&self) -> Attribution {
        self.daemon.clone()
    }
}

/// A container whose agent has said hello.
struct Started {
    channel: Channel,
    container: Container,
}

impl Instance for Started {
    fn call(&mut self, request: &[u8], deadline: Deadline) -> Result<Vec<u8>, Fault> {
        self.channel.call(request, deadline).map_err(|fault| self.container.explain(fault))
    }

    /// The processes in the container and the shim that is their parent; the container's cgroup.
    fn footprint(&self) -> Attribution {
        let state = self.container.state(Deadline::after(ANSWER_DEADLINE)).unwrap_or_default();
        let init = state.pid.and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0);
        let mut attribution = Attribution::process(init);
        attribution.pids.extend(parent_of(init));
        if let Some((folder, pids)) = cgroup::of_container(init) {
            attribution.pids.extend(pids);
            attribution.cgroups.insert(folder);
        }
        readable(attribution)
    }

    fn stop(self: Box<Self>, deadline: Deadline) -> Result<(), Fault> {
        self.container.remove(deadline)
    }
}

fn parent_of(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|l| l.strip_prefix("PPid:"))?.trim().parse().ok()
}

/// Leaves out what only root may read (the probe's notes say so); what is gone stays in, to be noticed as a fault.
fn readable(mut attribution: Attribution) -> Attribution {
    attribution.pids.retain(|pid| {
        let read = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
        !read.is_err_and(|e| e.kind() == ErrorKind::PermissionDenied)
    });
    attribution
}

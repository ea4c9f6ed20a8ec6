//! A guest that is ready to be started, and a started one.

use crate::api::Client;
use crate::container::{Container, Recipe};
use crate::daemon::Shared;
use crate::image::Imported;
use crate::spec::spec;
use crate::variant::Variant;
use isobench_core::Fault;
use isobench_runner::channel::{Channel, Listener};
use isobench_runner::reap::COOKIE;
use isobench_runner::spawned::LastWords;
use isobench_runner::{Attribution, Deadline, Deployment, Instance, Phases, RunContext, Target, cgroup, owner};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How often a wait for the agent's connection asks the daemon whether the container still runs. Seldom: the question
/// costs a millisecond of the processor that the agent needs.
const ALIVE_CHECK: Duration = Duration::from_millis(250);

/// Numbers the containers of this process.
static STARTED: AtomicU32 = AtomicU32::new(0);
/// Numbers the deployments of this process.
static DEPLOYED: AtomicU32 = AtomicU32::new(0);

/// The name that no other container of the daemon has.
pub fn new_id() -> String {
    format!("{}-{}", owner::me(), STARTED.fetch_add(1, Ordering::Relaxed))
}

/// An imported image and how to start it.
pub struct Deployed {
    recipe: Recipe,
    words: Arc<LastWords>,
    state: PathBuf,
    frame: u64,
    daemon: Attribution,
}

impl Deployed {
    /// `image` must be in the daemon; `args` are the agent's.
    pub fn new(
        client: Client,
        shared: &Shared,
        image: Imported,
        args: &[String],
        ctx: &RunContext,
        target: &Target,
    ) -> Result<Deployed, Fault> {
        let variant = Variant::named(&target.variant)?;
        let stderr = ctx.state.join(format!("e{}", DEPLOYED.fetch_add(1, Ordering::Relaxed)));
        let words = LastWords::fifo(&stderr).map_err(|e| Fault::backend(format!("{}: {e}", stderr.display())))?;
        let cookie = std::env::var(COOKIE).map(|cookie| format!("{COOKIE}={cookie}"));
        let recipe = Recipe {
            client,
            image,
            runtime: variant.runtime(ctx)?,
            spec: spec(args, &target.limits, cookie.into_iter().collect(), cgroup::counts_swap()),
            parent: shared.cgroup(),
            stderr,
        };
        Ok(Deployed {
            recipe,
            words: Arc::new(words),
            state: ctx.state.clone(),
            frame: target.limits.frame_bytes,
            daemon: Attribution::process(shared.pid).readable(),
        })
    }

    /// How its containers are made.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }
}

impl Deployment for Deployed {
    fn start(&self, phases: &mut Phases, deadline: Deadline) -> Result<Box<dyn Instance>, Fault> {
        let (id, words) = (new_id(), &*self.words);
        let listener = Listener::bind(self.state.join(&id))?;
        let container = Container::start(&self.recipe, &id, listener.path(), phases, deadline)?;
        let mut asked = Instant::now();
        let mut channel = listener.accept(self.frame, deadline, || {
            if asked.elapsed() < ALIVE_CHECK {
                return Ok(());
            }
            asked = Instant::now();
            container.alive(words)
        })?;
        // The connection may be older than the daemon's answer to `Start`: then `boot` is what was left of it.
        let up = channel.expect_up(deadline).map_err(|fault| container.explain(fault, words))?;
        phases.end_at("boot", up);
        channel.expect_hello(deadline).map_err(|fault| container.explain(fault, words))?;
        Ok(Box::new(Started { channel, container, words: Arc::clone(&self.words), _listener: listener }))
    }

    fn footprint(&self) -> Attribution {
        self.daemon.clone()
    }
}

impl Drop for Deployed {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.recipe.stderr);
    }
}

/// A container whose agent has said hello.
struct Started {
    channel: Channel,
    container: Container,
    words: Arc<LastWords>,
    /// The socket's file goes when the instance goes: removing it is no part of a start.
    _listener: Listener,
}

impl Instance for Started {
    fn call(&mut self, request: &[u8], deadline: Deadline) -> Result<Vec<u8>, Fault> {
        self.channel.call(request, deadline).map_err(|fault| self.container.explain(fault, &self.words))
    }

    fn footprint(&self) -> Attribution {
        self.container.attribution()
    }

    fn stop(self: Box<Self>, deadline: Deadline) -> Result<(), Fault> {
        let Started { container, .. } = *self;
        container.remove(deadline)
    }
}

//! Agents that are processes of this machine: a socket and a process per instance, its last words, its end. What a
//! backend adds is how the process comes to be ([`Boundary`]).

mod last_words;
mod process;

pub use last_words::LastWords;
pub use process::{AgentProcess, Role, Surroundings, death, status_of_shell};
pub(crate) use process::{children, family};

use crate::agents::AgentPackage;
use crate::backend::{Attribution, Deployment, Instance, RunContext, Target};
use crate::channel::{Channel, Listener};
use crate::reap::COOKIE;
use crate::stopwatch::{Deadline, Phases};
use isobench_core::Fault;
use isobench_guest::frame::Memory;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long an agent that was asked to leave may take before it is killed. It has nothing to do but end.
const GRACE: Duration = Duration::from_secs(1);

/// How an agent's process comes to be.
pub trait Boundary: Send + Sync {
    /// Makes the process of an agent that will dial `socket`. Part of the cold start.
    ///
    /// # Errors
    /// The fault of a process that could not be made.
    fn launch(&self, origin: &Origin, socket: &Path, deadline: Deadline) -> Result<AgentProcess, Fault>;

    /// What exists before any instance does, and is to be counted once.
    fn footprint(&self) -> Attribution {
        Attribution::default()
    }

    /// Whether each instance has a kernel of its own, which can tell of its memory.
    fn own_kernel(&self) -> bool {
        false
    }
}

/// What all agents of a deployment come from.
#[derive(Debug)]
pub struct Origin {
    /// The agent's program, the prepared guest and the arguments.
    pub package: AgentPackage,
    cookie: Option<OsString>,
    words: LastWords,
}

impl Origin {
    /// Packs `target`.
    ///
    /// # Errors
    /// The fault of an agent that is missing or of a guest that cannot be prepared.
    pub fn new(ctx: &RunContext, target: &Target) -> Result<Arc<Origin>, Fault> {
        Origin::of(AgentPackage::pack(ctx, target)?)
    }

    /// The same from a package that a backend has made itself.
    ///
    /// # Errors
    /// The fault of a pipe that cannot be had.
    pub fn of(package: AgentPackage) -> Result<Arc<Origin>, Fault> {
        let words = LastWords::listen().map_err(|e| Fault::backend(format!("a pipe for the agents: {e}")))?;
        Ok(Arc::new(Origin { package, cookie: std::env::var_os(COOKIE), words }))
    }

    /// A command with the environment and the streams of an agent. A guest sees nothing of the environment but the mark
    /// by which it is found should everything else fail.
    ///
    /// # Errors
    /// That of the system when no more descriptors can be had.
    pub fn command(&self, program: impl AsRef<OsStr>) -> std::io::Result<Command> {
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(self.cookie.as_ref().map(|cookie| (COOKIE, cookie)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(self.words.stderr()?);
        Ok(command)
    }

    /// What the agents have printed of late, on one line.
    pub fn last_words(&self) -> String {
        self.words.read()
    }
}

/// A deployment whose instances are processes.
pub struct Spawning<B> {
    boundary: B,
    origin: Arc<Origin>,
    frame: u64,
    state: PathBuf,
    started: AtomicU32,
}

impl<B: Boundary> Spawning<B> {
    /// Instances of `target` behind `boundary`.
    pub fn new(ctx: &RunContext, target: &Target, origin: Arc<Origin>, boundary: B) -> Spawning<B> {
        Spawning {
            boundary,
            origin,
            frame: target.limits.frame_bytes,
            state: ctx.state.clone(),
            started: AtomicU32::new(0),
        }
    }

    /// The cold start, as [`Deployment::start`].
    ///
    /// # Errors
    /// The fault that ended it.
    pub fn spawn(&self, phases: &mut Phases, deadline: Deadline) -> Result<Spawned, Fault> {
        let n = self.started.fetch_add(1, Ordering::Relaxed);
        let listener = Listener::bind(self.state.join(format!("{n}.sock")))?;
        let origin = &self.origin;
        let mut agent = self.boundary.launch(origin, listener.path(), deadline)?;
        phases.end("create");
        let mut channel = listener.accept(self.frame, deadline, || agent.alive(origin))?;
        let up = channel.expect_up(deadline).map_err(|fault| agent.explain(fault, origin))?;
        phases.end_at("boot", up);
        channel.expect_hello(deadline).map_err(|fault| agent.explain(fault, origin))?;
        Ok(Spawned {
            channel,
            agent,
            own_kernel: self.boundary.own_kernel(),
            origin: Arc::clone(origin),
            _listener: listener,
        })
    }
}

impl<B: Boundary> Deployment for Spawning<B> {
    fn start(&self, phases: &mut Phases, deadline: Deadline) -> Result<Box<dyn Instance>, Fault> {
        Ok(Box::new(self.spawn(phases, deadline)?))
    }

    fn footprint(&self) -> Attribution {
        self.boundary.footprint()
    }
}

/// An instance that is a process.
pub struct Spawned {
    channel: Channel,
    agent: AgentProcess,
    own_kernel: bool,
    origin: Arc<Origin>,
    /// The socket's file goes when the instance goes: removing it is no part of a start.
    _listener: Listener,
}

impl Instance for Spawned {
    fn call(&mut self, request: &[u8], deadline: Deadline) -> Result<Vec<u8>, Fault> {
        self.channel.call(request, deadline).map_err(|fault| self.agent.explain(fault, &self.origin))
    }

    fn footprint(&self) -> Attribution {
        self.agent.attribution()
    }

    fn own_memory(&mut self, deadline: Deadline) -> Result<Option<Memory>, Fault> {
        match self.own_kernel {
            true => self.channel.memory(deadline).map_err(|fault| self.agent.explain(fault, &self.origin)),
            false => Ok(None),
        }
    }

    fn stop(mut self: Box<Self>, deadline: Deadline) -> Result<(), Fault> {
        let Spawned { channel, agent, .. } = &mut *self;
        agent.leave(|| channel.send_stop(), GRACE.min(deadline.remaining()))
    }
}

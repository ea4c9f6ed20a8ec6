//! Plain processes: the baseline that every other boundary is compared with. [`Process`] is the backend.

mod child;
mod last_words;

use child::AgentProcess;
use isobench_core::{Availability, Description, Fault, FaultKind, Guest, Model, VariantInfo};
use isobench_runner::agents::{self, AgentPackage};
use isobench_runner::channel::{Channel, Listener};
use isobench_runner::reap::COOKIE;
use isobench_runner::{Attribution, Backend, Deadline, Deployment, Instance, Phases, Prepared, RunContext, Target};
use last_words::LastWords;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long an agent that was asked to leave may take before it is killed. It has nothing to do but end.
const GRACE: Duration = Duration::from_secs(1);

/// The backend.
pub struct Process;

impl Backend for Process {
    fn describe(&self) -> Description {
        Description {
            backend: "process".into(),
            model: Model::Process,
            variants: vec![VariantInfo {
                name: "spawn".into(),
                guests: Guest::ALL.into(),
                prepared: "the agent's file and the guest's (Wasm: compiled) in the page cache".into(),
                shared: "kernel, file system, network, and the pages of the agent's file".into(),
                quick: true,
            }],
            in_process: false,
            hidden: false,
            footprint_instances: 16,
        }
    }

    fn probe(&self, ctx: &RunContext) -> Availability {
        // Native guests bring their own agent, so a missing one costs its rows only.
        let missing = [Guest::Wasm, Guest::Js].map(|guest| agents::agent_program(ctx, guest).err());
        Availability::Available {
            versions: [("isobench agent".into(), env!("CARGO_PKG_VERSION").into())].into(),
            emulated: false,
            notes: missing.into_iter().flatten().map(|fault| fault.message).collect(),
        }
    }

    fn prepare(&self, _ctx: &RunContext) -> Result<Box<dyn Prepared>, Fault> {
        Ok(Box::new(Opened))
    }

    fn open(&self, _ctx: &RunContext, _record: &serde_json::Value) -> Result<Box<dyn Prepared>, Fault> {
        Ok(Box::new(Opened))
    }
}

/// Processes share nothing that would have to be prepared.
struct Opened;

impl Prepared for Opened {
    fn deploy(&self, ctx: &RunContext, target: &Target) -> Result<Box<dyn Deployment>, Fault> {
        let package = AgentPackage::pack(ctx, target)?;
        let words = LastWords::listen().map_err(|e| Fault::backend(format!("a pipe for the agents: {e}")))?;
        Ok(Box::new(Deployed {
            guest: package.guest.as_deref().map(|p| p.display().to_string()).unwrap_or_default(),
            package,
            native: target.guest == Guest::Native,
            frame: target.limits.frame_bytes,
            state: ctx.state.clone(),
            cookie: std::env::var_os(COOKIE),
            words: Arc::new(words),
            started: AtomicU32::new(0),
        }))
    }
}

struct Deployed {
    package: AgentPackage,
    guest: String,
    native: bool,
    frame: u64,
    state: PathBuf,
    cookie: Option<OsString>,
    words: Arc<LastWords>,
    started: AtomicU32,
}

impl Deployed {
    fn spawn(&self, connect: &str) -> Result<AgentProcess, Fault> {
        let program = &self.package.program;
        let failed = |e: std::io::Error| {
            // A native guest is its own agent: a file that cannot be executed is the fixture's fault.
            let kind = if self.native { FaultKind::InvalidGuest } else { FaultKind::BackendFailed };
            Fault::new(kind, format!("{} cannot be started: {e}", program.display()))
        };
        let mut command = Command::new(program);
        command
            .args(self.package.args(connect, &self.guest))
            // A guest sees nothing of the environment but the mark by which it is found should everything else fail.
            .env_clear()
            .envs(self.cookie.as_ref().map(|cookie| (COOKIE, cookie)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(self.words.stderr().map_err(failed)?);
        AgentProcess::spawn(&mut command).map_err(failed)
    }
}

impl Deployment for Deployed {
    fn start(&self, phases: &mut Phases, deadline: Deadline) -> Result<Box<dyn Instance>, Fault> {
        let n = self.started.fetch_add(1, Ordering::Relaxed);
        let listener = Listener::bind(self.state.join(format!("{n}.sock")))?;
        let mut agent = self.spawn(&format!("unix:{}", listener.path().display()))?;
        phases.end("create");
        let mut channel = listener.accept(self.frame, deadline, || agent.alive(&self.words))?;
        let up = channel.expect_up(deadline).map_err(|fault| agent.explain(fault, &self.words))?;
        phases.end_at("boot", up);
        channel.expect_hello(deadline).map_err(|fault| agent.explain(fault, &self.words))?;
        Ok(Box::new(Spawned { channel, agent, words: Arc::clone(&self.words), _listener: listener }))
    }

    fn footprint(&self) -> Attribution {
        // Nothing exists before the first agent; the runner hosts none of them.
        Attribution::default()
    }
}

struct Spawned {
    channel: Channel,
    agent: AgentProcess,
    words: Arc<LastWords>,
    /// The socket's file goes when the instance goes: removing it is no part of a start.
    _listener: Listener,
}

impl Instance for Spawned {
    fn call(&mut self, request: &[u8], deadline: Deadline) -> Result<Vec<u8>, Fault> {
        self.channel.call(request, deadline).map_err(|fault| self.agent.explain(fault, &self.words))
    }

    fn footprint(&self) -> Attribution {
        Attribution::process(self.agent.pid())
    }

    fn stop(mut self: Box<Self>, deadline: Deadline) -> Result<(), Fault> {
        self.channel.send_stop();
        self.agent.ends_within(GRACE.min(deadline.remaining()));
        self.agent.end().map(drop)
    }
}

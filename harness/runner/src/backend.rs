//! The traits that a backend implements. The experiments are written against these alone.

use crate::owner::{self, Life};
use crate::stopwatch::{Deadline, Phases};
use isobench_core::{Availability, Description, Fault, Guest, Limits, SampleFlag};
use isobench_guest::frame::Memory;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::PathBuf;

/// One implementation of a model.
pub trait Backend: Send + Sync {
    /// What it is, the same on every machine. Cheap: no engine is started.
    fn describe(&self) -> Description;

    /// Can it run here, which versions, and if not: why, and how to fix it. May take seconds (a KVM probe boots a
    /// guest); answers that cost much are cached in `ctx.cache`.
    fn probe(&self, ctx: &RunContext) -> Availability;

    /// Once per run, in the owner process: what all cells share. Dropping the answer takes it down again. Where cells
    /// share nothing it is what a block opens.
    fn prepare(&self, ctx: &RunContext) -> Result<Box<dyn Prepared>, Fault> {
        self.open(ctx, &serde_json::Value::Null)
    }

    /// What [`Prepared::record`] wrote down, opened in a block's runner process.
    fn open(&self, ctx: &RunContext, record: &serde_json::Value) -> Result<Box<dyn Prepared>, Fault>;

    /// Reaps what killed runs left that is not a process of ours (containers, mounts, cgroups); the harness itself
    /// kills processes and removes state folders. `dead` are the state folders of runs whose coordinator is gone.
    /// What has an owner that is not provably gone stays.
    fn clean(&self, ctx: &RunContext, dead: &[PathBuf]) -> Cleaned {
        let _ = (ctx, dead);
        Cleaned::default()
    }
}

/// What a clean-up did, a line for each thing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cleaned {
    /// What was removed or killed.
    pub removed: Vec<String>,
    /// What looks like isobench's but has an owner that is not provably gone: why, and how a person removes it.
    pub left_alone: Vec<String>,
}

impl Cleaned {
    /// Appends what another clean-up did.
    pub fn extend(&mut self, other: Cleaned) {
        self.removed.extend(other.removed);
        self.left_alone.extend(other.left_alone);
    }

    /// Removes a thing if the owner of `tag` is provably gone, by `remove`, which returns whether it worked. Lists the
    /// thing if neither life nor death of its owner is proven; `remedy` is a person's command to remove it.
    pub fn judge(&mut self, thing: &str, tag: &str, remedy: &str, remove: impl FnOnce() -> bool) {
        match owner::life(tag) {
            Life::Alive => {}
            Life::Gone => self.removed.extend(remove().then(|| thing.to_string())),
            Life::Unknown(why) => {
                self.left_alone.push(format!("{thing}: {why}; if no isobench uses it, remove it with `{remedy}`"));
            }
        }
    }
}

/// What a run's cells share.
pub trait Prepared: Send + Sync {
    /// Written down for the blocks' runner processes.
    fn record(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// Whether the CPU quota and the processors that bind isobench bind all processes of its instances as well. The rows
    /// are flagged if not.
    fn is_bound(&self) -> bool {
        true
    }

    /// All that happens before a request arrives: compile, image, initramfs. Content-addressed in `ctx.cache`, so that
    /// only the first block pays. In-process engines are initialised here at the latest.
    fn deploy(&self, ctx: &RunContext, target: &Target) -> Result<Box<dyn Deployment>, Fault>;
}

/// A guest that is ready to be started. Shared by the threads of a throughput visit.
pub trait Deployment: Send + Sync {
    /// Sees to it that the next start is a cold one, where that is not the backend's own doing. Before the clock, and
    /// before cold starts alone: under load, a start finds what it finds.
    fn make_cold(&self) -> Result<(), Fault> {
        Ok(())
    }

    /// The cold start: from nothing to ready. Marks `create` (the boundary exists) and `boot` (the agent's `up`), each
    /// where it has one; what is left when it returns is `load`.
    fn start(&self, phases: &mut Phases, deadline: Deadline) -> Result<Box<dyn Instance>, Fault>;

    /// Why the first start of this deployment is unlike all later ones, where it is: it is then told apart.
    fn first_start(&self) -> Option<SampleFlag> {
        None
    }

    /// What exists, and is to be counted once, before any instance does: the runner itself for in-process backends, a
    /// daemon.
    fn footprint(&self) -> Attribution;
}

/// A started guest. Created, called and stopped on one thread (V8 demands it).
pub trait Instance {
    /// One request.
    fn call(&mut self, request: &[u8], deadline: Deadline) -> Result<Vec<u8>, Fault>;

    /// The processes and cgroups this instance is made of.
    fn footprint(&self) -> Attribution;

    /// What a kernel of its own says of its memory, from inside; `None` for an instance that has none.
    fn own_memory(&mut self, deadline: Deadline) -> Result<Option<Memory>, Fault> {
        let _ = deadline;
        Ok(None)
    }

    /// Gone, and nothing left behind. Dropping an instance does the same and ignores errors.
    fn stop(self: Box<Self>, deadline: Deadline) -> Result<(), Fault>;
}

/// Processes and cgroups, united over instances so that what is shared counts once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attribution {
    /// Process ids on the host.
    pub pids: BTreeSet<u32>,
    /// Folders of cgroups (v2, or v1's memory hierarchy).
    pub cgroups: BTreeSet<PathBuf>,
    /// Why a process that belongs here is not known: then no memory figure is true.
    pub unknown: Option<String>,
}

impl Attribution {
    /// The calling process: what hosts in-process instances.
    pub fn this_process() -> Attribution {
        Attribution::process(std::process::id())
    }

    /// One process.
    pub fn process(pid: u32) -> Attribution {
        Attribution { pids: [pid].into(), ..Attribution::default() }
    }

    /// A process that is not known, and why.
    pub fn unknown(why: String) -> Attribution {
        Attribution { unknown: Some(why), ..Attribution::default() }
    }

    /// Adds what `other` names.
    pub fn unite(&mut self, other: Attribution) {
        self.pids.extend(other.pids);
        self.cgroups.extend(other.cgroups);
        self.unknown = self.unknown.take().or(other.unknown);
    }

    /// Without the processes whose memory only root may read; what is gone stays in, to be noticed as a fault.
    pub fn readable(mut self) -> Attribution {
        self.pids.retain(|pid| {
            let read = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
            !read.is_err_and(|e| e.kind() == ErrorKind::PermissionDenied)
        });
        self
    }
}

/// Where a run lives on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunContext {
    /// The run's id: the name of its folder under `results/`.
    pub run: String,
    /// This process's own folder for sockets and temporary files, below the run's state folder. Short, because a
    /// socket's path may have 107 bytes only. Removed when the process is done.
    pub state: PathBuf,
    /// The cache: content-addressed, kept between runs.
    pub cache: PathBuf,
    /// The folder of isobench's own programs: runners and agents.
    pub programs: PathBuf,
}

/// What to deploy: one workload's guest, built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Name of the workload.
    pub workload: String,
    /// Variant of the backend.
    pub variant: String,
    /// The artifact's kind.
    pub guest: Guest,
    /// The engine that runs it behind a boundary: its agent is `isobench-agent-<engine>`. `None` for machine code. A
    /// backend that is an engine itself does not look at it.
    pub engine: Option<String>,
    /// The artifact: a JS module, a `.wasm` binary, or the workload's native agent program.
    pub artifact: PathBuf,
    /// Its SHA-256.
    pub artifact_sha256: String,
    /// Limits for its instances.
    pub limits: Limits,
    /// The guest's processor is emulated: the longer deadlines apply.
    pub emulated: bool,
}

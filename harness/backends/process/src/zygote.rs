//! The zygote: one warm agent per deployment that copies itself for every instance.

use crate::Spawn;
use isobench_core::Fault;
use isobench_runner::spawned::{AgentProcess, Boundary, Origin, Spawned, Spawning};
use isobench_runner::{Attribution, Deadline, Instance, Phases, RunContext, Target};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// An instance like any spawned one, except that its requests are addresses and its answers process ids.
pub(crate) struct Zygote(Mutex<Spawned>);

impl Zygote {
    /// Spawns one, and waits until it has loaded the guest.
    pub(crate) fn new(ctx: &RunContext, target: &Target, origin: Arc<Origin>) -> Result<Zygote, Fault> {
        // A folder of its own, for its socket is none of an instance.
        let ctx = RunContext { state: ctx.state.join("zygote"), ..ctx.clone() };
        std::fs::create_dir_all(&ctx.state).map_err(|e| Fault::backend(format!("{}: {e}", ctx.state.display())))?;
        let spawning = Spawning::new(&ctx, target, origin, Spawn::of(target, &["--zygote"]));
        let deadline = Deadline::after(target.limits.start_deadline(target.emulated));
        let zygote = spawning.spawn(&mut Phases::new(), deadline).map_err(|fault| fault.context("zygote"))?;
        Ok(Zygote(Mutex::new(zygote)))
    }
}

impl Boundary for Zygote {
    fn launch(&self, _: &Origin, socket: &Path, deadline: Deadline) -> Result<AgentProcess, Fault> {
        let address = format!("unix:{}", socket.display());
        let mut zygote = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = zygote.call(address.as_bytes(), deadline).map_err(|fault| fault.context("zygote"))?;
        drop(zygote);
        let pid = answer.try_into().map(u32::from_le_bytes);
        let pid = pid.map_err(|answer: Vec<u8>| Fault::backend(format!("zygote: {answer:?} is no process id")))?;
        AgentProcess::adopt(pid).map_err(|e| Fault::backend(format!("zygote: its copy {pid}: {e}")))
    }

    fn footprint(&self) -> Attribution {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).footprint()
    }
}

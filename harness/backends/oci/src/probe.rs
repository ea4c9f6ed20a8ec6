//! Can it run here? Only a container that was really started, and answered, tells.

use crate::container::Bundles;
use crate::runtime::{KNOWN, Runtime};
use isobench_core::{Availability, Fault, Guest, Limits};
use isobench_guest::agent;
use isobench_runner::agents;
use isobench_runner::spawned::{Origin, Spawning};
use isobench_runner::{Deadline, Deployment, Phases, RunContext, Target};
use std::collections::BTreeMap;
use std::fs;
use std::process::ExitCode;
use std::time::Duration;

/// Longest wait for one container to answer: a hundred times what it takes.
const PATIENCE: Duration = Duration::from_secs(8);

pub(crate) fn probe(ctx: &RunContext) -> Availability {
    // SAFETY: cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        return Availability::unavailable(
            "only root can start containers without a daemon: they need a cgroup",
            "run isobench as root",
        );
    }
    let (mut versions, mut notes, mut absent) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
    for known in KNOWN {
        let found = Runtime::find(ctx, known.name);
        match found.and_then(|runtime| try_one(ctx, &runtime).map(|()| runtime)) {
            Ok(runtime) => {
                versions.insert(known.name.to_string(), runtime.version());
                notes.extend(runtime.notes);
            }
            Err(fault) => {
                absent.insert(known.name.to_string(), fault.message);
            }
        }
    }
    if versions.is_empty() {
        let reasons: Vec<String> = absent.into_values().collect();
        return Availability::unavailable(reasons.join("; "), "install runc as root: `apt install runc`");
    }
    notes.extend(agents::missing_agents(ctx));
    Availability::Available { versions, emulated: false, notes, absent }
}

/// One container through the whole of what a cell does, its agent being the runner's own program.
pub(crate) fn try_one(ctx: &RunContext, runtime: &Runtime) -> Result<(), Fault> {
    fs::create_dir_all(&ctx.state).map_err(|e| Fault::backend(format!("{}: {e}", ctx.state.display())))?;
    let target = Target {
        workload: "probe".into(),
        variant: runtime.known.name.into(),
        guest: Guest::Native,
        engine: None,
        artifact: ctx.programs.join("isobench-runner-oci"),
        artifact_sha256: String::new(),
        limits: Limits::default(),
        emulated: false,
    };
    let origin = Origin::new(ctx, &target)?;
    let bundles = Bundles::new(ctx, &target, &origin, runtime.clone())?;
    let deployed = Spawning::new(ctx, &target, origin, bundles);
    let deadline = Deadline::after(PATIENCE);
    let mut instance = deployed.start(&mut Phases::new(), deadline)?;
    let answer = instance.call(b"?", deadline)?;
    instance.stop(Deadline::after(PATIENCE))?;
    if answer != b"?" {
        return Err(Fault::backend(format!("the probe container of {} answered wrongly", runtime.known.name)));
    }
    Ok(())
}

/// The agent of the probe container: echoes what it is sent.
pub fn probe_agent() -> ExitCode {
    struct Echo;
    impl agent::Guest for Echo {
        fn handle(&mut self, request: &[u8]) -> Result<Vec<u8>, agent::AgentFault> {
            Ok(request.to_vec())
        }
    }
    agent::serve("oci's probe", |_| Ok(Echo))
}

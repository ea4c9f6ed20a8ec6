//! Can a container run here? Only one that was really started, and answered, tells. The agent in it is the runner's own
//! program: a static one that is sure to be there.

use crate::backend::{Backend, Deployment, RunContext, Target};
use crate::serve;
use crate::spawned::{Boundary, Origin, Spawning};
use crate::stopwatch::{Deadline, Phases};
use isobench_core::{Availability, Description, Fault, Guest, Limits};
use isobench_guest::agent::{self, AgentFault};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::ExitCode;
use std::time::Duration;

/// Longest wait for one container to answer: a hundred times what it takes.
const PATIENCE: Duration = Duration::from_secs(8);

/// `main` of a runner that is also the agent of its probe.
pub fn main(backend: &dyn Backend) -> ExitCode {
    // Commands of the runner protocol are words; an agent's arguments begin with `--connect`.
    match std::env::args_os().nth(1) {
        Some(first) if first.as_encoded_bytes().starts_with(b"--") => echo(),
        _ => serve::main(backend),
    }
}

/// An agent that answers with what it is sent.
fn echo() -> ExitCode {
    struct Echo;
    impl agent::Guest for Echo {
        fn handle(&mut self, request: &[u8]) -> Result<Vec<u8>, AgentFault> {
            Ok(request.to_vec())
        }
    }
    agent::serve("the probe", |_| Ok(Echo))
}

/// Why this user cannot make containers without a daemon; `None` for root.
pub fn not_root() -> Option<Availability> {
    // SAFETY: cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    (!root).then(|| Availability::unavailable("only root can give a container a cgroup", "run isobench as root"))
}

/// Which of a backend's variants do not work here, and why: each is tried as by [`try_one`].
pub fn absent<B: Boundary>(
    ctx: &RunContext,
    backend: &dyn Backend,
    boundary: impl Fn(&Target, &Origin) -> Result<B, Fault>,
) -> BTreeMap<String, String> {
    let Description { backend, variants, .. } = backend.describe();
    let tried = variants.into_iter().map(|variant| (try_one(ctx, &backend, &variant.name, &boundary), variant.name));
    tried.filter_map(|(tried, name)| Some((name, tried.err()?.message))).collect()
}

/// The reasons why variants do not work, each once: those of one cause differ in numbers only, such as that of a cgroup.
pub fn reasons(absent: &BTreeMap<String, String>) -> String {
    let mut known = BTreeSet::new();
    let without_digits = |reason: &str| reason.replace(|c: char| c.is_ascii_digit(), "");
    let each: Vec<&str> =
        absent.values().map(String::as_str).filter(|reason| known.insert(without_digits(reason))).collect();
    each.join("; ")
}

/// One container of a variant through the whole of what a cell does, where `backend` has a runner with [`main`].
///
/// # Errors
/// Its fault.
pub fn try_one<B: Boundary>(
    ctx: &RunContext,
    backend: &str,
    variant: &str,
    boundary: impl FnOnce(&Target, &Origin) -> Result<B, Fault>,
) -> Result<(), Fault> {
    fs::create_dir_all(&ctx.state).map_err(|e| Fault::backend(format!("{}: {e}", ctx.state.display())))?;
    let target = Target {
        workload: "probe".into(),
        variant: variant.into(),
        guest: Guest::Native,
        engine: None,
        artifact: ctx.programs.join(format!("isobench-runner-{backend}")),
        artifact_sha256: String::new(),
        limits: Limits::default(),
        emulated: false,
    };
    let origin = Origin::new(ctx, &target)?;
    let boundary = boundary(&target, &origin)?;
    let deployed = Spawning::new(ctx, &target, origin, boundary);
    let deadline = Deadline::after(PATIENCE);
    let mut instance = deployed.start(&mut Phases::new(), deadline)?;
    let answer = instance.call(b"?", deadline)?;
    instance.stop(Deadline::after(PATIENCE))?;
    if answer != b"?" {
        return Err(Fault::backend(format!("the probe container of {variant} answered wrongly")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_of_several_variants_is_said_once() {
        let absent = [("a", "cgroup x/0: busy"), ("b", "cgroup x/1: busy"), ("c", "no overlay")];
        let absent = absent.map(|(name, reason)| (name.to_string(), reason.to_string())).into();
        assert_eq!(reasons(&absent), "cgroup x/0: busy; no overlay");
    }
}

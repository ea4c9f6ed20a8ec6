//! Can it run here? Only a sandbox that was really made tells: distributions forbid user namespaces in many ways.

use crate::filter::Filter;
use crate::sandbox;
use isobench_core::Availability;
use isobench_runner::RunContext;
use isobench_runner::agents;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Longest wait for one sandbox or one question: a thousand times what it takes.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn probe(ctx: &RunContext) -> Availability {
    let Some(bwrap) = sandbox::program() else {
        return Availability::unavailable("bubblewrap is not installed", "apt install bubblewrap");
    };
    if let Err(reason) = try_one(&bwrap) {
        return Availability::unavailable(
            format!("a sandbox could not be made: {reason}"),
            "user namespaces must be allowed: sysctl user.max_user_namespaces must not be 0, \
             kernel.unprivileged_userns_clone not 0 and kernel.apparmor_restrict_unprivileged_userns not 1, where they \
             exist; containers often forbid them (or run isobench as root)",
        );
    }
    Availability::Available {
        versions: [("bubblewrap".into(), version(&bwrap).unwrap_or_else(|reason| reason))].into(),
        emulated: false,
        notes: agents::missing_agents(ctx),
        absent: BTreeMap::new(),
    }
}

/// A sandbox with the filter around a static program that is surely there: this one.
fn try_one(bwrap: &Path) -> Result<(), String> {
    let this = std::env::current_exe().map_err(|e| format!("path of this program: {e}"))?;
    let filter = Filter::new().map_err(|e| format!("seccomp filter: {e}"))?;
    let tried = filter.lend(|number| {
        let mut command = Command::new(bwrap);
        command.args(sandbox::walls(&[(this.as_path(), "/this")])).args([
            "--seccomp",
            &number.to_string(),
            "/this",
            "describe",
        ]);
        agents::run_to_end(&mut command, PATIENCE)
    });
    tried.map_err(|e| format!("seccomp filter: {e}"))?
}

/// `0.8.0` of `bubblewrap 0.8.0`, or why it does not say.
fn version(bwrap: &Path) -> Result<String, String> {
    let text = agents::text_of(Command::new(bwrap).arg("--version"), PATIENCE)?;
    Ok(text.trim_start_matches("bubblewrap ").into())
}

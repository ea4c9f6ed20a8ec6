//! Can it run here? Only a container that was really started, and answered, tells.

use crate::container::{Containers, START};
use crate::{Lxc, Variant};
use isobench_core::Availability;
use isobench_runner::place::installed;
use isobench_runner::{Backend, RunContext, agents, cgroup, probing};
use std::process::Command;
use std::time::Duration;

/// Longest wait for LXC to say its version.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn probe(ctx: &RunContext) -> Availability {
    let name = Lxc.describe().backend;
    let Some(program) = installed(START) else {
        return Availability::unavailable("LXC is not installed", "apt install lxc");
    };
    if let Some(unavailable) = probing::not_root() {
        return unavailable;
    }
    let absent = probing::absent(ctx, &Lxc, |target, origin| Containers::new(ctx, target, &origin.package));
    if absent.len() == Variant::ALL.len() {
        let remedy =
            "`lxc-checkconfig` says what the kernel lacks; inside another container it must be allowed to mount";
        return Availability::unavailable(
            format!("no container could be started: {}", probing::reasons(&absent)),
            cgroup::crowded().unwrap_or_else(|| remedy.into()),
        );
    }
    let version = agents::text_of(Command::new(&program).arg("--version"), PATIENCE);
    Availability::Available {
        versions: [(name, version.unwrap_or_else(|reason| reason))].into(),
        emulated: false,
        notes: agents::missing_agents(ctx),
        absent,
    }
}

//! Can it run here? Only a container that was really started, and answered, tells.

use crate::container::{Containers, NSPAWN};
use crate::{Nspawn, Variant};
use isobench_core::Availability;
use isobench_runner::place::installed;
use isobench_runner::{RunContext, agents, cgroup, probing};
use std::process::Command;
use std::time::Duration;

/// Longest wait for nspawn to say its version.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn probe(ctx: &RunContext) -> Availability {
    let Some(program) = installed(NSPAWN) else {
        return Availability::unavailable("systemd-nspawn is not installed", "apt install systemd-container");
    };
    if let Some(unavailable) = probing::not_root() {
        return unavailable;
    }
    let absent = probing::absent(ctx, &Nspawn, |target, origin| Containers::new(ctx, target, &origin.package));
    if absent.len() == Variant::ALL.len() {
        let remedy = "inside another container that one must be allowed to mount and to write to /sys/fs/cgroup";
        return Availability::unavailable(
            format!("no container could be started: {}", probing::reasons(&absent)),
            cgroup::crowded().unwrap_or_else(|| remedy.into()),
        );
    }
    let version = agents::text_of(Command::new(&program).arg("--version"), PATIENCE).map(|text| {
        // `systemd 252 (252.39-1~deb12u2)`, and a line of what it was built with.
        text.lines().next().unwrap_or_default().trim_start_matches("systemd ").to_string()
    });
    Availability::Available {
        versions: [(NSPAWN.into(), version.unwrap_or_else(|reason| reason))].into(),
        emulated: false,
        notes: agents::missing_agents(ctx),
        absent,
    }
}

//! Containers of LXC from a configuration of ours: no template, no bridge, no registration.
//!
//! - [`config`]: what LXC is told;
//! - [`container`]: a container from its start to its end;
//! - `probe`: which variants work here.

pub mod config;
pub mod container;
mod probe;

use container::{CGROUP, Containers};
use isobench_core::{Availability, Description, Fault, Guest, Model, Preparation, VariantInfo};
use isobench_runner::containers::{self, NoDaemon};
use isobench_runner::spawned::{Origin, Spawning};
use isobench_runner::{Backend, Cleaned, Deployment, Prepared, RunContext, Target};
use std::path::PathBuf;

/// A way of running the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// The container's root is the host's, without a capability.
    Privileged,
    /// The container has a user namespace: its root is nobody outside.
    Unprivileged,
}

impl Variant {
    /// Every variant.
    pub const ALL: [Variant; 2] = [Variant::Privileged, Variant::Unprivileged];

    /// Its name, a row's.
    pub fn name(self) -> &'static str {
        match self {
            Variant::Privileged => "privileged",
            Variant::Unprivileged => "unprivileged",
        }
    }

    /// That of a name.
    ///
    /// # Errors
    /// There is none.
    pub fn named(name: &str) -> Result<Variant, Fault> {
        let known = Variant::ALL.into_iter().find(|known| known.name() == name);
        known.ok_or_else(|| Fault::backend(format!("lxc has no variant `{name}`")))
    }
}

/// The backend.
#[derive(Debug)]
pub struct Lxc;

impl Backend for Lxc {
    fn describe(&self) -> Description {
        let variant = |variant: Variant, shared: &str| VariantInfo {
            name: variant.name().into(),
            guests: Guest::ALL.into(),
            prepared: "a root folder of empty mount points, the configuration; the agent's file, the guest's (Wasm: \
                       compiled) and LXC's in the page cache"
                .into(),
            preparation: Preparation::of_agents(&Guest::ALL),
            shared: format!("the host's kernel, the pages of the agent's file{shared}; no network"),
            quick: false,
            ..VariantInfo::default()
        };
        Description {
            backend: "lxc".into(),
            model: Model::Container,
            variants: vec![
                variant(Variant::Privileged, ", the host's root as user"),
                variant(Variant::Unprivileged, ", one range of users that are nobody on the host"),
            ],
            in_process: false,
            hidden: false,
            footprint_instances: 16,
            engines: Vec::new(),
        }
    }

    fn probe(&self, ctx: &RunContext) -> Availability {
        probe::probe(ctx)
    }

    fn open(&self, _: &RunContext, _: &serde_json::Value) -> Result<Box<dyn Prepared>, Fault> {
        // What a killed runner left would share the machine with this block.
        reap();
        Ok(Box::new(NOTHING))
    }

    fn clean(&self, _: &RunContext, _: &[PathBuf]) -> Cleaned {
        reap()
    }
}

/// Takes down the containers of processes that are gone. All mounts are in namespaces of theirs, and the configuration
/// lies in state folders: a cgroup with processes is what there is.
fn reap() -> Cleaned {
    containers::reap("lxc", CGROUP)
}

/// Nothing is shared that would have to be prepared.
const NOTHING: NoDaemon = NoDaemon { deploy, reap, cpu_cgroup: true };

fn deploy(ctx: &RunContext, target: &Target) -> Result<Box<dyn Deployment>, Fault> {
    let origin = Origin::new(ctx, target)?;
    let containers = Containers::new(ctx, target, &origin.package)?;
    Ok(Box::new(Spawning::new(ctx, target, origin, containers)))
}

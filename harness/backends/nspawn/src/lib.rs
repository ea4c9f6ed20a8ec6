//! Containers of systemd-nspawn on a root folder of ours. systemd itself need not run, and knows nothing of them where
//! it does.
//!
//! - [`container`]: a container from its start to its end;
//! - `probe`: which variants work here.

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
    Plain,
    /// The same in a user namespace: the container's root is nobody outside.
    PrivateUsers,
    /// As [`Variant::Plain`], with nspawn's own filter of system calls.
    Seccomp,
}

impl Variant {
    /// Every variant.
    pub const ALL: [Variant; 3] = [Variant::Plain, Variant::PrivateUsers, Variant::Seccomp];

    /// Its name, a row's.
    pub fn name(self) -> &'static str {
        match self {
            Variant::Plain => "plain",
            Variant::PrivateUsers => "private-users",
            Variant::Seccomp => "seccomp",
        }
    }

    /// That of a name.
    ///
    /// # Errors
    /// There is none.
    pub fn named(name: &str) -> Result<Variant, Fault> {
        let known = Variant::ALL.into_iter().find(|known| known.name() == name);
        known.ok_or_else(|| Fault::backend(format!("nspawn has no variant `{name}`")))
    }

    fn shared(self) -> &'static str {
        match self {
            Variant::Plain => "the host's kernel, the pages of the agent's file, the host's root as user; no network",
            Variant::PrivateUsers => {
                "the host's kernel, the pages of the agent's file, one range of users that are nobody on the host; no \
                 network"
            }
            Variant::Seccomp => {
                "the host's kernel behind a list of system calls, the pages of the agent's file, the host's root as \
                 user; no network"
            }
        }
    }
}

/// The backend.
#[derive(Debug)]
pub struct Nspawn;

impl Backend for Nspawn {
    fn describe(&self) -> Description {
        let variant = |variant: Variant| VariantInfo {
            name: variant.name().into(),
            guests: Guest::ALL.into(),
            prepared:
                "a root folder of empty mount points; the agent's file, the guest's (Wasm: compiled) and nspawn's \
                       in the page cache"
                    .into(),
            preparation: Preparation::of_agents(&Guest::ALL),
            shared: variant.shared().into(),
            quick: false,
            ..VariantInfo::default()
        };
        Description {
            backend: "nspawn".into(),
            model: Model::Container,
            variants: Variant::ALL.map(variant).into(),
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

/// Takes down the containers of processes that are gone: by their cgroups, then the folders that nspawn had for them.
fn reap() -> Cleaned {
    let mut done = containers::reap("nspawn", CGROUP);
    container::reap_folders(&mut done);
    done
}

/// Nothing is shared that would have to be prepared.
const NOTHING: NoDaemon = NoDaemon { deploy, reap, cpu_cgroup: false };

fn deploy(ctx: &RunContext, target: &Target) -> Result<Box<dyn Deployment>, Fault> {
    let origin = Origin::new(ctx, target)?;
    let containers = Containers::new(ctx, target, &origin.package)?;
    Ok(Box::new(Spawning::new(ctx, target, origin, containers)))
}

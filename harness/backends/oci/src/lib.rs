//! Containers of an OCI runtime on a bundle of ours, without a daemon: what an engine adds is the difference to
//! `docker`.
//!
//! - [`config`]: what the runtime is told;
//! - [`container`]: a container from its bundle to its end;
//! - [`layer`]: what others make images of;
//! - [`runtime`]: the runtimes that are known, each a variant;
//! - `probe`: which of them work here.

pub mod config;
pub mod container;
pub mod layer;
mod probe;
pub mod runtime;

use container::{Bundles, CGROUP};
use isobench_core::availability::VariantInfo;
use isobench_core::{Availability, Description, Fault, Guest, Model, Preparation};
use isobench_runner::containers::{self, NoDaemon};
use isobench_runner::spawned::{Origin, Spawning};
use isobench_runner::{Backend, Cleaned, Deployment, Prepared, RunContext, Target};
use runtime::{KNOWN, Known, RUNC, Runtime};
use std::path::PathBuf;

/// The backend.
#[derive(Debug)]
pub struct Oci;

impl Backend for Oci {
    fn describe(&self) -> Description {
        let variant = |known: Known| VariantInfo {
            name: known.name.into(),
            guests: Guest::ALL.to_vec(),
            prepared: "a root folder of empty mount points; the agent's file, the guest's (Wasm: compiled) and the \
                       runtime's in the page cache"
                .into(),
            preparation: Preparation::of_agents(&Guest::ALL),
            // Stands in for Docker.
            representative: if known.name == RUNC { 2 } else { 0 },
            shared: format!("{}; the pages of the agent's file; no network", known.shared),
            quick: known.name == RUNC,
            matrix: known.name == RUNC,
            ..VariantInfo::default()
        };
        Description {
            backend: "oci".into(),
            model: Model::Container,
            variants: KNOWN.map(variant).into(),
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

/// Takes down the containers of processes that are gone. They have no mount outside namespaces of their own, and the
/// runtime's records lie in state folders: a cgroup with processes is what there is.
fn reap() -> Cleaned {
    containers::reap("oci", CGROUP)
}

/// Nothing is shared that would have to be prepared.
const NOTHING: NoDaemon = NoDaemon { deploy, reap, cpu_cgroup: true };

fn deploy(ctx: &RunContext, target: &Target) -> Result<Box<dyn Deployment>, Fault> {
    let origin = Origin::new(ctx, target)?;
    let bundles = Bundles::new(ctx, target, &origin, Runtime::find(ctx, &target.variant)?)?;
    Ok(Box::new(Spawning::new(ctx, target, origin, bundles)))
}

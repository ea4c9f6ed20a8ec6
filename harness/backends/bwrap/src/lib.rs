//! Bubblewrap: a process in namespaces of its own, without an engine and without a daemon. [`Bwrap`] is the backend.

mod filter;
mod probe;
mod sandbox;

pub use sandbox::{Sandbox, Variant};

use isobench_core::{Availability, Description, Fault, Guest, Model, Preparation, VariantInfo};
use isobench_runner::spawned::{Origin, Spawning};
use isobench_runner::{Backend, Deployment, Prepared, RunContext, Target};

/// The backend.
pub struct Bwrap;

impl Backend for Bwrap {
    fn describe(&self) -> Description {
        let prepared = "the agent's file, the guest's (Wasm: compiled) and bwrap's in the page cache";
        let variant = |variant: Variant, prepared: String, shared: &str, quick| VariantInfo {
            name: variant.name().into(),
            guests: Guest::ALL.into(),
            prepared,
            preparation: Preparation::of_agents(&Guest::ALL),
            // Stands in for an engine where none runs, or only root may use it.
            representative: if variant == Variant::Namespaces { 4 } else { 0 },
            shared: shared.into(),
            quick,
            matrix: quick,
            ..VariantInfo::default()
        };
        Description {
            backend: "bwrap".into(),
            model: Model::Container,
            variants: vec![
                variant(Variant::Namespaces, prepared.into(), "kernel, every system call, the agent's pages", true),
                variant(
                    Variant::Seccomp,
                    format!("{prepared}; the filter is compiled"),
                    "kernel behind a list of system calls, the agent's pages",
                    false,
                ),
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

    fn open(&self, _ctx: &RunContext, _record: &serde_json::Value) -> Result<Box<dyn Prepared>, Fault> {
        Ok(Box::new(Opened))
    }
}

/// Sandboxes share nothing that would have to be prepared: no daemon, no image.
struct Opened;

impl Prepared for Opened {
    fn deploy(&self, ctx: &RunContext, target: &Target) -> Result<Box<dyn Deployment>, Fault> {
        let sandbox = Sandbox::new(&target.variant)?;
        Ok(Box::new(Spawning::new(ctx, target, Origin::new(ctx, target)?, sandbox)))
    }
}

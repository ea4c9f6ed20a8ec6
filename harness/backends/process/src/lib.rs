//! Plain processes: the baseline that every other boundary is compared with. [`Process`] is the backend.

mod zygote;

use isobench_core::{Availability, Description, Fault, FaultKind, Guest, Model, Preparation, VariantInfo};
use isobench_runner::agents;
use isobench_runner::spawned::{AgentProcess, Boundary, Origin, Role, Spawning};
use isobench_runner::{Backend, Deadline, Deployment, Prepared, RunContext, Target};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use zygote::Zygote;

const SPAWN: &str = "spawn";
const ZYGOTE: &str = "zygote";

/// The backend.
pub struct Process;

impl Backend for Process {
    fn describe(&self) -> Description {
        Description {
            backend: "process".into(),
            model: Model::Process,
            variants: vec![
                VariantInfo {
                    name: SPAWN.into(),
                    guests: Guest::ALL.into(),
                    prepared: "the agent's file and the guest's (Wasm: compiled) in the page cache".into(),
                    preparation: Preparation::of_agents(&Guest::ALL),
                    representative: 1,
                    shared: "kernel, file system, network, and the pages of the agent's file".into(),
                    quick: true,
                    matrix: true,
                    ..VariantInfo::default()
                },
                VariantInfo {
                    name: ZYGOTE.into(),
                    // V8 and Wasmtime have threads, which a fork does not copy.
                    guests: vec![Guest::Native],
                    prepared: "a process that has loaded the guest and answered nothing; it stays".into(),
                    // The process itself is made inside the clock, as a copy.
                    preparation: Preparation::Code.of(&[Guest::Native]),
                    shared: "kernel, file system, network, address-space layout, and every page until it is written to"
                        .into(),
                    quick: false,
                    ..VariantInfo::default()
                },
            ],
            in_process: false,
            hidden: false,
            footprint_instances: 16,
            engines: Vec::new(),
        }
    }

    fn probe(&self, ctx: &RunContext) -> Availability {
        Availability::Available {
            versions: [("isobench agent".into(), env!("CARGO_PKG_VERSION").into())].into(),
            emulated: false,
            notes: agents::missing_agents(ctx),
            absent: BTreeMap::new(),
        }
    }

    fn open(&self, _ctx: &RunContext, _record: &serde_json::Value) -> Result<Box<dyn Prepared>, Fault> {
        Ok(Box::new(Opened))
    }
}

/// Processes share nothing that would have to be prepared.
struct Opened;

impl Prepared for Opened {
    fn deploy(&self, ctx: &RunContext, target: &Target) -> Result<Box<dyn Deployment>, Fault> {
        let origin = Origin::new(ctx, target)?;
        match target.variant.as_str() {
            SPAWN => Ok(Box::new(Spawning::new(ctx, target, origin, Spawn::of(target, &[])))),
            ZYGOTE => {
                let zygote = Zygote::new(ctx, target, Arc::clone(&origin))?;
                Ok(Box::new(Spawning::new(ctx, target, origin, zygote)))
            }
            other => Err(Fault::backend(format!("process has no variant `{other}`"))),
        }
    }
}

/// A process, spawned for its instance.
struct Spawn {
    native: bool,
    /// Further arguments of the agent.
    args: &'static [&'static str],
}

impl Spawn {
    fn of(target: &Target, args: &'static [&'static str]) -> Spawn {
        Spawn { native: target.guest == Guest::Native, args }
    }
}

impl Boundary for Spawn {
    fn launch(&self, origin: &Origin, socket: &Path, _: Deadline) -> Result<AgentProcess, Fault> {
        let package = &origin.package;
        let spawned = origin.command(&package.program).and_then(|mut command| {
            let guest = package.guest.as_deref().map(|path| path.display().to_string()).unwrap_or_default();
            command.args(package.args(&format!("unix:{}", socket.display()), &guest)).args(self.args);
            AgentProcess::spawn(&mut command, Role::Agent)
        });
        spawned.map_err(|e| {
            // A native guest is its own agent: a file that cannot be executed is the fixture's fault.
            let kind = if self.native { FaultKind::InvalidGuest } else { FaultKind::BackendFailed };
            Fault::new(kind, format!("{} cannot be started: {e}", package.program.display()))
        })
    }
}

//! A bare HTTP server in front of the native agent: what calls over HTTP cost, without any runtime of Workers.
//! [`BareHttp`] is the backend; the server is the adapter of `isobench-functions`, so that what it costs is what it costs
//! in a deployed unit; what stands around its process is `isobench-workerd`'s.

use isobench_core::{Availability, Description, Fault, Guest, Model, Preparation, VariantInfo};
use isobench_functions::adapter::{Protocol, UNIT, Unit};
use isobench_runner::agents::AgentPackage;
use isobench_runner::spawned::{Origin, Role};
use isobench_runner::{Backend, Deployment, Prepared, RunContext, Target};
use isobench_workerd::{Processes, Recipe};
use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

const SPAWN: &str = "spawn";

/// The server's program.
const SERVER: &str = "isobench-bare-http-server";

/// The backend.
#[derive(Debug)]
pub struct BareHttp;

impl Backend for BareHttp {
    fn describe(&self) -> Description {
        let spawn = VariantInfo {
            name: SPAWN.into(),
            guests: vec![Guest::Native],
            prepared: "the server's file and the agent's in the page cache".into(),
            preparation: Preparation::of_agents(&[Guest::Native]),
            shared: "kernel, file system, network, and the pages of both files".into(),
            quick: false,
            ..VariantInfo::default()
        };
        Description {
            backend: "bare-http".into(),
            model: Model::Process,
            variants: vec![spawn],
            in_process: false,
            hidden: false,
            footprint_instances: 16,
            engines: Vec::new(),
        }
    }

    fn probe(&self, ctx: &RunContext) -> Availability {
        if !ctx.programs.join(SERVER).is_file() {
            return Availability::unavailable(format!("{SERVER} is missing"), "`make build` builds it");
        }
        Availability::Available {
            versions: [("bare HTTP server".into(), env!("CARGO_PKG_VERSION").into())].into(),
            emulated: false,
            notes: Vec::new(),
            absent: BTreeMap::new(),
        }
    }

    fn prepare(&self, _: &RunContext) -> Result<Box<dyn Prepared>, Fault> {
        Ok(Box::new(Opened))
    }

    fn open(&self, _: &RunContext, _: &serde_json::Value) -> Result<Box<dyn Prepared>, Fault> {
        Ok(Box::new(Opened))
    }
}

/// Processes share nothing that would have to be prepared.
struct Opened;

impl Prepared for Opened {
    fn deploy(&self, ctx: &RunContext, target: &Target) -> Result<Box<dyn Deployment>, Fault> {
        let unit = ctx.state.join(UNIT);
        write(&unit, target).map_err(|e| Fault::backend(format!("{}: {e}", unit.display())))?;
        let recipe = Recipe {
            origin: Origin::of(AgentPackage::of(target, ctx.programs.join(SERVER), None)?)?,
            args: Box::new(move |socket| vec![unit.clone().into(), socket.with_extension("agent").into()]),
            role: Role::Keeper,
            limit: target.limits.frame_bytes,
        };
        Ok(Box::new(Processes::new(recipe, ctx.state.clone())))
    }
}

/// Writes what the server stands in front of.
fn write(file: &Path, target: &Target) -> io::Result<()> {
    let unit = Unit {
        protocol: Protocol::Http,
        workload: target.workload.clone(),
        guest: target.guest,
        agent: target.artifact.clone(),
        guest_file: None,
        limits: target.limits.clone(),
    };
    fs::write(file, serde_json::to_vec(&unit)?)
}

//! workerd: the runtime of Cloudflare Workers, an isolate for each guest. [`Workerd`] is the backend.
//!
//! | module | what it does |
//! |---|---|
//! | `config` | what workerd is told, the guest in it |
//! | `server` | a process of it |
//! | `deployment` | instances |

mod config;
mod deployment;
mod server;

use deployment::Isolates;
pub use deployment::Processes;
use isobench_core::{Availability, Description, Fault, Guest, Model, Preparation, VariantInfo};
use isobench_runner::agents::{self, AgentPackage};
use isobench_runner::spawned::{Origin, Role};
use isobench_runner::{Backend, Deadline, Deployment, Prepared, RunContext, Target, place};
pub use server::{Args, Recipe};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Longest wait for workerd to say its version: a hundred times what it takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Isolates that `pool` has ahead: as many as `v8/pool`.
const AHEAD: usize = 4;

/// A way of running the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// A process for each instance, with the guest in its configuration.
    Static,
    /// An isolate for each instance, in a living process that loads it when it is asked to.
    Dynamic,
    /// The same, loaded ahead.
    Pool,
}

impl Variant {
    /// Every variant.
    pub const ALL: [Variant; 3] = [Variant::Static, Variant::Dynamic, Variant::Pool];

    /// Its name, a row's.
    pub fn name(self) -> &'static str {
        match self {
            Variant::Static => "static",
            Variant::Dynamic => "dynamic",
            Variant::Pool => "pool",
        }
    }

    /// The one of that name.
    ///
    /// # Errors
    /// The fault of a name that none has.
    pub fn named(name: &str) -> Result<Variant, Fault> {
        let found = Variant::ALL.into_iter().find(|variant| variant.name() == name);
        found.ok_or_else(|| Fault::backend(format!("workerd has no variant `{name}`")))
    }

    fn describe(self) -> VariantInfo {
        const SHARED: &str = "the process: its one thread, V8's read-only heap and built-ins, the isolate in front";
        let guests = vec![Guest::Wasm, Guest::Js];
        let preparation = if self == Variant::Pool { Preparation::Instance } else { Preparation::Nothing };
        let (prepared, shared) = match self {
            Variant::Static => (
                "workerd's file and the compiled configuration, guest included, in the page cache",
                "kernel, file system, the pages of workerd's file",
            ),
            Variant::Dynamic => ("a living workerd with the guest's code in the isolate in front", SHARED),
            Variant::Pool => (
                "a living workerd with the guest's code in the isolate in front, and 4 isolates with the guest \
                 evaluated",
                SHARED,
            ),
        };
        VariantInfo {
            name: self.name().into(),
            preparation: preparation.of(&guests),
            guests,
            prepared: prepared.into(),
            shared: shared.into(),
            quick: false,
            ..VariantInfo::default()
        }
    }
}

/// The backend.
#[derive(Debug)]
pub struct Workerd;

impl Backend for Workerd {
    fn describe(&self) -> Description {
        Description {
            backend: "workerd".into(),
            model: Model::Isolate,
            variants: Variant::ALL.map(Variant::describe).into(),
            in_process: false,
            hidden: false,
            footprint_instances: 16,
            engines: Vec::new(),
        }
    }

    fn probe(&self, ctx: &RunContext) -> Availability {
        let asked = program(ctx).map_err(|fault| fault.message);
        match asked.and_then(|program| agents::text_of(Command::new(program).arg("--version"), PATIENCE)) {
            Ok(version) => Availability::Available {
                versions: [("workerd".into(), version.trim_start_matches("workerd ").into())].into(),
                emulated: false,
                notes: Vec::new(),
                absent: BTreeMap::new(),
            },
            Err(reason) => Availability::unavailable(
                reason,
                "`scripts/workerd.sh` fetches it, or set ISOBENCH_WORKERD to a workerd of yours",
            ),
        }
    }

    fn open(&self, _: &RunContext, _: &serde_json::Value) -> Result<Box<dyn Prepared>, Fault> {
        Ok(Box::new(Opened))
    }
}

fn program(ctx: &RunContext) -> Result<PathBuf, Fault> {
    let missing = || Fault::backend("there is no workerd: `scripts/workerd.sh` fetches it");
    place::fetched(&ctx.cache, "workerd").ok_or_else(missing)
}

/// A living process belongs to a deployment: its guest is in its configuration.
struct Opened;

impl Prepared for Opened {
    fn deploy(&self, ctx: &RunContext, target: &Target) -> Result<Box<dyn Deployment>, Fault> {
        let variant = Variant::named(&target.variant)?;
        let (program, args) = command_line(ctx, target)?;
        let recipe = Recipe {
            origin: Origin::of(AgentPackage::of(target, program, None)?)?,
            args: Box::new(move |_| args.clone()),
            role: Role::Agent,
            limit: target.limits.frame_bytes,
        };
        let deadline = Deadline::after(target.limits.start_deadline(target.emulated));
        let isolates = |recipe, ahead| Isolates::new(recipe, ctx.state.clone(), ahead, deadline);
        Ok(match variant {
            Variant::Static => Box::new(Processes::new(recipe, ctx.state.clone())),
            Variant::Dynamic => Box::new(isolates(recipe, 0)?),
            Variant::Pool => Box::new(isolates(recipe, AHEAD)?),
        })
    }
}

/// What a workerd with the guest of `target` is started with: the program and its arguments, but for the socket.
///
/// # Errors
/// The fault of a workerd that is missing or does not take the configuration.
pub fn command_line(ctx: &RunContext, target: &Target) -> Result<(PathBuf, Vec<OsString>), Fault> {
    let program = program(ctx)?;
    let config = config::compiled(ctx, target, &program)?;
    // Loading other Workers is an experiment of theirs.
    Ok((program, vec!["serve".into(), "--experimental".into(), "--binary".into(), config.into()]))
}

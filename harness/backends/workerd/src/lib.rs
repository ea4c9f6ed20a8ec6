//! workerd: the runtime of Cloudflare Workers, an isolate for each guest. [`Workerd`] is the backend.
//!
//! | module | what it does |
//! |---|---|
//! | `config` | what workerd is told, the guest in it |
//! | `server` | a process of it |
//! | `http` | calls |
//! | `deployment` | instances |

mod config;
mod deployment;
mod http;
mod server;

use deployment::{Isolates, Processes};
use isobench_core::{Availability, Description, Fault, Guest, Model, VariantInfo};
use isobench_runner::agents::{self, AgentPackage};
use isobench_runner::spawned::{Origin, Role};
use isobench_runner::{Backend, Deadline, Deployment, Prepared, RunContext, Target, place};
use server::Recipe;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::AtomicU64;
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
    /// No workerd: a native guest behind a bare HTTP server. What calls over HTTP cost.
    Http,
}

impl Variant {
    /// Every variant.
    pub const ALL: [Variant; 4] = [Variant::Static, Variant::Dynamic, Variant::Pool, Variant::Http];

    /// Its name, a row's.
    pub fn name(self) -> &'static str {
        match self {
            Variant::Static => "static",
            Variant::Dynamic => "dynamic",
            Variant::Pool => "pool",
            Variant::Http => "http",
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
        let (prepared, shared) = match self {
            Variant::Static => (
                "workerd's file and the compiled configuration, guest included, in the page cache",
                "kernel, file system, the pages of workerd's file",
            ),
            Variant::Dynamic => ("a living workerd with the guest's code in the isolate in front", SHARED),
            Variant::Pool => ("the same, and 4 isolates with the guest evaluated", SHARED),
            Variant::Http => (
                "no workerd: a bare HTTP server's file and the native agent's in the page cache",
                "kernel, file system, the pages of both files",
            ),
        };
        VariantInfo {
            name: self.name().into(),
            guests: if self == Variant::Http { vec![Guest::Native] } else { vec![Guest::Wasm, Guest::Js] },
            prepared: prepared.into(),
            shared: shared.into(),
            quick: false,
            matrix: false,
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

    fn prepare(&self, _: &RunContext) -> Result<Box<dyn Prepared>, Fault> {
        Ok(Box::new(Opened))
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
        let recipe = if variant == Variant::Http { bare(ctx, target) } else { workerd(ctx, target) }?;
        let deadline = Deadline::after(target.limits.start_deadline(target.emulated));
        let isolates = |recipe, ahead| Isolates::new(recipe, ctx.state.clone(), ahead, deadline);
        Ok(match variant {
            Variant::Static | Variant::Http => {
                Box::new(Processes { recipe, state: ctx.state.clone(), started: AtomicU64::new(0) })
            }
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
    Ok((program, serve(config)))
}

fn serve(config: PathBuf) -> Vec<OsString> {
    // Loading other Workers is an experiment of theirs.
    vec!["serve".into(), "--experimental".into(), "--binary".into(), config.into()]
}

fn workerd(ctx: &RunContext, target: &Target) -> Result<Recipe, Fault> {
    let program = program(ctx)?;
    Ok(Recipe {
        about: config::compiled(ctx, target, &program)?,
        args: |recipe, _| serve(recipe.about.clone()),
        role: Role::Agent,
        limit: target.limits.frame_bytes,
        origin: Origin::of(AgentPackage::of(target, program, None)?)?,
    })
}

fn bare(ctx: &RunContext, target: &Target) -> Result<Recipe, Fault> {
    let program = ctx.programs.join("isobench-workerd-http");
    Ok(Recipe {
        about: target.artifact.clone(),
        args: |recipe, socket| {
            let agent = socket.with_extension("agent");
            // All that an agent is told but where to dial, which the server knows.
            let rest = recipe.origin.package.args("", "").split_off(2);
            let head = [recipe.about.clone().into(), agent.into(), recipe.limit.to_string().into()];
            head.into_iter().chain(rest.into_iter().map(OsString::from)).collect()
        },
        role: Role::Keeper,
        limit: target.limits.frame_bytes,
        origin: Origin::of(AgentPackage::of(target, program, None)?)?,
    })
}

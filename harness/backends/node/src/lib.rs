//! Node: a process of its own for each instance, with the JavaScript runtime that most functions are written for. The
//! figure that isolates are usually advertised against. [`Node`] is the backend.
//!
//! | module | what it does |
//! |---|---|
//! | [`program`] | which Node, and what it can do |
//! | [`script`] | an agent that is a script, whichever runtime of Node's kind runs it |
//! | [`deployed`](mod@deployed) | a guest as a variant starts it |
//! | [`code_cache`] | compiled code that a runtime keeps, and whether it takes it |
//! | [`hand`] | the same by hand, which is what our overhead is measured against |

pub mod code_cache;
pub mod deployed;
pub mod hand;
pub mod program;
pub mod script;

use deployed::deployed;
use isobench_core::{Availability, Description, Fault, Guest, Model, Preparation, VariantInfo};
use isobench_runner::agents::AgentPackage;
use isobench_runner::spawned::{Origin, Spawning};
use isobench_runner::{Backend, Deployment, Prepared, RunContext, Target};
use program::Program;

/// A way of running the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// Everything inside the clock.
    Fresh,
    /// Compiled ahead: Node's compile cache.
    CompileCache,
    /// Evaluated ahead: Node's startup snapshot, the guest in it.
    Snapshot,
}

impl Variant {
    /// Every variant.
    pub const ALL: [Variant; 3] = [Variant::Fresh, Variant::CompileCache, Variant::Snapshot];

    /// Its name, a row's.
    pub fn name(self) -> &'static str {
        match self {
            Variant::Fresh => "fresh",
            Variant::CompileCache => "compile-cache",
            Variant::Snapshot => "snapshot",
        }
    }

    /// The one of that name.
    ///
    /// # Errors
    /// The fault of a name that none has.
    pub fn named(name: &str) -> Result<Variant, Fault> {
        let found = Variant::ALL.into_iter().find(|variant| variant.name() == name);
        found.ok_or_else(|| Fault::backend(format!("node has no variant `{name}`")))
    }

    fn describe(self) -> VariantInfo {
        let (preparation, prepared, also_shared) = match self {
            Variant::Fresh => (Preparation::Nothing, "Node's file, the agent's and the guest's in the page cache", ""),
            Variant::CompileCache => (
                Preparation::Code,
                "Node's file, the agent's and the guest's in the page cache, and the bytecode of what agent and \
                 guest have run while they were loaded",
                ", the files of the cache",
            ),
            Variant::Snapshot => (
                Preparation::Code,
                "Node's file and a snapshot in the page cache: Node, agent and guest, evaluated",
                ", as copies: whatever the guest made or drew at its top level",
            ),
        };
        VariantInfo {
            name: self.name().into(),
            guests: vec![Guest::Js],
            prepared: prepared.into(),
            preparation: preparation.of(&[Guest::Js]),
            // Of a process whose code is prepared, because `process` itself has no such row; a snapshot, as is `v8`'s.
            representative: u8::from(self == Variant::Snapshot),
            shared: format!("kernel, file system, network, and the pages of Node's file{also_shared}"),
            quick: false,
            ..VariantInfo::default()
        }
    }
}

/// The backend.
pub struct Node;

impl Backend for Node {
    fn describe(&self) -> Description {
        Description {
            backend: "node".into(),
            model: Model::Process,
            variants: Variant::ALL.map(Variant::describe).into(),
            in_process: false,
            hidden: false,
            footprint_instances: 16,
            engines: Vec::new(),
        }
    }

    fn probe(&self, ctx: &RunContext) -> Availability {
        program::probe(ctx)
    }

    fn open(&self, _: &RunContext, _: &serde_json::Value) -> Result<Box<dyn Prepared>, Fault> {
        Ok(Box::new(Opened))
    }
}

/// Processes share nothing that would have to be prepared.
struct Opened;

impl Prepared for Opened {
    fn deploy(&self, ctx: &RunContext, target: &Target) -> Result<Box<dyn Deployment>, Fault> {
        let program = Program::find(&ctx.cache)?;
        let deployed = deployed(ctx, target, &program)?;
        let origin = Origin::of(AgentPackage::of(target, program.path, Some(deployed.guest.clone()))?)?;
        Ok(Box::new(Spawning::new(ctx, target, origin, deployed)))
    }
}

//! Which Node, and what it can do.

use crate::Variant;
use isobench_core::{Availability, Fault};
use isobench_runner::{RunContext, agents, place};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Longest wait for a Node to say what it is: a hundred times what it takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a Node says of itself. Its parser is one of its own modules: to use it is not forbidden, just not promised.
const QUESTION: &str = "JSON.stringify({
    node: process.version,
    v8: process.versions.v8,
    compile_cache: !!require('node:module').enableCompileCache,
    snapshot: !!require('node:v8').startupSnapshot && !!process.versions.acorn,
})";

/// A Node.
#[derive(Debug, Clone)]
pub struct Program {
    /// The program's file.
    pub path: PathBuf,
}

#[derive(Deserialize)]
struct Abilities {
    node: String,
    v8: String,
    compile_cache: bool,
    snapshot: bool,
}

impl Program {
    /// `ISOBENCH_NODE`, else the pinned one in `cache`, else the first on the path.
    ///
    /// # Errors
    /// The fault of a machine that has none.
    pub fn find(cache: &Path) -> Result<Program, Fault> {
        let path = place::fetched(cache, "node");
        path.map(|path| Program { path })
            .ok_or_else(|| Fault::backend("there is no Node: `scripts/node.sh` fetches one"))
    }

    fn abilities(&self) -> Result<Abilities, String> {
        let mut command = Command::new(&self.path);
        let said = agents::text_of(command.env_remove("NODE_OPTIONS").args(["-p", QUESTION]), PATIENCE);
        // The last part of the reason, for the rest is the question.
        let said = said.map_err(|e| format!("{}: {}", self.path.display(), e.rsplit(": ").next().unwrap_or(&e)))?;
        serde_json::from_str(&said).map_err(|_| format!("{} is no Node: it said `{said}`", self.path.display()))
    }
}

pub(crate) fn probe(ctx: &RunContext) -> Availability {
    let found = Program::find(&ctx.cache).map_err(|fault| fault.message);
    let abilities = match found.and_then(|program| program.abilities()) {
        Ok(abilities) => abilities,
        Err(reason) => {
            return Availability::unavailable(reason, "`scripts/node.sh`, or set ISOBENCH_NODE to a Node of yours");
        }
    };
    let Abilities { node, v8, compile_cache, snapshot } = abilities;
    let mut absent = BTreeMap::new();
    let mut require = |able: bool, variant: Variant, what: &str| {
        if !able {
            absent.insert(
                variant.name().to_string(),
                format!("Node {node} has no {what}: `scripts/node.sh` fetches one"),
            );
        }
    };
    require(compile_cache, Variant::CompileCache, "compile cache (22.1 and later have)");
    require(snapshot, Variant::Snapshot, "user snapshot (18.20 and later have) or no parser of its own");
    Availability::Available {
        versions: [("node".into(), node), ("node's v8".into(), v8)].into(),
        emulated: false,
        notes: Vec::new(),
        absent,
    }
}

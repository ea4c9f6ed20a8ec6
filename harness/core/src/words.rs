//! The vocabulary: one word per thing, used by every crate, file and page.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// The kind of boundary a workload runs behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Model {
    /// An operating-system process: the baseline.
    Process,
    /// A V8 isolate.
    Isolate,
    /// A WebAssembly instance.
    Wasm,
    /// A container: namespaces and cgroups under an engine.
    Container,
    /// A virtual machine that boots a kernel for one workload.
    Microvm,
    /// Somebody's platform, reached by a URL: which boundary it has is not told.
    Remote,
    /// No boundary at all: the scripted backend of the tests.
    Null,
}

/// The artifact that is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Guest {
    /// Machine code: the workload's own static agent.
    Native,
    /// A WebAssembly module.
    Wasm,
    /// An ES module.
    Js,
}

impl Guest {
    /// Every guest, in the order that tables use.
    pub const ALL: [Guest; 3] = [Guest::Native, Guest::Wasm, Guest::Js];

    /// The engine that runs it behind a boundary unless a cell names another; `None` for machine code, which needs none.
    pub fn usual_engine(self) -> Option<&'static str> {
        match self {
            Guest::Native => None,
            Guest::Wasm => Some("wasmtime"),
            Guest::Js => Some("v8"),
        }
    }
}

/// The degree of preparation: how much of an instance exists before the clock of a cold start. Cold starts of different
/// degrees are never in one ratio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Preparation {
    /// The guest's code is compiled and evaluated inside the clock.
    Nothing,
    /// The guest's code was compiled or snapshotted ahead; its boundary is made inside the clock.
    Code,
    /// The boundary was made ahead: paused, pooled, or kept alive for the next instance.
    Instance,
}

impl Preparation {
    /// Every degree, from the least prepared.
    pub const ALL: [Preparation; 3] = [Preparation::Nothing, Preparation::Code, Preparation::Instance];

    /// This degree for each of `guests`.
    pub fn of(self, guests: &[Guest]) -> BTreeMap<Guest, Preparation> {
        guests.iter().map(|guest| (*guest, self)).collect()
    }

    /// The degrees of a boundary that is made inside the clock and has an agent start in it: an agent evaluates a script
    /// from its source, while native programs and Wasm modules are compiled ahead.
    pub fn of_agents(guests: &[Guest]) -> BTreeMap<Guest, Preparation> {
        let degree = |guest| if guest == Guest::Js { Preparation::Nothing } else { Preparation::Code };
        guests.iter().map(|guest| (*guest, degree(*guest))).collect()
    }
}

impl fmt::Display for Preparation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Preparation::Nothing => "nothing prepared",
            Preparation::Code => "code prepared",
            Preparation::Instance => "instance waiting",
        })
    }
}

/// A question put to cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Experiment {
    /// From nothing to the first correct answer, by phases, and `destroy` apart.
    ColdStart,
    /// Request to response on an instance that has answered before.
    WarmCall,
    /// Memory against the number of live instances.
    Footprint,
    /// Calls per second, closed loop.
    Throughput,
    /// Requests at a set rate, whatever the answers: latency from the intended start.
    OpenLoop,
    /// Many requests at once against nothing running.
    Burst,
    /// How many instances live side by side, and what bounds them.
    Density,
    /// Starts per second, and how long one takes, by the number of starters.
    Starts,
}

impl Experiment {
    /// Every experiment, in the order that reports use.
    pub const ALL: [Experiment; 8] = [
        Experiment::ColdStart,
        Experiment::WarmCall,
        Experiment::Footprint,
        Experiment::Throughput,
        Experiment::OpenLoop,
        Experiment::Burst,
        Experiment::Density,
        Experiment::Starts,
    ];

    /// The four that every cell is asked unless a run says otherwise; the others are load that one asks for by name.
    pub const STANDARD: [Experiment; 4] =
        [Experiment::ColdStart, Experiment::WarmCall, Experiment::Footprint, Experiment::Throughput];
}

/// Why a run has the same cell more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Under the first configuration of an A/B run.
    A,
    /// Under the second configuration of an A/B run.
    B,
    /// The same thing once more under another label (A/A): what differs is noise.
    Again,
}

/// What may be wrong with a number without making it an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Flag {
    /// The guest's processor is emulated (QEMU's TCG): never compare it with a real one.
    Emulated,
    /// Spread, steal time or pressure over the limit during the blocks.
    Noisy,
    /// Warm calls did not settle.
    Unstable,
    /// Blocks ran one cell after another (Criterion), not shuffled: drift may favour a cell.
    Sequential,
    /// Too few samples were undisturbed for a figure of their own: it is that of all samples.
    Disturbed,
    /// Fewer blocks than say how much blocks differ.
    Few,
    /// A CPU quota or an affinity mask binds isobench, and does not bind all processes of the row.
    Unbound,
}

/// Backend/variant × guest × workload × case: the thing that is measured.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// Backend, for example `v8`.
    pub backend: String,
    /// Variant of the backend, for example `fresh`.
    pub variant: String,
    /// The artifact that is run.
    pub guest: Guest,
    /// The engine behind the boundary, where it is not [the usual one](Guest::usual_engine): a column of the matrix of
    /// boundaries and engines. Never set where the backend is an engine itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// Name of the workload's folder.
    pub workload: String,
    /// Name of the case in `workload.toml`.
    pub case: String,
}

impl Cell {
    /// `backend/variant`, the name of a row without its guest.
    pub fn row(&self) -> String {
        format!("{}/{}", self.backend, self.variant)
    }

    /// The guest, with the engine where that is not the usual one: `js`, `js+quickjs`.
    pub fn guest_on_engine(&self) -> String {
        self.engine.as_ref().map_or_else(|| self.guest.to_string(), |engine| format!("{}+{engine}", self.guest))
    }
}

/// `backend/variant/guest/workload/case`, or `backend/variant/guest+engine/workload/case`: what `--only` and `--skip`
/// match against.
impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.row(), self.guest_on_engine(), self.workload, self.case)
    }
}

/// Index of a cell in `run.json`; sample lines name cells by it.
pub type CellId = u32;

/// A word that none of the known ones matches.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} `{got}`; known: {known}")]
pub struct UnknownWord {
    what: &'static str,
    got: String,
    known: String,
}

/// Implements `Display` and `FromStr` by the names serde uses, so that no word is spelled twice.
macro_rules! spelled_by_serde {
    ($($type:ident $what:literal [$($variant:ident),+];)+) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.serialize(f)
            }
        }
        impl FromStr for $type {
            type Err = UnknownWord;
            fn from_str(s: &str) -> Result<Self, UnknownWord> {
                let known = [$($type::$variant),+];
                known.into_iter().find(|k| k.to_string() == s).ok_or_else(|| UnknownWord {
                    what: $what,
                    got: s.into(),
                    known: known.map(|k| k.to_string()).join(", "),
                })
            }
        }
    )+};
}

spelled_by_serde! {
    Model "model" [Process, Isolate, Wasm, Container, Microvm, Remote, Null];
    Guest "guest" [Native, Wasm, Js];
    Experiment "experiment" [ColdStart, WarmCall, Footprint, Throughput, OpenLoop, Burst, Density, Starts];
    Side "side" [A, B, Again];
    Flag "flag" [Emulated, Noisy, Unstable, Sequential, Few];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back_as_they_are_written() {
        for experiment in Experiment::ALL {
            assert_eq!(experiment.to_string().parse(), Ok(experiment));
        }
        assert_eq!(Model::Microvm.to_string(), "microvm");
        assert_eq!(
            "vm".parse::<Model>().unwrap_err().to_string(),
            "unknown model `vm`; known: process, isolate, wasm, container, microvm, remote, null"
        );
    }
}

//! What a backend says of itself ([`Description`], the same on every machine) and of this machine ([`Availability`]).

use crate::words::{Guest, Model, Preparation};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What a backend is, the same on every machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Name of the backend's folder.
    pub backend: String,
    /// The model it implements.
    pub model: Model,
    /// Its variants, each a row of its own.
    pub variants: Vec<VariantInfo>,
    /// Its instances live in the runner process itself (`v8`, `wasmtime`): the first start of a process is told apart.
    pub in_process: bool,
    /// Left out of runs unless named by `--only`: the scripted backend of the tests.
    pub hidden: bool,
    /// Most instances a footprint visit keeps alive at once; 0 where their memory cannot be read from here, and so is not
    /// asked for.
    pub footprint_instances: u32,
    /// The engines it brings: those that can run guests behind the boundaries of other backends too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub engines: Vec<EngineInfo>,
}

/// An engine that an agent carries behind a boundary: a column of the matrix of boundaries and engines. Its agent is the
/// program `isobench-agent-<name>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EngineInfo {
    /// Name, for example `winch`.
    pub name: String,
    /// The guests it can run.
    pub guests: Vec<Guest>,
    /// The variant of this backend that is the same engine bare: what its agent does, without a boundary.
    pub variant: String,
}

/// A named way of running a backend.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VariantInfo {
    /// Name, for example `pooling`.
    pub name: String,
    /// The guests it can run.
    pub guests: Vec<Guest>,
    /// What was ready before the clock started: a column of the report.
    pub prepared: String,
    /// The degree of preparation for each guest. Empty where it is not known: a deployed function, or a run of an isobench
    /// that did not record it. Such a row is in no ratio.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub preparation: BTreeMap<Guest, Preparation>,
    /// Whether sentences name this variant for its model and degree of preparation: 1 is the model's representative, 2
    /// and up stand in, in that order, where none before them was measured. 0: no sentence names it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub representative: u8,
    /// No start of it is a cold one, because nothing makes it cold: it is not asked for a cold start.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub never_cold: bool,
    /// What instances share, and so give up: printed beside it.
    pub shared: String,
    /// Part of quick runs. A rung of a ladder that tells little to who only looks for a boundary is left to full runs
    /// and to those that name its backend.
    #[serde(default = "yes")]
    pub quick: bool,
    /// A row of the matrix of boundaries and engines: a boundary that runs guests on engines it does not bring.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub matrix: bool,
    /// The workloads that it answers, where those are somebody else's choice: a deployed function. Empty: all.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub workloads: BTreeSet<String>,
    /// Milliseconds that a start may take beyond the workload's limits, what makes it a cold one included.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub longer_ms: u64,
}

impl VariantInfo {
    /// Whether it answers a workload.
    pub fn answers(&self, workload: &str) -> bool {
        self.workloads.is_empty() || self.workloads.contains(workload)
    }
}

fn is_zero<N: Default + PartialEq>(number: &N) -> bool {
    *number == N::default()
}

/// Whether a backend can run on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
pub enum Availability {
    /// It can.
    Available {
        /// Version of every part used, by name.
        versions: BTreeMap<String, String>,
        /// The guest's processor is emulated.
        emulated: bool,
        /// What a reader should know, for example why KVM is not used.
        notes: Vec<String>,
        /// Its variants that cannot run here all the same: name → why, and what to do about it.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        absent: BTreeMap<String, String>,
    },
    /// It cannot.
    Unavailable {
        /// Why.
        reason: String,
        /// What a person can do about it.
        remedy: String,
    },
}

fn yes() -> bool {
    true
}

impl Availability {
    /// An unavailable backend with the reason and the remedy.
    pub fn unavailable(reason: impl Into<String>, remedy: impl Into<String>) -> Availability {
        Availability::Unavailable { reason: reason.into(), remedy: remedy.into() }
    }

    /// Whether it can run here.
    pub fn is_available(&self) -> bool {
        matches!(self, Availability::Available { .. })
    }

    /// Why a variant cannot run here though its backend can; `None` where it can.
    pub fn why_absent(&self, variant: &str) -> Option<&str> {
        match self {
            Availability::Available { absent, .. } => absent.get(variant).map(String::as_str),
            Availability::Unavailable { .. } => None,
        }
    }

    /// The same on a machine whose own processor is emulated, which everything on it then is.
    pub fn on_emulated_machine(mut self) -> Availability {
        if let Availability::Available { emulated, notes, .. } = &mut self {
            *emulated = true;
            notes.push("this machine's own processor is emulated: no time measured on it means anything".into());
        }
        self
    }

    /// Whether its guests run on an emulated processor.
    pub fn is_emulated(&self) -> bool {
        matches!(self, Availability::Available { emulated: true, .. })
    }
}

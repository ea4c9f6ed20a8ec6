//! What load a run puts on its cells. Recorded in `run.json`, so that a report can say what was asked for.

use crate::record::Policy;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The load experiments that were asked for. Where there is one, the standard experiments are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoadPlan {
    /// Requests at set rates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_loop: Option<OpenLoop>,
    /// Many requests at once, up to this many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// As many instances as will live side by side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub density: Option<Density>,
    /// Starts without a pause, by a rising number of starters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts: Option<Starters>,
}

/// Requests at set rates, whatever becomes of those before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenLoop {
    /// How often requests arrive.
    pub rates: Rates,
    /// How instances live: each policy gets every rate.
    pub policies: Vec<Policy>,
    /// Most instances at once where a policy sets no number itself; absent for the default of the cell's kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_instances: Option<u32>,
}

/// How often requests arrive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rates {
    /// The same for every cell, in millihertz (requests per 1,000 seconds).
    Fixed(Vec<u64>),
    /// In percent of what the cell answers when it is never left without a request.
    Sweep(Vec<u32>),
}

/// How many start instances at once, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Starters {
    /// Numbers of starters, ascending. Where the processor is emulated only the small ones are tried.
    pub numbers: Vec<u32>,
    /// How long each number goes on, together and again beside one, milliseconds; the last starts may end later.
    pub step_ms: u64,
}

/// What ends a density visit. What is absent has the default of the cell's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Density {
    /// Bytes that all instances together may take, by PSS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Live instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// How long the median start of a step may take.
    pub start: StartLimit,
}

/// How long a start may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StartLimit {
    /// So many times the median of the first four starts.
    Times(u32),
    /// Nanoseconds.
    Ns(u64),
}

/// As the command line spells it.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Policy::Warm(n) => write!(f, "warm:{n}"),
            Policy::Fresh => f.write_str("fresh"),
            Policy::KeepAlive(ms) if ms % 1000 == 0 => write!(f, "keep-alive:{}s", ms / 1000),
            Policy::KeepAlive(ms) => write!(f, "keep-alive:{ms}ms"),
        }
    }
}

//! The runner protocol: JSON lines over a runner's standard streams.
//!
//! | command | stdin | stdout |
//! |---|---|---|
//! | `describe` | | a [`Description`](isobench_core::Description) |
//! | `probe` | a [`RunContext`] | an [`Availability`](isobench_core::Availability) |
//! | `own` | a [`RunContext`] line, then open until the run ends | an [`Owned`] line once prepared |
//! | `block` | a [`BlockRequest`] | [`Event`] lines |
//! | `clean` | a [`CleanRequest`] | a [`Cleaned`](crate::Cleaned) |

use crate::backend::{RunContext, Target};
use isobench_core::load::{Rates, StartLimit};
use isobench_core::record::Policy;
use isobench_core::{CellId, Experiment, Fault, Record};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// One visit to a cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BlockRequest {
    /// Where the run lives.
    pub ctx: RunContext,
    /// What `own` wrote down.
    pub prepared: serde_json::Value,
    /// The cell's id, copied into every record.
    pub cell: CellId,
    /// The block's number, copied into every record.
    pub block: u32,
    /// What to deploy.
    pub target: Target,
    /// The request's bytes.
    pub input: PathBuf,
    /// SHA-256 of the expected answer.
    pub expected_sha256: String,
    /// In-process backend: the first start is told apart.
    pub in_process: bool,
    /// What to do.
    pub visit: Visit,
}

/// What to do in one visit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visit {
    /// Cold starts; on the last instance a series of warm calls, if asked for.
    ColdStart {
        /// How many.
        starts: StartCount,
        /// The warm series.
        warm: Option<Series>,
    },
    /// Memory at each number of instances, ascending; 0 is always read first.
    Footprint {
        /// The numbers.
        instances: Vec<u32>,
    },
    /// Closed loop on warm instances, and with a fresh instance per request.
    Throughput {
        /// Concurrencies, each measured for `duration_ms` on warm instances.
        warm: Vec<u32>,
        /// The same with a fresh instance per request.
        fresh: Vec<u32>,
        /// How long each measurement lasts; the last request may end later.
        duration_ms: u64,
    },
    /// Requests at set rates, whatever becomes of those before.
    OpenLoop(OpenLoop),
    /// Many requests at once against nothing running.
    Burst {
        /// How many, ascending.
        sizes: Vec<u32>,
        /// No size is begun that is expected to end later.
        longest_ms: u64,
    },
    /// As many instances as will live side by side.
    Density(Density),
    /// Starts without a pause, and one beside others that make them.
    Starts {
        /// How many starters, ascending.
        starters: Vec<u32>,
        /// How long each number goes on, together and again beside one.
        step_ms: u64,
    },
}

impl Visit {
    /// The experiment that it begins with.
    pub fn experiment(&self) -> Experiment {
        match self {
            Visit::ColdStart { .. } => Experiment::ColdStart,
            Visit::Footprint { .. } => Experiment::Footprint,
            Visit::Throughput { .. } => Experiment::Throughput,
            Visit::OpenLoop(_) => Experiment::OpenLoop,
            Visit::Burst { .. } => Experiment::Burst,
            Visit::Density(_) => Experiment::Density,
            Visit::Starts { .. } => Experiment::Starts,
        }
    }
}

/// Requests at set rates under one policy, each rate for as long as `requests` of them need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenLoop {
    /// How instances live.
    pub policy: Policy,
    /// The rates.
    pub rates: Rates,
    /// With cell, block, policy and rate it gives the seed of each point's arrivals.
    pub seed: u64,
    /// How many requests each rate is to see.
    pub requests: u32,
    /// Least time of each rate.
    pub shortest_ms: u64,
    /// Most time of each rate, whatever it has seen.
    pub longest_ms: u64,
    /// Most instances alive at once, where the policy sets no number itself.
    pub most_instances: u32,
}

/// What ends a density visit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Density {
    /// Bytes that all instances together may take; half of what is available where nothing is said.
    pub memory_bytes: Option<u64>,
    /// Most instances.
    pub count: u32,
    /// How long the median start of a step may take.
    pub start: StartLimit,
    /// No step is begun that is expected to end later.
    pub longest_ms: u64,
}

/// How many cold starts a visit makes: at least `min`, and on to `max` while they took less than `max_ms` together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartCount {
    /// Least starts.
    pub min: u32,
    /// Most starts.
    pub max: u32,
    /// Most time of all starts together before one more is made, milliseconds.
    pub max_ms: u64,
}

impl StartCount {
    /// Whether `made` starts that took `taken` together are enough.
    pub fn is_enough(self, made: u32, taken: Duration) -> bool {
        made >= self.min && (made >= self.max || taken >= Duration::from_millis(self.max_ms))
    }
}

impl From<u32> for StartCount {
    /// Exactly so many.
    fn from(starts: u32) -> StartCount {
        StartCount { min: starts, max: starts, max_ms: 0 }
    }
}

/// How long a warm series is: until both minima are met, or either maximum is. It is cut into stretches, with a
/// contention probe between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    /// Least calls.
    pub min_calls: u32,
    /// Least time of all calls together.
    pub min_ms: u64,
    /// Most calls that are kept.
    pub max_calls: u32,
    /// Most time.
    pub max_ms: u64,
}

/// A line from a block's runner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Something measured, or the fault that ended the visit.
    Record(Record),
    /// The visit is over; nothing follows.
    Done,
}

/// What `own` writes once the backend is prepared, or why it is not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owned {
    /// Ready for blocks.
    Prepared {
        /// [`Prepared::record`](crate::Prepared::record).
        record: serde_json::Value,
        /// How long it took.
        took_ns: u64,
        /// [`Prepared::is_bound`](crate::Prepared::is_bound).
        bound: bool,
    },
    /// It failed: every cell of the backend becomes an error row.
    Failed(Fault),
}

/// What `clean` is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CleanRequest {
    /// Where to work.
    pub ctx: RunContext,
    /// State folders of runs whose coordinator is gone.
    pub dead: Vec<PathBuf>,
}

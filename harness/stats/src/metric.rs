//! What one cell can be compared by: a headline number and the value that each block gave for it.

use crate::spread::{Estimate, Spread};
use isobench_core::words::Experiment;
use serde::Serialize;
use std::fmt;

/// A headline number of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Median cold start, nanoseconds.
    ColdStart,
    /// Median warm call of the settled part, nanoseconds.
    WarmCall,
    /// PSS of one more instance, bytes.
    Memory,
    /// Calls per second on as many warm instances as there are processors.
    Throughput,
}

impl Metric {
    /// Every metric, in the order of tables.
    pub const ALL: [Metric; 4] = [Metric::ColdStart, Metric::WarmCall, Metric::Memory, Metric::Throughput];

    /// The metric that an experiment gives; `None` for load.
    pub fn of(experiment: Experiment) -> Option<Metric> {
        match experiment {
            Experiment::ColdStart => Some(Metric::ColdStart),
            Experiment::WarmCall => Some(Metric::WarmCall),
            Experiment::Footprint => Some(Metric::Memory),
            Experiment::Throughput => Some(Metric::Throughput),
            Experiment::OpenLoop | Experiment::Burst | Experiment::Density | Experiment::Starts => None,
        }
    }

    /// Whether a larger value is the better one.
    pub fn more_is_better(self) -> bool {
        self == Metric::Throughput
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Metric::ColdStart => "cold start",
            Metric::WarmCall => "warm call",
            Metric::Memory => "memory",
            Metric::Throughput => "throughput",
        })
    }
}

/// A headline number and what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Headline {
    /// Which.
    pub metric: Metric,
    /// The number with its spread.
    pub estimate: Estimate,
    /// The value of each block, in the order of the blocks: each block counts once.
    pub by_block: Vec<f64>,
}

/// How narrow an interval is: half its width over the value. `None` where no interval is claimed.
pub fn precision(estimate: Estimate) -> Option<f64> {
    match estimate.spread {
        Some(Spread::Interval { low, high }) if estimate.value > 0.0 => Some((high - low) / 2.0 / estimate.value),
        _ => None,
    }
}

//! Two measurements of the same cells: is there a difference, how large, and how sure is that?

use crate::metric::Metric;
use isobench_core::words::{Cell, Flag, Side};
use serde::Serialize;

/// The outcome of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Every pair of cells and metric that both sides have, and those one side lacks.
    pub rows: Vec<Row>,
    /// Noise floors of the base and of the new run, from their A/A cells.
    pub floors: Vec<Floor>,
}

/// One cell and metric on both sides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The cell.
    pub cell: Cell,
    /// What is compared.
    pub metric: Metric,
    /// The base, where it has a number.
    pub base: Option<Measured>,
    /// The new one, where it has a number.
    pub new: Option<Measured>,
    /// New over base: absent where either side has no number.
    pub ratio: Option<Ratio>,
    /// Probability of a difference at least this large where there is none (permutation test over blocks), one row seen
    /// alone; absent with too few blocks.
    pub p: Option<f64>,
    /// The same, corrected for the number of rows that were tested.
    pub p_corrected: Option<f64>,
    /// Differences up to this ratio − 1 are what two identical things showed; absent without A/A cells.
    pub floor: Option<f64>,
    /// The smallest ratio − 1 that these blocks would have shown in four of five cases; absent with too few blocks.
    pub detectable: Option<f64>,
    /// The verdict.
    pub word: Word,
    /// Why, for a person.
    pub why: String,
}

/// One side of a row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measured {
    /// Its value: median of its blocks.
    pub value: f64,
    /// Its blocks.
    pub blocks: u32,
    /// Its flags.
    pub flags: Vec<Flag>,
}

/// New over base with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ratio {
    /// The estimate.
    pub value: f64,
    /// The interval, where the blocks carry one.
    pub interval: Option<(f64, f64)>,
}

/// What can be said of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// The new one is worse, by more than the noise.
    Worse,
    /// The new one is better, by more than the noise.
    Better,
    /// Blocks differ so much that an important difference could hide.
    TooNoisy,
    /// Fewer than the test needs.
    TooFewBlocks,
    /// Any difference is small.
    NoClearDifference,
    /// One side has no number.
    OneSided,
}

/// What two identical things differed by in one run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Floor {
    /// The side of the comparison it belongs to; absent where a run is looked at alone.
    pub of: Option<Side>,
    /// The cell that was measured twice.
    pub cell: Cell,
    /// What was compared.
    pub metric: Metric,
    /// Second over first.
    pub ratio: Ratio,
    /// Blocks of both.
    pub blocks: (u32, u32),
    /// The smallest ratio − 1 that these blocks would have shown in four of five cases.
    pub detectable: Option<f64>,
}

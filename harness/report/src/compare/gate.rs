//! The gate of `--fail-on`: whether a row became worse by more than was asked, and whether any row could tell.

use super::{Compared, plural};
use crate::units;
use isobench_stats::compare::{Row, TEST_BLOCKS};

/// What a gate found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Rows were tested, and none is over the limit.
    Holds,
    /// A row is over the limit.
    Failed,
    /// No row could be tested, so nothing can be said.
    Untested,
}

/// The outcome of a gate, and it in lines: the first says whether the gate holds, the others what fails it and by how
/// much.
pub fn gate(compared: &Compared, percent: f64) -> (Gate, Vec<String>) {
    let failed = compared.regressions(percent);
    let tested = compared.comparison.tested;
    let limit = units::percent(percent / 100.0);
    let both = compared.comparison.rows.iter().filter(|row| row.ratio.is_some()).count();
    let gate = match (failed.len(), tested) {
        (0, 0) => Gate::Untested,
        (0, _) => Gate::Holds,
        _ => Gate::Failed,
    };
    let first = match (gate, failed.len()) {
        (Gate::Untested, _) => format!(
            "Gate not tested: none of {both} {} has the {TEST_BLOCKS} blocks a side that a test needs. Measure more \
             blocks: give `run` fewer cells (`--only`) or more time (`--budget`).",
            plural(both, "row")
        ),
        (Gate::Holds, _) => {
            format!("Gate holds: no row is over {limit} worse ({tested} of {both} rows have the blocks to be tested).")
        }
        (Gate::Failed, 1) => format!("Gate failed: 1 row is over {limit} worse."),
        (Gate::Failed, n) => format!("Gate failed: {n} rows are over {limit} worse."),
    };
    (gate, [first].into_iter().chain(failed.into_iter().map(regression)).collect())
}

fn regression(row: &Row) -> String {
    let by = units::percent(row.worse_by().unwrap_or_default());
    let interval = row.ratio.and_then(|r| r.interval).map_or_else(String::new, units::ratio_interval);
    let p = row.p_corrected.map_or_else(String::new, |p| format!(", corrected p {}", units::probability(p)));
    format!("`{}` {}: {by} {}, ratio in {interval}{p}", row.cell, row.metric, row.said())
}

//! Bencher Metric Format for bencher.dev: benchmark → measure → value with its bounds. By the schema in Bencher's
//! documentation, "Bencher Metric Format (BMF)", bencher.dev/docs/reference/bencher-metric-format.

use super::numbers::{Number, numbers};
use isobench_core::run::RunFile;
use isobench_core::words::{Experiment, Flag, Side};
use isobench_stats::summary::Flagged;
use isobench_stats::{CellSummary, Spread, Summary, Verdict};
use serde::Serialize;
use std::collections::BTreeMap;

/// A benchmark with a name that ends so is recorded under the name without it, and raises no alert.
const IGNORE: &str = "-bencher-ignore";

/// A run in Bencher Metric Format.
#[derive(Debug, Clone, PartialEq)]
pub struct Bencher {
    /// What Bencher's `json` adapter takes.
    pub json: String,
    /// What is not in it or will raise no alert, and why.
    pub remarks: Vec<String>,
}

/// A metric: bounds only where an interval is claimed, since the range of a few blocks claims nothing.
#[derive(Serialize)]
struct Metric {
    value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    lower_value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upper_value: Option<f64>,
}

/// The run's headline numbers. Left out are error rows and emulated cells (their history must never become that of a
/// real processor), and the second of two identical cells.
pub fn bencher(run: &RunFile, summary: &Summary) -> Bencher {
    let mut benchmarks: BTreeMap<String, BTreeMap<&'static str, Metric>> = BTreeMap::new();
    let mut remarks = Vec::new();
    for cell in &summary.cells {
        if let Some(why) = unfit(cell) {
            remarks.push(format!("left out: {}: {why}", cell.cell));
            continue;
        }
        let unsteady: Vec<&str> = cell.flags().iter().filter(|f| is_unsteady(f)).map(|f| f.why.as_str()).collect();
        if !unsteady.is_empty() {
            remarks.push(format!("raises no alert: {}: {}", cell.cell, unsteady.join("; ")));
        }
        for number in numbers(cell) {
            let Some(measure) = measure(&number) else { continue };
            let ignored = number.flags(cell).into_iter().any(is_unsteady);
            let name = format!("{}{}", name(run, cell, &number), if ignored { IGNORE } else { "" });
            let ends = match number.spread {
                Some(Spread::Interval { low, high }) => Some((low, high)),
                _ => None,
            };
            let (lower_value, upper_value) = ends.unzip();
            benchmarks
                .entry(name)
                .or_default()
                .insert(measure, Metric { value: number.value, lower_value, upper_value });
        }
    }
    let json = serde_json::to_string_pretty(&benchmarks).expect("a map with string keys") + "\n";
    Bencher { json, remarks }
}

/// Whether a number with this flag raises no alert.
fn is_unsteady(flagged: &Flagged) -> bool {
    flagged.flag != Flag::Sequential
}

/// Why a cell has no place in a history of numbers.
fn unfit(cell: &CellSummary) -> Option<String> {
    match &cell.verdict {
        Verdict::Error { faults } => faults.first().map(|f| f.fault.to_string()),
        Verdict::NotMeasured => Some("not measured".into()),
        _ if cell.has(Flag::Emulated) => Some("emulated processor, not comparable with a real one".into()),
        _ if cell.side == Some(Side::Again) => {
            Some("measured twice to find the noise: the first one stands for both".into())
        }
        _ => None,
    }
}

/// The slug of the measure that a number belongs to; `latency` and `throughput` are Bencher's own, in ns and operations
/// per second.
fn measure(number: &Number) -> Option<&'static str> {
    let timed = match number.experiment {
        // A sweep offers other rates in every run, and one name would stand for many numbers.
        Experiment::OpenLoop | Experiment::Burst | Experiment::Density | Experiment::Starts => return None,
        Experiment::ColdStart => number.metric == "total" && number.mode.is_none(),
        Experiment::WarmCall => true,
        _ => number.metric == "latency",
    };
    match (number.metric.as_str(), number.statistic) {
        ("rate", "p50") => Some("throughput"),
        ("pss", "slope") => Some("memory"),
        (_, "p50") if timed => Some("latency"),
        (_, "p99") if timed => Some("latency-p99"),
        _ => None,
    }
}

/// `cold_start/v8/fresh/js/echo/small`, `throughput/v8/fresh/js/echo/small/warm/4`; of an A/B run with `@` and the
/// configuration.
fn name(run: &RunFile, cell: &CellSummary, number: &Number) -> String {
    let mut name = format!("{}/{}", number.experiment, cell.cell);
    if let (Some(mode), Some(n)) = (&number.mode, number.n) {
        name += &format!("/{mode}/{n}");
    }
    if let Some(configuration) = run.plan.configurations.iter().find(|c| Some(c.side) == cell.side) {
        name += &format!("@{}", configuration.name);
    }
    name
}

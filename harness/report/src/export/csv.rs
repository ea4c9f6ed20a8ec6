//! Comma-separated values (RFC 4180): tidy, one row for every number, nothing rounded.

use super::numbers::{Number, numbers};
use isobench_core::run::RunFile;
use isobench_core::text::printable;
use isobench_core::words::Flag;
use isobench_stats::{CellSummary, Spread, Summary, Verdict};
use serde::Serialize;

/// One row. The names of the fields are the names of the columns.
#[derive(Default, Serialize)]
struct Line {
    run: String,
    backend: String,
    variant: String,
    guest: String,
    engine: Option<String>,
    workload: String,
    case: String,
    side: Option<String>,
    model: String,
    experiment: Option<String>,
    metric: Option<String>,
    mode: Option<String>,
    n: Option<u32>,
    offered: Option<String>,
    unit: Option<&'static str>,
    statistic: Option<&'static str>,
    value: Option<String>,
    spread_kind: Option<&'static str>,
    low: Option<String>,
    high: Option<String>,
    samples: Option<u64>,
    blocks: u32,
    verdict: &'static str,
    flags: String,
    why: String,
}

/// Every number of a run, one a row; a cell without numbers has a row that says why.
pub fn csv(run: &RunFile, summary: &Summary) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Emulated cells last, so that a reader of the first rows does not compare them.
    let (emulated, real): (Vec<&CellSummary>, Vec<&CellSummary>) =
        summary.cells.iter().partition(|cell| cell.has(Flag::Emulated));
    for line in real.into_iter().chain(emulated).flat_map(|cell| lines(run, cell)) {
        writer.serialize(line).expect("a row has no nested fields");
    }
    let bytes = writer.into_inner().expect("memory takes every byte");
    printable(&String::from_utf8(bytes).expect("rows are text")).into_owned()
}

fn lines(run: &RunFile, cell: &CellSummary) -> Vec<Line> {
    match &cell.verdict {
        Verdict::Ok | Verdict::Flagged { .. } => {
            let line = |number: Number| {
                let flags = number.flags(cell);
                let verdict = if flags.is_empty() { "ok" } else { "flagged" };
                let (experiment, metric) = (Some(number.experiment.to_string()), Some(number.metric));
                let ends = number.spread.map(Spread::ends);
                Line {
                    experiment,
                    metric,
                    mode: number.mode,
                    n: number.n,
                    offered: number.offered.map(|rate| rate.to_string()),
                    unit: Some(number.unit),
                    statistic: Some(number.statistic),
                    value: Some(number.value.to_string()),
                    spread_kind: number.spread.map(kind),
                    low: ends.map(|(low, _)| low.to_string()),
                    high: ends.map(|(_, high)| high.to_string()),
                    samples: number.samples,
                    blocks: number.blocks,
                    flags: flags.iter().map(|f| f.flag.to_string()).collect::<Vec<_>>().join(";"),
                    why: flags.iter().map(|f| f.why.as_str()).collect::<Vec<_>>().join("; "),
                    ..named(run, cell, verdict)
                }
            };
            numbers(cell).into_iter().map(line).collect()
        }
        Verdict::Error { faults } => {
            let line = |fault: &isobench_core::run::CellFault| Line {
                experiment: Some(fault.experiment.to_string()),
                blocks: fault.blocks,
                flags: fault.fault.kind.to_string(),
                why: fault.fault.message.clone(),
                ..named(run, cell, "error")
            };
            faults.iter().map(line).collect()
        }
        Verdict::NotMeasured => vec![Line {
            why: run.stopped_early.clone().unwrap_or_else(|| "the run ended before its turn".into()),
            ..named(run, cell, "not_measured")
        }],
    }
}

fn named(run: &RunFile, cell: &CellSummary, verdict: &'static str) -> Line {
    let name = &cell.cell;
    Line {
        run: run.id.clone(),
        backend: name.backend.clone(),
        variant: name.variant.clone(),
        guest: name.guest.to_string(),
        engine: name.engine.clone(),
        workload: name.workload.clone(),
        case: name.case.clone(),
        side: cell.side.map(|side| side.to_string()),
        model: cell.model.to_string(),
        verdict,
        ..Line::default()
    }
}

fn kind(spread: Spread) -> &'static str {
    match spread {
        Spread::Interval { .. } => "interval",
        Spread::Range { .. } => "range",
    }
}

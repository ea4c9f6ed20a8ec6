//! The sections with plots, each with two lines on how to read it.

use super::plots;
use super::tables;
use crate::rows::Table;
use isobench_core::record::Mode;
use isobench_stats::CellSummary;
use maud::{Markup, html};

/// Anchors and names of the sections with a plot of `first`.
pub fn anchors(first: &Table) -> Vec<(&'static str, &'static str)> {
    let has = |is: &dyn Fn(&CellSummary) -> bool| first.rows.iter().any(|row| is(row.cell));
    let all = [
        (has(&|cell| cell.cold_start.is_some()), ("cold-start", "Cold start")),
        (has(&|cell| cell.cold_start.is_some()), ("phases", "Phases")),
        (has(&|cell| cell.cold_start.is_some()), ("distribution", "Distribution")),
        (has(&|cell| !cell.footprint.is_empty()), ("memory", "Memory")),
        (has(&|cell| !cell.throughput.is_empty()), ("throughput", "Throughput")),
    ];
    all.into_iter().filter(|(is, _)| *is).map(|(_, link)| link).collect()
}

/// All sections with plots: the first table's, with the other workloads behind a fold.
pub fn plots(first: &Table, all: &[Table]) -> Markup {
    let others = &all[1..];
    html! {
        (section("cold-start", &format!("Cold start: {} ({})", first.workload, first.case), COLD_START, plots::dots(first)))
        @if others.iter().any(|table| plots::dots(table).is_some()) {
            details {
                summary { "The same for the other workloads and cases" }
                @for table in others {
                    @if let Some(plot) = plots::dots(table) {
                        h3 { (table.workload) " (" (table.case) ")" }
                        (plot)
                    }
                }
            }
        }
        (section("phases", "What a cold start is made of", PHASES, plots::phases(first)))
        (section("distribution", "Distribution", DISTRIBUTION, plots::cold_start_curves(first)))
        @if let Some(plot) = plots::warm_call_curves(first) {
            h3 { "Warm calls" }
            (plot)
        }
        (section("memory", "Memory", MEMORY, plots::memory(first)))
        (tables::yardsticks(first))
        (section("throughput", "Throughput", THROUGHPUT, plots::throughput(first, Mode::Warm)))
        @if let Some(plot) = plots::throughput(first, Mode::Fresh).filter(|_| several_lanes(first, Mode::Fresh)) {
            h3 { "A fresh instance for every request" }
            p.read { "What scaling to zero costs: each request starts an instance, calls it and stops it, all inside the clock." }
            (plot)
        }
        (tables::throughput(first))
    }
}

/// Whether there is a line to draw: a quick run takes one concurrency of fresh instances, which the table holds.
fn several_lanes(table: &Table, mode: Mode) -> bool {
    let mut lanes = table.rows.iter().flat_map(|row| &row.cell.throughput).filter(|t| t.mode == mode).map(|t| t.n);
    lanes.next().is_some_and(|first| lanes.any(|n| n != first))
}

fn section(id: &str, title: &str, read: [&str; 2], plot: Option<Markup>) -> Markup {
    html! {
        h2 id=(id) { (title) }
        p.read { (read[0]) br; (read[1]) }
        @match plot {
            Some(plot) => (plot),
            None => p.note { "Not measured in this run." },
        }
    }
}

const COLD_START: [&str; 2] = [
    "From nothing to the last byte of the first correct answer. The axis is logarithmic: one step to the right is ten times slower.",
    "The dot is the median. A thick bar is a 95 % interval within this run, from 6 blocks up; a thin line with end marks is the lowest and highest block and claims nothing; hollow is emulated.",
];
const PHASES: [&str; 2] = [
    "Each bar is one cold start, left to right in time, cut into the shares of its phases (medians); the time at its end is the whole.",
    "Create: the boundary exists. Boot: to its agent's first word. Load: the guest's code is in and evaluated. First call: request to answer. Hatched is emulated.",
];
const DISTRIBUTION: [&str; 2] = [
    "The height of a line is the share of cold starts done within that time: steep is steady, a long slope at the top is a long tail.",
    "Compare lines inside one panel, where every boundary runs the same artifact. Dashed is emulated; n is the number of samples.",
];
const MEMORY: [&str; 2] = [
    "Proportional set size (PSS) of everything that keeps the instances alive, each having answered once. Dots are readings.",
    "The line is the Theil–Sen fit, and its slope the price of one more instance; a shared host process lifts the left end and not the slope.",
];
const THROUGHPUT: [&str; 2] = [
    "Closed loop: that many warm instances, one request in flight on each, the next one sent when the answer is there.",
    "A line that stops rising has run out of processors; whiskers are the spread of blocks.",
];

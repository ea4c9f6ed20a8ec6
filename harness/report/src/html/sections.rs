//! The sections with plots, each with two lines on how to read it.

use super::plots;
use super::tables;
use crate::rows::Table;
use isobench_core::record::Mode;
use maud::{Markup, html};

/// Anchors of a page of the standard experiments.
const ANCHORS: [(&str, &str); 9] = [
    ("cold-start", "Cold start"),
    ("phases", "Phases"),
    ("distribution", "Distribution"),
    ("memory", "Memory"),
    ("throughput", "Throughput"),
    ("cells", "All cells"),
    ("floor", "Noise floor"),
    ("method", "Method"),
    ("machine", "Machine"),
];

/// Anchors of a page of load.
const LOAD_ANCHORS: [(&str, &str); 3] = [("load", "Load"), ("method", "Method"), ("machine", "Machine")];

/// Anchors of the page's sections.
pub fn anchors(load: bool) -> &'static [(&'static str, &'static str)] {
    if load { &LOAD_ANCHORS } else { &ANCHORS }
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
        @if let Some(plot) = plots::throughput(first, Mode::Fresh) {
            h3 { "A fresh instance for every request" }
            p.read { "What scaling to zero costs: each request starts an instance, calls it and stops it, all inside the clock." }
            (plot)
        }
        (tables::throughput(first))
    }
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
    "The dot is the median. A thick bar is a 95 % interval, from 6 blocks up; a thin line with end marks is the lowest and highest block and claims nothing; hollow is emulated.",
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

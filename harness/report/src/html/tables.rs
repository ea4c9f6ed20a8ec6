//! The tables: the first screen's, all cells, yardsticks, throughput, errors, who could not run.

use super::prose;
use crate::rows::{self, Row, Table};
use crate::units::{self, Quantity};
use isobench_core::record::{Mode, YARDSTICKS};
use isobench_core::run::RunFile;
use isobench_stats::noise::Tally;
use isobench_stats::quantile::samples_needed;
use isobench_stats::spread::{INTERVAL_BLOCKS, TRUSTED_BLOCKS, interval_blocks};
use isobench_stats::undisturbed::Contention;
use isobench_stats::{CellSummary, Estimate, Measure, Metric, Summary, Throughput, Verdict, metric};
use maud::{Markup, html};

/// From this share of undisturbed samples on, the figure of all samples is shown on hovering alone.
const MOSTLY: f64 = 0.9;

const SAME_CORE: &str = "the caller and the instance on one processor; beside it, wherever the scheduler puts them, on processors that are kept from halting";

/// The rows of the first workload, by rising cold start.
pub fn headline(table: &Table) -> Markup {
    let first_starts = table.rows.iter().any(|row| row.cell.first_in_process.is_some());
    let ranks = rows::ranks(table);
    html! {
        div.scroll tabindex="0" role="region" aria-label="Results" {
            table.headline {
                thead { tr {
                    th { "Boundary" small { (table.workload) " (" (table.case) ")" } }
                    th.n { "Rank" }
                    th.wide { "Guest" }
                    th.wide { "Verdict" }
                    th.n { "Cold start" small { "p50" } }
                    th.n { "Cold start" small { "p99" } }
                    th.n { "Warm call" small { "p50" } }
                    th.n { "Warm call" small { "p99" } }
                    th.n { "Memory" small { "PSS per instance" } }
                    th.n { "Throughput" small { "one in flight" } }
                    th.n { "Throughput" small { "all cores" } }
                    th.text { "Ready before the clock" }
                } }
                (body(&table.rows, 12, |row| headline_row(row, ranks.get(&row.cell.id).copied())))
            }
        }
        p.note {
            "[a, b] is a 95 % interval within this run, from at least " (INTERVAL_BLOCKS) " blocks (" (interval_blocks(0.99)) " for a p99); a … b is the lowest and highest of fewer blocks and \
             claims nothing; without either, one block. Under " (TRUSTED_BLOCKS) " blocks a number is “few” and has two digits. The interval says how far another sample of these minutes may lie; another run may lie further off. A p99 needs 100 samples. Rows by rising cold start: rows whose intervals overlap share a rank, rows without an interval have none."
            @if first_starts { " In-process models show starts after a process's first, which has " a href="#cells" { "a row of its own" } "." }
        }
    }
}

/// The body of a table that is `columns` wide, with a heading above the emulated rows.
pub(super) fn body(rows: &[Row], columns: usize, show: impl Fn(&Row) -> Markup) -> Markup {
    let emulated = rows::first_emulated(rows);
    html! {
        tbody { @for (i, row) in rows.iter().enumerate() {
            @if emulated == Some(i) { tr.group { th colspan=(columns) { (rows::EMULATED) } } }
            (show(row))
        } }
    }
}

fn headline_row(row: &Row, rank: Option<usize>) -> Markup {
    let cell = row.cell;
    let starts = cell.cold_start.as_ref().map(|starts| &starts.total);
    let calls = cell.warm_call.as_ref().map(|warm| &warm.tail);
    html! {
        tr.emulated[row.emulated()] data-row=(format!("{}/{}", row.name(), row.guest_on_engine())) data-model=(cell.model) {
            // On a phone guest and verdict stand below the name, so that numbers are in view.
            th { (dot(cell)) (row.name()) small.compact { (row.guest_on_engine()) " " (verdict(cell)) } }
            td.n { @match rank { Some(rank) => (rank), None => "–" } }
            td.wide { (row.guest_on_engine()) }
            td.wide { (verdict(cell)) }
            (marked(cell, Metric::ColdStart, row.cold_start()))
            (p99(starts))
            (warm_call(cell))
            (p99(calls))
            (marked(cell, Metric::Memory, row.memory()))
            (estimate(Quantity::Rate, row.one_in_flight()))
            (marked(cell, Metric::Throughput, row.all_cores()))
            td.text { (prose(row.prepared)) }
        }
    }
}

pub(super) fn dot(cell: &CellSummary) -> Markup {
    html! { span.model style=(format!("--ink: var(--{})", cell.model)) title=(cell.model) {} }
}

fn value(quantity: Quantity, estimate: Estimate) -> Markup {
    let meaning = match metric::precision(estimate) {
        Some(precision) => format!("95 % interval within this run: ±{}", units::percent(precision)),
        None => "lowest and highest block".into(),
    };
    html! {
        b { (quantity.estimate(estimate)) }
        @if let Some(spread) = quantity.spread(estimate) { small title=(meaning) { (spread) } }
    }
}

pub(super) fn estimate(quantity: Quantity, estimate: Option<Estimate>) -> Markup {
    match estimate {
        Some(estimate) => html! { td.n { (value(quantity, estimate)) } },
        None => html! { td.n.none { "–" } },
    }
}

/// A headline number with the flags that speak of its metric alone.
fn marked(cell: &CellSummary, metric: Metric, estimate: Option<Estimate>) -> Markup {
    let Some(estimate) = estimate else { return html! { td.n.none { "–" } } };
    let quantity = Quantity::of(metric);
    html! { td.n { (value(quantity, estimate)) (contended(quantity, cell.contention(metric))) (tags(cell, metric)) } }
}

fn tags(cell: &CellSummary, metric: Metric) -> Markup {
    html! {
        @for flagged in cell.flags_of(metric).filter(|flagged| flagged.metric.is_some()) {
            " " span.tag.warn title=(flagged.why) { (flagged.flag) }
        }
    }
}

fn median(measure: Option<&Measure>) -> Markup {
    match measure {
        Some(measure) => {
            html! { td.n { (value(Quantity::Time, measure.p50)) (contended(Quantity::Time, measure.contention)) } }
        }
        None => estimate(Quantity::Time, None),
    }
}

/// How much was undisturbed, and what all samples say.
fn contended(quantity: Quantity, contention: Option<Contention>) -> Markup {
    let Some(contention) = contention else { return html! {} };
    let share = units::percent(contention.undisturbed);
    html! {
        @if contention.selected {
            small title=(format!("{share} of the samples were undisturbed, and this is their figure; that of all samples is {}", quantity.estimate(contention.all))) {
                (share) " undisturbed"
                @if contention.undisturbed < MOSTLY { ", all " (quantity.estimate(contention.all)) }
            }
        } @else {
            small title="too few undisturbed samples for a figure of their own: this is the figure of all samples" { "all samples, " (share) " undisturbed" }
        }
    }
}

/// A p99, or how many samples there were instead of the 100 it needs.
fn p99(measure: Option<&Measure>) -> Markup {
    match measure {
        Some(Measure { p99: None, n, .. }) => html! {
            td.n.none title=(format!("a p99 needs {} samples: blocks times those of the shortest", samples_needed(0.99))) { "–" small { "n = " (n) } }
        },
        _ => estimate(Quantity::Time, measure.and_then(|m| m.p99)),
    }
}

/// The verdict as tags, with the reason on hovering.
pub(super) fn verdict(cell: &CellSummary) -> Markup {
    match &cell.verdict {
        Verdict::Ok => html! { span.tag { "ok" } },
        Verdict::NotMeasured => html! { span.tag.idle { "not measured" } },
        Verdict::Flagged { .. } => html! {
            @for mark in rows::marks(cell) { span.tag.warn title=(mark.why.join("; ")) { (mark.word()) } }
        },
        Verdict::Error { faults } => html! {
            @for fault in faults { span.tag.bad title=(fault.fault.message) { (fault.fault.kind) } }
        },
    }
}

/// Every workload and case: cold start by phases and teardown, warm call; first starts in a process as their own rows.
pub fn all_cells(tables: &[Table]) -> Markup {
    html! {
        h2 id="cells" { "All cells" }
        p.read {
            "Every workload and case on every boundary; never averaged over workloads. n counts cold starts, and blocks are the fresh runner processes they came from; disturbed ones, of every experiment, are counted and stay in."
            br;
            "A row marked “first in process” is the first start of each fresh process, before anything in it was warm; one marked “first after import” is the first from a container image that the daemon had just been given. They are part of no other figure."
            br;
            "One marked “starts 2 to 10” is of the blocks that made 20 or more: their later starts are the headline. “Undisturbed” is the share of samples around which the contention probe saw no neighbour on the core."
        }
        @for (i, table) in tables.iter().enumerate() {
            details open[i == 0] {
                summary { (table.workload) " (" (table.case) "), " (table.rows.len()) " rows" }
                div.scroll tabindex="0" role="region" aria-label=(format!("All cells of {} ({})", table.workload, table.case)) { table.cells {
                    thead { tr {
                        th { "Boundary" } th { "Guest" } th { "Verdict" }
                        th.n { "Cold start" small { "p50" } } th.n { "p90" } th.n { "p99" }
                        th { "Phases" small { "medians" } }
                        th.n { "Destroy" small { "p50" } }
                        th.n { "Warm call" small { "p50" } } th.n { "p99" }
                        th.n { "n" small { "blocks" } }
                    } }
                    (body(&table.rows, 11, cell_row))
                } }
            }
        }
    }
}

fn cell_row(row: &Row) -> Markup {
    let cell = row.cell;
    let calls = cell.warm_call.as_ref().map(|warm| &warm.tail);
    let start = cell.cold_start.as_ref().map(|starts| starts.total.p50);
    html! {
        tr.emulated[row.emulated()] data-cell=(cell.cell) {
            th { (dot(cell)) (row.name()) } td { (row.guest_on_engine()) } td { (verdict(cell)) }
            (marked(cell, Metric::ColdStart, start))
            (starts(cell.cold_start.as_ref()))
            (warm_call(cell)) (p99(calls))
            (counts(cell.cold_start.as_ref(), &cell.circumstances.all()))
        }
        @for (first, tag) in [(&cell.first_in_process, "first in process"), (&cell.early_starts, "starts 2 to 10"), (&cell.first_after_import, "first after import")] {
            @if let Some(first) = first {
                tr.first data-first=(cell.cell) {
                    th { (dot(cell)) (row.name()) } td { (row.guest_on_engine()) } td { span.tag.idle { (tag) } }
                    (median(Some(&first.total)))
                    (starts(Some(first)))
                    td.n.none { "–" } td.n.none { "–" }
                    (counts(Some(first), &Tally::default()))
                }
            }
        }
    }
}

/// What stands right of the median: tails, phases, teardown.
fn starts(starts: Option<&isobench_stats::Starts>) -> Markup {
    let total = starts.map(|s| &s.total);
    html! {
        (estimate(Quantity::Time, total.and_then(|t| t.p90)))
        (estimate(Quantity::Time, total.and_then(|t| t.p99)))
        td.text {
            @for (i, phase) in starts.iter().flat_map(|s| &s.phases).enumerate() {
                @if i > 0 { " · " }
                span.whole { (phase.name.replace('_', " ")) " " (Quantity::Time.estimate(phase.time.p50)) }
            }
        }
        (median(starts.and_then(|s| s.destroy.as_ref())))
    }
}

/// The median of the settled calls; where they never settle, also those of both halves.
fn warm_call(cell: &CellSummary) -> Markup {
    let Some(warm) = &cell.warm_call else { return marked(cell, Metric::WarmCall, None) };
    html! {
        td.n {
            (value(Quantity::Time, warm.tail.p50)) (contended(Quantity::Time, warm.tail.contention))
            @if let Some([first, last]) = warm.halves.map(|halves| halves.map(|half| Quantity::Time.estimate(half))) {
                small.halves title="most blocks never settled" { "first half " (first) br; "last half " (last) }
            }
            @if let Some(same_core) = &warm.same_core {
                small title=(SAME_CORE) { "same core " (Quantity::Time.estimate(same_core.p50)) }
            }
            (tags(cell, Metric::WarmCall))
        }
    }
}

/// Starts, the blocks they came from, and how many of all the cell's blocks were disturbed.
fn counts(starts: Option<&isobench_stats::Starts>, tally: &Tally) -> Markup {
    match starts {
        Some(starts) => html! {
            td.n {
                (units::grouped(starts.total.n)) small { (starts.total.blocks) }
                @if let Some(precision) = metric::precision(starts.total.p50) {
                    small title="half the interval of the median cold start, over the median" { "±" (units::percent(precision)) }
                }
                @if let Some(why) = tally.sentence() {
                    small.disturbed title=(why) { (tally.disturbed) " of " (tally.blocks) " disturbed" }
                }
            }
        },
        None => html! { td.n.none { "–" } },
    }
}

/// All yardsticks side by side: slope per instance, and the fixed cost.
pub fn yardsticks(table: &Table) -> Markup {
    let rows: Vec<Row> = table.rows.iter().filter(|row| !row.cell.footprint.is_empty()).copied().collect();
    let name = |metric: &str| match metric {
        "fall_of_available" => "fall of MemAvailable".to_string(),
        "guest_used" => "in use, inside".to_string(),
        "cgroup" => metric.to_string(),
        _ => metric.to_uppercase(),
    };
    html! {
        @if !rows.is_empty() {
            h3 { "All yardsticks" }
            p.read {
                "Bytes for one more instance, by six ways of counting. PSS shares pages fairly, USS counts only what would be freed, RSS counts shared pages again;"
                br;
                "the cgroup's charge and the fall of the machine's available memory also see the kernel's part; what is in use inside is what a boundary's own kernel says (MemTotal less MemAvailable): the guest's view, which the host's never equals. Fixed is the PSS that is there with no instance at all."
            }
            div.scroll tabindex="0" role="region" aria-label="All memory metrics" { table {
                thead { tr {
                    th { "Boundary" } th { "Guest" }
                    @for metric in YARDSTICKS { th.n { (name(metric)) } }
                    th.n { "Fixed" small { "PSS" } } th.n { "Instances" small { "up to" } }
                } }
                (body(&rows, YARDSTICKS.len() + 4, yardstick_row))
            } }
        }
    }
}

fn yardstick_row(row: &Row) -> Markup {
    let pss = row.cell.yardstick("pss");
    html! {
        tr.emulated[row.emulated()] {
            th { (dot(row.cell)) (row.name()) } td { (row.guest_on_engine()) }
            @for metric in YARDSTICKS {
                (estimate(Quantity::Bytes, row.cell.yardstick(metric).and_then(|y| y.slope)))
            }
            (estimate(Quantity::Bytes, pss.and_then(|y| y.fixed)))
            td.n { (pss.and_then(|y| y.points.last()).map_or(0, |p| p.n)) }
        }
    }
}

/// Calls per second and latency at every concurrency.
pub fn throughput(table: &Table) -> Markup {
    let rows: Vec<Row> = table.rows.iter().filter(|row| !row.cell.throughput.is_empty()).copied().collect();
    html! {
        @if !rows.is_empty() {
            details {
                summary { "Calls per second and latency in numbers" }
                div.scroll tabindex="0" role="region" aria-label="Calls per second and latency" { table {
                    thead { tr {
                        th { "Boundary" } th { "Guest" } th { "Instances" } th.n { "In flight" } th.n { "Calls" }
                        th.n { "Latency" small { "p50" } } th.n { "p90" } th.n { "p99" } th.n { "p99.9" } th.n { "longest" }
                    } }
                    (body(&rows, 10, |row| html! { @for visit in &row.cell.throughput { (throughput_row(row, visit)) } }))
                } }
            }
        }
    }
}

fn throughput_row(row: &Row, visit: &Throughput) -> Markup {
    let latency = |ns: Option<u64>| estimate(Quantity::Time, ns.map(|ns| Estimate::alone(ns as f64, visit.blocks)));
    html! {
        tr.emulated[row.emulated()] {
            th { (dot(row.cell)) (row.name()) } td { (row.guest_on_engine()) }
            td { (if visit.mode == Mode::Warm { "warm" } else { "fresh" }) }
            td.n { (visit.n) }
            td.n { (value(Quantity::Rate, visit.rate)) (contended(Quantity::Rate, visit.contention)) }
            (latency(visit.latency.p50)) (latency(visit.latency.p90))
            (latency(visit.latency.p99)) (latency(visit.latency.p999))
            (latency(Some(visit.latency.max)))
        }
    }
}

/// Every error row with its reason.
pub fn errors(summary: &Summary) -> Markup {
    let failed = summary.cells.iter().filter_map(|cell| match &cell.verdict {
        Verdict::Error { faults } => Some((cell, faults)),
        _ => None,
    });
    let failed: Vec<_> = failed.collect();
    html! {
        @if !failed.is_empty() {
            h2 id="errors" { "Errors" }
            p.read { "A cell with a fault shows no number, whatever its other blocks measured; those stay in the samples. The run went on without it." }
            ul.plain.errors { @for (cell, faults) in failed { @for fault in faults {
                li {
                    (dot(cell)) code { (rows::named(cell)) } " " span.tag.bad { (fault.fault.kind) }
                    " during " (fault.experiment.to_string().replace('_', " "))
                    ", " (fault.blocks) @if fault.blocks == 1 { " block" } @else { " blocks" }
                    br; (fault.fault.message)
                }
            } } }
        }
    }
}

/// Who could not run here, and why.
pub fn missing(run: &RunFile) -> Markup {
    let (missing, absent) = (rows::missing(run), rows::absent(run));
    html! {
        @if !missing.is_empty() || !absent.is_empty() {
            h2 id="missing" { "Could not run here" }
            ul.plain.missing {
                @for gone in missing {
                    li {
                        code { (gone.backend) } " (" (gone.model) "): " (prose(gone.reason))
                        @if !gone.remedy.is_empty() { " " span.note { "To have it: " (prose(gone.remedy)) } }
                    }
                }
                @for pair in absent { li { code { (pair.what) } ": " (prose(&pair.reason)) } }
            }
        }
    }
}

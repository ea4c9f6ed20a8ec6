//! The page of the boundaries × engines: what each boundary alone adds, and what each engine makes of it.

use super::plots::strip::{Mark, Strip};
use super::{document, prose};
use crate::matrix::{self, Added, Boundary, METRICS, Matrix};
use crate::units::{self, Quantity};
use isobench_core::run::RunFile;
use isobench_core::words::Model;
use isobench_stats::compare::IMPORTANT;
use isobench_stats::spread::INTERVAL_BLOCKS;
use isobench_stats::{Metric, Summary};
use maud::{Markup, html};

/// The page; nothing for a run that is no matrix.
pub fn matrix_page(run: &RunFile, summary: &Summary) -> Option<String> {
    let matrices = matrix::matrices(run, summary);
    let (first, others) = matrices.split_first()?;
    let body = html! {
        main {
            h1 { "What does each boundary add, and which engine changes it?" }
            p.meta {
                (units::date(run.started_unix_ms)) " · " (run.machine.cpu) ", " (run.machine.cores) " cores · "
                a href="index.html" { "the whole run" } " · " a href="../index.html" { "all runs" }
            }
            section.answer id="answer" {
                @for (i, sentence) in matrix::sentences(first).iter().enumerate() {
                    p.lead[i == 0] { (prose(sentence)) }
                }
            }
            (over_engines(first))
            (how_to_read())
            (strips(first))
            h2 id="matrix" { "The matrix: " (first.workload) " (" (first.case) ")" }
            (tables(first))
            @for matrix in others {
                details {
                    summary { (matrix.workload) " (" (matrix.case) ")" }
                    (over_engines(matrix))
                    (tables(matrix))
                }
            }
        }
    };
    Some(document(&format!("isobench {}: boundaries and engines", run.id), &body))
}

fn how_to_read() -> Markup {
    html! {
        p.note {
            "What a boundary adds is the median behind it less the median without it: same guest, same engine, same artifact; machine code, which something must run, is held against a process. "
            "In a process of its own an engine starts anew, bare it runs already: that is part of what a boundary adds. "
            "[a, b] is a 95 % interval within this run, where both sides have at least " (INTERVAL_BLOCKS) " blocks; a … b is what the blocks leave open and claims nothing. "
            "The engine changes nothing where the engines differ by no more than " (units::percent(IMPORTANT)) ", or all intervals have a point in common."
        }
    }
}

/// A boundary's name, with the colour of its model.
fn name(boundary: &Boundary) -> Markup {
    html! {
        @if let Some(model) = boundary.model { span.model style=(format!("--ink: var(--{model})")) title=(model) {} }
        (boundary.name)
        @if boundary.emulated { " " span.tag.warn { "emulated" } }
    }
}

/// What stands between real rows and those that must not be compared with them.
fn parting(matrix: &Matrix, columns: usize) -> Markup {
    html! {
        @if matrix.boundaries(true).next().is_some() {
            tr { td.none colspan=(columns) { "Emulated processor: not comparable with the rows above." } }
        }
    }
}

/// What each boundary adds, over the engines.
fn over_engines(matrix: &Matrix) -> Markup {
    let row = |row: usize| {
        let boundary = &matrix.rows[row];
        html! {
            tr.emulated[boundary.emulated] data-boundary=(boundary.name) {
                th { (name(boundary)) }
                @match boundary.whole_row_missing() {
                    Some(why) => td.why colspan=(METRICS.len()) { (prose(why)) },
                    None => @for metric in METRICS { (range(matrix, matrix.over_engines(row, metric), metric)) },
                }
            }
        }
    };
    html! {
        div.scroll tabindex="0" role="region" aria-label=(format!("What each boundary adds to {} ({})", matrix.workload, matrix.case)) { table.adds {
            thead { tr {
                th { "The boundary alone adds" small { (matrix.workload) " (" (matrix.case) ")" } }
                @for metric in METRICS { th.n { (title(metric)) } }
            } }
            tbody {
                @for i in matrix.boundaries(false) { (row(i)) }
                (parting(matrix, METRICS.len() + 1))
                @for i in matrix.boundaries(true) { (row(i)) }
            }
        } }
    }
}

fn title(metric: Metric) -> &'static str {
    match metric {
        Metric::ColdStart => "Cold start",
        Metric::WarmCall => "Warm call",
        Metric::Memory => "Memory of one more",
        Metric::Throughput => "Throughput",
    }
}

fn range(matrix: &Matrix, added: Option<Added>, metric: Metric) -> Markup {
    let Some(added) = added else { return html! { td.n.none { "–" small { "not measured on both sides" } } } };
    let column = |at: usize| matrix.columns[at].title();
    html! { td.n {
        b.below[added.least.1.value < 0.0] title=[below(added.least.1)] { (matrix::range(metric, &added)) }
        small {
            @if added.least.0 == added.most.0 { "with " (column(added.least.0)) ", the one engine measured" }
            @else if added.changes { "least with " (column(added.least.0)) ", most with " (column(added.most.0)) }
            @else { "whatever the engine" }
        }
    } }
}

/// What each boundary adds to a cold start, a dot for every engine.
fn strips(matrix: &Matrix) -> Markup {
    let metric = Metric::ColdStart;
    let marks = |row: usize| (0..matrix.columns.len()).filter_map(move |c| Some((c, matrix.added(row, c, metric)?)));
    let all = (1..matrix.rows.len()).flat_map(|row| marks(row).map(|(_, added)| added));
    let Some(strip) = Strip::of(Quantity::Time, all) else { return html! {} };
    let group = |row: usize| {
        let boundary = &matrix.rows[row];
        html! {
            @if marks(row).next().is_some() {
                div.group { (name(boundary)) @if boundary.emulated { small { "not comparable with those above" } } }
                @for (column, estimate) in marks(row) {
                    @let model = boundary.model.unwrap_or(Model::Null);
                    @let mark = Mark { estimate, model, emulated: boundary.emulated };
                    @let engine = matrix.columns[column].title();
                    div.strip {
                        div { (engine) @if matrix.columns[column].engine.is_none() { " " small { "over a process" } } }
                        (strip.row(&mark, &format!("what {} adds to a cold start, {engine}", boundary.name)))
                        div.value {
                            b { (Quantity::Time.difference(estimate)) }
                            @if let Some(spread) = Quantity::Time.spread(estimate) { " " small { (spread) } }
                        }
                    }
                }
            }
        }
    };
    html! {
        h2 id="adds" { "What each boundary adds to a cold start" }
        p.read {
            "A dot for every engine, on a log axis. Dots of one boundary above each other: it costs the same whatever runs behind it."
            br;
            "A thick bar is a 95 % interval within this run; a thin line with end marks is what the blocks leave open and claims nothing; hollow is emulated."
        }
        div.strips {
            div.strip.head { div {} (strip.scale()) div {} }
            @for row in matrix.boundaries(false) { (group(row)) }
            @for row in matrix.boundaries(true) { (group(row)) }
        }
    }
}

/// The numbers, a table a metric; then what the engines make.
fn tables(matrix: &Matrix) -> Markup {
    html! {
        @for metric in METRICS {
            h3 { (title(metric)) }
            (table(matrix, title(metric), |row, column| place(matrix, row, column, metric)))
        }
        @if matrix.columns.iter().any(|column| column.engine.is_some() && !column.usual()) {
            details {
                summary { "What the engine makes: ratios to the guest's usual engine behind the same boundary" }
                @for metric in METRICS {
                    h3 { (title(metric)) }
                    (table(matrix, &format!("{}, ratios", title(metric)), |row, column| of_usual(matrix, row, column, metric)))
                }
            }
        }
    }
}

fn table(matrix: &Matrix, what: &str, place: impl Fn(usize, usize) -> Markup) -> Markup {
    let row = |row: usize| {
        let boundary = &matrix.rows[row];
        html! {
            tr.emulated[boundary.emulated] {
                th { (name(boundary)) }
                @for column in 0..matrix.columns.len() { (place(row, column)) }
            }
        }
    };
    html! {
        div.scroll tabindex="0" role="region" aria-label=(format!("{what} of {} ({})", matrix.workload, matrix.case)) { table.matrix {
            thead { tr {
                th { "Boundary" }
                @for column in &matrix.columns {
                    @let bare = column.bare.as_ref().map_or_else(|| "machine code".into(), |bare| format!("bare: {bare}"));
                    th.n { (column.title()) small { (bare) } }
                }
            } }
            tbody {
                (row(0))
                @for i in matrix.boundaries(false) { (row(i)) }
                (parting(matrix, matrix.columns.len() + 1))
                @for i in matrix.boundaries(true) { (row(i)) }
            }
        } }
    }
}

/// A number with its spread, and what the boundary makes of it; or why there is none.
fn place(matrix: &Matrix, row: usize, column: usize, metric: Metric) -> Markup {
    let quantity = Quantity::of(metric);
    let cell = match &matrix.rows[row].places[column] {
        Ok(cell) => *cell,
        Err(why) => return html! { td.why { (prose(why)) } },
    };
    let Some(value) = matrix.value(row, column, metric) else {
        return html! { td.why { "not measured in this run" } };
    };
    html! {
        td.n data-place=(format!("{}/{metric}", cell.cell)) {
            b { (quantity.estimate(value)) }
            @if let Some(spread) = quantity.spread(value) { small { (spread) } }
            @if let Some(added) = matrix.added(row, column, metric) {
                span.adds.below[added.value < 0.0] title=[below(added)] { (quantity.difference(added)) }
                @if let Some(spread) = quantity.spread(added) { small { (spread) } }
            }
            @for flagged in matrix::flags(cell, metric) { span.tag.warn title=(flagged.why) { (flagged.flag) } }
        }
    }
}

/// Why what a boundary adds is below zero: it is in fainter ink, because no boundary makes anything cheaper.
fn below(added: isobench_stats::Estimate) -> Option<&'static str> {
    (added.value < 0.0)
        .then_some("less than without the boundary: noise, or another set-up of the engine; not a saving")
}

fn of_usual(matrix: &Matrix, row: usize, column: usize, metric: Metric) -> Markup {
    if matrix.columns[column].usual() && matrix.value(row, column, metric).is_some() {
        return html! { td.n.none { "1" } };
    }
    match matrix.of_usual(row, column, metric) {
        Some(ratio) => html! { td.n {
            b { "× " (units::ratio(ratio.value)) }
            @if let Some(interval) = ratio.interval { small { (units::ratio_interval(interval)) } }
        } },
        None => html! { td.n.none { "–" } },
    }
}

//! The noise floor: what identical things differed by, and how small a difference would have shown.

use super::prose;
use crate::compare::floor_sentence;
use crate::units;
use isobench_core::words::Side;
use isobench_stats::compare::{Floor, TEST_BLOCKS};
use isobench_stats::{CellSummary, Metric, Summary, compare};
use maud::{Markup, html};

/// The section on a run's page.
pub fn section(run: &Summary) -> Markup {
    let floors = compare::floors(run);
    let cells: Vec<&CellSummary> =
        run.cells.iter().filter(|c| c.is_shown() && Metric::ALL.iter().any(|m| smallest(c, *m).is_some())).collect();
    html! {
        h2 id="floor" { "Noise floor" }
        p.read {
            "Some cells were measured twice, as if they were two things. What those pairs differ by is noise: a difference no larger than that is never called one."
        }
        p { (prose(&floor_sentence(&floors))) }
        (folded(&floors))
        @if !cells.is_empty() {
            details {
                summary { "The smallest difference that each row could have shown" }
                p.read {
                    "Against a run with as many blocks that scatter as much, in four of five comparisons, the row looked at alone; from " (TEST_BLOCKS) " blocks up."
                }
                div.scroll tabindex="0" role="region" aria-label="Smallest detectable differences" { table.detectable {
                    thead { tr { th { "Cell" } @for metric in Metric::ALL { th.n { (metric) } } } }
                    tbody { @for cell in cells { tr {
                        th { (cell.cell) }
                        @for metric in Metric::ALL {
                            @match smallest(cell, metric) {
                                Some(size) => td.n { (units::percent(size)) },
                                None => td.n.none { "–" },
                            }
                        }
                    } } }
                } }
            }
        }
    }
}

/// The smallest difference between a cell and one just like it.
fn smallest(cell: &CellSummary, metric: Metric) -> Option<f64> {
    let blocks = &cell.headline(metric)?.by_block;
    compare::alone(blocks, blocks, metric).map(|sensitivity| sensitivity.detectable())
}

/// The A/A pairs of a comparison, in a section of their own.
pub fn pairs(floors: &[Floor]) -> Markup {
    html! {
        @if !floors.is_empty() {
            h2 id="floor" { "Noise floor" }
            p.read { "Cells that were measured twice within one run, as if they were two things: what they differ by is noise." }
            (folded(floors))
        }
    }
}

fn folded(floors: &[Floor]) -> Markup {
    html! {
        @if !floors.is_empty() {
            details { summary { "Every pair in numbers: " (floors.len()) } (table(floors)) }
        }
    }
}

fn table(floors: &[Floor]) -> Markup {
    let of_runs = floors.iter().any(|floor| floor.of.is_some());
    html! {
        div.scroll tabindex="0" role="region" aria-label="Cells measured twice" { table.floors {
                thead { tr {
                    th { "Measured twice" } @if of_runs { th { "Run" } } th { "Metric" }
                    th.n { "Ratio" small { "second over first" } } th.n { "95 % interval" }
                    th.n { "Blocks" } th.n { "Detectable" small { "by this pair" } }
                } }
                tbody { @for floor in floors { tr {
                    th { (floor.cell) }
                    @if of_runs { td { (if floor.of == Some(Side::B) { "new" } else { "base" }) } }
                    td { (floor.metric) }
                    td.n { b { (units::ratio(floor.ratio.value)) } }
                    td.n { (floor.ratio.interval.map_or_else(|| "–".into(), units::ratio_interval)) }
                    td.n { (floor.blocks.0) " and " (floor.blocks.1) }
                    td.n { (floor.sensitivity.as_ref().map_or_else(|| "–".into(), |s| units::percent(s.detectable()))) }
                } } }
            } }
    }
}

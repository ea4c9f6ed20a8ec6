//! The section of starts by a rising number of starters, with its table. Absent where none were measured.

use super::load::bounds;
use super::plots;
use super::tables::{dot, estimate};
use crate::rows::{Row, Table};
use crate::starts;
use crate::units::{self, Quantity};
use isobench_core::record::StartMode;
use isobench_core::words::Model;
use isobench_stats::Estimate;
use isobench_stats::starters::{Starters, StartersPoint};
use maud::{Markup, html};

/// How to read what [`best`] says of a row.
pub const NOTE: &str = "Starts a second: started, answered and stopped, over and over, with the number of starters \
    that makes the most. One start beside the most: one that is timed alone, at the highest number of starters. Medians \
    of blocks.";

/// Heads of what [`best`] says of a row.
pub fn best_heads() -> Markup {
    html! {
        th.n { "Starts a second" small { "at best" } }
        th.n { "With" small { "starters" } }
        th.n { "One start" small { "beside the most" } }
    }
}

/// The first screen's fields of a row.
pub fn best(row: &Row) -> Markup {
    let Some((starters, point)) = row.cell.starters.as_ref().and_then(|s| Some((s, s.best()?))) else {
        return html! { td.n.none { "–" } td.n.none { "–" } td.n.none { "–" } };
    };
    html! {
        (estimate(Quantity::Rate, Some(point.rate)))
        td.n { b { (point.n) } @if let Some(times) = starts::speedup(point).filter(|_| point.n > 1) { small { (units::times(times)) "× one" } } }
        @match starts::beside_most(starters) {
            Some((_, ns)) => td.n { b { (units::time(ns as f64)) } small { (starts::tail(starters)) } },
            None => td.n.none { "–" },
        }
    }
}

/// Plots and numbers of one table.
pub fn section(table: &Table) -> Markup {
    let models =
        [Model::Wasm, Model::Isolate, Model::Process, Model::Container, Model::Microvm, Model::Remote, Model::Null];
    let each = |plot: &dyn Fn(Model) -> Option<Markup>| {
        html! { @for model in models { @if let Some(plot) = plot(model) { (plot) } } }
    };
    html! {
        @if starts::measured(table) {
            h3 id="starts" { "Starts, by so many at once" }
            p.read {
                "Each starter starts an instance, has its first answer, stops it, and again, without a pause: what a pool holds ready is used up at once, and putting it back counts. Instances a second, all starters together."
                br;
                "The faint line is what as many starters would make that do not disturb each other: where a line leaves it, processors or locks have run out. Every model has an axis of its own. Names stand in the order of their lines' right ends. Dashed is emulated."
            }
            (each(&|model| plots::start_rates(table, model)))
            h3 id="starts-time" { "How long a start takes among others" }
            p.read {
                "The p99 of all those starts, to the first correct answer; faint below it, the median. The stop that follows is not in it. Names stand in the order of their lines' right ends."
                br;
                "A start that waits for a processor waits for a time slice, so a p99 of some milliseconds with more starters than processors is the scheduler's."
            }
            (each(&|model| plots::start_tails(table, model, StartMode::Together)))
            h3 id="starts-beside" { "One start beside others" }
            p.read {
                "The same number at work, but only one is timed, which rests a millisecond between its starts: a request that comes to a machine busy with others of its kind."
                br;
                "At 1 it is alone. What rises from there is what the others cost it: processors, the kernel's locks, the engine's. The p99, and faint the median. Names stand in the order of their lines' right ends."
            }
            (each(&|model| plots::start_tails(table, model, StartMode::Beside)))
            (numbers(table))
            (bounds(table, "Starters", |row| row.cell.starters.as_ref()?.bound.as_ref()))
        }
    }
}

fn numbers(table: &Table) -> Markup {
    html! {
        details {
            summary { "Every number of starters" }
            div.scroll tabindex="0" role="region" aria-label=(format!("Starts in numbers of {} ({})", table.workload, table.case)) { table {
                thead { tr {
                    th { "Boundary" } th { "Guest" } th.n { "Starters" } th.n { "Starts a second" } th.n { "Of linear" }
                    th.n { "Start" small { "p50" } } th.n { "p99" } th.n { "Stop" small { "p50" } }
                    th.n { "Beside" small { "p50" } } th.n { "p99" } th.n { "Starts" small { "blocks" } }
                } }
                tbody { @for row in &table.rows { @if let Some(starters) = &row.cell.starters { @for point in starters.of(StartMode::Together) {
                    tr.emulated[row.emulated()] data-starts=(format!("{}/{}/{}", row.name(), row.guest_on_engine(), point.n)) {
                        th { (dot(row.cell)) (row.name()) } td { (row.guest_on_engine()) }
                        (numbers_of(starters, point))
                    }
                } } } }
            } }
            p.note { "Of linear: starts a second over those of one starter times their number, block by block. A quantile that there are too few starts for is left out." }
        }
    }
}

fn numbers_of(starters: &Starters, point: &StartersPoint) -> Markup {
    let time = |ns: Option<u64>| estimate(Quantity::Time, ns.map(|ns| Estimate::alone(ns as f64, point.blocks)));
    let beside = starters.at(StartMode::Beside, point.n);
    html! {
        td.n { (point.n) }
        (estimate(Quantity::Rate, Some(point.rate)))
        td.n { @match point.efficiency { Some(share) => (units::percent(share.value)), None => "–" } }
        (time(point.start.p50)) (time(point.start.p99)) (time(point.destroy.p50))
        (time(beside.and_then(|p| p.start.p50))) (time(beside.and_then(|p| p.start.p99)))
        td.n { (units::grouped(point.starts)) small { (point.blocks) } }
    }
}

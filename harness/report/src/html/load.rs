//! The section of load beyond the closed loop, with its tables. Absent where no load was measured.

use super::plots;
use super::starts;
use super::tables::{body, dot, estimate, verdict};
use crate::load;
use crate::rows::{Row, Table};
use crate::units::{self, Quantity};
use isobench_stats::Estimate;
use isobench_stats::load::{KEEPS_UP, KNEE, LoadPoint};
use maud::{Markup, html};

/// The first screen's table of a run that measured load: what held, of every row.
pub fn headline(table: &Table) -> Markup {
    let policies = load::policies(table);
    let common = load::common_burst(table);
    let density = table.rows.iter().any(|row| row.cell.density.is_some());
    let starters = crate::starts::measured(table);
    let columns = 3 + policies.len() + 2 * usize::from(common.is_some()) + usize::from(density) + usize::from(starters);
    html! {
        div.scroll tabindex="0" role="region" aria-label="Results under load" { table.headline {
            thead { tr {
                th { "Boundary" small { (table.workload) " (" (table.case) ")" } }
                th.wide { "Guest" } th.wide { "Verdict" }
                @for policy in &policies { th.n { "Rate that holds" small { (policy) } } }
                @if let Some(n) = common { th.n { "All of " (n) small { "at once" } } th.n { "At once" small { "up to" } } }
                @if density { th.n { "Side by side" small { "and what bound it" } } }
                @if starters { (starts::best_heads()) }
            } }
            (body(&table.rows, columns, |row| html! {
                tr.emulated[row.emulated()] data-load=(format!("{}/{}", row.name(), row.guest_on_engine())) {
                    th { (dot(row.cell)) (row.name()) small.compact { (row.guest_on_engine()) " " (verdict(row.cell)) } }
                    td.wide { (row.guest_on_engine()) }
                    td.wide { (verdict(row.cell)) }
                    @for policy in &policies { (knee(row, *policy)) }
                    @if let Some(n) = common { (burst(row, n)) }
                    @if density { (side_by_side(row)) }
                    @if starters { (starts::best(row)) }
                }
            }))
        } }
        @if !policies.is_empty() { p.note {
            "A rate holds where answers come at least " (format!("{:.0}", KEEPS_UP * 100.0)) " % as often as requests, none is given up, and the tail latency is at most "
            (KNEE) " times the lowest of its curve. Small below it: that latency. Medians of blocks."
        } }
        @if starters { p.note { (starts::NOTE) } }
    }
}

fn knee(row: &Row, policy: isobench_core::record::Policy) -> Markup {
    match load::curve(row, policy) {
        None => html! { td.n.none { "–" } },
        Some(curve) => html! { td.n {
            b { (load::knee(curve)) }
            @if let Some(ns) = load::tail_at_knee(curve) { small { (load::tail(curve)) " " (units::time(ns as f64)) } }
        } },
    }
}

fn burst(row: &Row, n: u32) -> Markup {
    let Some(burst) = &row.cell.burst else { return html! { td.n.none { "–" } td.n.none { "–" } } };
    let all = burst.steps.iter().find(|step| step.n == n).map(|step| step.all);
    html! {
        (estimate(Quantity::Time, all))
        td.n { @if let Some(reached) = &burst.bound { (reached.n) small title=(reached.why) { (load::bound(reached.by)) } } }
    }
}

fn side_by_side(row: &Row) -> Markup {
    match row.cell.density.as_ref().and_then(|density| density.bound.as_ref()) {
        None => html! { td.n.none { "–" } },
        Some(reached) => html! { td.n {
            b { (units::grouped(reached.n.into())) } small title=(reached.why) { (load::bound(reached.by)) }
        } },
    }
}

/// Everything that was measured under load.
pub fn section(all: &[Table]) -> Markup {
    let loaded: Vec<&Table> = all.iter().filter(|table| load::measured(table)).collect();
    html! {
        @if !loaded.is_empty() {
            h2 id="load" { "Load" }
            @for table in loaded {
                @if all.len() > 1 { h3 { (table.workload) " (" (table.case) ")" } }
                (open_loop(table))
                (bursts(table))
                (densities(table))
                (starts::section(table))
            }
        }
    }
}

fn open_loop(table: &Table) -> Markup {
    let curves = plots::load_curves(table);
    html! {
        @if !curves.is_empty() {
            h3 id="open-loop" { "Requests at a set rate" }
            p.read {
                "Requests arrive by chance at a set mean rate, whatever became of those before. Latency counts from when a request should have been sent, so waiting for a busy instance is in it."
                br;
                "A line that turns up has run out of instances or processors. The label names another quantile where there were too few requests for a p99. Ringed: the highest rate that holds. Dashed is emulated."
            }
            @for (guest, plot) in curves { h3 { (guest) " guest" } (plot) }
            details {
                summary { "Every rate in numbers" }
                div.scroll tabindex="0" role="region" aria-label=(format!("Every rate of {} ({})", table.workload, table.case)) { table {
                    thead { tr {
                        th { "Boundary" } th { "Guest" } th { "Policy" } th.n { "Offered" } th.n { "Answered" }
                        th.n { "Latency" small { "p50" } } th.n { "p90" } th.n { "p99" } th.n { "p99.9" }
                        th.n { "Late" } th.n { "Given up" } th.n { "Cold" } th.n { "Instances" small { "at most" } }
                        th.n { "Generator" small { "p99" } } th.n { "Requests" small { "blocks" } }
                    } }
                    tbody { @for row in &table.rows { @for curve in &row.cell.load { @for point in &curve.points {
                        tr.emulated[row.emulated()] {
                            th { (dot(row.cell)) (row.name()) } td { (row.guest_on_engine()) } td { (curve.policy) }
                            (rate(point))
                        }
                    } } } }
                } }
                p.note { "Late: sent later than intended because every instance was busy. Given up: waited as long as a call may take. Cold: waited for a start of its own. Generator: how late the load generator itself was, which is part of every latency." }
            }
        }
    }
}

fn rate(point: &LoadPoint) -> Markup {
    let latency = |ns: Option<u64>| estimate(Quantity::Time, ns.map(|ns| Estimate::alone(ns as f64, point.blocks)));
    let share = |share: f64| if share == 0.0 { "0".into() } else { format!("{:.1} %", share * 100.0) };
    html! {
        td.n { (Quantity::Rate.show(point.rate)) @if let Some(percent) = point.percent { small { (percent) " %" } } }
        (estimate(Quantity::Rate, point.achieved))
        (latency(point.latency.p50)) (latency(point.latency.p90)) (latency(point.latency.p99)) (latency(point.latency.p999))
        td.n { (share(point.late)) } td.n { (share(point.dropped)) } td.n { (share(point.cold)) }
        td.n { (point.most_instances) }
        td.n { (units::time(point.generator_p99 as f64)) }
        td.n { (units::grouped(point.offered)) small { (point.blocks) } }
    }
}

fn bursts(table: &Table) -> Markup {
    html! {
        @if let Some(plot) = plots::burst(table) {
            h3 id="burst" { "Many requests at once" }
            p.read {
                "So many requests at the same moment against nothing running: each starts an instance and calls it. The line is the time until all had their answers; faint below it, half of them and the first."
                br;
                "A line that rises by as much as it goes right has no more processors to use. The name says how far it went and after how long. Dashed is emulated."
            }
            (plot)
            (bounds(table, "Requests", |row| row.cell.burst.as_ref()?.bound.as_ref()))
        }
    }
}

fn densities(table: &Table) -> Markup {
    html! {
        @if let Some(plot) = plots::density(table) {
            h3 id="density" { "Side by side" }
            p.read {
                "The median start against the instances that live by then. At every step each of them was asked once more and answered."
                br;
                "Flat is good: another tenant costs no more than the first. The name says how many there were and what bound it. Dashed is emulated."
            }
            (plot)
            div.scroll tabindex="0" role="region" aria-label=(format!("Bursts of {} ({})", table.workload, table.case)) { table {
                thead { tr {
                    th { "Boundary" } th { "Guest" } th.n { "Instances" small { "live" } } th { "What bound it" }
                    th.n { "Start" small { "first" } } th.n { "Start" small { "last step" } }
                    th.n { "Slowest answer" small { "last step" } } th.n { "PSS" small { "of all" } } th.n { "Blocks" }
                } }
                tbody { @for row in &table.rows { @if let Some(density) = &row.cell.density {
                    @let (first, last) = (density.steps.first(), density.steps.last());
                    tr.emulated[row.emulated()] data-density=(format!("{}/{}", row.name(), row.guest_on_engine())) {
                        th { (dot(row.cell)) (row.name()) } td { (row.guest_on_engine()) }
                        (reached(density.bound.as_ref()))
                        (estimate(Quantity::Time, first.map(|s| s.start))) (estimate(Quantity::Time, last.map(|s| s.start)))
                        (estimate(Quantity::Time, last.map(|s| s.answer))) (estimate(Quantity::Bytes, last.map(|s| s.pss)))
                        td.n { (last.map_or(0, |s| s.blocks)) }
                    }
                } } }
            } }
        }
    }
}

/// What ended each row's burst or starters, of which there were so many of `what` at once.
pub fn bounds<'a>(
    table: &Table<'a>,
    what: &str,
    of: impl Fn(&Row<'a>) -> Option<&'a isobench_stats::load::Reached>,
) -> Markup {
    html! {
        details {
            summary { "How far each went, and what ended it" }
            div.scroll tabindex="0" role="region" aria-label=(format!("Density of {} ({})", table.workload, table.case)) { table {
                thead { tr {
                    th { "Boundary" } th { "Guest" } th.n { (what) small { "at once" } } th { "What bound it" }
                } }
                tbody { @for row in &table.rows { @if let Some(bound) = of(row) {
                    tr.emulated[row.emulated()] { th { (dot(row.cell)) (row.name()) } td { (row.guest_on_engine()) } (reached(Some(bound))) }
                } } }
            } }
        }
    }
}

fn reached(reached: Option<&isobench_stats::load::Reached>) -> Markup {
    match reached {
        None => html! { td.n.none { "–" } td.none { "cut short" } },
        Some(reached) => html! {
            td.n {
                b { (units::grouped(reached.n.into())) }
                @if reached.most > reached.n { small { "up to " (units::grouped(reached.most.into())) } }
            }
            td.text { b { (load::bound(reached.by)) } ": " (reached.why) }
        },
    }
}

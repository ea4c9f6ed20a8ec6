//! The list of all runs.

use super::document;
use crate::units;
use isobench_core::run::{Order, RunFile};
use isobench_core::words::Flag;
use maud::{Markup, html};

/// One folder under `results/`.
#[derive(Debug, Clone)]
pub struct IndexEntry {
    /// The folder's name.
    pub name: String,
    /// Link to its page, if it has one.
    pub page: Option<String>,
    /// Its `run.json`, or why that cannot be read.
    pub run: Result<RunFile, String>,
}

/// `reports/index.html`: every run, newest first; those that cannot be read last.
pub fn index(entries: &[IndexEntry]) -> String {
    let mut entries: Vec<&IndexEntry> = entries.iter().collect();
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.run.as_ref().map_or(0, |run| run.started_unix_ms)));
    let body = html! {
        main {
            h1 { "isobench: all runs" }
            p.meta { "One row for every folder under " code { "results/" } ", newest first. Runs of different machines are not comparable by their times." }
            @if entries.is_empty() { p { "No run yet: " code { "make bench" } " makes one." } }
            @else {
                div.scroll tabindex="0" role="region" aria-label="All runs" { table {
                    thead { tr { th { "Run" } th { "Started" } th { "Machine" } th { "Cells" } th { "Command" } } }
                    tbody { @for entry in entries { (row(entry)) } }
                } }
            }
        }
    };
    document("isobench: all runs", &body)
}

fn row(entry: &IndexEntry) -> Markup {
    html! {
        tr data-run=(entry.name) {
            th { @match &entry.page { Some(page) => a href=(page) { (entry.name) }, None => (entry.name) } }
            @match &entry.run {
                Ok(run) => {
                    td.date { (units::date(run.started_unix_ms)) }
                    td.text { (run.machine.cpu) ", " (run.machine.cores) " cores" }
                    td { (verdicts(run)) }
                    td.text { code { (run.command.join(" ")) } }
                }
                Err(why) => td colspan="4" { span.tag.bad { "unreadable" } " " (why) },
            }
        }
    }
}

/// What `run.json` itself says of its cells; flags that only the samples show are on the run's page.
fn verdicts(run: &RunFile) -> Markup {
    let errors = run.cells.iter().filter(|c| !c.faults.is_empty()).count();
    let measured = run.cells.iter().filter(|c| c.faults.is_empty() && c.blocks > 0).count();
    let emulated = run.cells.iter().filter(|c| c.flags.contains(&Flag::Emulated)).count();
    let left = run.cells.len() - errors - measured;
    html! {
        @if measured > 0 { span.tag { (measured) " measured" } }
        @if emulated > 0 { span.tag.warn { (emulated) " emulated" } }
        @if errors > 0 { span.tag.bad { (errors) " failed" } }
        @if left > 0 { span.tag.idle { (left) " not measured" } }
        @if run.plan.order == Order::Sequential { span.tag.warn { "sequential" } }
        @if run.stopped_early.is_some() || run.ended_unix_ms.is_none() { span.tag.warn { "incomplete" } }
    }
}

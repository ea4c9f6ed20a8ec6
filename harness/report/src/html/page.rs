//! The page of one run.

use super::{about, compare, document, floors, ladders, load, prose, sections, tables};
use crate::answer::answer;
use crate::compare::Compared;
use crate::ladders::Ladder;
use crate::rows;
use crate::units;
use isobench_core::run::{Order, RunFile};
use isobench_stats::Summary;
use maud::{Markup, html};

/// Where the page's links go, and what reading the samples found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageOptions {
    /// Link to `samples.jsonl`.
    pub samples_href: String,
    /// Link to `run.json`.
    pub run_href: String,
    /// Link to the index of all runs.
    pub index_href: String,
    /// The number of the last line of the samples, if it was cut short and left out.
    pub truncated: Option<usize>,
}

/// The page: the answer first, then how it comes about, last what it rests on.
pub fn page(run: &RunFile, summary: &Summary, options: &PageOptions) -> String {
    let all = rows::tables(run, summary);
    let first = all.first();
    let ladders = first.filter(|_| run.plan.load.is_none()).map(|first| crate::ladders::ladders(run, first));
    let ladders = ladders.unwrap_or_default();
    let title = format!("isobench {}", run.id);
    let body = html! {
        main {
            (head(run, options))
            (contents(run, summary, first, &ladders))
            @if let Some(sides) = Compared::sides(run, summary, &|_| true) { (compare::section(&sides)) }
            (first_screen(run, summary, first))
            @if run.plan.load.is_some() { (load::section(&all)) }
            @else {
                @if let Some(first) = first { (sections::plots(first, &all)) (ladders::section(&ladders, first.workload)) }
                (tables::all_cells(&all))
                (floors::section(summary))
            }
            (tables::errors(summary))
            (about::about(run, summary, options))
        }
    };
    document(&title, &body)
}

fn head(run: &RunFile, options: &PageOptions) -> Markup {
    html! {
        h1 { "What does each boundary cost?" }
        p.meta {
            (units::date(run.started_unix_ms)) " · " (run.machine.cpu) ", " (run.machine.cores)
            @if run.machine.cores == 1 { " core" } @else { " cores" }
            @if let Some(hypervisor) = &run.machine.hypervisor { ", under " (hypervisor) }
            " · isobench " (run.isobench) " · "
            a href=(options.index_href) { "all runs" }
        }
        @if run.plan.order == Order::Sequential {
            p { span.tag.warn { "sequential" } " Blocks ran one cell after another (" code { "cargo bench" } "), not shuffled." }
        }
    }
}

/// Links to the sections that this page has, in their order.
fn contents(run: &RunFile, summary: &Summary, first: Option<&rows::Table>, ladders: &[Ladder]) -> Markup {
    let failed = summary.cells.iter().any(|cell| cell.fault().is_some());
    let results = match first {
        _ if run.plan.load.is_some() => vec![("load", "Load")],
        Some(first) => sections::anchors(first),
        None => Vec::new(),
    };
    let standard = run.plan.load.is_none();
    let optional = [
        (!ladders.is_empty(), ("ladders", "Ladders")),
        (standard, ("cells", "All cells")),
        (standard, ("floor", "Noise floor")),
        (failed, ("errors", "Errors")),
    ];
    let optional = optional.into_iter().filter(|(is, _)| *is).map(|(_, link)| link);
    let last = [("method", "Method"), ("machine", "Machine"), ("versions", "Backends"), ("run", "This run")];
    html! {
        nav aria-label="Sections" {
            @for (anchor, name) in results.into_iter().chain(optional).chain(last) { a href={ "#" (anchor) } { (name) } }
        }
    }
}

fn first_screen(run: &RunFile, summary: &Summary, first: Option<&rows::Table>) -> Markup {
    let answer = answer(run, summary, first);
    html! {
        section.answer id="answer" {
            @for (i, sentence) in answer.sentences.iter().enumerate() {
                p.lead[i == 0] { (prose(sentence)) }
            }
            @if answer.sentences.is_empty() { p.lead { "Nothing was measured yet." } }
            @if run.plan.matrix {
                p { a href="matrix.html" { "The matrix of boundaries and engines" } ": what each boundary alone adds, and which engine changes it." }
            }
            @if !answer.caveats.is_empty() {
                div.caveats { @for caveat in &answer.caveats { p { (prose(caveat)) } } }
            }
        }
        @if let Some(first) = first {
            @if run.plan.load.is_some() { (load::headline(first)) } @else { (tables::headline(first)) }
        }
        (tables::missing(run))
    }
}

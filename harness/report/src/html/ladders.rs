//! The ladders side by side. Absent where no technology has two rungs.

use super::plots::strip::{Mark, Strip};
use super::prose;
use super::tables::verdict;
use crate::ladders::{self, Ladder, Rung};
use crate::units::Quantity;
use isobench_stats::Estimate;
use maud::{Markup, html};

/// The section of a run's page.
pub fn section(ladders: &[Ladder], workload: &str) -> Markup {
    let starts = ladders.iter().flat_map(|ladder| &ladder.rungs).filter_map(|rung| rung.row.cold_start());
    let Some(strip) = Strip::of(Quantity::Time, starts) else { return html! {} };
    html! {
        h2 id="ladders" { "Ladders" }
        p.read {
            "One technology, more and more of it made ready before the clock: what each rung costs in time from nothing to the first answer of " code { (workload) }
            ", what it keeps in memory to be that fast, and what its instances share and so give up. All on one log axis; dot and bar as in the plots above."
            br;
            "Kept ready: PSS with no live instance, less that of the rung that keeps least: the whole of it, for however many instances the rung prepares. One more: PSS of each live instance."
        }
        @for ladder in ladders { (one(ladder, strip)) }
    }
}

fn one(ladder: &Ladder, strip: Strip) -> Markup {
    let read = ladder.rungs.iter().any(|rung| ladders::idle(rung.row.cell).is_some());
    html! {
        h3 { (ladder.backend) ", " (ladder.guest) " guest" @if ladder.emulated { " " span.tag.warn { "emulated" } } }
        @if let Some(sentence) = ladders::sentence(ladder) { p.read { (prose(&sentence)) } }
        div.strips data-ladder=(format!("{}/{}", ladder.backend, ladder.guest)) {
            div.rung.head { div {} (strip.scale()) div { "Cold start" } div { "Memory" } div { "Prepared and shared" } }
            @for rung in &ladder.rungs { (row(rung, strip)) }
        }
        @if !read { p.note { "What is kept ready was not read in this run: no footprint of this workload." } }
    }
}

fn row(rung: &Rung, strip: Strip) -> Markup {
    let start = rung.row.cold_start();
    let (model, emulated) = (rung.row.cell.model, rung.row.emulated());
    let title = format!("cold start of {}", rung.row.name());
    html! {
        div.rung data-rung=(rung.row.name()) {
            div {
                b { (rung.variant.name) }
                @if !rung.row.cell.flags().is_empty() || start.is_none() { " " (verdict(rung.row.cell)) }
            }
            @match start {
                Some(estimate) => (strip.row(&Mark { estimate, model, emulated }, &title)),
                None => div {},
            }
            div.value.cost { @match start { Some(start) => (value(Quantity::Time, start)), None => "–" } }
            div.value.kept {
                p { "Kept ready: " (kept(rung)) }
                p { "One more: " (shown(rung.row.memory())) }
            }
            div.facts {
                p { "Ready before: " (prose(&rung.variant.prepared)) "." }
                p { "Shared: " (prose(&rung.variant.shared)) "." }
                @let phases = ladders::phases(&rung.row);
                @if !phases.is_empty() { p { "Made of: " (prose(&phases)) "." } }
            }
        }
    }
}

fn kept(rung: &Rung) -> Markup {
    let Some(idle) = ladders::idle(rung.row.cell) else { return html! { "not read" } };
    if idle.value <= 0.0 {
        return html! { b { "nothing" } };
    }
    let in_all = html! { small { (Quantity::Bytes.estimate(idle)) " in all" } };
    match rung.kept {
        Some(kept) => html! {
            b { (Quantity::Bytes.difference(kept)) }
            @if let Some(spread) = Quantity::Bytes.spread(kept) { " " small { (spread) } }
            br; (in_all)
        },
        None => html! { b { "the least of these" } br; (in_all) },
    }
}

fn shown(estimate: Option<Estimate>) -> Markup {
    match estimate {
        Some(e) => html! {
            b { (Quantity::Bytes.estimate(e)) }
            @if let Some(spread) = Quantity::Bytes.spread(e) { " " small { (spread) } }
        },
        None => html! { "not read" },
    }
}

fn value(quantity: Quantity, estimate: Estimate) -> Markup {
    html! {
        b { (quantity.estimate(estimate)) }
        @if let Some(spread) = quantity.spread(estimate) { br; small { (spread) } }
    }
}

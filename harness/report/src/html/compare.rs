//! The comparison: as a page of its own, and as a section on the page of an A/B run.

use super::plots::ratio::{self, Axis};
use super::{document, floors, prose};
use crate::compare::{Compared, kinds};
use crate::units::{self, Quantity};
use isobench_stats::compare::{Measured, Row, SIGNIFICANT, TEST_BLOCKS, Unit, Word};
use isobench_stats::of_runs::TEST_RUNS;
use maud::{Markup, html};

/// The page of a comparison: what differs around the numbers, what changed, how far to trust it.
pub fn compare_page(compared: &Compared) -> String {
    let title = format!("isobench: {} against {}", compared.new.name, compared.base.name);
    let body = html! {
        main {
            h1 { "What changed?" }
            (sides(compared))
            section.answer id="answer" {
                @for sentence in &compared.setting { p { b { (sentence) } } }
                p.lead { (compared.outcome()) }
                div.caveats {
                    @if compared.is_marked() {
                        p { span.tag.bad { "not comparable" } " Rows marked ≠ compare two different things; they are shown because that was asked for." }
                    }
                    p { (prose(&compared.floor())) }
                    @if let Some(sensitivity) = compared.sensitivity() { p { (prose(&sensitivity)) } }
                }
            }
            h2 id="environment" { "What differs around the numbers" }
            (environment(compared))
            h2 id="rows" { "Row by row" }
            (rows(compared))
            (floors::pairs(&compared.comparison.floors))
        }
    };
    document(&title, &body)
}

/// The section of an A/B run's page.
pub fn section(compared: &Compared) -> Markup {
    html! {
        section id="ab" {
            h2 { "A against B" }
            (sides(compared))
            p { (compared.outcome()) }
            p.read { "Blocks of both took turns in this run. What stands below this section is side A alone." }
            h3 { "What differs around the numbers" }
            (environment(compared))
            h3 { "Row by row" }
            (rows(compared))
            h2 { "Side A" }
        }
    }
}

fn sides(compared: &Compared) -> Markup {
    html! {
        dl {
            @for (name, side) in [("Base", &compared.base), ("New", &compared.new)] {
                dt { (name) } dd { b { (side.name) } " · " (side.about) }
            }
        }
    }
}

fn environment(compared: &Compared) -> Markup {
    html! {
        @if compared.differences.is_empty() {
            p { "Nothing that isobench records differs " (compared.around()) "." }
        } @else {
            div.scroll tabindex="0" role="region" aria-label="What differs" { table.environment {
                thead { tr { th { "What differs" } th { "Base" } th { "New" } } }
                tbody { @for d in &compared.differences { tr {
                    th { (d.what) @if d.grave { " " span.tag.bad { "≠ not comparable" } } }
                    td { (d.base) } td { (d.new) }
                } } }
            } }
        }
    }
}

fn rows(compared: &Compared) -> Markup {
    let all = &compared.comparison.rows;
    let axis = Axis::of(all);
    let called: Vec<&Row> = all.iter().filter(|row| row.word.is_difference()).collect();
    let rest = kinds(all).into_iter().filter(|(_, rows)| !rows[0].word.is_difference());
    let tested = compared.comparison.tested;
    let (needed, what) = match compared.comparison.unit {
        Unit::Blocks | Unit::Turns => (format!("{TEST_BLOCKS} blocks"), "blocks"),
        Unit::Runs => (format!("{TEST_RUNS} runs"), "runs"),
    };
    html! {
        p.read {
            "Dot: new over base, on a log axis; left of 1 the new one takes less. Bar: 95 % interval. Band: what two identical things differed by."
            br;
            (compared.test()) " It takes " (needed) " a side. " (tested) " rows were tested; a difference is called one below "
            (units::probability(SIGNIFICANT)) " and outside the band. After ×: over all pairs of " (what) "; then new over base as they are shown."
        }
        @if called.is_empty() { p { b { "No difference can be called one." } } }
        @else { (list(compared, axis, &called)) }
        @for (said, rows) in rest {
            details { summary { (said) ": " (rows.len()) } (list(compared, axis, &rows)) }
        }
        @for (reason, cells) in compared.left_out_by_reason() {
            details.out {
                summary { "left out as not comparable: " (cells.len()) }
                p { (reason) ". " code { "--anyway" } " compares these cells too, and marks them." }
                ul.plain { @for cell in cells { li { code { (cell) } } } }
            }
        }
    }
}

/// The blocks behind a value; of several runs, the runs too.
fn count(measured: &Measured) -> String {
    match measured.runs {
        0 | 1 => measured.blocks.to_string(),
        runs => format!("{runs} runs, {} blocks", measured.blocks),
    }
}

fn list(compared: &Compared, axis: Axis, rows: &[&Row]) -> Markup {
    html! {
        div.pairs {
            div.pair.head { div {} div {} (ratio::scale(axis)) div {} }
            @for row in rows { (pair(compared, axis, row)) }
        }
    }
}

fn pair(compared: &Compared, axis: Axis, row: &Row) -> Markup {
    let quantity = Quantity::of(row.metric);
    let value = |side: &Option<Measured>| match side {
        Some(measured) => {
            html! { b { (quantity.estimate(measured.estimate())) } " " small { "(" (count(measured)) ")" } }
        }
        None => html! { "–" },
    };
    let tag = match row.word {
        Word::Worse => "tag bad",
        Word::Better => "tag",
        Word::NoClearDifference => "tag idle",
        _ => "tag warn",
    };
    let facts = [
        row.p.map(|p| format!("p\u{a0}{}", units::probability(p))),
        row.p_corrected.map(|p| format!("corrected\u{a0}{}", units::probability(p))),
        row.floor.map(|floor| format!("floor\u{a0}{}", units::percent(floor))),
        row.sensitivity.as_ref().map(|s| format!("detectable\u{a0}{}", units::percent(s.detectable()))),
    ];
    let facts: Vec<String> = facts.into_iter().flatten().collect();
    html! {
        div.pair data-row=(row.cell) data-metric=(row.metric) data-word=(row.said()) {
            div.what {
                span class=(tag) { (row.said()) }
                @for d in compared.grave(&row.cell) { " " span.tag.bad { "≠ " (d.what) } }
                br;
                b { (row.cell.row()) } " · " (row.cell.guest_on_engine()) " · " (row.cell.workload) " (" (row.cell.case) ")"
                br; (row.metric)
            }
            div.values {
                span.whole { (value(&row.base)) " → " (value(&row.new)) }
                @for flag in flags(row) { " " span.tag.warn { (flag) } }
                @if let Some(r) = row.ratio {
                    br; "× " b { (units::ratio(r.value)) }
                    @if let Some(interval) = r.interval { " " span.whole { (units::ratio_interval(interval)) } }
                    @if let Some(of_medians) = row.of_medians() { " · of medians " (units::ratio(of_medians)) }
                }
            }
            @match ratio::row(axis, row) { Some(drawing) => (drawing), None => div {} }
            div.facts { (facts.join(" · ")) @if !row.why.is_empty() { br; (row.why) } }
        }
    }
}

/// The flags of either side, each once.
fn flags(row: &Row) -> Vec<String> {
    let mut flags: Vec<String> = [&row.base, &row.new]
        .into_iter()
        .flatten()
        .flat_map(|side| side.flags.iter().map(ToString::to_string))
        .collect();
    flags.sort();
    flags.dedup();
    flags
}

//! A job's summary in GitHub Actions: what is appended to `$GITHUB_STEP_SUMMARY`.

use super::markdown::{LEGEND, about, errors, headline, missing, prose, said, title};
use crate::answer::answer;
use crate::rows::{Table, tables};
use isobench_core::run::RunFile;
use isobench_core::text::one_line;
use isobench_stats::Summary;
use maud::html;

/// Most bytes of a summary. GitHub shows none at all of a step whose summary is over 1 MiB (GitHub Docs, "Workflow
/// commands for GitHub Actions", Step isolation and limits); what is left under it is for what the same step adds, such
/// as a comparison.
const LIMIT: usize = 900 << 10;

/// The answer and the first table on top; everything else folded, its size said. What would not fit is left out by name:
/// `taken` bytes of the step's summary are there already.
pub fn github(run: &RunFile, summary: &Summary, taken: usize) -> String {
    let limit = LIMIT.saturating_sub(taken);
    let tables = tables(run, summary);
    let mut text = format!("## isobench: what isolation costs\n\n{}", said(&answer(run, summary, tables.first())));
    let mut folded = Vec::new();
    if let Some((first, others)) = tables.split_first() {
        text += &format!("\n### {}\n\n{}\n{LEGEND}\n", title(first), headline(first));
        folded.extend(others.iter().map(|table| (rows(table), headline(table))));
    }
    let failed = summary.cells.iter().filter(|cell| cell.fault().is_some()).count();
    folded.push((format!("Error rows: {failed} of {} cells", summary.cells.len()), errors(summary)));
    folded.push(("Could not run here".into(), missing(run)));
    folded.push((format!("The run: {}", run.id), about(run)));
    let mut left_out = Vec::new();
    for (title, part) in folded.into_iter().filter(|(_, part)| !part.is_empty()) {
        let summary = html! { summary { (one_line(&title)) } }.into_string();
        let part = format!("\n<details>{summary}\n\n{part}\n</details>\n");
        if text.len() + part.len() > limit { left_out.push(title) } else { text += &part }
    }
    if !left_out.is_empty() {
        text += &format!(
            "\nLeft out, because GitHub shows no summary over 1 MiB: {}. `isobench report {} --format md` has all.\n",
            prose(&brief(&left_out)),
            one_line(&run.id)
        );
    }
    text
}

fn rows(table: &Table) -> String {
    let plural = if table.rows.len() == 1 { "row" } else { "rows" };
    format!("{}, case {}: {} {plural}", table.workload, table.case, table.rows.len())
}

/// Most parts that are named one by one.
const NAMED: usize = 20;

fn brief(parts: &[String]) -> String {
    let named = parts.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
    match parts.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named}; and {more} more"),
    }
}

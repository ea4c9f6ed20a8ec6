//! The answer in sentences, computed from the data: one named workload and case, the same guest and degree of preparation
//! on every boundary, never an average over workloads. Names in backticks are code.

use crate::compare::floor_sentence;
use crate::degrees;
use crate::rows::{Row, Table, marks, missing, noun};
use crate::units::{self, Quantity};
use isobench_core::run::{BackendEntry, Order, RunFile};
use isobench_core::text::one_line;
use isobench_core::words::{Flag, Guest};
use isobench_stats::compare::floors;
use isobench_stats::{Estimate, Metric, Spread, Summary, Verdict, metric};

/// What the first screen says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// What each boundary costs: the guest that most models share first, in full; then the others.
    pub sentences: Vec<String>,
    /// What is flagged or missing.
    pub caveats: Vec<String>,
}

/// The answer of a run, from the rows of its first table.
pub fn answer(run: &RunFile, summary: &Summary, table: Option<&Table>) -> Answer {
    let mut answer = Answer { caveats: summary.incomplete.clone(), ..Answer::default() };
    let floors = floors(summary);
    if let Some(table) = table {
        let groups = degrees::groups(table);
        answer.sentences = degrees::sentences(table, &groups, &floors);
        answer.sentences.extend(crate::load::sentences(table));
        answer.caveats.extend(emulated(table, groups.first().map(|group| group.guest)));
        answer.caveats.extend(flagged(table));
    }
    if !floors.is_empty() {
        answer.caveats.push(format!("{} What differs by less is not called different.", floor_sentence(&floors)));
    }
    answer.caveats.extend(precision(run, summary));
    answer.caveats.extend(run_caveats(run, summary));
    answer
}

/// How many medians are known as precisely as the run was asked to make them, and why the others are not.
fn precision(run: &RunFile, summary: &Summary) -> Option<String> {
    let target = run.plan.precision_ppm? as f64 / 1e6;
    let headlines: Vec<_> = summary.cells.iter().flat_map(|cell| &cell.headlines).collect();
    if headlines.is_empty() {
        return None;
    }
    let precise = headlines.iter().filter(|h| metric::precision(h.estimate).is_some_and(|p| p <= target)).count();
    let target = units::percent(target);
    Some(if precise == headlines.len() {
        format!("All {precise} medians are known to ±{target}, as asked, and the run stopped there.")
    } else {
        format!(
            "{precise} of {} medians are known to ±{target}, as asked; for the others the time or the most blocks ran \
             out first, and their intervals are wider.",
            headlines.len()
        )
    })
}

/// `a`, `a and b`, `a, b and c`.
pub(crate) fn list(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

fn emulated(table: &Table, lead: Option<Guest>) -> Option<String> {
    let mut rows: Vec<&Row> = table.rows.iter().filter(|row| row.emulated() && row.cold_start().is_some()).collect();
    // The guest of the first sentence, if it ran.
    rows.sort_by_key(|row| (Some(row.guest()) != lead, !row.usual));
    let shown = rows.first()?;
    let mut names: Vec<String> = Vec::new();
    for name in rows.iter().map(|row| format!("`{}`", row.name())) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let of_them = if names.len() > 1 { format!(" on {}", names[0]) } else { String::new() };
    Some(format!(
        "{} ran on an emulated processor (first `{}` in {}{of_them}, {} guest): not comparable with a real one, and left \
         out of the sentences above.",
        list(&names),
        table.workload,
        Quantity::Time.estimate(shown.cold_start()?),
        shown.guest_on_engine()
    ))
}

fn flagged(table: &Table) -> Vec<String> {
    [noisy(table), unsettled(table)].into_iter().flatten().chain(few_blocks(table)).collect()
}

fn noisy(table: &Table) -> Option<String> {
    let said = |row: &Row| {
        let mark = marks(row.cell).into_iter().find(|mark| mark.flag == Flag::Noisy)?;
        let metrics: Vec<String> = mark.metrics.iter().map(ToString::to_string).collect();
        let of = if metrics.is_empty() { String::new() } else { format!(" ({})", metrics.join(", ")) };
        Some(format!("`{}` {}{of}", row.name(), row.guest_on_engine()))
    };
    let rows: Vec<String> = table.rows.iter().filter_map(said).collect();
    match rows.len() {
        0 => None,
        all if all > 1 && all == table.rows.len() => Some(
            "Every row has a noisy number: read the spread beside it before the number, or run again on a quiet machine."
                .into(),
        ),
        _ => Some(format!("Noisy, so read the spread before the number: {}.", list(&rows))),
    }
}

/// Cells whose warm calls no single number describes, with two.
fn unsettled(table: &Table) -> Option<String> {
    let with_halves = |row: &Row| {
        let [first, last] = row.cell.warm_call.as_ref()?.halves?.map(|half| Quantity::Time.estimate(half));
        Some(format!("`{}` {} (first half {first}, last half {last})", row.name(), row.guest_on_engine()))
    };
    let rows: Vec<String> = table.rows.iter().filter_map(with_halves).collect();
    (!rows.is_empty()).then(|| format!("Warm calls did not settle: {}.", list(&rows)))
}

/// The metrics with too few blocks behind them for an interval, and in how many rows.
fn few_blocks(table: &Table) -> Option<String> {
    let of_metric = |metric: Metric| {
        let all: Vec<Estimate> =
            table.rows.iter().filter_map(|row| Some(row.cell.headline(metric)?.estimate)).collect();
        let claims = |e: &Estimate| matches!(e.spread, Some(Spread::Interval { .. }));
        let few: Vec<u32> = all.iter().filter(|e| !claims(e)).map(|e| e.blocks).collect();
        let (least, most) = (few.iter().min()?, few.iter().max()?);
        let blocks = if least == most { format!("{least}") } else { format!("{least} to {most}") };
        let plural = if *most == 1 { "block" } else { "blocks" };
        let rows =
            if few.len() == all.len() { "every row".into() } else { format!("{} of {} rows", few.len(), all.len()) };
        Some(format!("{metric} ({rows}: {blocks} {plural})"))
    };
    let metrics: Vec<String> = Metric::ALL.into_iter().filter_map(of_metric).collect();
    (!metrics.is_empty()).then(|| {
        format!(
            "Too few blocks for an interval stand behind {}: the range of blocks is shown, and claims nothing.",
            list(&metrics)
        )
    })
}

fn run_caveats(run: &RunFile, summary: &Summary) -> Vec<String> {
    let mut caveats = Vec::new();
    for gone in missing(run) {
        let entry = |b: &&BackendEntry| b.description.model == gone.model && b.availability.is_available();
        let what = match run.backends.iter().find(entry) {
            Some(_) => String::new(),
            // No other backend has this model: it is missing as a whole.
            None => format!("{} is missing: ", capitalised(noun(gone.model))),
        };
        caveats.push(format!("{what}`{}` cannot run here ({}).", gone.backend, gone.reason.trim_end_matches('.')));
    }
    let errors = summary.cells.iter().filter(|c| matches!(c.verdict, Verdict::Error { .. })).count();
    if errors > 0 {
        caveats.push(format!("{} of {} cells failed and show no number.", errors, summary.cells.len()));
    }
    let left = summary.cells.iter().filter(|c| c.verdict == Verdict::NotMeasured).count();
    if left > 0 {
        caveats.push(format!("{} of {} cells were not measured.", left, summary.cells.len()));
    }
    if let Some(sentence) = summary.blocks().sentence() {
        let kept = match summary.probe_ns {
            Some(_) => {
                "of their samples those count that the contention probe saw undisturbed, where enough blocks have some"
            }
            None => "they stay in every figure",
        };
        caveats.push(format!("{sentence}; {kept}."));
    }
    if let Some(source) = run.machine.slow_clock() {
        caveats.push(format!(
            "The kernel's clock counts `{}`: every reading is a slow system call, which adds to short times.",
            one_line(source)
        ));
    }
    if run.plan.order == Order::Sequential {
        caveats.push("Blocks ran one cell after another, not shuffled: drift of the machine may favour a cell.".into());
    }
    if let Some(why) = &run.stopped_early {
        caveats.push(format!("The run ended before its plan was done: {why}."));
    } else if run.ended_unix_ms.is_none() {
        caveats.push("The run has not ended, or was killed: what follows is what it had written.".into());
    }
    caveats
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

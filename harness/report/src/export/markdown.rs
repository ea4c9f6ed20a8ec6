//! Markdown as GitHub reads it (GitHub Flavored Markdown Spec, "Tables (extension)"), aligned so that it is also
//! readable as it is.

use crate::answer::{Answer, answer};
use crate::load;
use crate::rows::{self, Row, Table, tables, verdict_words};
use crate::units::{self, Quantity};
use isobench_core::run::RunFile;
use isobench_core::text::{one_line, printable};
use isobench_stats::{CellSummary, Estimate, Measure, Spread, Summary, Verdict};

/// A run: the answer, a table for every workload and case, the error rows, who could not run.
pub fn markdown(run: &RunFile, summary: &Summary) -> String {
    let tables = tables(run, summary);
    let mut text = format!("# isobench run {}\n\n{}", literal(&run.id), said(&answer(run, summary, tables.first())));
    for table in &tables {
        text += &format!("\n## {}\n\n{}", title(table), headline(table));
    }
    text += &format!("\n{LEGEND}\n");
    for (heading, part) in [("Errors", errors(summary)), ("Could not run here", missing(run))] {
        if !part.is_empty() {
            text += &format!("\n## {heading}\n\n{part}");
        }
    }
    text + &format!("\n## The run\n\n{}", about(run))
}

/// What the brackets in tables mean.
pub(super) const LEGEND: &str = "\
[a, b] is a 95 % interval within this run; (a … b) is the lowest and highest of too few blocks and claims nothing; \
memory is the PSS of one more instance; throughput is in calls per second on warm instances. Compare rows of \
one guest.";

pub(super) fn said(answer: &Answer) -> String {
    let item = |line: &String| format!("- {}\n", prose(line));
    let sentences: String = answer.sentences.iter().map(item).collect();
    let caveats: String = answer.caveats.iter().map(item).collect();
    if caveats.is_empty() { sentences } else { format!("{sentences}\nTo be read with care:\n\n{caveats}") }
}

pub(super) fn title(table: &Table) -> String {
    prose(&format!("{}, case {}", table.workload, table.case))
}

/// The rows of one workload and case under load: what held.
fn under_load(table: &Table) -> String {
    let (heads, rows) = load::grid(table);
    let heads: Vec<&str> =
        ["Boundary", "Guest"].into_iter().chain(heads.iter().map(String::as_str)).chain(["Verdict"]).collect();
    let shown = |field: &load::Field| match field.note.as_str() {
        "" => field.value.clone(),
        note => format!("{} ({note})", field.value),
    };
    let line = |row: &Row, fields: &[load::Field]| {
        let name = [literal(&with_side(row.name(), row.cell)), literal(&row.guest_on_engine())].into_iter();
        name.chain(fields.iter().map(shown)).chain([verdict_words(row.cell).join(" ")]).collect()
    };
    let shown = |rows: &[(Row, Vec<load::Field>)]| {
        let lines: Vec<Vec<String>> = rows.iter().map(|(row, fields)| line(row, fields)).collect();
        grid(&heads, 2..heads.len() - 1, &lines)
    };
    format!("{}\n{}\n", rows::apart(&rows, shown, heading), load::legend(table))
}

/// The rows of one workload and case, by rising cold start; where load was measured, what held.
pub(super) fn headline(table: &Table) -> String {
    if load::measured(table) {
        return under_load(table);
    }
    let heads = [
        "Boundary",
        "Guest",
        "Cold start p50",
        "p99",
        "Warm call p50",
        "p99",
        "Memory",
        "One in flight",
        "All cores",
        "Verdict",
    ];
    let fields = |row: &Row| {
        let starts = row.cell.cold_start.as_ref().map(|starts| &starts.total);
        let calls = row.cell.warm_call.as_ref().map(|warm| &warm.tail);
        vec![
            literal(&with_side(row.name(), row.cell)),
            literal(&row.guest_on_engine()),
            shown(Quantity::Time, row.cold_start()),
            p99(starts),
            shown(Quantity::Time, row.warm_call()),
            p99(calls),
            shown(Quantity::Bytes, row.memory()),
            shown(Quantity::Rate, row.one_in_flight()),
            shown(Quantity::Rate, row.all_cores()),
            verdict_words(row.cell).join(" "),
        ]
    };
    let rows: Vec<(Row, Vec<String>)> = table.rows.iter().map(|row| (*row, fields(row))).collect();
    let shown = |rows: &[(Row, Vec<String>)]| {
        grid(&heads, 2..9, &rows.iter().map(|(_, fields)| fields.clone()).collect::<Vec<_>>())
    };
    rows::apart(&rows, shown, heading)
}

/// A heading between two tables.
fn heading(text: &str) -> String {
    format!("\n**{text}**\n\n")
}

/// Every error row with its reason; empty where there is none.
pub(super) fn errors(summary: &Summary) -> String {
    let mut rows = Vec::new();
    for cell in &summary.cells {
        let Verdict::Error { faults } = &cell.verdict else { continue };
        for fault in faults {
            rows.push(vec![
                code(&with_side(cell.cell.to_string(), cell)),
                fault.fault.kind.to_string(),
                fault.experiment.to_string().replace('_', " "),
                fault.blocks.to_string(),
                literal(&fault.fault.message),
            ]);
        }
    }
    if rows.is_empty() { String::new() } else { grid(&["Cell", "Fault", "During", "Blocks", "Message"], 3..4, &rows) }
}

/// Who could not run here, and why; empty where everybody could.
pub(super) fn missing(run: &RunFile) -> String {
    let missing = rows::missing(run).into_iter().map(|gone| {
        let remedy =
            if gone.remedy.is_empty() { String::new() } else { format!(" To have it: {}", prose(gone.remedy)) };
        format!("- {} ({}): {}.{remedy}\n", code(gone.backend), gone.model, prose(gone.reason.trim_end_matches('.')))
    });
    let absent =
        rows::absent(run).into_iter().map(|pair| format!("- {}: {}\n", code(&pair.what), literal(&pair.reason)));
    missing.chain(absent).collect()
}

/// When, where and by which command.
pub(super) fn about(run: &RunFile) -> String {
    let machine = &run.machine;
    let hypervisor = machine.hypervisor.as_ref().map_or_else(String::new, |name| format!(", under {}", literal(name)));
    format!(
        "{}, isobench {}. {}, {} cores, {}, {}, kernel {}{hypervisor}, cgroup {}.\n\n    {}\n",
        units::date(run.started_unix_ms),
        literal(&run.isobench),
        prose(&machine.cpu),
        machine.cores,
        units::bytes(machine.memory_bytes as f64),
        prose(&machine.os),
        prose(&machine.kernel),
        literal(&machine.cgroup),
        one_line(&run.command.join(" ")),
    )
}

fn with_side(name: String, cell: &CellSummary) -> String {
    cell.side.map_or(name.clone(), |side| format!("{name} ({side})"))
}

fn shown(quantity: Quantity, estimate: Option<Estimate>) -> String {
    let Some(estimate) = estimate else { return "–".into() };
    let value = quantity.estimate(estimate);
    match (quantity.spread(estimate), estimate.spread) {
        (Some(range), Some(Spread::Range { .. })) => format!("{value} ({range})"),
        (Some(interval), _) => format!("{value} {interval}"),
        (None, _) => value,
    }
}

/// A p99, or how many samples there were instead of those it needs.
fn p99(measure: Option<&Measure>) -> String {
    match measure {
        Some(Measure { p99: None, n, .. }) => format!("– (n = {n})"),
        _ => shown(Quantity::Time, measure.and_then(|m| m.p99)),
    }
}

/// A table; the columns in `numbers` are aligned to the right.
fn grid(heads: &[&str], numbers: std::ops::Range<usize>, rows: &[Vec<String>]) -> String {
    let in_field = |field: &String| one_line(field).replace('|', "\\|");
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(in_field).collect()).collect();
    let width = |i: usize| rows.iter().map(|row| row[i].chars().count()).chain([heads[i].len(), 3]).max().unwrap_or(3);
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let line = |fields: Vec<String>| format!("| {} |\n", fields.join(" | "));
    let aligned = |(i, field): (usize, &str)| match widths[i] {
        width if numbers.contains(&i) => format!("{field:>width$}"),
        width => format!("{field:<width$}"),
    };
    let rule = |(i, width): (usize, &usize)| match numbers.contains(&i) {
        true => format!("{}:", "-".repeat(width - 1)),
        false => "-".repeat(*width),
    };
    let mut text = line(heads.iter().copied().enumerate().map(aligned).collect());
    text += &line(widths.iter().enumerate().map(rule).collect());
    for row in &rows {
        text += &line(row.iter().map(String::as_str).enumerate().map(aligned).collect());
    }
    text
}

/// A name as code: a backtick in it would end that.
fn code(name: &str) -> String {
    format!("`{}`", one_line(name).replace('`', "'"))
}

/// Text that is not ours, such as a guest's message: nothing in it is markup, backticks included.
fn literal(text: &str) -> String {
    plain(&one_line(text)).replace('`', "\\`")
}

fn plain(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '\\' | '*' | '<' | '>' | '[' | ']' | '&' | '#' | '~' => escaped.extend(['\\', c]),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Text in which names stand in backticks and nothing else is markup.
pub(super) fn prose(text: &str) -> String {
    let text = printable(text).replace(['\n', '\r'], " ");
    let parts: Vec<&str> = text.split('`').collect();
    // Without a partner the last backtick would open a code span over whatever follows.
    let paired = parts.len() % 2 == 1;
    let part = |(i, part): (usize, &&str)| if paired && i % 2 == 1 { (*part).to_string() } else { plain(part) };
    parts.iter().enumerate().map(part).collect::<Vec<_>>().join(if paired { "`" } else { "\\`" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_text() {
        assert_eq!(prose("a `code <x>` and <b>*x*"), "a `code <x>` and \\<b\\>\\*x\\*");
        assert_eq!(prose("one ` alone\n# x"), "one \\` alone \\# x");
        let table = grid(&["a", "b"], 1..2, &[vec!["x|y\nz".into(), "1".into()]]);
        assert_eq!(table, "| a      |   b |\n| ------ | --: |\n| x\\|y z |   1 |\n");
    }
}

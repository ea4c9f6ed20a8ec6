//! What a run prints: one line when a cell is done, the table and the sentences at the end.

mod load;
mod matrix;

pub use load::load_line;

use crate::answer::answer;
use crate::compare::{self, Compared};
use crate::rows::{self, Row, Table, brief_verdict, named, tables};
use crate::units::{self, Quantity};
use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{Attribute, Cell as Field, CellAlignment, Color, ContentArrangement, Table as Grid};
use isobench_core::run::RunFile;
use isobench_core::text::{one_line, printable};
use isobench_core::words::Cell;
use isobench_stats::{CellSummary, Estimate, Metric, Summary, Verdict};

/// Columns of a table that is written to a pipe or a file: wider than any table of ours, because a table that is too
/// narrow is wrapped in the middle of words, which no program finds again.
pub(crate) const WIDTH: u16 = 1_000;

/// The table of the first workload and the answer below it; of a matrix its first workload; of an A/B run its side A, and then the comparison. `color` writes ANSI escapes; `width` is the terminal's,
/// in columns.
pub fn table(run: &RunFile, summary: &Summary, color: bool, width: Option<u16>) -> String {
    let tables = tables(run, summary);
    let first = tables.first();
    let mut text = String::new();
    let width = width.unwrap_or(WIDTH);
    if let Some(table) = first.filter(|_| run.plan.load.is_some()) {
        text += &format!("{}\n{}", title(table), load::table(table, color, width));
    } else if let Some(table) = first {
        text += &format!("{}\n{}\n", title(table), grid(table, color, width));
        text += "cold start: median, then [95 % interval within this run] or lowest … highest block; memory: PSS of one more \
             instance; calls: warm, on all cores; ?: the verdict's flags speak of this number\n";
    }
    let answer = answer(run, summary, first);
    for line in answer.sentences.iter().chain(&answer.caveats) {
        text += &format!("\n- {}", one_line(line));
    }
    text += &errors(summary);
    text.push('\n');
    text += &matrix::table(run, summary, color, width);
    if let Some(sides) = Compared::sides(run, summary, &|_| true) {
        text += &format!("\nA against B (the table above shows A)\n{}", compare::text(&sides, color, Some(width)));
    }
    // With colours the text holds escapes of ours; what others wrote has none left by here either way.
    if color { text } else { printable(&text).into_owned() }
}

fn title(table: &Table) -> String {
    one_line(&format!("{}, case {}", table.workload, table.case))
}

/// Most error rows that are printed; the page has them all.
const ERRORS: usize = 8;

fn errors(summary: &Summary) -> String {
    let failed = |cell: &CellSummary| match &cell.verdict {
        Verdict::Error { faults } => {
            faults.first().map(|f| format!("\n- {}: {}: {}", f.fault.kind, named(cell), brief(&f.fault.message)))
        }
        _ => None,
    };
    let lines: Vec<String> = summary.cells.iter().filter_map(failed).collect();
    let more = lines.len().saturating_sub(ERRORS);
    let mut text = lines.iter().take(ERRORS).map(String::as_str).collect::<String>();
    if more > 0 {
        text += &format!("\n- {more} more: see the report");
    }
    text
}

/// A grid without rows. `color` writes ANSI escapes.
pub(crate) fn empty_grid(color: bool, width: u16) -> Grid {
    let mut grid = Grid::new();
    grid.load_style(UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    if color {
        grid.enforce_styling();
    } else {
        grid.force_no_tty();
    }
    grid
}

/// Little space between columns, so that seven of them fit a terminal of 80; those of numbers end at the right.
pub(crate) fn right_aligned(grid: &mut Grid, numbers: impl Fn(usize) -> bool) {
    for (i, column) in grid.column_iter_mut().enumerate() {
        column.set_padding((u16::from(i == 0), 1));
        if numbers(i) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

fn grid(table: &Table, color: bool, width: u16) -> String {
    let rows: Vec<(Row, Vec<Field>)> = table.rows.iter().map(|row| (*row, fields(row))).collect();
    rows::apart(&rows, |rows| grid_of(rows, color, width), heading)
}

/// A heading between two grids.
fn heading(text: &str) -> String {
    format!("\n{text}\n")
}

fn grid_of(rows: &[(Row, Vec<Field>)], color: bool, width: u16) -> String {
    let mut grid = empty_grid(color, width);
    let heads = ["boundary", "guest", "cold", "spread", "warm", "memory", "calls", "verdict"];
    let shown = |i: &usize| *i != SPREAD || width >= SPREAD_WIDTH;
    let numbers = |i: &usize| (COLD_START..VERDICT).contains(i) && *i != SPREAD;
    let columns: Vec<usize> = (0..heads.len()).filter(shown).collect();
    grid.set_header(columns.iter().map(|i| Field::new(heads[*i]).add_attribute(Attribute::Bold)));
    for (_, fields) in rows {
        grid.add_row(columns.iter().map(|i| fields[*i].clone()).collect::<Vec<Field>>());
    }
    right_aligned(&mut grid, |at| numbers(&columns[at]));
    grid.trim_fmt()
}

const COLD_START: usize = 2;
const SPREAD: usize = 3;
const VERDICT: usize = 7;
/// Columns of a terminal from which the spread has room.
const SPREAD_WIDTH: u16 = 100;

fn fields(row: &Row) -> Vec<Field> {
    let show = |metric: Metric, estimate: Option<Estimate>| {
        let flagged = row.cell.flags_of(metric).any(|flagged| flagged.metric.is_some());
        let mark = if flagged { "?" } else { "" };
        estimate.map_or_else(|| "–".into(), |estimate| Quantity::of(metric).estimate(estimate) + mark)
    };
    let spread = row.cold_start().and_then(|start| Quantity::Time.spread(start)).unwrap_or_default();
    vec![
        Field::new(row.name()),
        Field::new(row.guest_on_engine()),
        Field::new(show(Metric::ColdStart, row.cold_start())),
        Field::new(spread).fg(Color::DarkGrey),
        Field::new(show(Metric::WarmCall, row.warm_call())),
        Field::new(show(Metric::Memory, row.memory())),
        Field::new(show(Metric::Throughput, row.all_cores())),
        Field::new(brief_verdict(row.cell)).fg(verdict_color(row.cell)),
    ]
}

fn verdict_color(cell: &CellSummary) -> Color {
    match cell.verdict {
        Verdict::Ok => Color::Green,
        Verdict::Flagged { .. } | Verdict::NotMeasured => Color::Yellow,
        Verdict::Error { .. } => Color::Red,
    }
}

/// One line for a cell that a visit has just ended for, so that the first rows are on the screen before the run is
/// done: the cell, what is known so far, a note.
pub fn progress_line(cell: &Cell, cold_start_ns: Option<u64>, warm_ns: Option<u64>, note: &str) -> String {
    let show = |ns: Option<u64>| ns.map_or_else(|| "–".into(), |ns| units::time(ns as f64));
    let name = format!("{} {}", cell.row(), cell.guest_on_engine());
    let what = format!("{}/{}", cell.workload, cell.case);
    let line =
        format!("{name:<30} {what:<18} cold {:>8}  warm {:>8}  {}", show(cold_start_ns), show(warm_ns), brief(note));
    printable(line.trim_end()).replace('\n', " ")
}

/// Most characters of a message in a terminal; the page and `run.json` have it whole.
const BRIEF: usize = 300;

/// A message on one line.
fn brief(message: &str) -> String {
    let line = one_line(message);
    if line.chars().count() <= BRIEF { line } else { line.chars().take(BRIEF).chain(['…']).collect() }
}

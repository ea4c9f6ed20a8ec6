//! The matrix of the first workload: three numbers in every place, and below it what each boundary adds.

use super::{Field, empty_grid, right_aligned};
use crate::matrix::{self, METRICS, Matrix};
use crate::units::Quantity;
use comfy_table::Attribute;
use isobench_core::run::RunFile;
use isobench_stats::Summary;

/// The matrix as text; empty for a run that is none.
pub(super) fn table(run: &RunFile, summary: &Summary, color: bool, width: u16) -> String {
    let matrices = matrix::matrices(run, summary);
    let Some(matrix) = matrices.first() else { return String::new() };
    let mut grid = empty_grid(color, width);
    let heads = matrix.columns.iter().map(|column| match &column.engine {
        Some(engine) => format!("{}\n{engine}", column.guest),
        None => column.guest.to_string(),
    });
    let heads = std::iter::once("boundary".to_string()).chain(heads);
    grid.set_header(heads.map(|head| Field::new(head).add_attribute(Attribute::Bold)));
    for (i, row) in matrix.rows.iter().enumerate() {
        let name = if row.emulated { format!("{}\nemulated", row.name) } else { row.name.clone() };
        let places = (0..matrix.columns.len()).map(|column| place(matrix, i, column));
        grid.add_row(std::iter::once(name).chain(places));
    }
    right_aligned(&mut grid, |i| i > 0);
    let mut text = format!(
        "\nBoundaries × engines: {}, case {}\n{}\nabove each other: cold start, warm call, PSS of one more instance\n",
        matrix.workload,
        matrix.case,
        grid.trim_fmt()
    );
    for sentence in matrix::sentences(matrix) {
        text += &format!("\n- {sentence}");
    }
    text + "\n"
}

/// Most characters of a reason; the page has it whole.
const REASON: usize = 30;

fn place(matrix: &Matrix, row: usize, column: usize) -> String {
    if let Err(why) = &matrix.rows[row].places[column] {
        let whole = why.chars().count() <= REASON;
        return if whole { why.clone() } else { why.chars().take(REASON).chain(['…']).collect() };
    }
    let shown = |metric| {
        let value = matrix.value(row, column, metric);
        value.map_or_else(|| "–".into(), |value| Quantity::of(metric).show(value.value))
    };
    METRICS.map(shown).join("\n")
}

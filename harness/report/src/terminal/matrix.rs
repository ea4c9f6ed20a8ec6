//! The matrix of the first workload: three numbers in every place, and below it what each boundary adds.

use super::{Field, brief, empty_grid, right_aligned};
use crate::matrix::{self, METRICS, Matrix};
use crate::units::Quantity;
use comfy_table::{Attribute, ColumnConstraint};
use isobench_core::run::RunFile;
use isobench_core::text::one_line;
use isobench_stats::Summary;

/// The matrix as text; empty for a run that is none.
pub(super) fn table(run: &RunFile, summary: &Summary, color: bool, width: u16) -> String {
    let matrices = matrix::matrices(run, summary);
    let Some(matrix) = matrices.first() else { return String::new() };
    let mut grid = empty_grid(color, width);
    let heads = matrix.columns.iter().map(|column| match &column.engine {
        Some(engine) => format!("{}\n{}", column.guest, one_line(engine)),
        None => column.guest.to_string(),
    });
    let heads = std::iter::once("boundary".to_string()).chain(heads);
    grid.set_header(heads.map(|head| Field::new(head).add_attribute(Attribute::Bold)));
    for (i, row) in matrix.rows.iter().enumerate() {
        let name = one_line(&row.name);
        let name = if row.emulated { format!("{name}\nemulated") } else { name };
        let places = (0..matrix.columns.len()).map(|column| place(matrix, i, column));
        grid.add_row(std::iter::once(name).chain(places));
    }
    right_aligned(&mut grid, |i| i > 0);
    if let Some(names) = grid.column_mut(0) {
        names.set_constraint(ColumnConstraint::ContentWidth);
    }
    let mut text = format!(
        "\nBoundaries × engines: {}, case {}\n{}\nabove each other: cold start, warm call, PSS of one more instance\n",
        one_line(matrix.workload),
        one_line(matrix.case),
        grid.trim_fmt()
    );
    for reason in reasons(matrix) {
        text += &format!("no numbers: {}\n", one_line(&reason));
    }
    for sentence in matrix::sentences(matrix) {
        text += &format!("\n- {}", one_line(&sentence));
    }
    text + "\n"
}

/// Why places are empty, each reason of a row once.
fn reasons(matrix: &Matrix) -> Vec<String> {
    let mut reasons: Vec<(&str, &str, Vec<String>)> = Vec::new();
    for row in &matrix.rows {
        for (column, place) in matrix.columns.iter().zip(&row.places) {
            let Err(why) = place else { continue };
            match reasons.iter_mut().find(|(name, known, _)| *name == row.name && known == why) {
                Some((.., columns)) => columns.push(column.title()),
                None => reasons.push((&row.name, why, vec![column.title()])),
            }
        }
    }
    let all = matrix.columns.len();
    let said = |(name, why, columns): &(&str, &str, Vec<String>)| match columns.len() {
        n if n == all => format!("{name}: {}", brief(why)),
        _ => format!("{name}, {}: {}", columns.join(", "), brief(why)),
    };
    reasons.iter().map(said).collect()
}

fn place(matrix: &Matrix, row: usize, column: usize) -> String {
    if matrix.rows[row].places[column].is_err() {
        return "–".into();
    }
    let shown = |metric| {
        let value = matrix.value(row, column, metric);
        value.map_or_else(|| "–".into(), |value| Quantity::of(metric).estimate(value))
    };
    METRICS.map(shown).join("\n")
}

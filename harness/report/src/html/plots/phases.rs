//! What a cold start is made of: one bar a row, each phase's share of it.

use super::canvas::{Anchor, Canvas, Ink, draw};
use super::{Column, EMULATED, both, label, parted};
use crate::rows::{Row, Table};
use crate::units;
use isobench_core::record::PHASES;
use maud::Markup;

/// Strength of each phase's ink, in the order of [`PHASES`].
const STRENGTH: [f64; 4] = [1.0, 0.55, 0.3, 0.14];
const LEGEND: f64 = 34.0;
const CAPTION: f64 = 30.0;
const BAR: f64 = 18.0;

/// The plot of one table's rows.
pub fn phases(table: &Table) -> Option<Markup> {
    let (real, emulated) = parted(&table.rows);
    let real: Vec<&Row> = real.iter().filter(|row| total(row) > 0.0).collect();
    let emulated: Vec<&Row> = emulated.iter().filter(|row| total(row) > 0.0).collect();
    if real.is_empty() && emulated.is_empty() {
        return None;
    }
    let title = format!("Share of each phase in the cold start of {} ({})", table.workload, table.case);
    both(|column| {
        let row_height = if column == Column::Wide { 27.0 } else { 42.0 };
        let caption = if emulated.is_empty() { 0.0 } else { CAPTION };
        let height = LEGEND + (real.len() + emulated.len()) as f64 * row_height + caption;
        Some(draw(column.width() as i32, height as i32, &title, |canvas| {
            legend(canvas, column);
            let mut y = LEGEND;
            for row in &real {
                bar(canvas, column, y, row);
                y += row_height;
            }
            if !emulated.is_empty() {
                let x = if column == Column::Wide { left(column) } else { 0.0 };
                canvas.text(EMULATED, (x, y + 17.0), Anchor::Start, Ink::Muted, false);
                y += CAPTION;
            }
            for row in &emulated {
                bar(canvas, column, y, row);
                y += row_height;
            }
        }))
    })
}

fn left(column: Column) -> f64 {
    if column == Column::Wide { 200.0 } else { 0.0 }
}

/// Sum of the phases' medians, which is what the shares are of.
fn total(row: &Row) -> f64 {
    row.cell.cold_start.iter().flat_map(|starts| &starts.phases).map(|phase| phase.time.p50.value).sum()
}

fn legend(canvas: &mut Canvas, column: Column) {
    let mut x = left(column);
    for (phase, strength) in PHASES.iter().zip(STRENGTH) {
        canvas.bar((x, 6.0), (x + 12.0, 18.0), Ink::Muted, strength);
        let name = phase.replace('_', " ");
        canvas.text(&name, (x + 18.0, 12.0), Anchor::Start, Ink::Muted, false);
        x += 18.0 + canvas.width_of(&name) + if column == Column::Wide { 24.0 } else { 12.0 };
    }
}

fn bar(canvas: &mut Canvas, column: Column, top: f64, row: &Row) {
    let width = column.width();
    let total = total(row);
    let start = row.cold_start().map_or_else(String::new, |start| units::time(start.value));
    let (right, top) = match column {
        Column::Wide => {
            let middle = top + BAR / 2.0;
            canvas.text(&label(row), (0.0, middle), Anchor::Start, Ink::Text, false);
            canvas.text(&start, (width, middle), Anchor::End, Ink::Text, true);
            (width - 92.0, top)
        }
        Column::Narrow => {
            canvas.text(&label(row), (0.0, top + 8.0), Anchor::Start, Ink::Text, false);
            canvas.text(&start, (width, top + 8.0), Anchor::End, Ink::Text, true);
            (width, top + 18.0)
        }
    };
    let mut x = left(column);
    let scale = (right - x) / total;
    for phase in row.cell.cold_start.iter().flat_map(|starts| &starts.phases) {
        let share = phase.time.p50.value / total;
        let end = x + phase.time.p50.value * scale;
        segment(canvas, (x, top), end, row, &phase.name, share);
        x = end;
    }
}

fn segment(canvas: &mut Canvas, from: (f64, f64), end: f64, row: &Row, name: &str, share: f64) {
    let stem = name.split('.').next().unwrap_or(name);
    let strength = PHASES.iter().position(|phase| *phase == stem).map_or(0.2, |i| STRENGTH[i]);
    let ink = Ink::Model(row.cell.model);
    // A hair of background between segments, unless the segment itself is one.
    let gap = if end - from.0 > 3.0 { 1.0 } else { 0.0 };
    let to = (end - gap, from.1 + BAR);
    if row.emulated() {
        canvas.hatched(from, to, ink, strength)
    } else {
        canvas.bar(from, to, ink, strength)
    }
    let text_ink = if strength == 1.0 && !row.emulated() { Ink::OnStrong } else { Ink::Text };
    let name = name.replace('_', " ");
    let long = format!("{name} {:.0} %", share * 100.0);
    let fitting = [long.as_str(), name.as_str()].into_iter().find(|text| canvas.width_of(text) + 10.0 < end - from.0);
    if let Some(text) = fitting {
        canvas.text(text, ((from.0 + end) / 2.0, from.1 + BAR / 2.0), Anchor::Middle, text_ink, false);
    }
}

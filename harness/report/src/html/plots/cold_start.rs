//! Cold start on a log axis: a dot and its spread for every row.

use super::canvas::{Anchor, Canvas, Ink, draw};
use super::scale::Axis;
use super::{Column, EMULATED, both, label, parted};
use crate::rows::Table;
use crate::units::{self, Quantity};
use isobench_core::words::Flag;
use isobench_stats::{Estimate, Metric, Spread};
use maud::Markup;

/// Where things stand.
struct Layout {
    column: Column,
    left: f64,
    right: f64,
    row: f64,
}

const TOP: f64 = 10.0;
const AXIS: f64 = 34.0;
const CAPTION: f64 = 30.0;

impl Layout {
    fn new(column: Column) -> Layout {
        let width = column.width();
        match column {
            Column::Wide => Layout { column, left: 200.0, right: width - 92.0, row: 26.0 },
            // Label and value stand above the track.
            Column::Narrow => Layout { column, left: 19.0, right: width - 20.0, row: 38.0 },
        }
    }

    fn x(&self, share: f64) -> f64 {
        self.left + share * (self.right - self.left)
    }
}

/// The plot of one table's rows.
pub fn dots(table: &Table) -> Option<Markup> {
    let (real, emulated) = parted(&table.rows);
    let starts = || real.iter().chain(&emulated).filter_map(|row| row.cold_start());
    let ends = |e: Estimate| e.spread.map_or([e.value; 3], |s| [e.value, s.ends().0, s.ends().1]);
    let axis = Axis::log(10, starts().flat_map(ends))?;
    let title = format!("Cold start of {} ({}) by row, on a log axis", table.workload, table.case);
    both(|column| {
        let layout = Layout::new(column);
        let caption = if emulated.is_empty() { 0.0 } else { CAPTION };
        let tracks = (real.len() + emulated.len()) as f64 * layout.row;
        let bottom = TOP + tracks + caption;
        Some(draw(column.width() as i32, (bottom + AXIS) as i32, &title, |canvas| {
            labels(canvas, &layout, &axis, bottom);
            let mut y = TOP;
            for row in &real {
                track(canvas, &layout, &axis, y, row);
                y += layout.row;
            }
            if !emulated.is_empty() {
                canvas.line((0.0, y + 5.0), (column.width(), y + 5.0), Ink::Grid, 1.0, 1);
                canvas.text(
                    EMULATED,
                    (if column == Column::Wide { layout.left } else { 0.0 }, y + 19.0),
                    Anchor::Start,
                    Ink::Muted,
                    false,
                );
                y += CAPTION;
            }
            for row in &emulated {
                track(canvas, &layout, &axis, y, row);
                y += layout.row;
            }
        }))
    })
}

/// The ticks of the axis, as many as have room for their labels.
fn ticks(layout: &Layout, axis: &Axis) -> Vec<f64> {
    axis.ticks(((layout.right - layout.left) / 52.0) as usize)
}

fn labels(canvas: &mut Canvas, layout: &Layout, axis: &Axis, bottom: f64) {
    for tick in ticks(layout, axis) {
        let x = layout.x(axis.at(tick));
        canvas.text(&Quantity::Time.tick(tick), (x, bottom + 14.0), Anchor::Middle, Ink::Muted, false);
    }
}

fn track(canvas: &mut Canvas, layout: &Layout, axis: &Axis, top: f64, row: &crate::rows::Row) {
    let Some(start) = row.cold_start() else { return };
    let ink = Ink::Model(row.cell.model);
    let value = units::time(start.value);
    let mut name = label(row);
    if row.cell.has_for(Metric::ColdStart, Flag::Noisy) {
        name += " (noisy)";
    }
    let y = match layout.column {
        Column::Wide => {
            let y = top + layout.row / 2.0;
            canvas.text(&name, (0.0, y), Anchor::Start, Ink::Text, false);
            canvas.text(&value, (layout.column.width(), y), Anchor::End, Ink::Text, true);
            y
        }
        Column::Narrow => {
            canvas.text(&name, (0.0, top + 10.0), Anchor::Start, Ink::Text, false);
            canvas.text(&value, (layout.column.width(), top + 10.0), Anchor::End, Ink::Text, true);
            top + 26.0
        }
    };
    let x = |value: f64| layout.x(axis.at(value));
    // The grid is drawn row by row: on a phone it must not run through the labels above the tracks.
    let half = if layout.column == Column::Wide { layout.row / 2.0 } else { 8.0 };
    for tick in ticks(layout, axis) {
        canvas.line((x(tick), y - half), (x(tick), y + half), Ink::Grid, 1.0, 1);
    }
    match start.spread {
        Some(Spread::Interval { low, high }) => canvas.line((x(low), y), (x(high), y), ink, 0.55, 5),
        Some(Spread::Range { low, high }) => {
            canvas.line((x(low), y), (x(high), y), ink, 0.7, 1);
            for end in [low, high] {
                canvas.line((x(end), y - 4.0), (x(end), y + 4.0), ink, 0.7, 1);
            }
        }
        None => {}
    }
    canvas.dot((x(start.value), y), 5, ink, row.emulated());
}

//! Line plots in panels, one panel a guest, so that a line is compared with lines of the same artifact only.

use super::Column;
use super::canvas::{Anchor, Canvas, Ink, draw};
use super::scale::Axis;

/// One line or row of dots.
#[derive(Debug, Clone)]
pub struct Series {
    /// Its name, and what the reader should take from it.
    pub label: String,
    /// Its colour.
    pub ink: Ink,
    /// Drawn dashed and hollow.
    pub emulated: bool,
    /// The line.
    pub line: Vec<(f64, f64)>,
    /// The dots, each with the ends of its spread.
    pub dots: Vec<Dot>,
    /// Lines that go with it, thin and faint.
    pub faint: Vec<Vec<(f64, f64)>>,
    /// A point with a ring around it.
    pub mark: Option<(f64, f64)>,
}

/// A measured point.
#[derive(Debug, Clone, Copy)]
pub struct Dot {
    /// Where.
    pub at: (f64, f64),
    /// Lower and upper end.
    pub spread: Option<(f64, f64)>,
}

/// The lines of one guest.
#[derive(Debug, Clone)]
pub struct Panel {
    /// The guest.
    pub title: String,
    /// Its lines.
    pub series: Vec<Series>,
}

/// Panels that share their axes.
pub struct Plot {
    /// What is shown, for those who cannot see it.
    pub title: String,
    /// The panels.
    pub panels: Vec<Panel>,
    /// Horizontal axis.
    pub x: Axis,
    /// Vertical axis.
    pub y: Axis,
    /// How its ticks read.
    pub x_tick: fn(f64) -> String,
    /// How its ticks read.
    pub y_tick: fn(f64) -> String,
    /// What it is.
    pub x_name: &'static str,
}

const TITLE: f64 = 22.0;
const ENTRY: f64 = 17.0;
const LEFT: f64 = 60.0;
const BOTTOM: f64 = 44.0;
const GAP: f64 = 24.0;

/// A part of the canvas.
#[derive(Debug, Clone, Copy)]
struct Area {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

/// Draws the panels side by side, or one below the other.
pub fn panels(plot: &Plot, column: Column) -> String {
    let most = plot.panels.iter().map(|panel| panel.series.len()).max().unwrap_or(0) as f64;
    let count = plot.panels.len().max(1) as f64;
    let (field, width) = match column {
        Column::Wide => (230.0, ((column.width() - GAP * (count - 1.0)) / count).min(560.0)),
        Column::Narrow => (200.0, column.width()),
    };
    let heights: Vec<f64> = plot
        .panels
        .iter()
        .map(|panel| {
            let entries = if column == Column::Wide { most } else { panel.series.len() as f64 };
            TITLE + entries * ENTRY + 12.0 + field + BOTTOM
        })
        .collect();
    let height = match column {
        Column::Wide => heights.iter().copied().fold(0.0, f64::max),
        Column::Narrow => heights.iter().sum(),
    };
    draw(column.width() as i32, height as i32, &plot.title, |canvas| {
        let (mut left, mut top) = (0.0, 0.0);
        for (panel, height) in plot.panels.iter().zip(&heights) {
            canvas.text(&panel.title, (left, top + 10.0), Anchor::Start, Ink::Text, true);
            for (i, series) in panel.series.iter().enumerate() {
                entry(canvas, series, (left, top + TITLE + (i as f64 + 0.5) * ENTRY));
            }
            let area = Area {
                left: left + LEFT,
                right: left + width - 20.0,
                top: top + height - BOTTOM - field,
                bottom: top + height - BOTTOM,
            };
            frame(canvas, plot, area);
            for series in &panel.series {
                trace(canvas, plot, area, series);
            }
            match column {
                Column::Wide => left += width + GAP,
                Column::Narrow => top += height,
            }
        }
    })
}

fn entry(canvas: &mut Canvas, series: &Series, (x, y): (f64, f64)) {
    let ends = [(x, y), (x + 22.0, y)];
    if series.emulated {
        canvas.dashes(&ends, series.ink, 1.0, 2, 4.0, 3.0);
    } else {
        canvas.line(ends[0], ends[1], series.ink, 1.0, 2);
    }
    if !series.dots.is_empty() {
        canvas.dot((x + 11.0, y), 3, series.ink, series.emulated);
    }
    canvas.text(&series.label, (x + 30.0, y), Anchor::Start, Ink::Text, false);
}

fn frame(canvas: &mut Canvas, plot: &Plot, area: Area) {
    for tick in plot.y.ticks(((area.bottom - area.top) / 28.0) as usize) {
        let y = area.bottom - plot.y.at(tick) * (area.bottom - area.top);
        canvas.line((area.left, y), (area.right, y), Ink::Grid, 1.0, 1);
        canvas.text(&(plot.y_tick)(tick), (area.left - 8.0, y), Anchor::End, Ink::Muted, false);
    }
    for tick in plot.x.ticks(((area.right - area.left) / 46.0) as usize) {
        let x = area.left + plot.x.at(tick) * (area.right - area.left);
        canvas.line((x, area.bottom), (x, area.bottom + 4.0), Ink::Muted, 1.0, 1);
        canvas.text(&(plot.x_tick)(tick), (x, area.bottom + 14.0), Anchor::Middle, Ink::Muted, false);
    }
    let middle = (area.left + area.right) / 2.0;
    canvas.text(plot.x_name, (middle, area.bottom + 31.0), Anchor::Middle, Ink::Muted, false);
}

fn trace(canvas: &mut Canvas, plot: &Plot, area: Area, series: &Series) {
    let place = |(x, y): (f64, f64)| {
        (area.left + plot.x.at(x) * (area.right - area.left), area.bottom - plot.y.at(y) * (area.bottom - area.top))
    };
    for faint in series.faint.iter().filter(|faint| faint.len() > 1) {
        let faint: Vec<(f64, f64)> = faint.iter().copied().map(place).collect();
        canvas.path(&faint, series.ink, 0.35, 1);
    }
    if let Some(mark) = series.mark {
        canvas.dot(place(mark), 7, series.ink, true);
    }
    let line: Vec<(f64, f64)> = series.line.iter().copied().map(place).collect();
    if series.emulated {
        canvas.dashes(&line, series.ink, 1.0, 2, 5.0, 4.0);
    } else if line.len() > 1 {
        canvas.path(&line, series.ink, 1.0, 2);
    }
    for dot in &series.dots {
        if let Some((low, high)) = dot.spread {
            canvas.line(place((dot.at.0, low)), place((dot.at.0, high)), series.ink, 0.6, 1);
        }
        canvas.dot(place(dot.at), 3, series.ink, series.emulated);
    }
}

//! The plots: each drawn twice, for a wide and a narrow column, of which the style sheet shows one.

mod canvas;
mod cold_start;
mod curves;
mod lines;
mod load;
mod phases;
pub mod ratio;
mod scale;
mod starts;
pub mod strip;

pub use cold_start::dots;
pub use curves::{cold_start_curves, memory, throughput, warm_call_curves};
pub use load::{burst, density, load_curves};
pub use phases::phases;
pub use starts::{start_rates, start_tails};

use crate::rows::Row;
use maud::{Markup, PreEscaped, html};

/// Which of the two renderings is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// A desktop's: 1120 pixels.
    Wide,
    /// A phone's: 360 pixels.
    Narrow,
}

impl Column {
    /// Width of the drawing in CSS pixels at its natural size.
    pub fn width(self) -> f64 {
        match self {
            Column::Wide => 1120.0,
            Column::Narrow => 360.0,
        }
    }
}

/// Both renderings of a plot; nothing where there is nothing to draw.
fn both(draw: impl Fn(Column) -> Option<String>) -> Option<Markup> {
    let (wide, narrow) = (draw(Column::Wide)?, draw(Column::Narrow)?);
    Some(html! {
        div.plot.wide { (PreEscaped(wide)) }
        div.plot.narrow { (PreEscaped(narrow)) }
    })
}

/// `v8/fresh · js`.
fn label(row: &Row) -> String {
    format!("{} · {}", row.name(), row.guest_on_engine())
}

/// Real rows before emulated ones, which stand below a line of their own.
fn parted<'a>(rows: &[Row<'a>]) -> (Vec<Row<'a>>, Vec<Row<'a>>) {
    let with_start = rows.iter().filter(|row| row.cell.cold_start.is_some()).copied();
    with_start.partition(|row| !row.emulated())
}

/// What stands above rows that must not be compared with the others.
const EMULATED: &str = "emulated: not comparable with the rows above";

//! A number and its spread on a log axis, one small drawing a row, all rows on the same axis. Places across are shares
//! of the width, so one drawing serves every width.

use super::scale::Axis;
use crate::units::Quantity;
use isobench_core::words::Model;
use isobench_stats::{Estimate, Spread};
use maud::{Markup, html};

/// Most ticks: their labels have room on a phone, and in a column of a few beside each other.
const TICKS: usize = 4;

/// Height of a row's drawing in pixels.
const HEIGHT: u32 = 24;

/// A logarithmic axis that rows share.
#[derive(Debug, Clone, Copy)]
pub struct Strip {
    axis: Axis,
    quantity: Quantity,
}

/// What a row shows.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    /// The number.
    pub estimate: Estimate,
    /// Whose colour it has.
    pub model: Model,
    /// Hollow: the processor is emulated.
    pub emulated: bool,
}

impl Strip {
    /// An axis on which all of these have a place; `None` without any above zero.
    pub fn of(quantity: Quantity, estimates: impl Iterator<Item = Estimate>) -> Option<Strip> {
        let ends = |e: Estimate| e.spread.map_or([e.value; 3], |s| [e.value, s.ends().0, s.ends().1]);
        // An end near zero would stretch the axis over many empty decades.
        let own = |e: Estimate| ends(e).into_iter().filter(move |end| *end > e.value / 10.0);
        Some(Strip { axis: Axis::log(10, estimates.flat_map(own))?, quantity })
    }

    fn at(self, value: f64) -> String {
        format!("{:.2}%", 100.0 * self.axis.at(value))
    }

    /// The labels of the axis, as a drawing of its own above the rows.
    pub fn scale(self) -> Markup {
        html! {
            svg.axis aria-hidden="true" height="18" {
                @for tick in self.axis.ticks(TICKS) {
                    @let at = self.axis.at(tick);
                    @let anchor = if at < 0.06 { "start" } else if at > 0.94 { "end" } else { "middle" };
                    text x=(self.at(tick)) y="13" text-anchor=(anchor) { (self.quantity.tick(tick)) }
                }
            }
        }
    }

    /// One row, described by `title` to those who cannot see it. What lies below the axis is drawn at its low end.
    pub fn row(self, mark: &Mark, title: &str) -> Markup {
        let Mark { estimate, model, emulated } = *mark;
        let middle = f64::from(HEIGHT) / 2.0;
        html! {
            svg.axis role="img" aria-label=(title) height=(HEIGHT) style=(format!("--ink: var(--{model})")) {
                @for tick in self.axis.ticks(TICKS) {
                    line.tick x1=(self.at(tick)) x2=(self.at(tick)) y1="0" y2=(HEIGHT) {}
                }
                line.bar x1="0" x2=(self.at(estimate.value)) y1=(middle) y2=(middle) {}
                @match estimate.spread {
                    Some(Spread::Interval { low, high }) => {
                        line.interval x1=(self.at(low)) x2=(self.at(high)) y1=(middle) y2=(middle) {}
                    }
                    Some(Spread::Range { low, high }) => {
                        line.range x1=(self.at(low)) x2=(self.at(high)) y1=(middle) y2=(middle) {}
                        @for end in [low, high] {
                            line.range x1=(self.at(end)) x2=(self.at(end)) y1=(middle - 4.0) y2=(middle + 4.0) {}
                        }
                    }
                    None => {}
                }
                circle.hollow[emulated] cx=(self.at(estimate.value)) cy=(middle) r="5" {}
            }
        }
    }
}

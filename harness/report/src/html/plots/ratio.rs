//! A ratio and its interval on a log axis, one small drawing a row, all rows on the same axis. Places across are shares of the
//! width, so one drawing serves every width.

use crate::units;
use isobench_stats::compare::{Ratio, Row, Word};
use maud::{Markup, html};

/// The axis that all rows of a page share: symmetric on logarithms, 1 in its middle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Axis {
    /// Its upper end; the lower one is its reciprocal.
    high: f64,
}

/// Least and most that the axis reaches: 10 % either way, so that noise does not fill the width, and 64 times, so that one row
/// does not press the others together. What lies beyond is drawn at the end, and its numbers stand beside.
const REACH: (f64, f64) = (1.1, 64.0);

/// Height of a row's drawing in pixels.
const HEIGHT: u32 = 26;

impl Axis {
    /// An axis for these rows.
    pub fn of(rows: &[Row]) -> Axis {
        let reach = |ratio: f64| ratio.max(1.0 / ratio);
        let ends = |row: &Row| {
            let ratio = row.ratio?;
            // The interval of a row that tells nothing need not be seen whole.
            let interval = ratio.interval.filter(|_| row.word.is_difference());
            Some(interval.map_or(reach(ratio.value), |(low, high)| reach(low).max(reach(high))))
        };
        let furthest = rows.iter().filter_map(ends).fold(1.0, f64::max);
        Axis { high: (1.0 + (furthest - 1.0) * 1.05).clamp(REACH.0, REACH.1) }
    }

    /// Where `ratio` lies, in per cent of the width.
    fn at(self, ratio: f64) -> f64 {
        (50.0 * (1.0 + ratio.ln() / self.high.ln())).clamp(0.0, 100.0)
    }

    /// Round ratios with labels, 1 among them.
    fn ticks(self) -> Vec<f64> {
        const STEPS: [&[f64]; 6] =
            [&[1.05, 1.1], &[1.1, 1.2, 1.3], &[1.2, 1.4, 1.6], &[1.5, 2.0, 3.0], &[2.0, 4.0, 8.0], &[4.0, 16.0, 64.0]];
        // The first step a little beyond the middle of its half, so that labels have room.
        let fits = |steps: &&&[f64]| steps[0] <= self.high.powf(0.6);
        let steps = STEPS.iter().rfind(fits).unwrap_or(&STEPS[0]);
        let above = steps.iter().copied().filter(|tick| *tick <= self.high * 1.001);
        let mut ticks: Vec<f64> = above.flat_map(|tick| [1.0 / tick, tick]).chain([1.0]).collect();
        ticks.sort_unstable_by(f64::total_cmp);
        ticks
    }
}

fn share(value: f64) -> String {
    format!("{value:.2}%")
}

/// The labels of the axis, as a drawing of its own above the rows.
pub fn scale(axis: Axis) -> Markup {
    html! {
        svg.ratio.scale aria-hidden="true" height="18" {
            @for tick in axis.ticks() {
                @let anchor = match axis.at(tick) { x if x < 6.0 => "start", x if x > 94.0 => "end", _ => "middle" };
                text x=(share(axis.at(tick))) y="13" text-anchor=(anchor) {
                    (units::ratio(tick).trim_end_matches('0').trim_end_matches('.'))
                }
            }
        }
    }
}

/// One row: the noise floor as a band about 1, the interval as a bar, the ratio as a dot.
pub fn row(axis: Axis, row: &Row) -> Option<Markup> {
    let Ratio { value, interval } = row.ratio?;
    let ink = match row.word {
        Word::Worse => "bad",
        Word::Better => "good",
        _ => "idle",
    };
    let middle = f64::from(HEIGHT) / 2.0;
    let title = format!("{} {}: ratio {}", row.cell, row.metric, units::ratio(value));
    let x = |ratio: f64| share(axis.at(ratio));
    Some(html! {
        svg.ratio role="img" aria-label=(title) height=(HEIGHT) {
            @if let Some(floor) = row.floor {
                @let (low, high) = (axis.at(1.0 / (1.0 + floor)), axis.at(1.0 + floor));
                rect.floor x=(share(low)) y="0" width=(share(high - low)) height=(HEIGHT) {}
            }
            @for tick in axis.ticks() {
                line.tick.one[tick == 1.0] x1=(x(tick)) x2=(x(tick)) y1="0" y2=(HEIGHT) {}
            }
            g class=(ink) {
                @if let Some((low, high)) = interval {
                    line.interval x1=(x(low)) x2=(x(high)) y1=(middle) y2=(middle) {}
                }
                circle cx=(x(value)) cy=(middle) r="5" {}
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lies_in_the_middle_and_reciprocals_as_far_from_it() {
        for high in [1.1, 1.3, 1.7, 3.0, 9.0, 64.0] {
            let axis = Axis { high };
            assert!((axis.at(1.0) - 50.0).abs() < 1e-9 && (axis.at(high) - 100.0).abs() < 1e-9);
            assert!((axis.at(1.07) + axis.at(1.0 / 1.07) - 100.0).abs() < 1e-9);
            let ticks = axis.ticks();
            assert!(ticks.contains(&1.0) && (3..=7).contains(&ticks.len()), "{high}: {ticks:?}");
        }
        assert_eq!(Axis::of(&[]).high, REACH.0);
    }
}

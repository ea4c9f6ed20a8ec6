//! When warm calls have settled: change points of a block's series, and what they say of it. The words and the idea are
//! those of Barrett, Bolz-Tereick, Killick, Mount, Tratt, "Virtual Machine Warmup Blows Hot and Cold", OOPSLA 2017:
//! segments between change points, those near the last one are as good as it, and what comes before them is warm-up,
//! slowdown, or a sign that there is no steady state.

use crate::changepoint::segments;
use crate::quantile::median;
use serde::Serialize;
use std::ops::AddAssign;

/// Fewest calls of a series that can be judged: below it a tenth of the series, the shortest segment, is two calls.
pub const SETTLE_CALLS: usize = 30;

/// Most that the median of a segment may differ from that of the last one and still count as settled. Tiering compilers
/// move a call's time by far more than this; blocks of one settled cell differ by about as much.
pub const SETTLE_LIMIT: f64 = 0.10;

/// Share of a series that must be settled, at its end: a quarter, as in Barrett et al. 2017, who allow no change in the
/// last 500 of 2,000 iterations.
pub const SETTLED_SHARE: f64 = 0.25;

/// Share of a series that is the shortest segment. A shorter excursion belongs to the tail of the distribution; a
/// shorter warm-up cannot be told from one, so that this share is left out of the headline at the series' begin always.
pub const SHORTEST_SEGMENT: f64 = 0.1;

/// Points that a longer series is reduced to before the test, medians of equally many consecutive calls: single
/// outliers vanish, and 20,000 calls cost no more than 100.
const POINTS: usize = 100;

/// What a warm series looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// No change over the limit.
    Flat,
    /// Settled after slower calls.
    Warmup,
    /// Settled after faster calls.
    Slowdown,
    /// Not settled: its last change over the limit lies in its last [`SETTLED_SHARE`].
    Unsettled,
}

/// The shape of a warm series, and the first call of its settled part: of the last run of segments whose medians lie
/// within [`SETTLE_LIMIT`] of the last one's, or of the second half where there is no such part of [`SETTLED_SHARE`].
/// The first [`SHORTEST_SEGMENT`] is never in it. `None` for fewer than [`SETTLE_CALLS`] calls.
pub fn shape(series: &[f64]) -> Option<(Shape, usize)> {
    let calls = series.len();
    let middle = median(series).filter(|_| calls >= SETTLE_CALLS)?;
    let points = calls.min(POINTS);
    let edge = |point: usize| point * calls / points;
    // Logarithms, so that the test sees ratios. A coarse clock may read 0, which has none.
    let log = |value: f64| if middle > 0.0 { (value / middle).max(1e-3).ln() } else { 0.0 };
    let reduced: Vec<f64> = (0..points).filter_map(|p| median(&series[edge(p)..edge(p + 1)])).map(log).collect();
    let shortest = (SHORTEST_SEGMENT * points as f64) as usize;
    let segments = segments(&reduced, shortest);
    let medians: Vec<f64> = segments.iter().filter_map(|s| median(&series[edge(s.start)..edge(s.end)])).collect();
    let last = *medians.last()?;
    let limit = SETTLE_LIMIT * last;
    let before = medians.iter().rposition(|m| (m - last).abs() > limit).map_or(0, |far| far + 1);
    let begin = edge(segments[before].start);
    Some(if begin as f64 > (1.0 - SETTLED_SHARE) * calls as f64 {
        (Shape::Unsettled, calls / 2)
    } else {
        let shape = match &medians[..before] {
            [] => Shape::Flat,
            earlier if earlier.iter().any(|m| last - m > limit) => Shape::Slowdown,
            _ => Shape::Warmup,
        };
        (shape, begin.max((SHORTEST_SEGMENT * calls as f64) as usize))
    })
}

/// How many blocks of a cell have which shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Shapes {
    /// Blocks without a change.
    pub flat: u32,
    /// Blocks that settled after slower calls.
    pub warmup: u32,
    /// Blocks that settled after faster calls.
    pub slowdown: u32,
    /// Blocks that had not settled.
    pub unsettled: u32,
}

impl Shapes {
    /// Blocks long enough to be judged.
    pub fn judged(&self) -> u32 {
        self.flat + self.warmup + self.slowdown + self.unsettled
    }

    /// Whether more than half of the blocks that can be judged never settled.
    pub fn is_unstable(&self) -> bool {
        self.unsettled * 2 > self.judged()
    }
}

impl AddAssign<Shape> for Shapes {
    fn add_assign(&mut self, shape: Shape) {
        *match shape {
            Shape::Flat => &mut self.flat,
            Shape::Warmup => &mut self.warmup,
            Shape::Slowdown => &mut self.slowdown,
            Shape::Unsettled => &mut self.unsettled,
        } += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// `calls` values around `level(i)` with normal-like multiplicative noise of the given autocorrelation.
    fn noisy(seed: u64, calls: usize, noise: f64, correlation: f64, level: impl Fn(usize) -> f64) -> Vec<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // The sum of twelve uniform variables has variance 1.
        let mut normal = || (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
        let mut error = normal() * noise;
        let fresh = noise * (1.0 - correlation * correlation).sqrt();
        let mut next = || {
            error = correlation * error + fresh * normal();
            error.exp()
        };
        (0..calls).map(|i| level(i) * next()).collect()
    }

    fn is(series: &[f64]) -> Shape {
        shape(series).unwrap().0
    }

    #[test]
    fn a_warm_up_is_left_out() {
        let series = noisy(1, 1000, 0.05, 0.3, |i| if i < 400 { 9000.0 } else { 1000.0 });
        assert_eq!(shape(&series), Some((Shape::Warmup, 400)));
        let tiers = noisy(2, 1000, 0.05, 0.3, |i| [9000.0, 3000.0, 1000.0][(i / 200).min(2)]);
        assert_eq!(shape(&tiers), Some((Shape::Warmup, 400)));
        let short = noisy(3, 1000, 0.05, 0.3, |i| if i < 40 { 9000.0 } else { 1000.0 });
        assert_eq!(shape(&short), Some((Shape::Flat, 100)), "shorter than the shortest segment: left out all the same");
    }

    #[test]
    fn a_slowdown_settles_too() {
        let series = noisy(1, 600, 0.05, 0.3, |i| if i < 300 { 1000.0 } else { 1500.0 });
        assert_eq!(shape(&series), Some((Shape::Slowdown, 300)));
        let late = noisy(1, 600, 0.05, 0.3, |i| if i < 500 { 1000.0 } else { 1500.0 });
        assert_eq!(shape(&late), Some((Shape::Unsettled, 300)), "the second half where nothing settles");
    }

    #[test]
    fn a_change_under_the_limit_is_none() {
        let series = noisy(1, 1000, 0.01, 0.0, |i| if i < 900 { 1000.0 } else { 1060.0 });
        assert_eq!(shape(&series), Some((Shape::Flat, 100)));
    }

    #[test]
    fn a_ramp_settles_only_if_it_is_gentle() {
        let ramp = |to: f64| move |i: usize| 4000.0 - (4000.0 - to) * i as f64 / 999.0;
        assert_eq!(is(&noisy(1, 1000, 0.0, 0.0, ramp(1000.0))), Shape::Unsettled);
        assert_eq!(is(&noisy(1, 1000, 0.05, 0.3, ramp(1000.0))), Shape::Unsettled);
        assert_eq!(is(&noisy(1, 1000, 0.05, 0.3, ramp(3800.0))), Shape::Flat);
    }

    #[test]
    fn spikes_and_fast_switching_are_a_tail_and_no_change() {
        let spikes = noisy(1, 1000, 0.05, 0.0, |i| if i % 17 == 0 { 50_000.0 } else { 1000.0 });
        assert_eq!(is(&spikes), Shape::Flat);
        let burst = noisy(1, 1000, 0.05, 0.0, |i| if (940..990).contains(&i) { 50_000.0 } else { 1000.0 });
        assert_eq!(is(&burst), Shape::Flat);
        // A hand-over that lands on the same core or on the other one, some calls at a time.
        let switching = noisy(1, 1000, 0.05, 0.0, |i| if (i * 7919 / 13) % 5 < 2 { 1500.0 } else { 1000.0 });
        assert_eq!(is(&switching), Shape::Flat);
        // The same, a fifth of the series at a time: that is another level, and the last one is not the first.
        let slow = noisy(1, 1000, 0.05, 0.0, |i| if (i / 200) % 2 == 0 { 1500.0 } else { 1000.0 });
        assert_eq!(is(&slow), Shape::Unsettled);
    }

    #[test]
    fn thirty_calls_can_be_judged() {
        let step = |calls, at| noisy(1, calls, 0.05, 0.0, move |i| if i < at { 3000.0 } else { 1000.0 });
        assert_eq!(shape(&step(30, 10)), Some((Shape::Warmup, 10)));
        assert_eq!(is(&step(30, 26)), Shape::Unsettled);
        assert_eq!(is(&step(30, 0)), Shape::Flat);
        assert_eq!(shape(&step(29, 10)), None);
    }

    proptest! {
        #[test]
        fn any_series_is_judged_and_a_settled_part_is_left(values in prop::collection::vec(0.0..1e12f64, 30..400)) {
            let (shape, begin) = shape(&values).unwrap();
            prop_assert!(begin as f64 <= (1.0 - SETTLED_SHARE) * values.len() as f64);
            prop_assert!(begin as f64 >= (SHORTEST_SEGMENT * values.len() as f64).floor());
            prop_assert!(shape != Shape::Unsettled || begin == values.len() / 2);
        }

        #[test]
        fn the_unit_does_not_matter(
            levels in prop::collection::vec(10.0..1e4f64, 1..5),
            calls in 30..400usize,
            seed in 0..1000u64,
            power in -3..20i32,
        ) {
            let series = noisy(seed, calls, 0.05, 0.3, |i| levels[i * levels.len() / calls]);
            // By powers of two, which floating point multiplies by exactly.
            let scaled: Vec<f64> = series.iter().map(|v| v * 2f64.powi(power)).collect();
            prop_assert_eq!(shape(&series), shape(&scaled));
        }

        #[test]
        fn equal_values_are_flat(value in 0.0..1e12f64, calls in 30..300usize) {
            prop_assert_eq!(is(&vec![value; calls]), Shape::Flat);
        }
    }
}

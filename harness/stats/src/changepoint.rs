//! Where the level of a series changes.
//!
//! The segmentation that minimises the sum of each segment's absolute deviations from its own median plus a penalty for
//! every segment after the first: optimal partitioning (Jackson et al., "An Algorithm for Optimal Partitioning of Data
//! on an Interval", IEEE Signal Processing Letters 12(2), 2005). PELT (Killick, Fearnhead, Eckley, "Optimal Detection
//! of Changepoints With a Linear Computational Cost", JASA 107(500), 2012) finds the same segmentation faster; the
//! hundred points that we give it need no such help. Absolute deviations instead of squares, because one far outlier
//! must not buy a segment of its own.

use crate::quantile::median;
use std::ops::Range;

/// Multiple of the Bayesian information criterion's penalty. The criterion charges ln n for the level and the place of
/// a change (Schwarz, "Estimating the Dimension of a Model", Annals of Statistics 6(2), 1978; for change points Yao,
/// Statistics & Probability Letters 6(3), 1988). That is for independent errors of the assumed distribution, and times
/// of calls are neither: with twice as much, under 5 % of simulated series from 100 calls up show a change that is
/// none, with up to 20 % noise and an autocorrelation of up to 0.5 (`tests/settle.rs`, table in docs/METHODOLOGY.md).
const CAUTION: f64 = 2.0;

/// Highest autocorrelation that is believed. A slow drift looks like one of nearly 1, and must not excuse itself.
const MOST_CORRELATION: f64 = 0.75;

/// Median of the absolute value of a standard normal variable, and its mean.
const NORMAL_MEDIAN: f64 = 0.6745;
const NORMAL_MEAN: f64 = 0.7979;

/// The segments of `values` between changes of level, in order; none is shorter than `shortest` values, unless all of
/// it is. One segment where nothing changes, none of nothing.
pub fn segments(values: &[f64], shortest: usize) -> Vec<Range<usize>> {
    let n = values.len();
    let shortest = shortest.max(1);
    if n < 2 * shortest || n < 3 {
        return if n == 0 { Vec::new() } else { vec![Range { start: 0, end: n }] };
    }
    let penalty = penalty(values);
    // Lowest cost of the first `end` values, and where the last segment of that segmentation begins.
    let mut best = vec![(f64::INFINITY, 0); n + 1];
    best[0].0 = -penalty;
    for start in 0..=n - shortest {
        let before = best[start].0 + penalty;
        if before.is_infinite() {
            continue;
        }
        let mut segment = Deviations::default();
        for end in start + 1..=n {
            let cost = before + segment.push(values[end - 1]);
            if end - start >= shortest && cost < best[end].0 {
                best[end] = (cost, start);
            }
        }
    }
    let mut segments = Vec::new();
    let mut end = n;
    while end > 0 {
        let start = best[end].1;
        segments.push(start..end);
        end = start;
    }
    segments.reverse();
    segments
}

/// What one more segment costs: [`CAUTION`] · ln n in units of the errors' mean absolute deviation b (of Laplace errors
/// −ln L = Σ|y−m|/b), times how much more the mean of autocorrelated errors varies than that of independent ones,
/// (1+ρ)/(1−ρ) (the long-run variance takes the variance's place: Lavielle and Moulines, "Least-squares Estimation of
/// an Unknown Number of Shifts in a Time Series", Journal of Time Series Analysis 21(1), 2000).
///
/// b and ρ come from differences, which a change of level touches in one place only: ρ + 1 is the square of the ratio
/// of the median differences at distance two and one (Chakar, Lebarbier, Lévy-Leduc, Robin, "A Robust Approach for
/// Estimating Change-points in the Mean of an AR(1) Process", Bernoulli 23(2), 2017).
fn penalty(values: &[f64]) -> f64 {
    let differences =
        |distance: usize| -> Vec<f64> { values.iter().zip(&values[distance..]).map(|(a, b)| (a - b).abs()).collect() };
    let next = differences(1);
    let near = median(&next).unwrap_or(0.0);
    let (deviation, correlation) = if near > 0.0 {
        let far = median(&differences(2)).unwrap_or(near);
        (near / NORMAL_MEDIAN, ((far / near).powi(2) - 1.0).clamp(0.0, MOST_CORRELATION))
    } else {
        // Most neighbours are equal: a coarse clock, or nothing but steps.
        (next.iter().sum::<f64>() / next.len() as f64 / NORMAL_MEAN, 0.0)
    };
    let b = NORMAL_MEAN * deviation / (2.0 * (1.0 - correlation)).sqrt();
    CAUTION * (values.len() as f64).ln() * b * (1.0 + correlation) / (1.0 - correlation)
}

/// The sum of absolute deviations from the median, of values that come one at a time.
#[derive(Default)]
struct Deviations {
    sorted: Vec<f64>,
    sum: f64,
}

impl Deviations {
    /// Takes one more value and gives the new sum. Every point between the two middle values is a median, so the one
    /// nearest to the new value stays the median, and the sum grows by its distance.
    fn push(&mut self, value: f64) -> f64 {
        let n = self.sorted.len();
        if n > 0 {
            let nearest = value.clamp(self.sorted[(n - 1) / 2], self.sorted[n / 2]);
            self.sum += (value - nearest).abs();
        }
        let at = self.sorted.partition_point(|v| *v < value);
        self.sorted.insert(at, value);
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Values around 0 that repeat only after a while: ±5.
    fn jitter(i: usize) -> f64 {
        ((i * 7919) % 101) as f64 / 10.0 - 5.0
    }

    #[test]
    fn a_step_is_found_where_it_is() {
        let step: Vec<f64> = (0..100).map(|i| jitter(i) + if i < 37 { 100.0 } else { 60.0 }).collect();
        assert_eq!(segments(&step, 10), [0..37, 37..100]);
        let clean: Vec<f64> = (0..100).map(|i| if i < 50 { 2.0 } else { 1.0 }).collect();
        assert_eq!(segments(&clean, 10), [0..50, 50..100]);
    }

    #[test]
    fn noise_outliers_and_equal_values_are_one_segment() {
        let mut noise: Vec<f64> = (0..100).map(jitter).collect();
        assert_eq!(segments(&noise, 10).len(), 1);
        for i in [3, 4, 50, 98] {
            noise[i] = 1e6;
        }
        assert_eq!(segments(&noise, 10).len(), 1);
        assert_eq!(segments(&[7.0; 100], 10).len(), 1);
        assert_eq!(segments(&[1.0, 9.0], 1).len(), 1);
        assert!(segments(&[], 10).is_empty());
    }

    proptest! {
        #[test]
        fn deviations_are_those_from_the_median(values in prop::collection::vec(-1e3..1e3f64, 1..60)) {
            let mut running = Deviations::default();
            let sum = values.iter().map(|v| running.push(*v)).last().unwrap();
            let middle = median(&values).unwrap();
            let direct: f64 = values.iter().map(|v| (v - middle).abs()).sum();
            prop_assert!((sum - direct).abs() < 1e-6, "{sum} {direct}");
        }

        #[test]
        fn segments_cover_the_series_and_none_is_too_short(
            values in prop::collection::vec(prop_oneof![Just(0.0), -5.0..5.0f64, 90.0..110.0f64], 0..120),
            shortest in 0..20usize,
        ) {
            let found = segments(&values, shortest);
            prop_assert_eq!(found.iter().cloned().flatten().collect::<Vec<_>>(), (0..values.len()).collect::<Vec<_>>());
            prop_assert!(found.len() <= 1 || found.iter().all(|s| s.len() >= shortest));
        }
    }
}

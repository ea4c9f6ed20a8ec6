//! How far to trust a number: an interval from the values of blocks, or their range.
//!
//! The samples inside one block share its runner process, its page layout and its minute on the machine, so they are
//! not independent: an interval from pooling them is too narrow. Blocks are what varies; each counts once. Nothing is
//! drawn at random, so the same samples give the same interval. How often each interval covers the truth, and what was
//! tried instead, is shown by `tests/coverage`.

use crate::quantile::{Pool, quantile, sorted};
use serde::Serialize;

/// Nominal coverage of an interval.
pub const CONFIDENCE: f64 = 0.95;

/// What may lie beyond each end.
const TAIL: f64 = (1.0 - CONFIDENCE) / 2.0;

/// Fewest blocks that an interval of a median is claimed from: with 5, the truth lies outside all of them in one case
/// of 16.
pub const INTERVAL_BLOCKS: usize = 6;

/// Fewest blocks that a number is trusted from. With 3, the truth lies outside all of them in one case of 4; with 4, in one
/// of 8.
pub const TRUSTED_BLOCKS: u32 = 4;

/// Fewest blocks that an interval of the quantile `q` is claimed from: ln 0.025 / ln `q`, which is 6 for the median, 36
/// for a p90, 368 for a p99.
///
/// Where blocks differ by more than the samples inside them, a block is worth no more than one sample. Then no block
/// reaches beyond the quantile with a probability of `q` to the power of their number, and whatever lies within the
/// samples misses the truth. Whether a cell is of that kind cannot be judged from few blocks either: those that look as
/// if they were not are the ones that miss.
pub fn interval_blocks(q: f64) -> usize {
    (TAIL.ln() / q.ln()).ceil() as usize
}

/// How far a number may be off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Spread {
    /// A 95 % interval, from [`interval_blocks`] up.
    Interval {
        /// Lower end.
        low: f64,
        /// Upper end.
        high: f64,
    },
    /// Fewer blocks: the lowest and the highest of the blocks' own values of the same statistic, over all blocks, so that
    /// the number itself lies between them. It claims nothing.
    Range {
        /// Lowest block.
        low: f64,
        /// Highest block.
        high: f64,
    },
}

impl Spread {
    /// Lower and upper end, whatever they mean.
    pub fn ends(self) -> (f64, f64) {
        match self {
            Spread::Interval { low, high } | Spread::Range { low, high } => (low, high),
        }
    }

    /// The range of sorted block values, if there are two.
    fn range(values: &[f64]) -> Option<Spread> {
        (values.len() >= 2).then(|| Spread::Range { low: values[0], high: values[values.len() - 1] })
    }
}

/// A number with its spread; without one where a single block stands behind it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The number, in the unit of its samples.
    pub value: f64,
    /// How far it may be off.
    pub spread: Option<Spread>,
    /// Blocks behind it.
    pub blocks: u32,
}

impl Estimate {
    /// The median of one value a block, in any order. `None` without blocks.
    pub fn of_blocks(values: &[f64]) -> Option<Estimate> {
        if values.is_empty() {
            return None;
        }
        let values = sorted(values);
        let spread = median_interval(&values).or_else(|| Spread::range(&values));
        Some(Estimate { value: quantile(&values, 0.5), spread, blocks: values.len() as u32 })
    }

    /// How far this median lies above `base`, a median measured apart: their difference. Where both have an interval, so
    /// has it: each end lies as far off as the ends of the two that pull it there, added as the squares of independent
    /// errors (Zou and Donner, "Construction of Confidence Limits About Effect Measures: A General Approach", Statistics
    /// in Medicine 27, 2008, (5) and (6)). Unlike the interval of the rank-sum test it does not take both to scatter
    /// alike: a container's blocks differ by more than a whole start of what it is held against. `tests/coverage` has
    /// both. Otherwise the range that the ends of the two leave open, which claims nothing; none where one side is a
    /// single block, which leaves everything open.
    pub fn minus(self, base: Estimate) -> Estimate {
        let value = self.value - base.value;
        let ends = |e: Estimate| e.spread.map_or((e.value, e.value), Spread::ends);
        let ((low, high), (base_low, base_high)) = (ends(self), ends(base));
        let spread = match (self.spread, base.spread) {
            (None, _) | (_, None) => None,
            (Some(Spread::Interval { .. }), Some(Spread::Interval { .. })) => Some(Spread::Interval {
                low: value - (self.value - low).hypot(base_high - base.value),
                high: value + (high - self.value).hypot(base.value - base_low),
            }),
            _ => Some(Spread::Range { low: low - base_high, high: high - base_low }),
        };
        Estimate { value, spread, blocks: self.blocks.min(base.blocks) }
    }

    /// Whether fewer than [`TRUSTED_BLOCKS`] stand behind it.
    pub fn is_of_few(self) -> bool {
        self.blocks < TRUSTED_BLOCKS
    }

    /// A number without a spread, from that many blocks.
    pub fn alone(value: f64, blocks: u32) -> Estimate {
        Estimate { value, spread: None, blocks }
    }

    /// The quantile `q` of all samples of `blocks`, of which `pool` is the pool, each block weighing the same. Every
    /// block's samples must be sorted. For the tail: a median is that of the blocks' medians.
    ///
    /// The range of few blocks is that of each block's own quantile `q`, also of blocks too short to be given one alone,
    /// where it is their largest sample. As blocks weigh the same, the share of all samples up to a value is the mean of
    /// the blocks' shares, so the pooled quantile lies between the lowest and the highest of the blocks' own.
    pub fn of_tail(blocks: &[Vec<f64>], pool: &Pool, q: f64) -> Estimate {
        let own = || Spread::range(&sorted(&blocks.iter().map(|block| quantile(block, q)).collect::<Vec<f64>>()));
        let value = pool.quantile(q);
        let spread = (blocks.len() >= interval_blocks(q)).then(|| tail_interval(blocks, pool, q, value));
        Estimate { value, spread: spread.or_else(own), blocks: blocks.len() as u32 }
    }
}

/// The interval of the median of sorted block values, from [`INTERVAL_BLOCKS`] up: between order statistics. The k-th
/// smallest and the k-th largest of n values enclose the median with a probability of 1 − 2·P(Binomial(n, ½) < k),
/// whatever the distribution; for 95 % it is interpolated between the two k around it (Hettmansperger and Sheather,
/// "Confidence Intervals Based on Interpolated Order Statistics", Statistics & Probability Letters 4, 1986; Nyblom,
/// "Note on Interpolated Order Statistics", ibid. 14, 1992).
fn median_interval(values: &[f64]) -> Option<Spread> {
    if values.len() < INTERVAL_BLOCKS {
        return None;
    }
    let n = values.len() as f64;
    // On logarithms: a half to the power of thousands is no number.
    let (mut ln_p, mut below) = (n * 0.5f64.ln(), 0.0);
    let mut k = 0;
    // The last k at whose ends no more than enough lies outside; `next` lies outside at those of k + 1.
    let (outside, next) = loop {
        let next = below + ln_p.exp();
        if next > TAIL {
            break (below, next);
        }
        (below, k) = (next, k + 1);
        ln_p += ((n - k as f64 + 1.0) / k as f64).ln();
    };
    // Of the way from the coverage of k to that of k + 1; then of the way from one value to the next.
    let step = (TAIL - outside) / (next - outside);
    let part = (n - k as f64) * step / (k as f64 + (n - 2.0 * k as f64) * step);
    let between = |outer: f64, inner: f64| outer + part * (inner - outer);
    let last = values.len() - 1;
    Some(Spread::Interval {
        low: between(values[k - 1], values[k]),
        high: between(values[last + 1 - k], values[last - k]),
    })
}

/// The interval of a pooled quantile, `value`: that of the share of samples below it, read as quantiles (Woodruff,
/// "Confidence Intervals for Medians and Other Position Measures", JASA 47, 1952). As blocks weigh the same, the share
/// is the mean of the shares of the blocks, and its interval that of a mean of independent values: Student's t.
fn tail_interval(blocks: &[Vec<f64>], pool: &Pool, q: f64, value: f64) -> Spread {
    let n = blocks.len() as f64;
    let share = |block: &Vec<f64>| block.partition_point(|v| *v <= value) as f64 / block.len() as f64;
    let shares: Vec<f64> = blocks.iter().map(share).collect();
    let mean = shares.iter().sum::<f64>() / n;
    let variance = shares.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let half = student_t(n - 1.0) * (variance / n).sqrt();
    Spread::Interval { low: pool.quantile(q - half).min(value), high: pool.quantile(q + half).max(value) }
}

/// The 97.5 % quantile of Student's t for 30 degrees of freedom or more, to 1 part in 20,000: two terms of its
/// expansion about the normal quantile (Abramowitz and Stegun, *Handbook of Mathematical Functions*, 1964, 26.7.5).
fn student_t(degrees: f64) -> f64 {
    let z: f64 = 1.959_963_985;
    let first = (z.powi(3) + z) / 4.0;
    let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
    z + first / degrees + second / degrees.powi(2)
}

/// The ranks of rising estimates: 1, and one more wherever an interval lies above those of all rows before it, so that
/// rows whose intervals overlap share a rank. No rank for an estimate without an interval, which claims nothing.
pub fn ranks(rising: &[Option<Estimate>]) -> Vec<Option<usize>> {
    let (mut rank, mut highest) = (0, f64::NEG_INFINITY);
    let one = |estimate: &Option<Estimate>| {
        let Some(Spread::Interval { low, high }) = estimate.and_then(|e| e.spread) else { return None };
        rank += usize::from(low > highest);
        highest = highest.max(high);
        Some(rank)
    };
    rising.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tail(blocks: &[Vec<f64>], q: f64) -> Estimate {
        Estimate::of_tail(blocks, &Pool::new(blocks).unwrap(), q)
    }

    fn ends(values: &[f64]) -> (f64, f64) {
        match Estimate::of_blocks(values).unwrap().spread {
            Some(Spread::Interval { low, high }) => (low, high),
            other => panic!("no interval: {other:?}"),
        }
    }

    #[test]
    fn rows_whose_intervals_overlap_share_a_rank() {
        let of = |low, high| Some(Estimate { value: low, spread: Some(Spread::Interval { low, high }), blocks: 8 });
        let rising = [of(1.0, 2.0), None, of(1.9, 2.5), of(2.4, 3.0), of(3.1, 4.0), Some(Estimate::alone(4.0, 1))];
        assert_eq!(ranks(&rising), [Some(1), None, Some(1), Some(1), Some(2), None]);
    }

    #[test]
    fn under_six_blocks_no_interval_is_claimed() {
        let values = [1.0, 5.0, 3.0, 2.0, 4.0];
        let estimate = Estimate::of_blocks(&values);
        assert_eq!(
            estimate,
            Some(Estimate { value: 3.0, spread: Some(Spread::Range { low: 1.0, high: 5.0 }), blocks: 5 })
        );
        assert_eq!(Estimate::of_blocks(&[7.0]), Some(Estimate::alone(7.0, 1)), "one block has no spread");
        assert_eq!(Estimate::of_blocks(&[]), None);
    }

    #[test]
    fn a_difference_has_the_spread_of_both() {
        let interval = |value, low, high| Estimate { value, spread: Some(Spread::Interval { low, high }), blocks: 9 };
        let range = |value, low, high| Estimate { value, spread: Some(Spread::Range { low, high }), blocks: 9 };
        assert_eq!(interval(10.0, 7.0, 16.0).minus(interval(5.0, -3.0, 9.0)), interval(5.0, 0.0, 15.0));
        assert_eq!(interval(10.0, 7.0, 16.0).minus(range(5.0, 4.0, 6.0)), range(5.0, 1.0, 12.0), "claims nothing");
        let one = |value| Estimate::alone(value, 9);
        assert_eq!(range(10.0, 9.0, 12.0).minus(one(1.0)), one(9.0), "one block leaves everything open");
        assert_eq!(one(3.0).minus(one(1.0)), one(2.0));
    }

    #[test]
    fn the_fewest_blocks_are_those_that_reach_beyond_the_quantile() {
        assert_eq!([0.5, 0.9, 0.99, 0.999].map(interval_blocks), [INTERVAL_BLOCKS, 36, 368, 3688]);
    }

    #[test]
    fn order_statistics_as_tabulated() {
        // n = 10: [x₂, x₉] has 97.85 %, [x₃, x₈] 89.06 % (binomial). Interpolated to 95 % by hand: I = 0.3244, λ = 8 ·
        // 0.3244 / (2 + 6 · 0.3244) = 0.6577.
        let one_to_ten: Vec<f64> = (1..=10).map(f64::from).collect();
        let (low, high) = ends(&one_to_ten);
        assert!((low - 2.6577).abs() < 1e-3 && (high - 8.3423).abs() < 1e-3, "{low} {high}");
        // Of many blocks, the normal approximation n/2 ± 1.96 √n / 2.
        let many: Vec<f64> = (1..=10_000).map(f64::from).collect();
        let (low, high) = ends(&many);
        assert!((low - 4902.5).abs() < 1.0 && (high - 5098.5).abs() < 1.0, "{low} {high}");
    }

    #[test]
    fn the_range_of_a_p99_is_that_of_all_blocks() {
        let long: Vec<f64> = (0..200).map(f64::from).collect();
        let blocks = vec![long.clone(), vec![1.0], long.iter().map(|v| v * 2.0).collect()];
        assert_eq!(tail(&blocks, 0.99).spread, Some(Spread::Range { low: 1.0, high: 395.0 }));
    }

    #[test]
    fn equal_blocks_have_a_point_as_interval() {
        assert_eq!(ends(&[2.0; 8]), (2.0, 2.0));
        let blocks = vec![vec![1.0, 2.0, 3.0]; 36];
        assert_eq!(tail(&blocks, 0.9).spread, Some(Spread::Interval { low: 3.0, high: 3.0 }));
    }

    #[test]
    fn blocks_drive_the_width_not_the_samples_inside() {
        // Forty blocks far apart, each of a thousand near-identical samples: pooling would claim a hair's width.
        let blocks: Vec<Vec<f64>> =
            (0..40).map(|b| (0..1000).map(|i| f64::from(b) * 100.0 + f64::from(i) / 1000.0).collect()).collect();
        let (low, high) = tail(&blocks, 0.9).spread.unwrap().ends();
        assert!(high - low > 500.0, "{low}..{high}");
    }

    #[test]
    fn the_expansion_of_t_is_close() {
        // Tabulated: 30, 35, 40, 60 and 120 degrees of freedom.
        for (degrees, t) in [(30.0, 2.04227), (35.0, 2.03011), (40.0, 2.02108), (60.0, 2.00030), (120.0, 1.97993)] {
            assert!((student_t(degrees) - t).abs() < 5e-5 * t, "{degrees}: {}", student_t(degrees));
        }
    }

    fn blocks() -> impl Strategy<Value = Vec<Vec<f64>>> {
        prop::collection::vec(prop::collection::vec(1.0..1e6f64, 1..30), 36..50)
            .prop_map(|blocks| blocks.iter().map(|b| sorted(b)).collect())
    }

    proptest! {
        /// Blocks of any sizes and values, ties and short blocks among them.
        #[test]
        fn a_tail_lies_within_the_range_beside_it(
            blocks in prop::collection::vec(prop::collection::vec(1..40u32, 1..150), 2..8),
        ) {
            let blocks: Vec<Vec<f64>> = blocks
                .iter()
                .map(|block| sorted(&block.iter().map(|value| f64::from(*value)).collect::<Vec<f64>>()))
                .collect();
            for q in [0.9, 0.99, 0.999] {
                let Estimate { value, spread, .. } = tail(&blocks, q);
                let (low, high) = spread.unwrap().ends();
                prop_assert!(low <= value && value <= high, "q = {q}: {value} is not in {low} … {high}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_interval_contains_the_median_and_lies_within_the_blocks(values in prop::collection::vec(1.0..1e6f64, 6..60)) {
            let (low, high) = ends(&values);
            let all = sorted(&values);
            let median = quantile(&all, 0.5);
            prop_assert!(low <= median && median <= high);
            prop_assert!(all[0] <= low && high <= all[all.len() - 1]);
        }

        #[test]
        fn the_interval_of_a_tail_contains_it_and_lies_within_the_samples(blocks in blocks()) {
            let all = sorted(&blocks.concat());
            let p90 = tail(&blocks, 0.9);
            let Some(Spread::Interval { low, high }) = p90.spread else { panic!("{p90:?}") };
            prop_assert!(low <= p90.value && p90.value <= high);
            prop_assert!(all[0] <= low && high <= all[all.len() - 1]);
        }

        #[test]
        fn the_order_of_blocks_does_not_matter(values in prop::collection::vec(1.0..1e6f64, 6..60)) {
            let mut turned = values.clone();
            turned.reverse();
            prop_assert_eq!(Estimate::of_blocks(&values), Estimate::of_blocks(&turned));
        }
    }
}

//! How far to trust a number: an interval from resampling blocks, or the range of the blocks.
//!
//! The samples inside one block share its runner process, its page layout and its minute on the machine, so they are
//! not independent: an interval from pooling them is too narrow. Blocks are what is drawn again.

use crate::quantile::{quantile, samples_needed, sorted};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

/// Fewest blocks an interval is claimed from. In simulation (block effects of 3 %, 20 samples a block) the nominal
/// 95 % interval of a median covers the truth in 73 % of cases with 3 blocks, 89 % with 8, 94 % with 20.
pub const INTERVAL_BLOCKS: usize = 8;

/// The same for quantiles in the tail, above the 90th: by the same simulation the interval of a p99 covers the truth in
/// 77 % of cases with 8 blocks, 86 % with 12, 91 % with 20.
pub const TAIL_INTERVAL_BLOCKS: usize = 20;

/// The least number of blocks from which an interval is claimed for the quantile `q`.
pub fn interval_blocks(q: f64) -> usize {
    if q > 0.9 { TAIL_INTERVAL_BLOCKS } else { INTERVAL_BLOCKS }
}

/// Nominal coverage of an interval.
pub const CONFIDENCE: f64 = 0.95;

/// Times the blocks are drawn again. At 1000 each end of the interval rests on 25 draws beyond it.
pub const RESAMPLES: usize = 1000;

/// Most points that one resampling looks at, shared equally among the blocks. A block with more samples is
/// represented by that many evenly spaced order statistics, each standing for the same number of samples: this bounds
/// the cost however long a series is, and moves a quantile inside a block by less than
/// one part in 500 of its ranks with 8 blocks.
pub const POINTS: usize = 4096;

/// How far a number may be off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Spread {
    /// A 95 % interval: percentile cluster bootstrap (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993,
    /// chapter 13; blocks as clusters), from [`INTERVAL_BLOCKS`] blocks up.
    Interval {
        /// Lower end.
        low: f64,
        /// Upper end.
        high: f64,
    },
    /// Fewer blocks: the lowest and the highest of the blocks' own values of the same statistic. It claims nothing.
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
}

/// A number with its spread; without one where a single block (or none that supports it alone) stands behind it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The number, in the unit of its samples.
    pub value: f64,
    /// How far it may be off.
    pub spread: Option<Spread>,
}

impl Estimate {
    /// The median of one value a block, with its spread.
    pub fn of_blocks(values: &[f64], seed: Seed) -> Option<Estimate> {
        let blocks: Vec<Vec<f64>> = values.iter().map(|v| vec![*v]).collect();
        quantiles(&blocks, &[0.5], seed).pop()
    }
}

/// What the draws of one metric depend on: the run's seed, the cell and the metric's name, so that a cell's interval
/// does not change when another cell joins the run.
#[derive(Debug, Clone, Copy)]
pub struct Seed<'a> {
    /// The run's seed.
    pub run: u64,
    /// The cell's id.
    pub cell: u32,
    /// The metric.
    pub metric: &'a str,
}

impl Seed<'_> {
    fn rng(self) -> ChaCha8Rng {
        // FNV-1a (Fowler, Noll, Vo), 64 bits: any stable hash will do.
        let metric = self
            .metric
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.run.to_le_bytes());
        seed[8..12].copy_from_slice(&self.cell.to_le_bytes());
        seed[12..20].copy_from_slice(&metric.to_le_bytes());
        ChaCha8Rng::from_seed(seed)
    }
}

/// The quantiles `levels` (ascending) of all samples of `blocks`, each with its spread. Every block's samples must be
/// sorted and there must be one at least; empty blocks are left out by the caller. Nothing for no blocks.
pub fn quantiles(blocks: &[Vec<f64>], levels: &[f64], seed: Seed) -> Vec<Estimate> {
    if blocks.is_empty() {
        return Vec::new();
    }
    let pooled = sorted(&blocks.concat());
    let intervals = (blocks.len() >= INTERVAL_BLOCKS).then(|| intervals(blocks, levels, seed));
    let estimate = |(i, q): (usize, &f64)| {
        let value = quantile(&pooled, *q);
        let spread = match &intervals {
            _ if blocks.len() < interval_blocks(*q) => range(blocks, *q),
            // The ends never leave the estimate outside, which resampling allows where blocks differ much in size.
            Some(ends) => Some(Spread::Interval { low: ends[i].0.min(value), high: ends[i].1.max(value) }),
            None => range(blocks, *q),
        };
        Estimate { value, spread }
    };
    levels.iter().enumerate().map(estimate).collect()
}

/// Lowest and highest of the blocks that support the quantile by themselves, if two do.
fn range(blocks: &[Vec<f64>], q: f64) -> Option<Spread> {
    let own: Vec<f64> =
        blocks.iter().filter(|b| b.len() as u64 >= samples_needed(q)).map(|block| quantile(block, q)).collect();
    let own = sorted(&own);
    (own.len() >= 2).then(|| Spread::Range { low: own[0], high: own[own.len() - 1] })
}

/// Draws blocks with replacement [`RESAMPLES`] times; the quantile of the pooled samples of those drawn, each time.
fn intervals(blocks: &[Vec<f64>], levels: &[f64], seed: Seed) -> Vec<(f64, f64)> {
    let pool = Pool::new(blocks);
    let mut rng = seed.rng();
    let mut drawn = vec![Vec::with_capacity(RESAMPLES); levels.len()];
    let mut times = vec![0.0; blocks.len()];
    for _ in 0..RESAMPLES {
        times.fill(0.0);
        for _ in 0..blocks.len() {
            times[rng.random_range(0..blocks.len())] += 1.0;
        }
        let total: f64 = blocks.iter().zip(&times).map(|(block, times)| block.len() as f64 * times).sum();
        for (values, q) in drawn.iter_mut().zip(levels) {
            values.push(pool.value_at(q * total, &times));
        }
    }
    let tail = (1.0 - CONFIDENCE) / 2.0;
    let ends = |values: Vec<f64>| {
        let values = sorted(&values);
        (quantile(&values, tail), quantile(&values, 1.0 - tail))
    };
    drawn.into_iter().map(ends).collect()
}

/// One point of the pooled samples: its value, its block, and how many samples it stands for.
struct Point {
    value: f64,
    block: usize,
    weight: f64,
}

/// All samples sorted once. Drawing blocks is weighing them: a block drawn twice counts double.
struct Pool {
    points: Vec<Point>,
    blocks: usize,
    /// Before every [`STRIDE`]th point, how many samples of each block lie below it: a walk can begin near its end.
    below: Vec<f64>,
}

/// Points between two entries of [`Pool::below`].
const STRIDE: usize = 64;

/// Sums of weights are compared with this slack: the weights of thinned blocks are fractions.
const SLACK: f64 = 1e-6;

impl Pool {
    fn new(blocks: &[Vec<f64>]) -> Pool {
        let share = (POINTS / blocks.len()).max(1);
        let mut points = Vec::new();
        for (block, samples) in blocks.iter().enumerate() {
            if samples.len() <= share {
                points.extend(samples.iter().map(|value| Point { value: *value, block, weight: 1.0 }));
            } else {
                let weight = samples.len() as f64 / share as f64;
                let middle = |i: usize| (i as f64 + 0.5) / share as f64;
                points.extend((0..share).map(|i| Point { value: quantile(samples, middle(i)), block, weight }));
            }
        }
        points.sort_unstable_by(|a, b| a.value.total_cmp(&b.value).then(a.block.cmp(&b.block)));
        let mut sums = vec![0.0; blocks.len()];
        let mut below = Vec::with_capacity(points.len().div_ceil(STRIDE) * blocks.len());
        for stretch in points.chunks(STRIDE) {
            below.extend(&sums);
            stretch.iter().for_each(|point| sums[point.block] += point.weight);
        }
        Pool { points, blocks: blocks.len(), below }
    }

    /// The value with `target` samples at or below it, each block counted `times`; the definition of
    /// [`quantile`], with weights.
    fn value_at(&self, target: f64, times: &[f64]) -> f64 {
        let sum = |entry: &[f64]| entry.iter().zip(times).map(|(below, times)| below * times).sum::<f64>();
        let entry = |i: usize| &self.below[i * self.blocks..(i + 1) * self.blocks];
        // The last entry below the target, by halving; the first one is 0 and always is.
        let (mut start, mut end) = (0, self.points.len().div_ceil(STRIDE));
        while end - start > 1 {
            let middle = start.midpoint(end);
            if sum(entry(middle)) < target - SLACK { start = middle } else { end = middle }
        }
        let mut reached = sum(entry(start));
        // A target reached exactly waits for the next point to be averaged with.
        let mut exact: Option<f64> = None;
        for point in self.points[start * STRIDE..].iter().filter(|point| times[point.block] > 0.0) {
            if let Some(value) = exact {
                return (value + point.value) / 2.0;
            }
            reached += point.weight * times[point.block];
            if reached > target + SLACK {
                return point.value;
            }
            if reached >= target - SLACK {
                exact = Some(point.value);
            }
        }
        exact.unwrap_or(self.points[self.points.len() - 1].value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SEED: Seed<'static> = Seed { run: 7, cell: 1, metric: "total" };

    #[test]
    fn under_eight_blocks_no_interval_is_claimed() {
        let blocks: Vec<Vec<f64>> = (1..=7).map(|b| vec![f64::from(b)]).collect();
        let estimate = quantiles(&blocks, &[0.5], SEED)[0];
        assert_eq!(estimate, Estimate { value: 4.0, spread: Some(Spread::Range { low: 1.0, high: 7.0 }) });
        assert_eq!(quantiles(&blocks[..1], &[0.5], SEED)[0].spread, None, "one block has no spread");
        assert_eq!(quantiles(&[], &[0.5], SEED), []);
    }

    #[test]
    fn the_range_of_a_p99_comes_from_blocks_that_support_one() {
        let long: Vec<f64> = (0..200).map(f64::from).collect();
        let blocks = vec![long.clone(), vec![1.0], long.iter().map(|v| v * 2.0).collect()];
        let p99 = quantiles(&blocks, &[0.99], SEED)[0];
        assert_eq!(p99.spread, Some(Spread::Range { low: 197.5, high: 395.0 }));
    }

    #[test]
    fn equal_blocks_have_a_point_as_interval() {
        let blocks = vec![vec![1.0, 2.0, 3.0]; 8];
        assert_eq!(quantiles(&blocks, &[0.5], SEED)[0].spread, Some(Spread::Interval { low: 2.0, high: 2.0 }));
    }

    #[test]
    fn blocks_drive_the_width_not_the_samples_inside() {
        // Ten blocks far apart, each of a thousand near-identical samples: pooling would claim a hair's width.
        let blocks: Vec<Vec<f64>> =
            (0..10).map(|b| (0..1000).map(|i| f64::from(b) * 100.0 + f64::from(i) / 1000.0).collect()).collect();
        let (low, high) = quantiles(&blocks, &[0.5], SEED)[0].spread.unwrap().ends();
        assert!(high - low > 200.0, "{low}..{high}");
    }

    #[test]
    fn thinning_a_long_block_hardly_moves_the_interval() {
        let blocks: Vec<Vec<f64>> =
            (0..8).map(|b| (0..20_000).map(|i| 1000.0 + f64::from(b) + f64::from(i) / 200.0).collect()).collect();
        let short: Vec<Vec<f64>> = blocks.iter().map(|b| b.iter().step_by(50).copied().collect()).collect();
        let ends = |blocks: &[Vec<f64>]| quantiles(blocks, &[0.5], SEED)[0].spread.unwrap().ends();
        let (a, b) = (ends(&blocks), ends(&short));
        assert!((a.0 - b.0).abs() < 0.5 && (a.1 - b.1).abs() < 0.5, "{a:?} {b:?}");
    }

    #[test]
    fn weighing_blocks_is_the_same_as_repeating_them() {
        let blocks: Vec<Vec<f64>> =
            (0..8).map(|b| (0..50).map(|i| f64::from((i * 7 + b * 13) % 101)).collect()).collect();
        let blocks: Vec<Vec<f64>> = blocks.iter().map(|b| sorted(b)).collect();
        let times = [3.0, 0.0, 1.0, 0.0, 2.0, 1.0, 1.0, 0.0];
        let repeated: Vec<f64> =
            blocks.iter().zip(times).flat_map(|(block, times)| block.repeat(times as usize)).collect();
        let repeated = sorted(&repeated);
        for q in [0.01, 0.25, 0.5, 0.9, 0.99] {
            let value = Pool::new(&blocks).value_at(q * repeated.len() as f64, &times);
            assert_eq!(value, quantile(&repeated, q), "q = {q}");
        }
    }

    fn blocks() -> impl Strategy<Value = Vec<Vec<f64>>> {
        prop::collection::vec(prop::collection::vec(1.0..1e6f64, 1..30), 8..16)
            .prop_map(|blocks| blocks.iter().map(|b| sorted(b)).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn the_interval_contains_the_estimate_and_lies_within_the_samples(blocks in blocks()) {
            let all = sorted(&blocks.concat());
            let median = quantiles(&blocks, &[0.5], SEED)[0];
            let (low, high) = median.spread.unwrap().ends();
            prop_assert!(low <= median.value && median.value <= high);
            prop_assert!(all[0] <= low && high <= all[all.len() - 1]);
        }

        #[test]
        fn a_tail_claims_an_interval_from_20_blocks_only(blocks in blocks()) {
            let many = blocks.iter().cycle().take(TAIL_INTERVAL_BLOCKS).cloned().collect::<Vec<_>>();
            let claims = |blocks: &[Vec<f64>]| {
                matches!(quantiles(blocks, &[0.99], SEED)[0].spread, Some(Spread::Interval { .. }))
            };
            prop_assert!(claims(&many) && !claims(&blocks));
        }

        #[test]
        fn the_same_samples_and_seed_give_the_same_interval(blocks in blocks()) {
            prop_assert_eq!(quantiles(&blocks, &[0.5, 0.9], SEED), quantiles(&blocks, &[0.5, 0.9], SEED));
        }
    }
}

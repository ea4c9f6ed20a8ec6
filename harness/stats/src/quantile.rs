//! Quantiles, and from how many samples each is given at all.

/// The quantiles a summary may give, each with the fewest samples it is given from.
///
/// The rule: a quantile q needs 1/(1−q) samples. With fewer, the estimate is the largest sample whatever the
/// distribution, so printing it as a p99 would say nothing that `max` does not. The median is given from one sample,
/// which it then is. Samples of several blocks are counted by [`support`].
pub const LEVELS: [(f64, u64); 4] = [(0.5, 1), (0.9, 10), (0.99, 100), (0.999, 1000)];

/// The fewest samples that `q` is given from (see [`LEVELS`]).
pub fn samples_needed(q: f64) -> u64 {
    LEVELS.iter().find(|(level, _)| *level == q).map_or_else(|| (1.0 / (1.0 - q)).ceil() as u64, |(_, n)| *n)
}

/// How many samples stand behind the quantiles of a [`Pool`] of blocks of these sizes: the number of blocks times the
/// size of the smallest. The heaviest sample weighs one part in so many, so that no single sample can be the quantile q
/// by itself where this is 1/(1−q) or more. With equal blocks it is the number of samples. (Kish's effective sample
/// size, *Survey Sampling*, 1965, is larger: it averages over weights, and lets one sample of a short block be the p99
/// of thousands.)
pub fn support(blocks: &[Vec<f64>]) -> u64 {
    blocks.iter().map(|block| block.len() as u64).min().unwrap_or(0) * blocks.len() as u64
}

/// The quantile `q` of `sorted`: the smallest value with at least q·n of the samples at or below it, averaged with the
/// next one where exactly q·n are (definition 2 of Hyndman and Fan, "Sample Quantiles in Statistical Packages", 1996).
/// It is a sample or the middle of two, and for q = 0.5 the usual median.
///
/// # Panics
/// If `sorted` is empty.
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let target = q * sorted.len() as f64;
    let reached = target.ceil().max(1.0) as usize;
    let value = sorted[reached - 1];
    if target == reached as f64 && reached < sorted.len() { (value + sorted[reached]) / 2.0 } else { value }
}

/// The median of `values` in any order; `None` of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    if values.is_empty() { None } else { Some(quantile(&sorted(values), 0.5)) }
}

/// A sorted copy.
pub fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    values
}

/// All samples of several blocks, in which each block weighs the same however many samples it has: a sample weighs one
/// over the size of its block. Its quantiles are those of a sample from a block, both taken at random.
#[derive(Debug)]
pub struct Pool {
    /// Sorted, each with the weight of all samples up to it; the last one has 1.
    samples: Vec<(f64, f64)>,
    alike: bool,
}

/// Sums of weights are compared with this slack: they are rounded. Far below the weight of one sample of a million.
const SLACK: f64 = 1e-9;

impl Pool {
    /// The samples of `blocks`, empty ones left out. `None` of nothing.
    pub fn new(blocks: &[Vec<f64>]) -> Option<Pool> {
        let blocks: Vec<&Vec<f64>> = blocks.iter().filter(|block| !block.is_empty()).collect();
        let size = blocks.first()?.len();
        let weigh = |block: &&Vec<f64>| 1.0 / (block.len() * blocks.len()) as f64;
        let of = |block| {
            let weight = weigh(&block);
            block.iter().map(move |value| (*value, weight))
        };
        let mut samples: Vec<(f64, f64)> = blocks.iter().copied().flat_map(of).collect();
        // By weight as well, so that sums do not depend on the order of blocks.
        samples.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let mut sum = 0.0;
        for (_, weight) in &mut samples {
            sum += *weight;
            *weight = sum;
        }
        Some(Pool { samples, alike: blocks.iter().all(|block| block.len() == size) })
    }

    /// The smallest value that a share `q` of the weight does not exceed, averaged with the next one where exactly that
    /// share does not: [`quantile`] with weights. The smallest sample for `q` ≤ 0, the largest for `q` ≥ 1.
    ///
    /// From q = 0.75 on it is never below the median of the blocks' medians m: half of the blocks have a median of m or
    /// more, and half of the samples of each of these lie at or above it, so that below m there is three quarters
    /// of the weight at most.
    pub fn quantile(&self, q: f64) -> f64 {
        let at = self.samples.partition_point(|(_, share)| *share < q - SLACK).min(self.samples.len() - 1);
        let (value, share) = self.samples[at];
        let next = self.samples.get(at + 1).filter(|_| (share - q).abs() <= SLACK);
        next.map_or(value, |(next, _)| (value + next) / 2.0)
    }

    /// Enough to draw the distribution with: all samples if they are at most `most` and weigh the same, else `most`
    /// quantiles that are evenly spaced, from the smallest sample to the largest.
    pub fn curve(&self, most: usize) -> Vec<f64> {
        if self.alike && self.samples.len() <= most {
            return self.samples.iter().map(|(value, _)| *value).collect();
        }
        (0..most).map(|i| self.quantile(i as f64 / (most - 1) as f64)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_answers() {
        let one_to_ten: Vec<f64> = (1..=10).map(f64::from).collect();
        assert_eq!(quantile(&one_to_ten, 0.5), 5.5);
        assert_eq!(quantile(&one_to_ten, 0.9), 9.5);
        assert_eq!(quantile(&one_to_ten, 0.99), 10.0);
        assert_eq!(quantile(&one_to_ten[..9], 0.5), 5.0);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_quantile_below_its_samples_needed_would_be_the_maximum() {
        for (q, needed) in LEVELS.into_iter().skip(1) {
            let too_few: Vec<f64> = (1..needed).map(|v| v as f64).collect();
            assert_eq!(quantile(&too_few, q), (needed - 1) as f64);
            assert_eq!(samples_needed(q), needed);
        }
    }

    #[test]
    fn a_long_block_does_not_outvote_short_ones() {
        let blocks = [vec![1.0; 1000], vec![2.0, 3.0], vec![4.0]];
        let pool = Pool::new(&blocks).unwrap();
        assert_eq!([0.3, 0.4, 0.6, 0.9].map(|q| pool.quantile(q)), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(support(&blocks), 3);
        assert!(Pool::new(&[vec![], vec![]]).is_none() && support(&[]) == 0);
    }

    #[test]
    fn a_curve_keeps_both_ends() {
        let values: Vec<f64> = (0..1000).map(f64::from).collect();
        let curve = Pool::new(&[values]).unwrap().curve(11);
        assert_eq!((curve.len(), curve[0], curve[5], curve[10]), (11, 0.0, 499.5, 999.0));
        assert_eq!(Pool::new(&[vec![3.0], vec![1.0]]).unwrap().curve(11), [1.0, 3.0]);
    }

    fn blocks() -> impl Strategy<Value = Vec<Vec<f64>>> {
        prop::collection::vec(prop::collection::vec(1.0..1e6f64, 1..30), 1..16)
    }

    proptest! {
        #[test]
        fn quantiles_rise_with_q(values in prop::collection::vec(0.0..1e9f64, 1..200), a in 0.0..1.0f64, b in 0.0..1.0f64) {
            let values = sorted(&values);
            prop_assert!(quantile(&values, a.min(b)) <= quantile(&values, a.max(b)));
        }

        #[test]
        fn a_quantile_splits_the_samples(values in prop::collection::vec(0.0..1e9f64, 1..200), q in 0.01..0.99f64) {
            let values = sorted(&values);
            let at = quantile(&values, q);
            let below = values.iter().filter(|v| **v <= at).count() as f64;
            let above = values.iter().filter(|v| **v >= at).count() as f64;
            let n = values.len() as f64;
            prop_assert!(below + 1e-6 >= (q * n).floor() && above + 1e-6 >= ((1.0 - q) * n).floor());
        }

        #[test]
        fn blocks_of_one_size_are_simply_pooled(
            blocks in prop::collection::vec(prop::collection::vec(1.0..1e6f64, 7), 1..9),
            q in 0.0..1.0f64,
        ) {
            let all = sorted(&blocks.concat());
            let pool = Pool::new(&blocks).unwrap();
            prop_assert_eq!(pool.quantile(q), quantile(&all, q));
            prop_assert_eq!(pool.quantile(0.5), quantile(&all, 0.5));
        }

        #[test]
        fn weighing_is_the_same_as_repeating(blocks in prop::collection::vec(prop::collection::vec(1.0..1e6f64, 1..5), 1..6)) {
            // Every block repeated to 12 samples, a multiple of 1 to 4.
            let repeated: Vec<f64> = blocks.iter().flat_map(|b| b.repeat(12 / b.len())).collect();
            let (pool, repeated) = (Pool::new(&blocks).unwrap(), sorted(&repeated));
            for q in [0.1, 0.25, 0.5, 0.9, 0.99] {
                prop_assert_eq!(pool.quantile(q), quantile(&repeated, q), "q = {}", q);
            }
        }

        #[test]
        fn the_median_of_medians_is_not_above_the_p90(blocks in blocks()) {
            let medians: Vec<f64> = blocks.iter().filter_map(|b| median(b)).collect();
            let pool = Pool::new(&blocks).unwrap();
            prop_assert!(median(&medians).unwrap() <= pool.quantile(0.9));
            prop_assert!(pool.quantile(0.9) <= pool.quantile(0.99));
        }

        #[test]
        fn the_order_of_blocks_does_not_matter(blocks in blocks(), q in 0.0..1.0f64) {
            let mut turned = blocks.clone();
            turned.reverse();
            prop_assert_eq!(Pool::new(&blocks).unwrap().quantile(q), Pool::new(&turned).unwrap().quantile(q));
        }
    }
}

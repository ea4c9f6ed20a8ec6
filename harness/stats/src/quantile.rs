//! Quantiles, and from how many samples each is given at all.

/// The quantiles a summary may give, each with the fewest samples it is given from.
///
/// The rule: a quantile q needs 1/(1−q) samples. With fewer, the estimate is the largest sample whatever the
/// distribution, so printing it as a p99 would say nothing that `max` does not. The median is given from one sample,
/// which it then is.
pub const LEVELS: [(f64, u64); 4] = [(0.5, 1), (0.9, 10), (0.99, 100), (0.999, 1000)];

/// The fewest samples that `q` is given from (see [`LEVELS`]).
pub fn samples_needed(q: f64) -> u64 {
    LEVELS.iter().find(|(level, _)| *level == q).map_or_else(|| (1.0 / (1.0 - q)).ceil() as u64, |(_, n)| *n)
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

/// At most `most` order statistics of `sorted`, evenly spaced, the first and the last among them: enough to draw a
/// distribution with.
pub fn thinned(sorted: &[f64], most: usize) -> Vec<f64> {
    if sorted.len() <= most || most < 2 {
        return sorted.to_vec();
    }
    (0..most).map(|i| sorted[i * (sorted.len() - 1) / (most - 1)]).collect()
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
    fn thinning_keeps_both_ends() {
        let values: Vec<f64> = (0..1000).map(f64::from).collect();
        let thin = thinned(&values, 11);
        assert_eq!((thin.len(), thin[0], thin[10]), (11, 0.0, 999.0));
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
    }
}

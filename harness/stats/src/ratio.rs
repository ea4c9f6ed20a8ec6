//! How many times as large one set of block values is as another: the Hodges–Lehmann estimate on logarithms, with the
//! exact interval that belongs to the Wilcoxon–Mann–Whitney test.
//!
//! Each block counts once, nothing is drawn at random, and nothing is assumed of how blocks scatter but that both sides
//! do it alike up to a factor.

use crate::compare::Ratio;
use crate::quantile::quantile;
use crate::spread::{CONFIDENCE, Estimate};

/// New over base: the median of the quotients of all pairs of a new and a base value (on logarithms, so that new over
/// base is exactly one over base over new), with the 95 % interval that inverts the two-sided test. `None` if a side is
/// empty or a value is not a positive number; no interval where the blocks are too few for 95 % (fewer than 4 a side,
/// if both have the same number).
///
/// Hollander, Wolfe and Chicken, *Nonparametric Statistical Methods*, 3rd edition 2014, §4.2 (estimate: Hodges and
/// Lehmann 1963) and §4.3 (interval: Moses).
pub fn ratio(base: &[f64], new: &[f64]) -> Option<Ratio> {
    let logs = |values: &[f64]| {
        let good = |value: &f64| value.is_finite() && *value > 0.0;
        values.iter().map(|v| good(v).then(|| v.ln())).collect::<Option<Vec<f64>>>()
    };
    let shift = shift(&logs(base)?, &logs(new)?)?;
    Some(Ratio { value: shift.value.exp(), interval: shift.interval.map(|(low, high)| (low.exp(), high.exp())) })
}

/// New over base by pairs of blocks, each of one round: the median of the quotients, with the interval of a median. A
/// state of the machine that lasts for a round moves both blocks of a pair and cancels. `None` without a pair of positive
/// numbers.
pub fn paired(base: &[f64], new: &[f64]) -> Option<Estimate> {
    let pairs = base.iter().zip(new).filter(|(b, n)| **b > 0.0 && **n > 0.0);
    Estimate::of_blocks(&pairs.map(|(b, n)| n / b).collect::<Vec<f64>>())
}

/// How far `new` lies above `base`.
struct Shift {
    value: f64,
    interval: Option<(f64, f64)>,
}

fn shift(base: &[f64], new: &[f64]) -> Option<Shift> {
    if base.is_empty() || new.is_empty() {
        return None;
    }
    let mut differences: Vec<f64> = new.iter().flat_map(|n| base.iter().map(move |b| n - b)).collect();
    differences.sort_unstable_by(f64::total_cmp);
    let cut = cut(base.len(), new.len());
    let interval = (cut > 0).then(|| (differences[cut - 1], differences[differences.len() - cut]));
    Some(Shift { value: quantile(&differences, 0.5), interval })
}

/// The largest k for which the k-th smallest and the k-th largest difference of `m` and `n` values enclose the shift
/// with [`CONFIDENCE`] at least.
fn cut(m: usize, n: usize) -> usize {
    below(m, n, (1.0 - CONFIDENCE) / 2.0)
}

/// The largest k with P(U < k) ≤ `tail`, U being Mann and Whitney's statistic where there is no shift; 0 if there is none.
pub(crate) fn below(m: usize, n: usize, tail: f64) -> usize {
    let mut below = 0.0;
    let mut within = |p: &f64| {
        below += p;
        // Sums of rounded probabilities: `tail` itself must pass.
        below <= tail + 1e-12
    };
    distribution(m, n).iter().take_while(|p| within(p)).count()
}

/// P(U = u) for u up to half of its range `m`·`n` (it is symmetric) if all values are alike and none are tied: the
/// coefficients of the Gaussian binomial ∏ (1 − x^(m+i)) / (1 − x^i), i = 1…n, over their sum (Mann and Whitney, "On a
/// Test of Whether one of Two Random Variables is Stochastically Larger than the Other", 1947). Divided by the sum's
/// factor at each step, so that nothing overflows.
fn distribution(m: usize, n: usize) -> Vec<f64> {
    let mut p = vec![0.0; m * n / 2 + 1];
    p[0] = 1.0;
    for i in 1..=n {
        for u in (m + i..p.len()).rev() {
            p[u] -= p[u - m - i];
        }
        for u in i..p.len() {
            p[u] += p[u - i];
        }
        p.iter_mut().for_each(|p| *p *= i as f64 / (m + i) as f64);
    }
    p
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Permeability of the human chorioamnion to tritiated water, at term and at 12 to 26 weeks: Hollander, Wolfe and
    /// Chicken 2014, table 4.1.
    const AT_TERM: [f64; 10] = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46];
    const EARLY: [f64; 5] = [1.15, 0.88, 0.90, 0.74, 1.21];

    #[test]
    fn the_published_example() {
        let shift = shift(&AT_TERM, &EARLY).unwrap();
        assert!((shift.value + 0.305).abs() < 1e-9, "{}", shift.value);
        let (low, high) = shift.interval.unwrap();
        assert!((low + 0.76).abs() < 1e-9 && (high - 0.15).abs() < 1e-9, "{low} {high}");
    }
    #[test]
    fn the_distribution_is_that_of_all_orders() {
        // Every way in which 4 and 3 values may lie, counted by hand: each subset of 3 of 7 places is one.
        let mut count = [0.0; 13];
        for subset in (0u32..1 << 7).filter(|subset| subset.count_ones() == 3) {
            let places = (0..7).filter(|place| subset >> place & 1 == 1);
            let u: u32 = places.enumerate().map(|(i, place)| place - i as u32).sum();
            count[u as usize] += 1.0;
        }
        for (p, count) in distribution(4, 3).iter().zip(count) {
            assert!((p * 35.0 - count).abs() < 1e-9, "{p} {count}");
        }
    }

    #[test]
    fn the_cut_is_that_of_the_tables() {
        // Exact confidences of k: 3 and 3 reach 90 % at most, 8 and 8 reach 95.01 % with the 14th, 10 and 5 96.0 % with
        // the 9th, 20 and 20 95.09 % with the 128th.
        assert_eq!([cut(3, 3), cut(4, 4), cut(8, 8), cut(10, 5), cut(5, 10), cut(20, 20)], [0, 1, 14, 9, 9, 128]);
        assert!((cut(300, 400) as f64 - 54_811.0).abs() < 30.0, "normal approximation for many: {}", cut(300, 400));
    }

    #[test]
    fn a_ratio_of_nothing_or_of_what_is_not_positive_is_none() {
        assert_eq!(ratio(&[], &[1.0]), None);
        assert_eq!(ratio(&[1.0], &[]), None);
        assert_eq!(ratio(&[1.0, 0.0], &[1.0]), None);
        assert_eq!(ratio(&[1.0], &[f64::NAN]), None);
        let few = ratio(&[100.0, 110.0, 90.0], &[210.0, 200.0, 190.0]).unwrap();
        assert!((few.value - 2.0).abs() < 0.02 && few.interval.is_none(), "{few:?}");
    }

    #[test]
    fn what_a_round_does_to_both_cancels_in_pairs() {
        let rounds = [1.0, 2.0, 1.1, 2.2, 1.0, 1.9, 1.05, 2.1];
        let base = rounds.map(|speed| 10.0 * speed);
        let new = rounds.map(|speed| 30.0 * speed);
        let pairs = paired(&base, &new).unwrap();
        let (low, high) = pairs.spread.unwrap().ends();
        assert!((pairs.value - 3.0).abs() < 1e-9 && high - low < 1e-9 && pairs.blocks == 8);
        let (low, high) = ratio(&base, &new).unwrap().interval.unwrap();
        assert!(high / low > 1.5, "without pairs the rounds are in the interval: {low} {high}");
        assert_eq!(paired(&[1.0, 0.0], &[2.0, 2.0]), Some(Estimate::alone(2.0, 1)));
        assert_eq!(paired(&[], &[1.0]), None);
    }

    proptest! {
        #[test]
        fn turned_round_it_is_the_reciprocal(
            base in prop::collection::vec(1.0..1e6f64, 4..20),
            new in prop::collection::vec(1.0..1e6f64, 4..20),
        ) {
            let (there, back) = (ratio(&base, &new).unwrap(), ratio(&new, &base).unwrap());
            let near = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-9;
            prop_assert!(near(there.value, 1.0 / back.value));
            let ((low, high), (from, to)) = (there.interval.unwrap(), back.interval.unwrap());
            prop_assert!(near(low, 1.0 / to) && near(high, 1.0 / from));
            prop_assert!(low <= there.value && there.value <= high);
        }

        #[test]
        fn a_factor_goes_through(base in prop::collection::vec(1.0..1e6f64, 4..20), factor in 0.01..100.0f64) {
            let new: Vec<f64> = base.iter().map(|v| v * factor).collect();
            let found = ratio(&base, &new).unwrap();
            let (low, high) = found.interval.unwrap();
            prop_assert!((found.value / factor - 1.0).abs() < 1e-9);
            prop_assert!(low <= factor * (1.0 + 1e-9) && factor <= high * (1.0 + 1e-9));
        }
    }
}

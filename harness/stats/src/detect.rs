//! How small a difference would these blocks have shown?

use crate::compare::SIGNIFICANT;
use crate::permutation::smallest_p;
use crate::quantile::sorted;
use serde::Serialize;

/// The share of cases in which a difference of the size called detectable is found.
pub const POWER: f64 = 0.8;

/// How many blocks a test on means needs for each block that the rank test needs, on normal values: 3/π (Hodges and
/// Lehmann, "The Efficiency of Some Nonparametric Competitors of the t-Test", 1956).
const EFFICIENCY: f64 = 3.0 / std::f64::consts::PI;

/// What a comparison of these blocks can find.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Sensitivity {
    /// Standard error of the ratio, on logarithms.
    error: f64,
    /// The smallest estimate that is called a difference, on logarithms: significant, and above the noise floor.
    critical: f64,
}

impl Sensitivity {
    /// Of two sides' blocks, where `rows` rows are tested together and differences up to `floor` (ratio − 1) are called
    /// none. On logarithms, with s and s' the spreads of the m and n blocks within their sides ([`spread_of`]):
    ///
    /// error = √((s²/m + s'²/n) · π/3), critical = max(t(1 − 0.05 / 2·rows) · error, ln(1 + floor)),
    ///
    /// t being Student's with m + n − 2 degrees of freedom: the normal approximation of a two-sided test on two means
    /// (Lehmann, *Elements of Large-Sample Theory*, 1999, §3.3) at Bonferroni's level, at which Holm's first step
    /// tests, with the efficiency of the rank test. `None` with fewer than two blocks a side, values that are not
    /// positive numbers, or fewer blocks than can ever pass the test at that level.
    pub fn of(base: &[f64], new: &[f64], rows: usize, floor: Option<f64>) -> Option<Sensitivity> {
        let level = SIGNIFICANT / rows.max(1) as f64;
        if base.len() < 2 || new.len() < 2 || smallest_p(base.len(), new.len()) > level {
            return None;
        }
        let part = |values: &[f64]| Some(log_spread(values)?.powi(2) / values.len() as f64);
        let error = ((part(base)? + part(new)?) / EFFICIENCY).sqrt();
        let freedom = (base.len() + new.len() - 2) as f64;
        let critical = (student(level / 2.0, freedom) * error).max(floor.unwrap_or(0.0).ln_1p());
        Some(Sensitivity { error, critical })
    }

    /// The smallest difference (ratio − 1) that is called one in [`POWER`] of comparisons: exp(critical + z(0.8) ·
    /// error) − 1.
    pub fn detectable(self) -> f64 {
        (self.critical + normal(1.0 - POWER) * self.error).exp_m1()
    }

    /// The share of comparisons in which a difference of `effect` (ratio − 1, of 0 or more) is called one: Φ((ln(1 +
    /// effect) − critical) / error).
    pub fn power(self, effect: f64) -> f64 {
        let above = effect.ln_1p() - self.critical;
        if self.error > 0.0 { 1.0 - normal_tail(above / self.error) } else { f64::from(u8::from(above > 0.0)) }
    }
}

fn log_spread(values: &[f64]) -> Option<f64> {
    let logs: Option<Vec<f64>> = values.iter().map(|v| (v.is_finite() && *v > 0.0).then(|| v.ln())).collect();
    Some(spread_of(&logs?))
}

/// The spread of `values`, on normal ones their standard deviation: Qn, the C(h, 2)-th smallest distance of two values,
/// h = ⌊n/2⌋ + 1. Up to half of the values may be anywhere, and it wastes 18 % of normal ones where the median absolute
/// deviation wastes 63 % (Rousseeuw and Croux, "Alternatives to the Median Absolute Deviation", 1993, with the factors
/// for few values of Croux and Rousseeuw, "Time-Efficient Algorithms for Two Highly Robust Estimators of Scale", 1992).
/// 0 for fewer than two values.
pub fn spread_of(values: &[f64]) -> f64 {
    const FEW: [f64; 8] = [0.399, 0.994, 0.512, 0.844, 0.611, 0.857, 0.669, 0.872];
    let n = values.len();
    if n < 2 {
        return 0.0;
    }
    let distances: Vec<f64> =
        values.iter().enumerate().flat_map(|(i, a)| values[i + 1..].iter().map(move |b| (a - b).abs())).collect();
    let h = n / 2 + 1;
    let factor = match FEW.get(n - 2) {
        Some(factor) => *factor,
        None => n as f64 / (n as f64 + if n.is_multiple_of(2) { 3.8 } else { 1.4 }),
    };
    2.2219 * factor * sorted(&distances)[h * (h - 1) / 2 - 1]
}

/// Probability that a normal value lies above `z`.
pub(crate) fn normal_tail(z: f64) -> f64 {
    libm::erfc(z / std::f64::consts::SQRT_2) / 2.0
}

/// The `z` that a normal value exceeds with probability `tail`, by halving.
fn normal(tail: f64) -> f64 {
    let (mut low, mut high) = (-40.0, 40.0);
    for _ in 0..80 {
        let middle = f64::midpoint(low, high);
        if normal_tail(middle) > tail { low = middle } else { high = middle }
    }
    low
}

/// The value that Student's t of `freedom` degrees exceeds with probability `tail` (Abramowitz and Stegun, *Handbook of
/// Mathematical Functions*, 1964, 26.7.5, to its third term).
fn student(tail: f64, freedom: f64) -> f64 {
    let z = normal(tail);
    let first = (z.powi(3) + z) / 4.0;
    let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
    let third = (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0;
    z + first / freedom + second / freedom.powi(2) + third / freedom.powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::permutation::rank_sum_test;
    use crate::ratio::ratio;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Box and Muller, "A Note on the Generation of Random Normal Deviates", 1958.
    fn lognormal(rng: &mut ChaCha8Rng, n: usize, spread: f64) -> Vec<f64> {
        let one = |rng: &mut ChaCha8Rng| {
            let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
            (spread * (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()).exp()
        };
        (0..n).map(|_| one(rng)).collect()
    }

    /// The share of 400 simulated comparisons that call a difference one, and the mean of what they promise. It is as
    /// large as `planted` makes of their own sensitivity.
    fn found(n: (usize, usize), rows: usize, floor: f64, planted: impl Fn(Sensitivity) -> f64) -> (f64, f64) {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let (mut found, mut promised) = (0, 0.0);
        for _ in 0..400 {
            let (base, mut new) = (lognormal(&mut rng, n.0, 0.03), lognormal(&mut rng, n.1, 0.03));
            let sensitivity = Sensitivity::of(&base, &new, rows, Some(floor)).unwrap();
            let effect = planted(sensitivity);
            new.iter_mut().for_each(|v| *v *= 1.0 + effect);
            let called = rank_sum_test(&base, &new) < SIGNIFICANT / rows as f64;
            found += u32::from(called && ratio(&base, &new).unwrap().value > 1.0 + floor);
            promised += sensitivity.power(effect);
        }
        (f64::from(found) / 400.0, promised / 400.0)
    }

    #[test]
    fn what_is_called_detectable_is_found_in_four_of_five_comparisons() {
        let cases =
            [((8, 8), 1), ((8, 20), 1), ((8, 8), 40), ((12, 12), 1), ((12, 12), 4), ((12, 12), 100), ((40, 40), 100)];
        for (n, rows) in cases {
            let (share, _) = found(n, rows, 0.0, Sensitivity::detectable);
            assert!((0.75..=0.85).contains(&share), "{n:?} blocks, {rows} rows: {share}");
        }
        let (share, _) = found((12, 12), 1, 0.06, Sensitivity::detectable);
        assert!((0.75..=0.85).contains(&share), "with a noise floor above what the test needs: {share}");
    }

    #[test]
    fn any_difference_is_found_as_often_as_promised() {
        for (effect, rows, floor) in [(0.02, 1, 0.0), (0.03, 1, 0.0), (0.05, 1, 0.0), (0.04, 10, 0.0), (0.04, 1, 0.04)]
        {
            let (share, promised) = found((12, 12), rows, floor, |_| effect);
            assert!(
                (share - promised).abs() < 0.06,
                "{effect}, {rows} rows, floor {floor}: {share}, promised {promised}"
            );
        }
    }

    #[test]
    fn more_rows_and_a_floor_cost_power() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (a, b) = (lognormal(&mut rng, 8, 0.03), lognormal(&mut rng, 8, 0.03));
        let detectable = |rows, floor| Sensitivity::of(&a, &b, rows, floor).map(Sensitivity::detectable);
        assert!(detectable(20, None) > detectable(1, None) && detectable(1, Some(0.1)).unwrap() > 0.1);
        assert!(detectable(321, None).is_some() && detectable(322, None).is_none());
        assert_eq!(Sensitivity::of(&a[..1], &b, 1, None), None);
        assert_eq!(Sensitivity::of(&[0.0; 8], &b, 1, None), None);
        let alike = Sensitivity::of(&[5.0; 8], &[5.0; 8], 1, None).unwrap();
        assert_eq!((alike.detectable(), alike.power(0.01), alike.power(0.0)), (0.0, 1.0, 0.0));
        let one = Sensitivity::of(&a, &b, 7, None).unwrap();
        assert!((one.power(one.detectable()) - POWER).abs() < 1e-9);
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        assert!((normal(0.025) - 1.959_964).abs() < 1e-5 && (normal(0.2) - 0.841_621).abs() < 1e-5);
        assert!((student(0.025, 14.0) - 2.144_787).abs() < 1e-3 && (student(0.2, 30.0) - 0.853_767).abs() < 1e-4);
    }

    #[test]
    fn the_spread_bears_wild_values() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let spreads: Vec<f64> = (0..400)
            .map(|_| spread_of(&lognormal(&mut rng, 12, 1.0).iter().map(|v| v.ln()).collect::<Vec<f64>>()))
            .collect();
        let mean = spreads.iter().sum::<f64>() / 400.0;
        assert!((mean - 1.0).abs() < 0.05, "{mean}");
        assert!(spread_of(&[1.0, 1.1, 0.9, 1.05, 0.95, 1.0, 900.0, -900.0]) < 0.5);
        assert_eq!(spread_of(&[3.0]), 0.0);
    }
}

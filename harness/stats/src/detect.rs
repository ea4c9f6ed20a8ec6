//! How small a difference would these blocks have shown?

use crate::compare::SIGNIFICANT;
use crate::metric::Metric;
use crate::permutation::smallest_p;
use crate::quantile::{median, quantile};
use crate::ratio::below;
use crate::student;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

/// The share of cases in which a difference of the size called detectable is found.
pub const POWER: f64 = 0.8;

/// Comparisons that are drawn from the blocks of a row. The size that is found in [`POWER`] of them is then off by a
/// tenth of their spread.
const DRAWS: usize = 200;

/// Seed of the draws: the same blocks give the same answer.
const SEED: u64 = 14;

/// The coarsest step of a clock seen on virtual machines, nanoseconds. A time that differs by less is the same reading.
pub const CLOCK_STEP_NS: f64 = 10.0;

/// Memory is counted in pages.
pub const PAGE_BYTES: f64 = 4096.0;

/// What a comparison of these blocks can find.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sensitivity {
    /// The smallest differences (on logarithms) that drawn comparisons call one, rising.
    #[serde(skip)]
    needed: Vec<f64>,
    /// The smallest difference (ratio − 1) that is called one in [`POWER`] of comparisons.
    detectable: f64,
}

impl Sensitivity {
    /// Of two sides' blocks, where `rows` rows are tested together, differences up to `floor` (ratio − 1) are called
    /// none, and values are read in steps of `step`.
    ///
    /// Comparisons are drawn from the row's own blocks: both sides, the new one moved by the estimated ratio onto the
    /// base, are one pool, from which each side is drawn with replacement (a two-sample bootstrap under no difference,
    /// Efron and Tibshirani 1993, §16.2). Nothing is assumed of their distribution, so that blocks of two levels count
    /// as they are. Deviations from the pool's median are widened by √((m + n) / (m + n − 3)), because a pool of few
    /// values scatters less than what it was drawn from. For each draw the smallest factor is known at which the rank
    /// test calls a difference at Bonferroni's level, at which Holm's first step tests: an order statistic of the
    /// quotients of all pairs. The estimate must also exceed the floor.
    ///
    /// `None` with fewer than two blocks a side, values that are not positive numbers, or fewer blocks than can ever
    /// pass the test at that level.
    pub fn of(base: &[f64], new: &[f64], rows: usize, floor: Option<f64>, step: f64) -> Option<Sensitivity> {
        let (m, n, level) = (base.len(), new.len(), SIGNIFICANT / rows.max(1) as f64);
        if m < 2 || n < 2 || smallest_p(m, n) >= level {
            return None;
        }
        let (base, new) = (logs(base)?, logs(new)?);
        let pool = pool(&base, &new);
        // The test calls a difference where fewer than `cut` pairs are on the wrong side.
        let cut = below(m, n, level / 2.0);
        let floor = floor.unwrap_or(0.0).ln_1p();
        let mut rng = ChaCha8Rng::seed_from_u64(SEED);
        let mut drawn =
            |blocks: usize| -> Vec<f64> { (0..blocks).map(|_| pool[rng.random_range(0..pool.len())]).collect() };
        let mut needed: Vec<f64> = (0..DRAWS)
            .map(|_| {
                let mut differences = differences(&drawn(n), &drawn(m));
                // The estimate lies below what is significant, so without a floor it need not be known.
                let above_floor = if floor > 0.0 { median(&differences).map_or(0.0, |m| m + floor) } else { 0.0 };
                let at = differences.len() - cut;
                let (_, significant, _) = differences.select_nth_unstable_by(at, f64::total_cmp);
                (*significant).max(above_floor)
            })
            .collect();
        needed.sort_unstable_by(f64::total_cmp);
        let typical = quantile(&pool, 0.5).exp();
        let detectable = quantile(&needed, POWER).exp_m1().max(step / typical);
        Some(Sensitivity { needed, detectable })
    }

    /// Of two sides of several runs, whose logarithms have the standard error `error` of their difference with `freedom`
    /// degrees, where `rows` rows are tested together: normal values, and Student's t at Bonferroni's level.
    pub(crate) fn of_runs(error: f64, freedom: usize, rows: usize, least: f64) -> Sensitivity {
        let critical = student::quantile(SIGNIFICANT / rows.max(1) as f64 / 2.0, freedom);
        let beyond = |share: f64| {
            let t = student::quantile(0.5 - (share - 0.5).abs(), freedom);
            if share < 0.5 { -t } else { t }
        };
        let shares = (0..DRAWS).map(|i| (i as f64 + 0.5) / DRAWS as f64);
        let needed: Vec<f64> = shares.map(|share| ((critical + beyond(share)) * error).max(0.0)).collect();
        let detectable = quantile(&needed, POWER).exp_m1().max(least);
        Sensitivity { needed, detectable }
    }

    /// The smallest difference (ratio − 1) that is called one in [`POWER`] of comparisons; no less than one step of
    /// what the values are read in.
    pub fn detectable(&self) -> f64 {
        self.detectable
    }

    /// The share of comparisons in which a difference of `effect` (ratio − 1, of 0 or more) is called one.
    pub fn power(&self, effect: f64) -> f64 {
        let found = self.needed.partition_point(|needed| *needed < effect.ln_1p());
        found as f64 / self.needed.len() as f64
    }
}

/// The step that values of a metric are read in: of the clock, or a page. A rate counts thousands of calls.
pub fn step(metric: Metric) -> f64 {
    match metric {
        Metric::ColdStart | Metric::WarmCall => CLOCK_STEP_NS,
        Metric::Memory => PAGE_BYTES,
        Metric::Throughput => 0.0,
    }
}

fn logs(values: &[f64]) -> Option<Vec<f64>> {
    values.iter().map(|v| (v.is_finite() && *v > 0.0).then(|| v.ln())).collect()
}

/// Every value of `to` less every value of `from`.
fn differences(from: &[f64], to: &[f64]) -> Vec<f64> {
    to.iter().flat_map(|t| from.iter().map(move |f| t - f)).collect()
}

/// The blocks of both sides as those of one thing, rising.
fn pool(base: &[f64], new: &[f64]) -> Vec<f64> {
    let shift = median(&differences(base, new)).unwrap_or(0.0);
    let mut pool: Vec<f64> = base.iter().copied().chain(new.iter().map(|value| value - shift)).collect();
    pool.sort_unstable_by(f64::total_cmp);
    let (middle, count) = (quantile(&pool, 0.5), pool.len() as f64);
    let wider = (count / (count - 3.0).max(1.0)).sqrt();
    pool.iter_mut().for_each(|value| *value = middle + (*value - middle) * wider);
    pool
}

/// Probability that a normal value lies above `z`.
pub(crate) fn normal_tail(z: f64) -> f64 {
    libm::erfc(z / std::f64::consts::SQRT_2) / 2.0
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
    fn found(n: (usize, usize), rows: usize, floor: f64, planted: impl Fn(&Sensitivity) -> f64) -> (f64, f64) {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let (mut found, mut promised) = (0, 0.0);
        for _ in 0..400 {
            let (base, mut new) = (lognormal(&mut rng, n.0, 0.03), lognormal(&mut rng, n.1, 0.03));
            let sensitivity = Sensitivity::of(&base, &new, rows, Some(floor), 0.0).unwrap();
            let effect = planted(&sensitivity);
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
            assert!((0.72..=0.9).contains(&share), "{n:?} blocks, {rows} rows: {share}");
        }
        let (share, _) = found((12, 12), 1, 0.06, Sensitivity::detectable);
        assert!((0.72..=0.9).contains(&share), "with a noise floor above what the test needs: {share}");
    }

    #[test]
    fn any_difference_is_found_as_often_as_promised() {
        for (effect, rows, floor) in [(0.02, 1, 0.0), (0.03, 1, 0.0), (0.05, 1, 0.0), (0.04, 10, 0.0), (0.04, 1, 0.04)]
        {
            let (share, promised) = found((12, 12), rows, floor, |_| effect);
            assert!(
                (share - promised).abs() < 0.12,
                "{effect}, {rows} rows, floor {floor}: {share}, promised {promised}"
            );
        }
    }

    #[test]
    fn more_rows_and_a_floor_cost_power() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (a, b) = (lognormal(&mut rng, 8, 0.03), lognormal(&mut rng, 8, 0.03));
        let of = |rows, floor| Sensitivity::of(&a, &b, rows, floor, 0.0);
        let detectable = |rows, floor| of(rows, floor).map(|s| s.detectable());
        assert!(detectable(20, None) > detectable(1, None) && detectable(1, Some(0.1)).unwrap() > 0.1);
        assert!(detectable(321, None).is_some() && detectable(322, None).is_none());
        assert_eq!(Sensitivity::of(&a[..1], &b, 1, None, 0.0), None);
        assert_eq!(Sensitivity::of(&[0.0; 8], &b, 1, None, 0.0), None);
        let one = of(7, None).unwrap();
        assert!((one.power(one.detectable()) - POWER).abs() < 0.02);
    }

    #[test]
    fn nothing_smaller_than_a_step_is_called_detectable() {
        let alike = Sensitivity::of(&[5.0; 8], &[5.0; 8], 1, None, 0.0).unwrap();
        assert_eq!((alike.detectable(), alike.power(0.01), alike.power(0.0)), (0.0, 1.0, 0.0));
        let memory = Sensitivity::of(&[9297.0; 8], &[9297.0; 8], 1, None, step(Metric::Memory)).unwrap();
        assert!((memory.detectable() - 4096.0 / 9297.0).abs() < 1e-9, "{}", memory.detectable());
        assert!(
            (Sensitivity::of(&[100.0; 8], &[100.0; 8], 1, None, step(Metric::WarmCall)).unwrap().detectable() - 0.1)
                .abs()
                < 1e-9
        );
    }

    /// Medians of eight blocks of two levels, in microseconds. The first three are of real cells of one quick run, rounded;
    /// of the last two only the intervals were published, and the blocks are made up to fit them.
    const TWO_LEVELS: [(&str, [f64; 8]); 5] = [
        ("quickjs warm call", [0.58, 0.58, 0.58, 0.59, 1.12, 1.14, 1.22, 1.35]),
        ("v8 wasm warm call", [0.41, 0.42, 0.42, 0.44, 0.65, 0.70, 0.72, 0.89]),
        ("wasmtime warm call", [0.100, 0.100, 0.100, 0.140, 0.141, 0.150, 0.150, 0.150]),
        ("wasmtime cold start", [11.9, 12.2, 12.6, 13.1, 15.4, 17.5, 19.3, 20.4]),
        ("process warm call", [13.2, 19.1, 19.4, 42.1, 43.7, 55.0, 57.7, 59.5]),
    ];

    #[test]
    fn the_promised_power_holds_on_blocks_of_two_levels() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        for (name, blocks) in TWO_LEVELS {
            let drawn = |rng: &mut ChaCha8Rng| -> Vec<f64> { (0..8).map(|_| blocks[rng.random_range(0..8)]).collect() };
            let mut found = 0;
            for _ in 0..300 {
                // What one pair of sides promises is planted into another pair of the same thing.
                let promised = Sensitivity::of(&drawn(&mut rng), &drawn(&mut rng), 1, None, 0.0).unwrap().detectable();
                let (base, mut new) = (drawn(&mut rng), drawn(&mut rng));
                new.iter_mut().for_each(|value| *value *= (1.0 + promised) * (1.0 + 1e-9));
                found += u32::from(rank_sum_test(&base, &new) < SIGNIFICANT);
            }
            let power = f64::from(found) / 300.0;
            println!("{name}: {power:.2}");
            assert!((0.75..=0.98).contains(&power), "{name}: {power}");
        }
    }
}

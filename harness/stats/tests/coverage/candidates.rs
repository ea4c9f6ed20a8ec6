//! Estimators of an interval that were tried beside those of the crate, each tested on a published example where there
//! is one. A bootstrap draws blocks with replacement; `times` says how often each was drawn.

use isobench_stats::quantile::quantile;
use puruspe::{erf, invbetai, inverf};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// What may lie beyond each end.
pub const TAIL: f64 = 0.025;

pub type Ends = (f64, f64);

/// How often each of `n` blocks comes up in `n` draws.
pub fn draw(rng: &mut ChaCha8Rng, n: usize) -> Vec<u8> {
    let mut times = vec![0; n];
    (0..n).for_each(|_| times[rng.random_range(0..n)] += 1);
    times
}

/// Sorted values, each as often as it was drawn.
pub fn repeat(sorted: &[f64], times: &[u8]) -> Vec<f64> {
    sorted.iter().zip(times).flat_map(|(value, times)| std::iter::repeat_n(*value, usize::from(*times))).collect()
}

/// All samples, sorted, each with its block; blocks weigh the same.
pub struct Pool {
    points: Vec<(f64, usize)>,
    /// Where each block's samples stand among them.
    places: Vec<Vec<usize>>,
    sizes: Vec<usize>,
}

impl Pool {
    pub fn new(blocks: &[Vec<f64>]) -> Pool {
        let of = |(b, block): (usize, &Vec<f64>)| block.iter().map(move |value| (*value, b)).collect::<Vec<_>>();
        let mut points: Vec<(f64, usize)> = blocks.iter().enumerate().flat_map(of).collect();
        points.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let mut places = vec![Vec::new(); blocks.len()];
        points.iter().enumerate().for_each(|(place, (_, block))| places[*block].push(place));
        Pool { points, places, sizes: blocks.iter().map(Vec::len).collect() }
    }

    /// Quantiles at rising `levels`, each block counted so many times.
    pub fn quantiles<const N: usize>(&self, times: &[u8], levels: [f64; N]) -> [f64; N] {
        let drawn: f64 = times.iter().map(|t| f64::from(*t)).sum();
        let weights: Vec<f64> =
            self.sizes.iter().zip(times).map(|(n, times)| f64::from(*times) / (drawn * *n as f64)).collect();
        walk(self.points.iter().map(|(value, block)| (*value, weights[*block])), levels)
    }

    /// The same for blocks drawn and, in each of those, samples drawn.
    pub fn hierarchical<const N: usize>(&self, times: &[u8], rng: &mut ChaCha8Rng, levels: [f64; N]) -> [f64; N] {
        let mut weights = vec![0.0; self.points.len()];
        for (places, times) in self.places.iter().zip(times) {
            let n = places.len();
            let weight = 1.0 / (n * self.sizes.len()) as f64;
            (0..n * usize::from(*times)).for_each(|_| weights[places[rng.random_range(0..n)]] += weight);
        }
        walk(self.points.iter().zip(weights).map(|((value, _), weight)| (*value, weight)), levels)
    }

    /// The median if every sample counts once, so that a long block outvotes the others.
    pub fn pooled_median(&self, times: &[u8]) -> f64 {
        let drawn: usize = self.sizes.iter().zip(times).map(|(n, times)| n * usize::from(*times)).sum();
        let weigh = |(value, block): &(f64, usize)| (*value, f64::from(times[*block]) / drawn as f64);
        walk(self.points.iter().map(weigh), [0.5])[0]
    }

    fn quantile(&self, q: f64) -> f64 {
        self.quantiles(&vec![1; self.sizes.len()], [q.clamp(0.0, 1.0)])[0]
    }

    /// The quantile without each block in turn.
    pub fn without(&self, q: f64) -> Vec<f64> {
        let mut times = vec![1; self.sizes.len()];
        let mut one = |i: usize| {
            times[i] = 0;
            let [value] = self.quantiles(&times, [q]);
            times[i] = 1;
            value
        };
        (0..self.sizes.len()).map(&mut one).collect()
    }
}

/// The values at which the sum of weights first reaches each level.
fn walk<const N: usize>(points: impl Iterator<Item = (f64, f64)>, levels: [f64; N]) -> [f64; N] {
    let mut found = [f64::NAN; N];
    let (mut reached, mut next) = (0.0, 0);
    for (value, weight) in points {
        reached += weight;
        while next < N && weight > 0.0 && reached >= levels[next] - 1e-9 {
            found[next] = value;
            next += 1;
        }
        if next == N {
            break;
        }
    }
    found
}

fn at(sorted: &[f64], q: f64) -> f64 {
    let place = (q * (sorted.len() + 1) as f64 - 1.0).clamp(0.0, (sorted.len() - 1) as f64);
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    sorted[low] + (place - low as f64) * (sorted[high] - sorted[low])
}

/// Efron and Tibshirani 1993, chapter 13.
pub fn percentile(drawn: &mut [f64], tail: f64) -> Ends {
    drawn.sort_unstable_by(f64::total_cmp);
    (at(drawn, tail), at(drawn, 1.0 - tail))
}

/// Bias-corrected and accelerated, from the estimates without each block in turn: ibid., chapter 14. Ties count half.
pub fn bca(drawn: &mut [f64], estimate: f64, without: &[f64], tail: f64) -> Ends {
    drawn.sort_unstable_by(f64::total_cmp);
    let n = drawn.len() as f64;
    let below = drawn.partition_point(|v| *v < estimate) as f64;
    let up_to = drawn.partition_point(|v| *v <= estimate) as f64;
    let z0 = normal_quantile(((below + up_to) / (2.0 * n)).clamp(0.5 / n, 1.0 - 0.5 / n));
    let a = acceleration(without);
    let level = |tail: f64| {
        let z = z0 + normal_quantile(tail);
        (1.0 + erf((z0 + z / (1.0 - a * z)) / 2f64.sqrt())) / 2.0
    };
    (at(drawn, level(tail)), at(drawn, level(1.0 - tail)))
}

fn acceleration(without: &[f64]) -> f64 {
    let mean = without.iter().sum::<f64>() / without.len() as f64;
    let sum = |power: i32| without.iter().map(|v| (mean - v).powi(power)).sum::<f64>();
    if sum(2) > 0.0 { sum(3) / (6.0 * sum(2).powf(1.5)) } else { 0.0 }
}

fn normal_quantile(p: f64) -> f64 {
    2f64.sqrt() * inverf(2.0 * p - 1.0)
}

/// The 97.5 % quantile of Student's t.
fn student_t(degrees: f64) -> f64 {
    let x = invbetai(2.0 * TAIL, degrees / 2.0, 0.5);
    (degrees * (1.0 - x) / x).sqrt()
}

/// Mean and standard error.
fn mean(values: &[f64], times: &[u8]) -> (f64, f64) {
    let n = values.len() as f64;
    let weighed = |f: &dyn Fn(f64) -> f64| values.iter().zip(times).map(|(v, t)| f64::from(*t) * f(*v)).sum::<f64>();
    let mean = weighed(&|v| v) / n;
    (mean, (weighed(&|v| (v - mean).powi(2)) / (n - 1.0) / n).sqrt())
}

/// Student's interval of the mean of the blocks' values.
pub fn student(values: &[f64]) -> Ends {
    let (mean, error) = mean(values, &vec![1; values.len()]);
    let half = student_t(values.len() as f64 - 1.0) * error;
    (mean - half, mean + half)
}

/// Studentised bootstrap of a median of block values, with McKean and Schrader's standard error (1984).
pub fn studentised_median(sorted: &[f64], draws: &[Vec<u8>]) -> Option<Ends> {
    let error = |v: &[f64]| {
        let k = ((v.len() as f64 + 1.0) / 2.0 - 1.96 * (v.len() as f64 / 4.0).sqrt()).round().max(1.0) as usize;
        (v[v.len() - k] - v[k - 1]) / (2.0 * 1.96)
    };
    let estimate = quantile(sorted, 0.5);
    let t = |times: &Vec<u8>| {
        let drawn = repeat(sorted, times);
        let error = error(&drawn);
        (error > 0.0).then(|| (quantile(&drawn, 0.5) - estimate) / error)
    };
    let mut ts: Vec<f64> = draws.iter().filter_map(t).collect();
    (ts.len() * 2 > draws.len()).then(|| {
        let (low, high) = percentile(&mut ts, TAIL);
        (estimate - high * error(sorted), estimate - low * error(sorted))
    })
}

/// Share of each block's samples up to `value`.
fn shares(blocks: &[Vec<f64>], value: f64) -> Vec<f64> {
    blocks.iter().map(|b| b.partition_point(|v| *v <= value) as f64 / b.len() as f64).collect()
}

/// Woodruff's interval with critical values from a studentised bootstrap of the mean share.
pub fn studentised_share(blocks: &[Vec<f64>], pool: &Pool, q: f64, draws: &[Vec<u8>]) -> Option<Ends> {
    let shares = shares(blocks, pool.quantile(q));
    let (estimate, error) = mean(&shares, &vec![1; shares.len()]);
    let t = |times: &Vec<u8>| {
        let (mean, error) = mean(&shares, times);
        (error > 0.0).then(|| (mean - estimate) / error)
    };
    let mut ts: Vec<f64> = draws.iter().filter_map(t).collect();
    (ts.len() * 2 > draws.len()).then(|| {
        let (low, high) = percentile(&mut ts, TAIL);
        (pool.quantile(q - high * error), pool.quantile(q - low * error))
    })
}

/// Woodruff's interval with Student's t: what the crate has, from any number of blocks.
pub fn woodruff(blocks: &[Vec<f64>], pool: &Pool, q: f64) -> Ends {
    let shares = shares(blocks, pool.quantile(q));
    let half = student_t(shares.len() as f64 - 1.0) * mean(&shares, &vec![1; shares.len()]).1;
    (pool.quantile(q - half), pool.quantile(q + half))
}

/// Order statistics about the median, as far out as it takes for 95 %.
pub fn order_statistics(sorted: &[f64]) -> Option<Ends> {
    let n = sorted.len();
    let (mut p, mut below, mut k) = (0.5f64.powi(n as i32), 0.0, 0);
    while below + p <= TAIL {
        (below, k) = (below + p, k + 1);
        p *= (n - k + 1) as f64 / k as f64;
    }
    (k > 0).then(|| (sorted[k - 1], sorted[n - k]))
}

mod tests {
    use super::*;
    use crate::world::rng;
    use isobench_stats::quantile::sorted;

    /// The mice of Efron and Tibshirani 1993, table 2.1; their table 2.2 has the standard errors for ever more draws:
    /// 23.36 for the mean, 37.83 for the median.
    #[test]
    fn the_mice() {
        let mice = sorted(&[94.0, 197.0, 16.0, 38.0, 99.0, 141.0, 23.0]);
        let mut rng = rng(1);
        let draws: Vec<Vec<f64>> = (0..20_000).map(|_| repeat(&mice, &draw(&mut rng, 7))).collect();
        let deviation = |statistic: &dyn Fn(&Vec<f64>) -> f64| {
            let values: Vec<f64> = draws.iter().map(statistic).collect();
            mean(&values, &vec![1; values.len()]).1 * (values.len() as f64).sqrt()
        };
        let of_mean = deviation(&|v| v.iter().sum::<f64>() / 7.0);
        let of_median = deviation(&|v| quantile(v, 0.5));
        assert!((of_mean - 23.36).abs() < 0.4 && (of_median - 37.83).abs() < 0.6, "{of_mean} {of_median}");
    }

    /// The spatial data of Efron and Tibshirani 1993, table 14.1, column A. For the variance (171.5) and 90 %, their
    /// table 14.2 has the percentile interval [100.8, 233.9] and BCa's [115.8, 259.6], from 2,000 draws; the text an
    /// acceleration of 0.061.
    #[test]
    fn the_spatial_test() {
        let a: [u8; 26] =
            [48, 36, 20, 29, 42, 42, 20, 42, 22, 41, 45, 14, 6, 0, 33, 28, 34, 4, 32, 24, 47, 41, 24, 26, 30, 41];
        let a = sorted(&a.map(f64::from));
        let variance = |values: &[f64]| {
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64
        };
        let estimate = variance(&a);
        let without: Vec<f64> = (0..26).map(|i| variance(&[&a[..i], &a[i + 1..]].concat())).collect();
        let mut rng = rng(2);
        let mut drawn: Vec<f64> = (0..20_000).map(|_| variance(&repeat(&a, &draw(&mut rng, 26)))).collect();
        assert!((estimate - 171.5).abs() < 0.05 && (acceleration(&without) - 0.061).abs() < 5e-4);
        let near = |found: Ends, published: Ends| {
            let close = (found.0 - published.0).abs() < 4.0 && (found.1 - published.1).abs() < 4.0;
            assert!(close, "{found:?}, published {published:?}");
        };
        near(percentile(&mut drawn, 0.05), (100.8, 233.9));
        near(bca(&mut drawn, estimate, &without, 0.05), (115.8, 259.6));
    }

    #[test]
    fn tabulated_quantiles() {
        for (degrees, t) in [(2.0, 4.302_65), (7.0, 2.364_62), (39.0, 2.022_69)] {
            assert!((student_t(degrees) - t).abs() < 1e-4, "{degrees}: {}", student_t(degrees));
        }
        assert!((normal_quantile(0.975) - 1.959_964).abs() < 1e-5);
    }
}

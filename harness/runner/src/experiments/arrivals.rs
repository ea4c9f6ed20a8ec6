//! When requests arrive in an open loop.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::time::Duration;

/// A Poisson process: the gaps between arrivals are independent and exponential, drawn by inversion, −ln(1−u)/λ
/// (Knuth, "The Art of Computer Programming", volume 2, 3.4.1 D). Without end; the same seed and rate give the same
/// arrivals everywhere.
#[derive(Debug, Clone)]
pub struct Arrivals {
    rng: ChaCha8Rng,
    mean_gap_ns: f64,
    at_ns: f64,
}

impl Arrivals {
    /// Arrivals at `rate_mhz` requests per 1,000 seconds, which is not zero.
    pub fn new(seed: u64, rate_mhz: u64) -> Arrivals {
        Arrivals { rng: ChaCha8Rng::seed_from_u64(seed), mean_gap_ns: 1e12 / rate_mhz as f64, at_ns: 0.0 }
    }
}

impl Iterator for Arrivals {
    type Item = Duration;

    /// The next arrival, counted from the beginning.
    fn next(&mut self) -> Option<Duration> {
        let uniform: f64 = self.rng.random();
        self.at_ns -= (1.0 - uniform).ln() * self.mean_gap_ns;
        Some(Duration::from_nanos(self.at_ns as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_alone_decides_the_arrivals() {
        let first = |seed| Arrivals::new(seed, 200_000).take(100).collect::<Vec<_>>();
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2));
        assert!(first(1).is_sorted());
    }

    #[test]
    fn they_are_as_many_as_the_rate_says_and_as_irregular_as_poissons() {
        // 1,000/s for 10 s: 10,000 ± 100 (one standard deviation of a Poisson count); five of them never happen.
        let within = |seed| Arrivals::new(seed, 1_000_000).take_while(|at| *at < Duration::from_secs(10)).count();
        for seed in 0..20 {
            assert!((9_500..=10_500).contains(&within(seed)), "{}", within(seed));
        }
        // Counts in windows of 10 ms: mean and variance of a Poisson variable agree.
        let mut counts = vec![0.0; 10_000];
        for at in Arrivals::new(3, 1_000_000).take_while(|at| *at < Duration::from_secs(100)) {
            counts[at.as_millis() as usize / 10] += 1.0;
        }
        let mean = counts.iter().sum::<f64>() / 10_000.0;
        let variance = counts.iter().map(|c| (c - mean) * (c - mean)).sum::<f64>() / 9_999.0;
        assert!((0.9..1.1).contains(&(variance / mean)), "{mean} {variance}");
    }
}

//! How often the change-point test is wrong: the table of docs/METHODOLOGY.md.

use isobench_stats::settle::{Shape, shape};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// One of three distributions with variance 1: normal, Laplace, and a skewed one with a long right tail.
fn error(rng: &mut ChaCha8Rng, kind: u64) -> f64 {
    // The sum of twelve uniform variables has variance 1.
    let normal = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
    match kind % 3 {
        0 => normal,
        1 => -(1.0 - rng.random::<f64>()).ln() / 2f64.sqrt() * normal.signum(),
        _ => (normal.exp() - 0.5f64.exp()) / (1f64.exp() * (1f64.exp() - 1.0)).sqrt(),
    }
}

/// A series of that much multiplicative noise; `step` times as long in its first `before` calls.
fn series(seed: u64, calls: usize, noise: f64, correlation: f64, step: f64, before: usize) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut state = 0.0;
    let level = |i| if i < before { 1000.0 * step } else { 1000.0 };
    let fresh = noise * (1.0 - correlation * correlation).sqrt();
    let mut next = || {
        state = correlation * state + fresh * error(&mut rng, seed);
        f64::exp(state)
    };
    (0..calls).map(|i| level(i) * next()).collect()
}

/// The share of `trials` series, in per cent, of one of the `wanted` shapes.
fn share(trials: u64, wanted: &[Shape], series: impl Fn(u64) -> Vec<f64>) -> f64 {
    let hits = (0..trials).filter(|seed| shape(&series(*seed)).is_some_and(|(shape, _)| wanted.contains(&shape)));
    100.0 * hits.count() as f64 / trials as f64
}

const CHANGED: [Shape; 3] = [Shape::Warmup, Shape::Slowdown, Shape::Unsettled];

fn false_changes(trials: u64, calls: usize, noise: f64, correlation: f64, wanted: &[Shape]) -> f64 {
    share(trials, wanted, |seed| series(seed, calls, noise, correlation, 1.0, 0))
}

/// Warm-ups of between 15 and 70 % of the series.
fn found(trials: u64, calls: usize, noise: f64, correlation: f64, step: f64) -> f64 {
    let before = |seed: u64| calls * (15 + seed as usize * 37 % 56) / 100;
    share(trials, &[Shape::Warmup], |seed| series(seed, calls, noise, correlation, step, before(seed)))
}

#[test]
fn ordinary_noise_is_seldom_a_change_and_a_change_is_found() {
    for (calls, noise, correlation) in [(1000, 0.05, 0.5), (1000, 0.2, 0.5), (100, 0.05, 0.5), (100, 0.2, 0.0)] {
        let wrong = false_changes(60, calls, noise, correlation, &CHANGED);
        assert!(wrong <= 7.0, "{calls} calls, noise {noise}, correlation {correlation}: {wrong} %");
    }
    for (calls, noise, step) in [(1000, 0.05, 1.15), (1000, 0.2, 1.5), (100, 0.05, 1.3)] {
        let right = found(60, calls, noise, 0.5, step);
        assert!(right >= 85.0, "{calls} calls, noise {noise}, a step of {step}: {right} %");
    }
}

#[test]
#[ignore = "prints the table of docs/METHODOLOGY.md; wants --release"]
fn the_table_of_the_docs() {
    println!("| calls | noise | autocorrelation | changed | unsettled | 15 % | 30 % | 50 % | 100 % |");
    for calls in [30, 100, 1000] {
        for noise in [0.05, 0.2] {
            for correlation in [0.0, 0.5, 0.9] {
                let wrong = |wanted: &[Shape]| false_changes(1000, calls, noise, correlation, wanted);
                let right =
                    [1.15, 1.3, 1.5, 2.0].map(|step| format!("{:.0} %", found(300, calls, noise, correlation, step)));
                println!(
                    "| {calls} | {:.0} % | {correlation} | {:.1} % | {:.1} % | {} |",
                    noise * 100.0,
                    wrong(&CHANGED),
                    wrong(&[Shape::Unsettled]),
                    right.join(" | ")
                );
            }
        }
    }
}

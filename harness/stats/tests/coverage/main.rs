//! Does an interval cover the truth as often as it says? On made-up cells whose truth is known, 1,000 seeded data sets
//! each.
//! `cargo test --release -p isobench-stats --test coverage -- --ignored --nocapture` prints the tables of docs/METHODOLOGY.md.

mod candidates;
mod difference;
mod tables;
mod world;

use isobench_stats::quantile::Pool;
use isobench_stats::ratio::ratio;
use isobench_stats::spread::{INTERVAL_BLOCKS, interval_blocks};
use isobench_stats::{Estimate, Spread};
use world::{SETS, WORLDS, World, blocks, medians};

/// In how many of 100 data sets the interval covers the truth, where the crate prints one.
fn coverage(world: &World, count: usize, truth: f64, estimate: impl Fn(&[Vec<f64>]) -> Estimate) -> Option<f64> {
    let mut covered = 0;
    for set in 0..SETS {
        let Some(Spread::Interval { low, high }) = estimate(&blocks(world, count, set)).spread else { return None };
        covered += u32::from(low <= truth && truth <= high);
    }
    Some(100.0 * f64::from(covered) / SETS as f64)
}

fn median(blocks: &[Vec<f64>]) -> Estimate {
    Estimate::of_blocks(&medians(blocks)).expect("blocks")
}

fn p90(blocks: &[Vec<f64>]) -> Estimate {
    Estimate::of_tail(blocks, &Pool::new(blocks).expect("blocks"), 0.9)
}

/// New over base where the new one takes 1.1 times as long.
fn ratio_coverage(base: &World, new: &World, count: usize) -> f64 {
    let scaled = |set| medians(&blocks(new, count, set)).iter().map(|v| v * 1.1).collect::<Vec<f64>>();
    let covers = |set: &u64| {
        let ratio = ratio(&medians(&blocks(base, count, *set)), &scaled(*set + SETS)).expect("positive values");
        ratio.interval.is_some_and(|(low, high)| low <= 1.1 && 1.1 <= high)
    };
    100.0 * (0..SETS).filter(covers).count() as f64 / SETS as f64
}

#[test]
fn the_interval_of_a_median_covers_as_often_as_it_says() {
    for world in &WORLDS {
        let truth = world.truth().median;
        for count in [20, 40] {
            let found = coverage(world, count, truth, median).expect("an interval");
            assert!((93.0..=97.0).contains(&found), "{}, {count} blocks: {found} %", world.name);
        }
        for count in [INTERVAL_BLOCKS, 8, 12] {
            let found = coverage(world, count, truth, median).expect("an interval");
            assert!(found >= 92.0, "{}, {count} blocks: {found} %", world.name);
        }
        assert_eq!(coverage(world, INTERVAL_BLOCKS - 1, truth, median), None, "no interval is claimed");
    }
}

#[test]
fn the_interval_of_a_tail_covers_wherever_one_is_claimed() {
    for world in &WORLDS {
        let truth = world.truth().p90;
        for count in [interval_blocks(0.9), 40] {
            let found = coverage(world, count, truth, p90).expect("an interval");
            assert!(found >= 90.0, "{}, {count} blocks: {found} %", world.name);
        }
        assert_eq!(coverage(world, interval_blocks(0.9) - 1, truth, p90), None, "no interval is claimed");
    }
}

#[test]
fn the_interval_of_a_ratio_covers_as_often_as_it_says() {
    for world in &WORLDS {
        for count in [8, 20] {
            let found = ratio_coverage(world, world, count);
            assert!((93.0..=98.0).contains(&found), "{}, {count} blocks a side: {found} %", world.name);
        }
    }
}

//! The tables of docs/METHODOLOGY.md.

use crate::candidates::{
    Ends, Pool, TAIL, bca, draw, order_statistics, percentile, repeat, student, studentised_median, studentised_share,
    woodruff,
};
use crate::world::{SETS, WORLDS, World, blocks, medians, rng};
use crate::{coverage, median, p90, ratio_coverage};
use isobench_stats::quantile::{quantile, sorted};
use isobench_stats::{Estimate, Spread, metric};

const COUNTS: [usize; 6] = [3, 5, 8, 12, 20, 40];

/// Resamplings of each bootstrap.
const DRAWS: usize = 200;

const OF_MEDIAN: [&str; 7] = [
    "percentile bootstrap of the pooled median",
    "percentile bootstrap",
    "BCa bootstrap",
    "studentised bootstrap",
    "order statistics, exact",
    "**order statistics, interpolated**",
    "Student's t of the mean",
];

const OF_TAIL: [&str; 5] = [
    "percentile cluster bootstrap",
    "BCa cluster bootstrap",
    "hierarchical bootstrap",
    "Woodruff, studentised bootstrap",
    "**Woodruff, Student's t**",
];

const LEVELS: [f64; 2] = [0.9, 0.99];

/// Data sets of one world and one number of blocks that each candidate covered, in the order of the names, p50, p90 and
/// p99.
fn covered(world: &World, count: usize) -> Vec<u32> {
    let truth = world.truth();
    let mut covered = vec![0; OF_MEDIAN.len() + 2 * OF_TAIL.len()];
    for set in 0..SETS {
        let mut rng = rng(!set);
        let blocks = blocks(world, count, set);
        let draws: Vec<Vec<u8>> = (0..DRAWS).map(|_| draw(&mut rng, count)).collect();
        let pool = Pool::new(&blocks);
        let mut found = of_median(&blocks, &pool, &draws, truth.pooled_median, truth.median);
        let drawn: Vec<[f64; 2]> = draws.iter().map(|times| pool.quantiles(times, LEVELS)).collect();
        let twice: Vec<[f64; 2]> = draws.iter().map(|times| pool.hierarchical(times, &mut rng, LEVELS)).collect();
        for (i, truth) in [truth.p90, truth.p99].into_iter().enumerate() {
            let level = |values: &[[f64; 2]]| values.iter().map(|v| v[i]).collect();
            let found_here = of_tail(&blocks, &pool, LEVELS[i], level(&drawn), level(&twice), &draws);
            found.extend(found_here.into_iter().map(|ends| (ends, truth)));
        }
        for (covered, (ends, truth)) in covered.iter_mut().zip(found) {
            *covered += u32::from(ends.is_some_and(|(low, high)| low <= truth && truth <= high));
        }
    }
    covered
}

fn of_median(blocks: &[Vec<f64>], pool: &Pool, draws: &[Vec<u8>], pooled: f64, truth: f64) -> Vec<(Option<Ends>, f64)> {
    let values = sorted(&medians(blocks));
    let estimate = quantile(&values, 0.5);
    let mut all: Vec<f64> = draws.iter().map(|times| pool.pooled_median(times)).collect();
    let mut drawn: Vec<f64> = draws.iter().map(|times| quantile(&repeat(&values, times), 0.5)).collect();
    let without: Vec<f64> =
        (0..values.len()).map(|i| quantile(&[&values[..i], &values[i + 1..]].concat(), 0.5)).collect();
    let interpolated = match Estimate::of_blocks(&values).and_then(|e| e.spread) {
        Some(Spread::Interval { low, high }) => Some((low, high)),
        _ => None,
    };
    vec![
        (Some(percentile(&mut all, TAIL)), pooled),
        (Some(percentile(&mut drawn, TAIL)), truth),
        (Some(bca(&mut drawn, estimate, &without, TAIL)), truth),
        (studentised_median(&values, draws), truth),
        (order_statistics(&values), truth),
        (interpolated, truth),
        (Some(student(&values)), truth),
    ]
}

fn of_tail(
    blocks: &[Vec<f64>],
    pool: &Pool,
    q: f64,
    mut drawn: Vec<f64>,
    mut twice: Vec<f64>,
    draws: &[Vec<u8>],
) -> Vec<Option<Ends>> {
    let [estimate] = pool.quantiles(&vec![1; blocks.len()], [q]);
    vec![
        Some(percentile(&mut drawn, TAIL)),
        Some(bca(&mut drawn, estimate, &pool.without(q), TAIL)),
        Some(percentile(&mut twice, TAIL)),
        studentised_share(blocks, pool, q, draws),
        Some(woodruff(blocks, pool, q)),
    ]
}

pub fn row(name: &str, cells: impl IntoIterator<Item = String>) {
    println!("| {name} | {} |", cells.into_iter().collect::<Vec<_>>().join(" | "));
}

pub fn head(name: &str, columns: &[impl ToString]) {
    println!();
    row(name, columns.iter().map(ToString::to_string));
    println!("|---|{}", "---|".repeat(columns.len()));
}

fn percent(of_hundred: f64) -> String {
    format!("{of_hundred:.0}")
}

#[test]
#[ignore = "prints the tables of the documents: minutes"]
fn every_candidate() {
    // Two threads: one takes the worlds from the front, the other from the back.
    let all: Vec<Vec<Vec<u32>>> = std::thread::scope(|scope| {
        let of = |worlds: &'static [World]| {
            let one = |world: &World| COUNTS.map(|count| covered(world, count)).to_vec();
            scope.spawn(move || worlds.iter().map(one).collect::<Vec<_>>())
        };
        let (front, back) = WORLDS.split_at(WORLDS.len() / 2 + 2);
        [of(front), of(back)].into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    let span = |candidate: usize, count: usize| {
        let shares = all.iter().map(|world| 100.0 * f64::from(world[count][candidate]) / SETS as f64);
        let (low, high) = shares.fold((100.0, 0.0), |(l, h), s| (s.min(l), s.max(h)));
        if high == 0.0 { "–".into() } else { format!("{low:.0}–{high:.0}") }
    };
    let tables: [(&str, &[&str]); 3] = [("median", &OF_MEDIAN), ("p90", &OF_TAIL), ("p99", &OF_TAIL)];
    let mut candidate = 0;
    for (name, names) in tables {
        head(name, &COUNTS);
        for name in names {
            row(name, (0..COUNTS.len()).map(|count| span(candidate, count)));
            candidate += 1;
        }
    }
}

#[test]
#[ignore = "prints the tables of the documents"]
fn what_is_printed() {
    let counts = [6, 8, 12, 20, 40];
    head("median, by cell", &counts);
    for world in &WORLDS {
        let truth = world.truth().median;
        row(world.name, counts.map(|n| coverage(world, n, truth, median).map_or("–".into(), percent)));
    }
    head("p90, by cell", &[36, 40]);
    for world in &WORLDS {
        let truth = world.truth().p90;
        row(world.name, [36, 40].map(|n| coverage(world, n, truth, p90).map_or("–".into(), percent)));
    }
    let sides = [4, 8, 12, 20, 40];
    head("ratio, blocks a side", &sides);
    for world in &WORLDS {
        row(world.name, sides.map(|n| percent(ratio_coverage(world, world, n))));
    }
    row("normal, the new side heavy-tailed", sides.map(|n| percent(ratio_coverage(&WORLDS[1], &WORLDS[3], n))));
}

/// Blocks until the interval is narrower than ±3 %, from 8 and up to 40, as a run makes them: does the interval at
/// which it stops still cover?
#[test]
#[ignore = "prints the tables of the documents"]
fn stopping_when_it_is_precise() {
    println!("\n| blocks until ±3 % | coverage | blocks, mean |\n|---|---|---|");
    for world in &WORLDS {
        let truth = world.truth().median;
        let (mut covered, mut spent) = (0, 0);
        for set in 0..SETS {
            let values = medians(&blocks(world, 40, set));
            let precise = |n: &usize| {
                let precision = Estimate::of_blocks(&values[..*n]).and_then(metric::precision);
                precision.is_some_and(|p| p <= 0.03)
            };
            let stop = (8..40).find(precise).unwrap_or(40);
            let (low, high) = Estimate::of_blocks(&values[..stop]).and_then(|e| e.spread).expect("an interval").ends();
            covered += u32::from(low <= truth && truth <= high);
            spent += stop;
        }
        let [coverage, mean] = [100.0 * f64::from(covered), spent as f64].map(|sum| sum / SETS as f64);
        row(world.name, [percent(coverage), format!("{mean:.1}")]);
    }
}

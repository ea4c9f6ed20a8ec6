//! Does the interval of a difference cover the truth, where one side scatters many times as much as the other and has
//! fewer blocks: a container against the bare engine?

use crate::tables::{head, row};
use crate::world::{SETS, WORLDS, World, blocks, medians};
use isobench_stats::ratio::ratio;
use isobench_stats::{Estimate, Spread};

/// Blocks of the base and of the new side.
const SIDES: [(usize, usize); 5] = [(6, 6), (8, 8), (20, 20), (40, 8), (8, 40)];

/// How many times as large the new side's values are, and so their scatter.
const TIMES: [f64; 2] = [1.5, 50.0];

type Ends = Option<(f64, f64)>;

fn of_medians(base: &[f64], new: &[f64]) -> Ends {
    match Estimate::of_blocks(new)?.minus(Estimate::of_blocks(base)?).spread {
        Some(Spread::Interval { low, high }) => Some((low, high)),
        _ => None,
    }
}

/// The interval of the rank-sum test (Moses): that of the ratio, of the exponentials.
fn rank_sum(base: &[f64], new: &[f64]) -> Ends {
    let exp = |values: &[f64]| values.iter().map(|v| v.exp()).collect::<Vec<f64>>();
    ratio(&exp(base), &exp(new))?.interval.map(|(low, high)| (low.ln(), high.ln()))
}

/// In how many of 100 data sets the interval covers the truth; `median` is the world's.
fn coverage(
    (world, median): (&World, f64),
    (base, new): (usize, usize),
    times: f64,
    ends: impl Fn(&[f64], &[f64]) -> Ends,
) -> f64 {
    let truth = median * (times - 1.0);
    let covers = |set: &u64| {
        let larger: Vec<f64> = medians(&blocks(world, new, *set + SETS)).iter().map(|v| v * times).collect();
        let found = ends(&medians(&blocks(world, base, *set)), &larger);
        found.is_some_and(|(low, high)| low <= truth && truth <= high)
    };
    100.0 * (0..SETS).filter(covers).count() as f64 / SETS as f64
}

#[test]
fn the_interval_of_a_difference_covers_whichever_side_scatters_more() {
    for world in &WORLDS[..5] {
        let median = world.truth().median;
        for sides in SIDES {
            let found = coverage((world, median), sides, 50.0, of_medians);
            assert!(found >= 92.0, "{}, {sides:?} blocks: {found} %", world.name);
        }
    }
    assert_eq!(of_medians(&[1.0; 5], &[1.0; 40]), None, "no interval is claimed");
}

#[test]
#[ignore = "prints the tables of the documents"]
fn both_intervals_of_a_difference() {
    type Candidate = fn(&[f64], &[f64]) -> Ends;
    let candidates: [(&str, Candidate); 2] = [("rank-sum test", rank_sum), ("**from both medians**", of_medians)];
    let worlds = WORLDS.map(|world| (world, world.truth().median));
    let sides = SIDES.map(|(base, new)| format!("{base} and {new}"));
    head("difference, blocks of base and new", &sides);
    for times in TIMES {
        for (name, candidate) in candidates {
            let span = |sides| {
                let found = worlds.iter().map(|(world, median)| coverage((world, *median), sides, times, candidate));
                let (low, high) = found.fold((100.0, 0.0), |(l, h), s: f64| (s.min(l), s.max(h)));
                format!("{low:.0}–{high:.0}")
            };
            row(&format!("{name}, new side {times} times as large"), SIDES.map(span));
        }
    }
}

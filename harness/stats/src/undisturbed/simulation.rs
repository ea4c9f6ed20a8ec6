//! Contention of random length around a known truth: what the selection makes of it.

use super::{BlockValues, Probe, choose};
use crate::quantile::median;
use crate::spread::{Estimate, Spread};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The probe undisturbed, nanoseconds.
const PROBE: f64 = 80_000.0;

/// How a neighbour comes and goes: mean lengths in nanoseconds, exponentially distributed, and how many times as long
/// work takes beside it.
#[derive(Clone, Copy)]
struct Neighbour {
    away: f64,
    here: f64,
    slower: f64,
}

/// Starts as a kind of cell makes them.
#[derive(Clone, Copy)]
struct Cell {
    /// Median of a start undisturbed, nanoseconds.
    start: f64,
    /// Starts of a block.
    starts: usize,
    blocks: usize,
}

/// Deviation of blocks and of the starts within one, on logarithms.
const BETWEEN: f64 = 0.02;
const WITHIN: f64 = 0.05;

/// Readings of the run's other cells, at other moments: a hundredth of those of a quick run.
const ELSEWHERE: usize = 2_000;

struct Machine {
    rng: ChaCha8Rng,
    neighbour: Neighbour,
    is_here: bool,
    left: f64,
}

impl Machine {
    fn new(seed: u64, neighbour: Neighbour) -> Machine {
        let mut machine = Machine { rng: ChaCha8Rng::seed_from_u64(seed), neighbour, is_here: false, left: 0.0 };
        machine.rest();
        machine
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.rng.random::<f64>()).ln()
    }

    /// The sum of twelve uniform variables has variance 1.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.rng.random::<f64>()).sum::<f64>() - 6.0
    }

    /// Another moment, far from the last one.
    fn rest(&mut self) {
        let Neighbour { away, here, .. } = self.neighbour;
        self.is_here = self.rng.random::<f64>() < here / (away + here);
        // What is left of an exponential time is exponential.
        self.left = self.exponential(if self.is_here { here } else { away });
    }

    /// How long this much work takes from now on.
    fn work(&mut self, mut work: f64) -> f64 {
        let mut taken = 0.0;
        loop {
            let slower = if self.is_here { self.neighbour.slower } else { 1.0 };
            if work * slower <= self.left {
                self.left -= work * slower;
                return taken + work * slower;
            }
            taken += self.left;
            work -= self.left / slower;
            self.is_here = !self.is_here;
            self.left = self.exponential(if self.is_here { self.neighbour.here } else { self.neighbour.away });
        }
    }

    /// The probe at another moment.
    fn moment(&mut self) -> u64 {
        self.rest();
        self.work(PROBE) as u64
    }

    fn block(&mut self, cell: Cell, probes: &mut Vec<u64>) -> Vec<(f64, [u64; 2])> {
        self.rest();
        let level = cell.start * (BETWEEN * self.normal()).exp();
        let mut sample = || {
            let before = self.work(PROBE) as u64;
            let start = level * (WITHIN * self.normal()).exp();
            let value = self.work(start);
            let readings = [before, self.work(PROBE) as u64];
            probes.extend(readings);
            (value, readings)
        };
        (0..cell.starts).map(|_| sample()).collect()
    }
}

/// Of the simulated runs that give a figure: how far its mean lies from the truth (relative), the share of intervals that
/// hold the truth; and the share of all runs that give one.
struct Outcome {
    bias: f64,
    coverage: f64,
    given: f64,
}

const RUNS: u32 = 400;

fn simulate(cell: Cell, neighbour: Neighbour, select: bool) -> Outcome {
    let (mut sum, mut covered, mut given) = (0.0, 0, 0);
    for run in 0..RUNS {
        let mut machine = Machine::new(run.into(), neighbour);
        let mut probes: Vec<u64> = (0..ELSEWHERE).map(|_| machine.moment()).collect();
        let drawn: Vec<_> = (0..cell.blocks).map(|_| machine.block(cell, &mut probes)).collect();
        let probe = Probe::of(&probes);
        let block = |samples: &Vec<(f64, [u64; 2])>| {
            let mut values = BlockValues::default();
            for (value, readings) in samples {
                values.push(*value, select.then(|| probe.is_undisturbed(*readings)));
            }
            values
        };
        let chosen = choose(&drawn.iter().map(block).collect::<Vec<_>>());
        if select && !chosen.contention.is_some_and(|(_, selected)| selected) {
            continue;
        }
        given += 1;
        let medians: Vec<f64> = chosen.blocks.iter().filter_map(|block| median(block)).collect();
        let estimate = Estimate::of_blocks(&medians).expect("blocks");
        sum += estimate.value / cell.start;
        if let Some(Spread::Interval { low, high }) = estimate.spread {
            covered += u32::from((low..=high).contains(&cell.start));
        }
    }
    let share = |n: f64| n / f64::from(given);
    Outcome { bias: share(sum) - 1.0, coverage: share(f64::from(covered)), given: f64::from(given) / f64::from(RUNS) }
}

const CELLS: [(&str, Cell); 3] = [
    ("7 µs, 100 starts a block", Cell { start: 7_000.0, starts: 100, blocks: 12 }),
    ("200 µs, 100 starts a block", Cell { start: 200_000.0, starts: 100, blocks: 12 }),
    ("1.4 ms, 70 starts a block", Cell { start: 1_400_000.0, starts: 70, blocks: 12 }),
];

const NEIGHBOURS: [(&str, Neighbour); 5] = [
    ("none", Neighbour { away: 1e15, here: 1.0, slower: 1.6 }),
    ("here a fifth of the time", Neighbour { away: 11e6, here: 3e6, slower: 1.6 }),
    ("here half of the time", Neighbour { away: 8e6, here: 8e6, slower: 1.6 }),
    ("here nine tenths of the time", Neighbour { away: 8e6, here: 72e6, slower: 1.6 }),
    ("here half of the time, for seconds", Neighbour { away: 1e9, here: 1e9, slower: 1.6 }),
];

/// `cargo test --release -p isobench-stats undisturbed -- --nocapture` prints the table of docs/METHODOLOGY.md.
#[test]
fn undisturbed_figures_are_the_truth_and_those_of_all_samples_are_not() {
    println!("| starts | neighbour | all samples: bias, coverage | undisturbed: bias, coverage | given |");
    for (cell_name, cell) in CELLS {
        for (name, neighbour) in NEIGHBOURS {
            let (all, chosen) = (simulate(cell, neighbour, false), simulate(cell, neighbour, true));
            println!(
                "| {cell_name} | {name} | {:+.1} %, {:.0} % | {:+.2} %, {:.0} % | {:.0} % |",
                all.bias * 100.0,
                all.coverage * 100.0,
                chosen.bias * 100.0,
                chosen.coverage * 100.0,
                chosen.given * 100.0
            );
            assert!(chosen.bias.abs() < 0.01, "{cell_name}, {name}: bias {:+.2} %", chosen.bias * 100.0);
            // 95 % are promised; of 400 runs the share itself is known to ±2 %.
            assert!(chosen.coverage > 0.92, "{cell_name}, {name}: coverage {:.1} %", chosen.coverage * 100.0);
        }
    }
}

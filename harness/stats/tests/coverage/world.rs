//! Made-up cells whose truth is known: what their blocks look like, and data sets drawn from them.

use isobench_stats::quantile::{Pool, median, quantile};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::f64::consts::TAU;

/// A kind of cell, of which each block is a level times what varies within.
#[derive(Debug, Clone, Copy)]
pub struct World {
    pub name: &'static str,
    /// Level of a block, around 1.
    level: Level,
    within: Within,
    /// Samples a block.
    samples: Samples,
}

#[derive(Debug, Clone, Copy)]
enum Level {
    /// Normal with this standard deviation.
    Normal(f64),
    /// exp of Student's t with 2 degrees of freedom, times this.
    HeavyTailed(f64),
    /// 1, or in this share of blocks 1.3 (one core or two), and 1 % of noise.
    Bimodal(f64),
}

#[derive(Debug, Clone, Copy)]
enum Within {
    Normal(f64),
    /// exp of a normal with this standard deviation: a tail to the right.
    LogNormal(f64),
    /// Normal 2 %; a share of the samples, which differs from block to block and is 3 % on average, takes 1.5 to 3
    /// times as long.
    Stalls,
}

#[derive(Debug, Clone, Copy)]
enum Samples {
    Each(usize),
    /// Between these, evenly on a logarithmic scale.
    Uneven(f64, f64),
}

/// The cells that every interval is tried on.
pub const WORLDS: [World; 9] = {
    use {
        Level::{Bimodal, HeavyTailed, Normal},
        Samples::{Each, Uneven},
        Within::{LogNormal, Stalls},
    };
    const fn world(name: &'static str, level: Level, within: Within, samples: Samples) -> World {
        World { name, level, within, samples }
    }
    [
        world("normal 3 %, within 5 %, 20 a block", Normal(0.03), Within::Normal(0.05), Each(20)),
        world("normal 3 %, within 1 %, 20 a block", Normal(0.03), Within::Normal(0.01), Each(20)),
        world("normal 3 %, lognormal 30 % within, 20 a block", Normal(0.03), LogNormal(0.3), Each(20)),
        world("heavy-tailed, within 1 %, 20 a block", HeavyTailed(0.03), Within::Normal(0.01), Each(20)),
        world("bimodal, within 2 %, 20 a block", Bimodal(0.3), Within::Normal(0.02), Each(20)),
        world("normal 3 %, lognormal 10 % within, 2 to 500 a block", Normal(0.03), LogNormal(0.1), Uneven(2.0, 500.0)),
        world("normal 3 %, within 5 %, 1 a block", Normal(0.03), Within::Normal(0.05), Each(1)),
        world("normal 3 %, lognormal 30 % within, 200 a block", Normal(0.03), LogNormal(0.3), Each(200)),
        world("normal 3 %, stalls, 200 a block", Normal(0.03), Stalls, Each(200)),
    ]
};

/// Data sets of one kind.
pub const SETS: u64 = 1000;

/// One data set: each block sorted. The same numbers, the same data.
pub fn blocks(world: &World, count: usize, set: u64) -> Vec<Vec<f64>> {
    let place = WORLDS.iter().position(|w| w.name == world.name).unwrap_or(WORLDS.len()) as u64;
    let mut rng = rng(place << 48 | (count as u64) << 32 | set);
    (0..count).map(|_| world.block(&mut rng)).collect()
}

/// The value of each block.
pub fn medians(blocks: &[Vec<f64>]) -> Vec<f64> {
    blocks.iter().map(|block| quantile(block, 0.5)).collect()
}

/// What the intervals should cover.
#[derive(Debug, Clone, Copy)]
pub struct Truth {
    /// Of the medians of all blocks that there could be.
    pub median: f64,
    /// Of all samples that there could be, blocks weighing alike.
    pub pooled_median: f64,
    pub p90: f64,
    pub p99: f64,
}

/// The generator of this number.
pub fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// A standard normal (Box and Muller 1958).
pub fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
    (-2.0 * u.ln()).sqrt() * (TAU * v).cos()
}

impl World {
    /// From many blocks, whose own error is a fourteenth of that of 40 blocks.
    pub fn truth(&self) -> Truth {
        let blocks = blocks(self, 8000, SETS);
        let pool = Pool::new(&blocks).expect("blocks");
        let [pooled_median, p90, p99] = [0.5, 0.9, 0.99].map(|q| pool.quantile(q));
        Truth { median: median(&medians(&blocks)).expect("blocks"), pooled_median, p90, p99 }
    }

    fn block(&self, rng: &mut ChaCha8Rng) -> Vec<f64> {
        let count = match self.samples {
            Samples::Each(count) => count,
            Samples::Uneven(low, high) => (low * (high / low).powf(rng.random())).round() as usize,
        };
        let level = match self.level {
            Level::Normal(sd) => 1.0 + sd * normal(rng),
            Level::HeavyTailed(scale) => (scale * normal(rng) / (1.0 - rng.random::<f64>()).ln().abs().sqrt()).exp(),
            Level::Bimodal(share) => f64::from(u8::from(rng.random_bool(share))).mul_add(0.3, 1.0) + 0.01 * normal(rng),
        };
        // The mean of a cubed uniform number is a quarter.
        let stalls = 0.12 * rng.random::<f64>().powi(3);
        let mut block: Vec<f64> = (0..count)
            .map(|_| {
                level
                    * match self.within {
                        Within::Normal(sd) => 1.0 + sd * normal(rng),
                        Within::LogNormal(sd) => (sd * normal(rng)).exp(),
                        Within::Stalls => {
                            let stall = if rng.random_bool(stalls) { 1.5 * (1.0 + rng.random::<f64>()) } else { 1.0 };
                            stall * (1.0 + 0.02 * normal(rng))
                        }
                    }
            })
            .collect();
        block.sort_unstable_by(f64::total_cmp);
        block
    }
}

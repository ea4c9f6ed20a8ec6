//! Which samples were undisturbed, decided from the contention probe alone and never from the measured value.
//!
//! The runner times a probe, the same work always, directly before and after each start, each stretch of warm calls and
//! each stretch of a closed loop. Whatever takes execution units of the core away makes the probe slower. A sample counts
//! as undisturbed if both probes around it took at most [`PROBE_LIMIT`] longer than the run's undisturbed probe
//! ([`REFERENCE_QUANTILE`]). A figure is that of the undisturbed samples where enough blocks have some ([`choose`]); the
//! share of them and the figure of all samples stand beside it. Otherwise it is the figure of all samples, and says so.
//!
//! `undisturbed/simulation.rs` simulates contention of random length around a known truth, with and without this selection.

use crate::accumulate::{Rate, Run, Series};
use crate::quantile::{quantile, sorted};
use crate::spread::{Estimate, INTERVAL_BLOCKS};
use isobench_core::record::Stretch;
use serde::Serialize;

/// Most that a probe may take longer than the undisturbed one. On a quiet machine nine in ten readings lie within 0.1 %
/// of the fastest; a neighbour on the other hardware thread makes the probe 15 to 60 % slower, an interrupt (over 2 µs of
/// its 80) 3 % and more. Between the two the limit matters little.
pub const PROBE_LIMIT: f64 = 0.06;

/// The undisturbed probe is this quantile of all readings of a run: 1 in 100, so that a machine that is disturbed nine
/// tenths of the time still gives it, and a few readings at a frequency that did not last do not. A reference that is too
/// fast rejects samples, which the report says; one that is too slow takes disturbed samples for undisturbed ones.
pub const REFERENCE_QUANTILE: f64 = 0.01;

/// Fewest undisturbed samples that a block's own median is taken from, where the block has as many samples: the median of
/// fewer is moved at will by a neighbour that came and went between the probes.
pub const BLOCK_SAMPLES: usize = 3;

/// What is undisturbed in a run.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Probe {
    /// How long the undisturbed probe takes, nanoseconds; absent where the run has no readings.
    pub undisturbed_ns: Option<f64>,
}

impl Probe {
    /// What the readings of a run show together.
    pub fn of(readings: &[u64]) -> Probe {
        let readings: Vec<f64> = readings.iter().map(|ns| *ns as f64).collect();
        let reference = (!readings.is_empty()).then(|| quantile(&sorted(&readings), REFERENCE_QUANTILE));
        Probe { undisturbed_ns: reference.filter(|ns| *ns > 0.0) }
    }

    /// Whether a sample between these two readings was undisturbed.
    pub fn is_undisturbed(self, readings: [u64; 2]) -> bool {
        let limit = self.undisturbed_ns.unwrap_or(0.0) * (1.0 + PROBE_LIMIT);
        readings.iter().all(|ns| *ns as f64 <= limit)
    }
}

/// What contention did to a measure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Contention {
    /// Share of the samples that were undisturbed.
    pub undisturbed: f64,
    /// Whether the measure's figures are those of the undisturbed samples alone; else too few blocks had any.
    pub selected: bool,
    /// The median of all samples, disturbed or not.
    pub all: Estimate,
}

/// One block's values of one metric, in the order they were taken.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BlockValues<T = f64> {
    pub all: Vec<T>,
    /// Whether each was undisturbed; absent where it was not probed.
    probed: Vec<Option<bool>>,
}

impl<T> Default for BlockValues<T> {
    fn default() -> BlockValues<T> {
        BlockValues { all: Vec::new(), probed: Vec::new() }
    }
}

impl<T: Copy> BlockValues<T> {
    /// Takes one more value.
    pub fn push(&mut self, value: T, undisturbed: Option<bool>) {
        self.all.push(value);
        self.probed.push(undisturbed);
    }

    /// The values from the index `begin` on.
    pub fn from(&self, begin: usize) -> BlockValues<T> {
        BlockValues { all: self.all[begin..].to_vec(), probed: self.probed[begin..].to_vec() }
    }

    fn undisturbed(&self) -> impl Iterator<Item = T> {
        self.all.iter().zip(&self.probed).filter(|(_, probed)| **probed == Some(true)).map(|(value, _)| *value)
    }

    /// Whether enough of it was undisturbed for a median of its own.
    fn contributes(&self) -> bool {
        !self.all.is_empty() && self.undisturbed().count() >= BLOCK_SAMPLES.min(self.all.len())
    }
}

/// The blocks of a series, each with its values in the order they were taken.
pub(crate) fn blocks(series: &Series, probe: Probe) -> Vec<BlockValues> {
    blocks_with(series, probe, |_, run| run.probe_ns)
}

/// The same where `probe_of` knows which readings hold for a run of a block.
pub(crate) fn blocks_with(
    series: &Series,
    probe: Probe,
    probe_of: impl Fn(u32, &Run) -> Option<[u64; 2]>,
) -> Vec<BlockValues> {
    let block = |(block, runs): (&u32, &Vec<Run>)| {
        let mut runs: Vec<_> = runs.iter().collect();
        runs.sort_by_key(|run| run.index);
        let mut values = BlockValues::default();
        for run in runs {
            let undisturbed = probe_of(*block, run).map(|readings| probe.is_undisturbed(readings));
            run.values.iter().for_each(|value| values.push(*value as f64, undisturbed));
        }
        values
    };
    series.iter().map(block).collect()
}

/// The values that figures are made of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Chosen<T = f64> {
    /// By block.
    pub blocks: Vec<Vec<T>>,
    /// Share of all values that is undisturbed, and whether `blocks` holds these alone; absent without probes.
    pub contention: Option<(f64, bool)>,
}

/// The undisturbed values if [`INTERVAL_BLOCKS`] blocks, or all of fewer, have [`BLOCK_SAMPLES`] of them; else all.
pub(crate) fn choose<T: Copy>(blocks: &[BlockValues<T>]) -> Chosen<T> {
    let all = || blocks.iter().map(|block| block.all.clone()).collect();
    if blocks.iter().flat_map(|block| &block.probed).all(Option::is_none) {
        return Chosen { blocks: all(), contention: None };
    }
    let samples: usize = blocks.iter().map(|block| block.all.len()).sum();
    let undisturbed: usize = blocks.iter().map(|block| block.undisturbed().count()).sum();
    let share = undisturbed as f64 / samples.max(1) as f64;
    let contributing: Vec<&BlockValues<T>> = blocks.iter().filter(|block| block.contributes()).collect();
    if contributing.len() >= INTERVAL_BLOCKS.min(blocks.len()) {
        let blocks = contributing.into_iter().map(|block| block.undisturbed().collect()).collect();
        return Chosen { blocks, contention: Some((share, true)) };
    }
    Chosen { blocks: all(), contention: Some((share, false)) }
}

/// Calls per second by block: of the undisturbed stretches by the same rule, else of whole visits.
pub(crate) fn choose_rates(rates: &[Rate], probe: Probe) -> (Vec<f64>, Option<(f64, bool)>) {
    let stretches = |rate: &Rate| {
        let mut block = BlockValues::default();
        rate.stretches.iter().for_each(|s| block.push(*s, Some(probe.is_undisturbed(s.probe_ns))));
        block
    };
    let Chosen { blocks, contention } = choose(&rates.iter().map(stretches).collect::<Vec<BlockValues<Stretch>>>());
    if !contention.is_some_and(|(_, selected)| selected) {
        return (rates.iter().map(|rate| rate.all).collect(), contention);
    }
    let of = |stretches: &Vec<Stretch>| {
        let sum = |of: fn(&Stretch) -> u64| stretches.iter().map(of).sum::<u64>() as f64;
        sum(|stretch| stretch.calls) * 1e9 / sum(|stretch| stretch.elapsed_ns)
    };
    (blocks.iter().map(of).collect(), contention)
}

#[cfg(test)]
mod simulation;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn block(values: &[(f64, bool)]) -> BlockValues {
        let mut block = BlockValues::default();
        values.iter().for_each(|(value, is)| block.push(*value, Some(*is)));
        block
    }

    #[test]
    fn both_readings_decide() {
        let probe = Probe::of(&[100, 100, 101, 160, 155]);
        assert_eq!(probe.undisturbed_ns, Some(100.0));
        assert!(probe.is_undisturbed([100, 106]));
        assert!(!probe.is_undisturbed([100, 107]) && !probe.is_undisturbed([107, 100]));
        assert_eq!(Probe::of(&[]), Probe::default());
        assert!(!Probe::default().is_undisturbed([1, 1]), "without a reference nothing is known");
    }

    #[test]
    fn six_blocks_or_all_of_fewer_must_have_three() {
        let quiet = block(&[(1.0, true), (2.0, true), (3.0, true), (9.0, false)]);
        let loud = block(&[(1.0, true), (2.0, true), (8.0, false), (9.0, false)]);
        let blocks = |quiet_ones, loud_ones| {
            let all: Vec<BlockValues> = std::iter::repeat_n(quiet.clone(), quiet_ones)
                .chain(std::iter::repeat_n(loud.clone(), loud_ones))
                .collect();
            choose(&all)
        };
        assert_eq!(blocks(6, 34).contention, Some((86.0 / 160.0, true)));
        assert_eq!(blocks(6, 34).blocks, vec![vec![1.0, 2.0, 3.0]; 6]);
        assert_eq!(blocks(5, 35).contention, Some((85.0 / 160.0, false)));
        assert_eq!(blocks(5, 35).blocks.len(), 40, "all of them");
        assert_eq!(blocks(2, 0).contention, Some((0.75, true)));
        assert_eq!(blocks(2, 1).contention, Some((8.0 / 12.0, false)));
        let one_start = [block(&[(5.0, true)])];
        assert_eq!(choose(&one_start).contention, Some((1.0, true)));
    }

    #[test]
    fn a_run_without_probes_keeps_all() {
        let mut old = BlockValues::default();
        old.push(1.0, None);
        assert_eq!(choose(&[old]), Chosen { blocks: vec![vec![1.0]], contention: None });
    }

    proptest! {
        /// Whatever was measured: with the same probes the same samples are chosen.
        #[test]
        fn the_measured_value_has_no_part_in_the_choice(
            quiet in prop::collection::vec(prop::collection::vec(any::<bool>(), 1..9), 1..12),
            factor in 1..1000u32,
        ) {
            let blocks = |value: &dyn Fn(usize) -> f64| -> Vec<BlockValues> {
                let one = |is: &Vec<bool>| block(&is.iter().enumerate().map(|(i, is)| (value(i), *is)).collect::<Vec<_>>());
                quiet.iter().map(one).collect()
            };
            let (plain, other) = (choose(&blocks(&|i| i as f64)), choose(&blocks(&|i| (i as f64) * f64::from(factor))));
            prop_assert_eq!(plain.contention, other.contention);
            let scaled: Vec<Vec<f64>> =
                plain.blocks.iter().map(|b| b.iter().map(|v| v * f64::from(factor)).collect()).collect();
            prop_assert_eq!(scaled, other.blocks);
        }
    }
}

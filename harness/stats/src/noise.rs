//! What went on around a cell's blocks, and when a cell is noisy. Each limit is published with its reason: a flag that
//! every row carries on an ordinary shared machine tells nothing, so a limit lies where a reader would draw another
//! conclusion. A disturbed block is counted and named, and never left out.

use crate::quantile::{median, quantile, sorted};
use isobench_core::record::BlockRecord;
use isobench_core::words::Experiment;
use serde::Serialize;
use std::ops::AddAssign;

/// Widest that the printed interval of a number may be: its upper end over its lower end. Up to there both ends lead to
/// the same conclusion about a boundary; beyond, rows that differ by half as much again cannot be told apart. The interval
/// is judged because the reader sees it. A spread of blocks with two levels depends on whether the quartiles fall into
/// one level or into two, so that two measurements of one thing often disagreed about it.
pub const WIDTH_LIMIT: f64 = 1.5;

/// Most steal time of a block, parts per million of its processor time: 5 %. Below it a median hardly moves.
pub const STEAL_LIMIT_PPM: u64 = 50_000;

/// Most that the calibration loop before or after a block may take longer than it does in the run's best quarter. The
/// loop takes about two milliseconds; even on a busy machine nine in ten readings lie within 8 % of the best, and one
/// that was interrupted, or ran on a machine that has become slower (a neighbour on the sibling thread, throttling),
/// shows 50 % and more.
pub const CALIBRATION_LIMIT: f64 = 0.2;

/// Most that the processors' mean frequency may lie below the run's median: a quarter. The mean also moves with how
/// many cores sleep at that moment, so that less would be no sign of throttling; the calibration is the finer measure.
pub const FREQUENCY_LIMIT: f64 = 0.25;

/// Highest share of a cold-start visit in which some task may wait for a processor, parts per million: 60 %. Such a
/// visit has one request in flight and two or three programs that hand it on: on two cores they wait for each other in
/// up to half of the visit and typically in an eighth, while with both cores kept busy by others some task waited in
/// 88 %. Other visits load every core themselves and wait for nobody else, so that they are not judged by it.
pub const PRESSURE_LIMIT_PPM: u64 = 600_000;

/// Others that may want a processor at both ends of a block, as a share of the machine's processors: less than half of
/// them. A task that wakes for a moment is seen at one end at most; one that is there at both was most likely there all
/// the time, and with two cores a single one takes half of what the block could have had.
pub const OTHERS_SHARE: f64 = 0.5;

/// Most of a block that a CPU quota may hold isobench back, parts per million: 1 %. A quota takes whole slices of up to a
/// tenth of a second, in which a start stands still: some of them decide the median of a short visit, and fewer the tail
/// of a long one.
pub const THROTTLED_LIMIT_PPM: u64 = 10_000;

/// Most blocks of one experiment that may be disturbed: a third. If they are all moved the same way, the median of all
/// is the 0.5/(1 − ⅓) = 75 % quantile of the others (or the 25 %): up to there it stays between their quartiles.
pub const DISTURBED_SHARE: f64 = 1.0 / 3.0;

/// What one block is held against: the run it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Reference {
    /// The calibration loop in the run's best quarter, nanoseconds: the quantile 0.25 of all readings.
    pub calibration_ns: Option<f64>,
    /// Median frequency.
    pub khz: Option<f64>,
    /// Processors that isobench may run on.
    pub processors: u32,
}

impl Reference {
    /// What the blocks of a run on so many `processors` show together.
    pub fn of<'a>(processors: u32, blocks: impl Iterator<Item = &'a BlockRecord>) -> Reference {
        let (mut calibrations, mut frequencies) = (Vec::new(), Vec::new());
        for block in blocks {
            calibrations.extend(block.calibration_ns.into_iter().flatten().map(|ns| ns as f64));
            frequencies.extend(block.khz.map(|khz| khz as f64));
        }
        let best = (!calibrations.is_empty()).then(|| quantile(&sorted(&calibrations), 0.25));
        Reference { calibration_ns: best.filter(|ns| *ns > 0.0), khz: median(&frequencies), processors }
    }

    /// How many times as long as in the best quarter the slower of a block's two calibrations took.
    fn slowness(&self, block: &BlockRecord) -> Option<f64> {
        let [before, after] = block.calibration_ns?;
        Some(before.max(after) as f64 / self.calibration_ns?)
    }

    /// One block, counted with what disturbed it.
    fn judge(&self, block: &BlockRecord) -> Tally {
        let over = |limit: bool| u32::from(limit);
        let cold_start = block.experiment == Some(Experiment::ColdStart);
        let others = |[before, after]: [u64; 2]| before.min(after) as f64 >= OTHERS_SHARE * f64::from(self.processors);
        let slow = |khz: u64| self.khz.is_some_and(|usual| (khz as f64) < usual * (1.0 - FREQUENCY_LIMIT));
        let mut tally = Tally {
            blocks: 1,
            steal: over(block.steal_ppm > STEAL_LIMIT_PPM),
            calibration: over(self.slowness(block).is_some_and(|times| times > 1.0 + CALIBRATION_LIMIT)),
            frequency: over(block.khz.is_some_and(slow)),
            pressure: over(cold_start && block.cpu_pressure_ppm.is_some_and(|ppm| ppm > PRESSURE_LIMIT_PPM)),
            others: over(block.others_runnable.is_some_and(|ends| self.processors > 0 && others(ends))),
            throttled: over(
                block.throttled_us.is_some_and(|us| us * 1_000_000 > block.wall_ns / 1000 * THROTTLED_LIMIT_PPM),
            ),
            disturbed: 0,
        };
        tally.disturbed = over(tally.reasons().next().is_some());
        tally
    }
}

/// Blocks, and how many of them were disturbed by what. A block can have several reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Tally {
    /// Blocks with a record of their circumstances.
    pub blocks: u32,
    /// Those that something disturbed.
    pub disturbed: u32,
    /// Steal time over [`STEAL_LIMIT_PPM`].
    pub steal: u32,
    /// The calibration before or after slower by over [`CALIBRATION_LIMIT`].
    pub calibration: u32,
    /// Frequency lower by over [`FREQUENCY_LIMIT`].
    pub frequency: u32,
    /// A cold-start visit with pressure over [`PRESSURE_LIMIT_PPM`].
    pub pressure: u32,
    /// Others wanted [`OTHERS_SHARE`] of the processors just before and just after.
    pub others: u32,
    /// A CPU quota held it back for over [`THROTTLED_LIMIT_PPM`].
    pub throttled: u32,
}

impl Tally {
    /// What disturbed any block, each with the number of blocks.
    pub fn reasons(&self) -> impl Iterator<Item = (&'static str, u32)> + use<> {
        let all = [
            ("steal time", self.steal),
            ("slow calibration", self.calibration),
            ("low frequency", self.frequency),
            ("pressure", self.pressure),
            ("other programs", self.others),
            ("throttled by a CPU quota", self.throttled),
        ];
        all.into_iter().filter(|(_, blocks)| *blocks > 0)
    }

    /// `5 of 12 blocks were disturbed: steal time 1, pressure 4`; `None` where none was.
    pub fn sentence(&self) -> Option<String> {
        let were = if self.disturbed == 1 { "was" } else { "were" };
        let reasons: Vec<String> = self.reasons().map(|(what, blocks)| format!("{what} {blocks}")).collect();
        (self.disturbed > 0)
            .then(|| format!("{} of {} blocks {were} disturbed: {}", self.disturbed, self.blocks, reasons.join(", ")))
    }

    /// Whether over [`DISTURBED_SHARE`] of the blocks were disturbed.
    fn is_over(&self) -> bool {
        f64::from(self.disturbed) > f64::from(self.blocks) * DISTURBED_SHARE
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.blocks += other.blocks;
        self.disturbed += other.disturbed;
        self.steal += other.steal;
        self.calibration += other.calibration;
        self.frequency += other.frequency;
        self.pressure += other.pressure;
        self.others += other.others;
        self.throttled += other.throttled;
    }
}

/// The blocks of one experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ByExperiment {
    /// The experiment; a run of schema 1 does not tell.
    pub experiment: Option<Experiment>,
    /// Its blocks.
    #[serde(flatten)]
    pub tally: Tally,
}

impl ByExperiment {
    /// Why the numbers of this experiment are noisy: over [`DISTURBED_SHARE`] of its blocks were disturbed.
    pub fn noise(&self) -> Option<String> {
        self.tally.sentence().filter(|_| self.tally.is_over())
    }
}

/// What went on around a cell's blocks.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Circumstances {
    /// Its blocks by experiment.
    pub by_experiment: Vec<ByExperiment>,
    /// Highest steal time of a block, parts per million.
    pub most_steal_ppm: u64,
    /// Highest share of a block in which a task waited for a processor, parts per million.
    pub most_pressure_ppm: Option<u64>,
    /// The slowest calibration, in multiples of that of the run's best quarter.
    pub slowest_calibration: Option<f64>,
    /// Most involuntary switches of a block per second. Context only: how many are usual depends on how many programs a
    /// boundary consists of, and where they hurt, pressure shows it.
    pub most_switches_per_s: Option<f64>,
}

impl Circumstances {
    /// The circumstances of one cell's `blocks`.
    pub fn of(blocks: &[BlockRecord], reference: &Reference) -> Circumstances {
        let mut seen = Circumstances::default();
        for block in blocks {
            let tally = reference.judge(block);
            match seen.by_experiment.iter_mut().find(|of| of.experiment == block.experiment) {
                Some(of) => of.tally += tally,
                None => seen.by_experiment.push(ByExperiment { experiment: block.experiment, tally }),
            }
            seen.most_steal_ppm = seen.most_steal_ppm.max(block.steal_ppm);
            seen.most_pressure_ppm = seen.most_pressure_ppm.max(block.cpu_pressure_ppm);
            let seconds = block.wall_ns as f64 / 1e9;
            let rate = block.involuntary_switches.filter(|_| seconds > 0.0).map(|switches| switches as f64 / seconds);
            seen.most_switches_per_s = most(seen.most_switches_per_s, rate);
            seen.slowest_calibration = most(seen.slowest_calibration, reference.slowness(block));
        }
        // Whatever order the lines came in.
        seen.by_experiment.sort_unstable_by_key(|of| of.experiment);
        seen
    }

    /// All blocks of the cell together.
    pub fn all(&self) -> Tally {
        let mut all = Tally::default();
        self.by_experiment.iter().for_each(|of| all += of.tally);
        all
    }
}

fn most(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    a.into_iter().chain(b).reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An undisturbed cold-start visit as one on two cores looks.
    fn quiet() -> BlockRecord {
        BlockRecord {
            experiment: Some(Experiment::ColdStart),
            wall_ns: 500_000_000,
            steal_ppm: 1000,
            cpu_pressure_ppm: Some(250_000),
            involuntary_switches: Some(10),
            khz: Some(3_000_000),
            calibration_ns: Some([1_000_000, 1_030_000]),
            // Something woke up at one end.
            others_runnable: Some([0, 3]),
            throttled_us: Some(5_000),
            ..BlockRecord::default()
        }
    }

    fn circumstances(blocks: &[BlockRecord]) -> Circumstances {
        Circumstances::of(blocks, &Reference::of(2, blocks.iter()))
    }

    fn noise(seen: &Circumstances) -> Option<String> {
        seen.by_experiment.iter().find_map(ByExperiment::noise)
    }

    #[test]
    fn each_limit_disturbs_a_block_by_its_name() {
        let bad = [
            ("steal time", BlockRecord { steal_ppm: 60_000, ..quiet() }),
            ("slow calibration", BlockRecord { calibration_ns: Some([1_000_000, 1_500_000]), ..quiet() }),
            ("slow calibration", BlockRecord { calibration_ns: Some([1_500_000, 1_000_000]), ..quiet() }),
            ("low frequency", BlockRecord { khz: Some(2_000_000), ..quiet() }),
            ("pressure", BlockRecord { cpu_pressure_ppm: Some(900_000), ..quiet() }),
            ("other programs", BlockRecord { others_runnable: Some([1, 2]), ..quiet() }),
            ("throttled by a CPU quota", BlockRecord { throttled_us: Some(6_000), ..quiet() }),
        ];
        for (what, block) in bad {
            let seen = circumstances(&[quiet(), block, quiet(), quiet()]).all();
            assert_eq!((seen.blocks, seen.disturbed), (4, 1), "{what}");
            assert_eq!(seen.reasons().collect::<Vec<_>>(), [(what, 1)]);
        }
        let seen = circumstances(&[quiet(), quiet()]);
        assert_eq!((seen.all().disturbed, noise(&seen)), (0, None));
        assert_eq!((seen.most_switches_per_s, seen.slowest_calibration), (Some(20.0), Some(1.03)));
    }

    #[test]
    fn a_visit_that_loads_every_core_is_not_judged_by_pressure() {
        let visit = |experiment| BlockRecord { experiment, cpu_pressure_ppm: Some(950_000), ..quiet() };
        let loaded = [Experiment::OpenLoop, Experiment::Burst, Experiment::Density, Experiment::Starts];
        for experiment in loaded.into_iter().chain([Experiment::Throughput]) {
            assert_eq!(circumstances(&[visit(Some(experiment))]).all().disturbed, 0);
        }
        // A run of schema 1 does not say which visit it was, and has neither calibration nor frequency.
        let old = |steal_ppm| BlockRecord { steal_ppm, cpu_pressure_ppm: Some(950_000), ..BlockRecord::default() };
        let seen = circumstances(&[old(0), old(400_000), old(60_000)]);
        assert_eq!((seen.all().disturbed, seen.all().steal, seen.most_steal_ppm), (2, 2, 400_000));
        assert_eq!(noise(&seen).unwrap(), "2 of 3 blocks were disturbed: steal time 2");
    }

    #[test]
    fn over_a_third_of_one_experiments_blocks_is_noisy() {
        let slow = BlockRecord { calibration_ns: Some([1_600_000; 2]), ..quiet() };
        let memory = BlockRecord { experiment: Some(Experiment::Footprint), ..quiet() };
        let third = circumstances(&[slow.clone(), quiet(), quiet()]);
        assert_eq!(noise(&third), None, "a third is not more than a third");
        // Many quiet visits of another experiment do not make up for it.
        let mut blocks = vec![slow.clone(), slow, quiet(), quiet()];
        blocks.extend(std::iter::repeat_n(memory, 20));
        let seen = circumstances(&blocks);
        assert_eq!(noise(&seen).unwrap(), "2 of 4 blocks were disturbed: slow calibration 2");
        assert_eq!((seen.all().blocks, seen.all().disturbed), (24, 2));
    }

    #[test]
    fn the_best_quarter_of_the_run_is_the_reference() {
        // Two thirds of the run were slow: they are disturbed, and not the rest fast.
        let slow = BlockRecord { calibration_ns: Some([1_500_000; 2]), ..quiet() };
        let seen = circumstances(&[slow.clone(), quiet(), slow.clone(), slow.clone(), quiet(), slow]);
        assert_eq!((seen.all().calibration, seen.all().disturbed), (4, 4));
        assert_eq!(Reference::of(0, [].iter()), Reference::default());
    }

    #[test]
    fn tallies_add_up_to_a_sentence() {
        let mut run = circumstances(&[quiet(), BlockRecord { steal_ppm: 60_000, ..quiet() }]).all();
        assert_eq!(run.sentence().unwrap(), "1 of 2 blocks was disturbed: steal time 1");
        run += circumstances(&[BlockRecord { steal_ppm: 70_000, cpu_pressure_ppm: Some(900_000), ..quiet() }]).all();
        assert_eq!(run.sentence().unwrap(), "2 of 3 blocks were disturbed: steal time 2, pressure 1");
    }

    proptest! {
        #[test]
        fn judging_is_by_ratios_and_never_drops_a_block(
            calibrations in prop::collection::vec(1_000_000..4_000_000u64, 1..30),
            factor in 1..50u64,
        ) {
            let blocks = |factor: u64| -> Vec<BlockRecord> {
                let one = |ns: &u64| BlockRecord { calibration_ns: Some([*ns * factor; 2]), ..quiet() };
                calibrations.iter().map(one).collect()
            };
            let (as_is, scaled) = (circumstances(&blocks(1)).all(), circumstances(&blocks(factor)).all());
            prop_assert_eq!(as_is, scaled);
            prop_assert_eq!(as_is.blocks as usize, calibrations.len());
            prop_assert!(as_is.disturbed <= as_is.blocks);
        }
    }
}

//! The order of a run: every planned visit once, shuffled; then round after round of what the rest of the budget can
//! pay for, the cheap visits first, until every median is known as precisely as asked.

use isobench_core::{CellId, Record};
use isobench_runner::protocol::Visit;
use isobench_stats::{Estimate, Metric, block_values, metric};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::time::Duration;

/// Blocks from which comparisons are made (intervals of medians are claimed from fewer): later rounds try to bring as many visits as possible to
/// this number before they narrow any further.
const BLOCKS_FOR_INTERVALS: u32 = 8;

/// Blocks that each visit of the first table has before any other visit has its second.
const BLOCKS_OF_FIRST_TABLE: u32 = 3;

/// One planned visit and what it has shown so far.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The cell.
    pub cell: CellId,
    /// What to do.
    pub visit: Visit,
    /// Visits of one unit are made one right after the other: the sides of an A/B run.
    pub unit: usize,
    /// It belongs to the first table of a quick run, and its processor is not emulated.
    pub first_table: bool,
    /// What a block usually takes, the unrecorded visit of its cell included.
    pub usual: Duration,
    /// Recorded blocks.
    pub blocks: u32,
    /// How long they took together.
    pub spent: Duration,
    /// It ended in a fault: not tried again.
    pub failed: bool,
    /// The value of each block, by metric.
    values: BTreeMap<Metric, Vec<f64>>,
}

impl Planned {
    /// A visit that has not been made.
    pub fn new(cell: CellId, visit: Visit, unit: usize, usual: Duration) -> Planned {
        Planned {
            cell,
            visit,
            unit,
            first_table: false,
            usual,
            blocks: 0,
            spent: Duration::ZERO,
            failed: false,
            values: BTreeMap::new(),
        }
    }

    /// Counts one block in, of a machine with so many `processors`.
    pub fn add(&mut self, records: Vec<Record>, took: Duration, processors: u32) {
        self.blocks += 1;
        self.spent += took;
        self.failed = records.iter().any(|r| r.fault().is_some());
        for (metric, value) in block_values(records, processors) {
            self.values.entry(metric).or_default().push(value);
        }
    }

    /// What one more block is expected to take. `pace` is that of the whole plan.
    pub fn cost(&self, pace: f64) -> Duration {
        self.spent.checked_div(self.blocks).unwrap_or_else(|| self.usual.mul_f64(pace))
    }

    /// Whether the median of every metric is known to within `target`, half the interval over the median.
    fn is_precise(&self, target: f64) -> bool {
        let precise =
            |values: &Vec<f64>| Estimate::of_blocks(values).and_then(metric::precision).is_some_and(|p| p <= target);
        self.blocks >= BLOCKS_FOR_INTERVALS && self.values.values().all(precise)
    }
}

/// Shuffles rounds from one recorded seed.
pub struct Schedule {
    rng: ChaCha8Rng,
    /// Half the width of a median's interval over the median, from which a visit is done.
    target: f64,
    /// Most blocks of one visit: where a target cannot be met, more would only burn the machine.
    most_blocks: u32,
}

impl Schedule {
    /// A schedule of that seed.
    pub fn new(seed: u64, target: f64, most_blocks: u32) -> Schedule {
        Schedule { rng: ChaCha8Rng::seed_from_u64(seed), target, most_blocks }
    }

    /// The next round, as indices into `planned`; empty when the plan is done or nothing more fits into `left`. The
    /// first round is everything: every cell once. As long as a visit of the first table lacks blocks, those visits are
    /// the round. Units are shuffled; the visits of one unit keep their order in one round and turn it round in the next
    /// (ABBA), so that drift within a unit cancels.
    pub fn round(&mut self, planned: &[Planned], round: u32, left: Duration) -> Vec<usize> {
        let mut units = units(planned);
        let lacks = |i: &usize| planned[*i].first_table && planned[*i].blocks < BLOCKS_OF_FIRST_TABLE;
        let of_first_table = |unit: &Vec<usize>| unit.iter().any(lacks) && !unit.iter().any(|i| planned[*i].failed);
        match round {
            0 => {}
            _ if units.iter().any(of_first_table) => units.retain(of_first_table),
            _ => self.affordable(planned, &mut units, round, left),
        }
        units.shuffle(&mut self.rng);
        if round == 0 {
            // A budget that ends within this round has the first table whole. The sort is stable.
            units.sort_by_key(|unit| !unit.iter().any(|i| planned[*i].first_table));
        }
        if round % 2 == 1 {
            units.iter_mut().for_each(|unit| unit.reverse());
        }
        units.concat()
    }

    /// Keeps the cheapest units, as many as can be brought to [`BLOCKS_FOR_INTERVALS`] within what is left.
    fn affordable(&self, planned: &[Planned], units: &mut Vec<Vec<usize>>, round: u32, left: Duration) {
        let open = |i: &usize| {
            let p = &planned[*i];
            !p.failed && p.blocks < self.most_blocks && !p.is_precise(self.target)
        };
        // A unit goes on as a whole, so that its sides have the same number of blocks; one failed side ends it.
        units.retain(|unit| unit.iter().any(open) && !unit.iter().any(|i| planned[*i].failed));
        let pace = pace(planned);
        let cost = |unit: &[usize]| unit.iter().map(|i| planned[*i].cost(pace)).sum::<Duration>();
        units.sort_by_key(|unit| (cost(unit), unit.clone()));
        let rounds = BLOCKS_FOR_INTERVALS.saturating_sub(round).max(1);
        let mut sum = Duration::ZERO;
        units.retain(|unit| {
            sum += cost(unit) * rounds;
            sum <= left
        });
    }
}

/// How much longer than usual visits have taken so far, on this machine.
pub fn pace(planned: &[Planned]) -> f64 {
    let made = planned.iter().filter(|p| p.blocks > 0);
    let (spent, usual) =
        made.fold((0.0, 0.0), |(s, u), p| (s + p.spent.as_secs_f64(), u + (p.usual * p.blocks).as_secs_f64()));
    if usual > 0.0 { spent / usual } else { 1.0 }
}

/// What the visits that have not been made are expected to take.
pub fn expected_left(planned: &[Planned]) -> Duration {
    let pace = pace(planned);
    planned.iter().filter(|p| p.blocks == 0 && !p.failed).map(|p| p.cost(pace)).sum()
}

/// The visits of each unit, in the order of the plan.
fn units(planned: &[Planned]) -> Vec<Vec<usize>> {
    let mut units: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (i, p) in planned.iter().enumerate() {
        units.entry(p.unit).or_default().push(i);
    }
    units.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use isobench_core::record::Samples;
    use isobench_core::{Experiment, Unit};

    const TARGET: f64 = 0.03;

    fn planned(costs_ms: &[u64]) -> Vec<Planned> {
        let visit = Visit::ColdStart { starts: 1.into(), warm: None };
        let with_cost = |(i, &ms): (usize, &u64)| Planned {
            blocks: 1,
            spent: Duration::from_millis(ms),
            ..Planned::new(0, visit.clone(), i, Duration::ZERO)
        };
        costs_ms.iter().enumerate().map(with_cost).collect()
    }

    fn schedule(seed: u64) -> Schedule {
        Schedule::new(seed, TARGET, 12)
    }

    #[test]
    fn the_first_round_is_everything_and_the_seed_alone_decides_its_order() {
        let plan = planned(&[1; 50]);
        let order = |seed| schedule(seed).round(&plan, 0, Duration::ZERO);
        let mut sorted = order(1);
        sorted.sort();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
    }

    #[test]
    fn later_rounds_go_to_the_cheap_ones_that_can_reach_eight_blocks() {
        let plan = planned(&[4_000, 10, 20]);
        let mut order = schedule(1).round(&plan, 1, Duration::from_secs(1));
        order.sort();
        assert_eq!(order, [1, 2]);
        assert!(schedule(1).round(&plan, 1, Duration::from_millis(5)).is_empty());
    }

    #[test]
    fn the_first_table_has_three_blocks_before_any_other_visit_has_its_second() {
        // The slowest visits are those of the first table; one of them fails.
        let mut plan = planned(&[9_000, 8_000, 10, 20, 7_000]);
        plan.iter_mut().for_each(|p| p.blocks = 0);
        for i in [0, 1, 4] {
            plan[i].first_table = true;
        }
        let mut schedule = schedule(1);
        let mut blocks = Vec::new();
        for round in 0..4 {
            let order = schedule.round(&plan, round, Duration::from_secs(1));
            order.iter().for_each(|&i| plan[i].blocks += 1);
            plan[4].failed = true;
            let mut sorted = order.clone();
            sorted.sort();
            blocks.push((sorted, order));
        }
        let rounds: Vec<&Vec<usize>> = blocks.iter().map(|(sorted, _)| sorted).collect();
        assert_eq!(rounds[0], &[0, 1, 2, 3, 4]);
        assert!(blocks[0].1[..3].iter().all(|&i| plan[i].first_table), "they come first: {:?}", blocks[0].1);
        assert_eq!([rounds[1], rounds[2]], [&vec![0, 1], &vec![0, 1]], "without the failed one");
        assert_eq!(rounds[3], &[2, 3], "then the cheap ones that can reach eight blocks");
    }

    #[test]
    fn what_is_left_goes_by_the_pace_of_what_was_made() {
        let mut plan = planned(&[200, 0, 0]);
        plan.iter_mut().for_each(|p| p.usual = Duration::from_millis(100));
        (plan[1].blocks, plan[2].blocks) = (0, 0);
        plan[2].failed = true;
        assert_eq!(pace(&plan), 2.0);
        assert_eq!(expected_left(&plan), Duration::from_millis(200));
        assert_eq!(pace(&plan[1..]), 1.0);
    }

    #[test]
    fn failed_and_finished_visits_are_left_alone() {
        let mut plan = planned(&[1, 1, 1]);
        plan[0].failed = true;
        plan[1].blocks = 12;
        assert_eq!(schedule(1).round(&plan, 3, Duration::from_secs(9)), [2]);
    }

    #[test]
    fn blocks_go_on_until_the_median_is_precise() {
        let block = |ns: u64| {
            vec![Record::Samples(Samples {
                cell: 0,
                block: 0,
                experiment: Experiment::ColdStart,
                metric: "total".into(),
                n: None,
                unit: Unit::Ns,
                index: 0,
                flags: vec![],
                probe_ns: None,
                every: None,
                values: vec![ns],
            })]
        };
        let mut plan = planned(&[1, 1]);
        for i in 0..10 {
            plan[0].add(block(1_000 + i), Duration::ZERO, 2);
            plan[1].add(block(1_000 + 100 * i), Duration::ZERO, 2);
        }
        assert_eq!(schedule(1).round(&plan, 9, Duration::from_secs(9)), [1], "the first is known to a percent");
    }

    #[test]
    fn sides_stand_together_and_change_places_every_round() {
        let mut plan = planned(&[1; 6]);
        plan.iter_mut().enumerate().for_each(|(i, p)| p.unit = i / 2);
        let mut schedule = schedule(7);
        for round in 0..4 {
            let order = schedule.round(&plan, round, Duration::from_secs(9));
            for pair in order.chunks(2) {
                let first = if round % 2 == 0 { pair[0] } else { pair[1] };
                assert!(first % 2 == 0 && pair[0] / 2 == pair[1] / 2, "{round}: {order:?}");
            }
        }
    }
}

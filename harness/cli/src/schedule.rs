//! The order of a run: every planned visit once, shuffled; then round after round of what the rest of the budget can
//! pay for, the cheap visits first.

use isobench_core::CellId;
use isobench_runner::protocol::Visit;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::time::Duration;

/// Blocks from which a summary claims intervals: later rounds try to bring as many visits as possible to this number.
const BLOCKS_FOR_INTERVALS: u32 = 8;

/// One planned visit and what it has cost so far.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The cell.
    pub cell: CellId,
    /// What to do.
    pub visit: Visit,
    /// Recorded blocks.
    pub blocks: u32,
    /// How long they took together.
    pub spent: Duration,
    /// It ended in a fault: not tried again.
    pub failed: bool,
}

impl Planned {
    /// A visit that has not been made.
    pub fn new(cell: CellId, visit: Visit) -> Planned {
        Planned { cell, visit, blocks: 0, spent: Duration::ZERO, failed: false }
    }

    /// What one more block is expected to take.
    fn cost(&self) -> Duration {
        self.spent / self.blocks.max(1)
    }
}

/// Shuffles rounds from one recorded seed.
pub struct Schedule {
    rng: ChaCha8Rng,
    /// Most blocks of one visit: more would narrow nothing that a quick look needs.
    most_blocks: u32,
}

impl Schedule {
    /// A schedule of that seed.
    pub fn new(seed: u64, most_blocks: u32) -> Schedule {
        Schedule { rng: ChaCha8Rng::seed_from_u64(seed), most_blocks }
    }

    /// The next round, as indices into `planned`; empty when the plan is done or nothing more fits into `left`. The
    /// first round is everything, whatever the budget: every cell once.
    pub fn round(&mut self, planned: &[Planned], round: u32, left: Duration) -> Vec<usize> {
        let mut order: Vec<usize> =
            if round == 0 { (0..planned.len()).collect() } else { self.affordable(planned, round, left) };
        order.shuffle(&mut self.rng);
        order
    }

    /// The cheapest visits, as many as can be brought to [`BLOCKS_FOR_INTERVALS`] within what is left.
    fn affordable(&self, planned: &[Planned], round: u32, left: Duration) -> Vec<usize> {
        let mut open: Vec<usize> =
            (0..planned.len()).filter(|&i| !planned[i].failed && planned[i].blocks < self.most_blocks).collect();
        open.sort_by_key(|&i| (planned[i].cost(), i));
        let rounds = BLOCKS_FOR_INTERVALS.saturating_sub(round).max(1);
        let mut sum = Duration::ZERO;
        open.retain(|&i| {
            sum += planned[i].cost() * rounds;
            sum <= left
        });
        open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(costs_ms: &[u64]) -> Vec<Planned> {
        let visit = Visit::ColdStart { starts: 1, warm: None };
        let with_cost =
            |&ms: &u64| Planned { blocks: 1, spent: Duration::from_millis(ms), ..Planned::new(0, visit.clone()) };
        costs_ms.iter().map(with_cost).collect()
    }

    #[test]
    fn the_first_round_is_everything_and_the_seed_alone_decides_its_order() {
        let plan = planned(&[1; 50]);
        let order = |seed| Schedule::new(seed, 12).round(&plan, 0, Duration::ZERO);
        let mut sorted = order(1);
        sorted.sort();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
    }

    #[test]
    fn later_rounds_go_to_the_cheap_ones_that_can_reach_eight_blocks() {
        let plan = planned(&[4_000, 10, 20]);
        let mut order = Schedule::new(1, 12).round(&plan, 1, Duration::from_secs(1));
        order.sort();
        assert_eq!(order, [1, 2]);
        assert!(Schedule::new(1, 12).round(&plan, 1, Duration::from_millis(5)).is_empty());
    }

    #[test]
    fn failed_and_finished_visits_are_left_alone() {
        let mut plan = planned(&[1, 1, 1]);
        plan[0].failed = true;
        plan[1].blocks = 12;
        assert_eq!(Schedule::new(1, 12).round(&plan, 3, Duration::from_secs(9)), [2]);
    }
}

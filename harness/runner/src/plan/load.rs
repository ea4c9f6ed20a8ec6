//! The load part of a plan: what each experiment beyond the closed loop does by default, by kind of cell.

use super::{Filter, is_headline};
use crate::protocol::{Density, OpenLoop, Visit};
use isobench_core::load::LoadPlan;
use isobench_core::run::Plan;
use isobench_core::{Cell, Description, Experiment};

/// Percentages of a cell's capacity that a sweep offers: under it, near it, and just over it, where a queue must grow.
pub const SWEEP: [u32; 7] = [10, 25, 50, 75, 90, 100, 110];

/// Most requests at once of a burst that sets no number.
pub const BURST: u32 = 256;

/// Most requests at once where the processor is emulated, whatever is asked: each takes seconds of a whole core.
const EMULATED_BURST: u32 = 4;

/// Numbers of starters where none are given: past the processors of the machines that this is for.
pub const STARTERS: [u32; 4] = [1, 2, 4, 8];

/// How long each number of starters goes on where nothing is said: ten seconds, in which the kernel's own housekeeping
/// (reclaim, deferred frees, timers) comes round several times; a quick look has a tenth of it.
pub const STARTS_MS: u64 = 10_000;
/// The same in a quick run.
pub const QUICK_STARTS_MS: u64 = 1_000;

/// Most starters where the processor is emulated, whatever is asked: each start takes seconds of a whole core.
const EMULATED_STARTERS: u32 = 2;

/// Most instances of a policy that sets none: more than any machine that this is for has processors, so that it is the
/// processors that end the curve.
const MOST_INSTANCES: u32 = 16;
const EMULATED_INSTANCES: u32 = 2;

/// Most live instances of a density visit: as far as a look goes, in seconds. A count that is reached is named so.
const DENSITY_IN_PROCESS: u32 = 4096;
const DENSITY_OUT_OF_PROCESS: u32 = 64;
const DENSITY_EMULATED: u32 = 4;

/// How long a burst or a density visit goes on to larger steps.
const GROWTH_MS: u64 = 30_000;
const EMULATED_GROWTH_MS: u64 = 60_000;

/// What is asked of a cell under load.
pub fn experiments(load: &LoadPlan) -> Vec<Experiment> {
    let asked = [
        (Experiment::OpenLoop, load.open_loop.is_some()),
        (Experiment::Burst, load.burst.is_some()),
        (Experiment::Density, load.density.is_some()),
        (Experiment::Starts, load.starts.is_some()),
    ];
    asked.into_iter().filter_map(|(experiment, asked)| asked.then_some(experiment)).collect()
}

/// Load goes to the small case of the headline workload, unless `--only` names another workload or case.
pub fn wants(filter: &Filter, cell: &Cell) -> bool {
    is_headline(&cell.workload, filter) && (cell.case == "small" || filter.names_case(&cell.case))
}

/// The visits that put the load on a cell: one for each policy, one for the burst, one for the density, one for the
/// starts.
pub fn visits(load: &LoadPlan, plan: &Plan, description: &Description, emulated: bool) -> Vec<Visit> {
    let open_loop = load.open_loop.iter().flat_map(|asked| {
        let most = if emulated { EMULATED_INSTANCES } else { MOST_INSTANCES };
        // A quick look supports a p99, a full one a p99.9.
        let (requests, shortest_ms, longest_ms) = if plan.quick { (100, 500, 4_000) } else { (1_000, 2_000, 15_000) };
        asked.policies.iter().map(move |&policy| {
            Visit::OpenLoop(OpenLoop {
                policy,
                rates: asked.rates.clone(),
                seed: plan.seed,
                requests,
                shortest_ms,
                longest_ms,
                most_instances: asked.most_instances.unwrap_or(most),
            })
        })
    });
    let longest_ms = if emulated { EMULATED_GROWTH_MS } else { GROWTH_MS };
    let burst = load.burst.map(|most| {
        let most = if emulated { most.min(EMULATED_BURST) } else { most };
        Visit::Burst { sizes: doubling(most), longest_ms }
    });
    let readable = description.footprint_instances > 0;
    let density = load.density.filter(|_| readable).map(|asked| {
        let count = match (description.in_process, emulated) {
            (_, true) => DENSITY_EMULATED,
            (true, false) => DENSITY_IN_PROCESS,
            (false, false) => DENSITY_OUT_OF_PROCESS,
        };
        Visit::Density(Density {
            memory_bytes: asked.memory_bytes,
            count: asked.count.unwrap_or(count).max(1),
            start: asked.start,
            longest_ms,
        })
    });
    let starts = load.starts.as_ref().map(|asked| {
        let most = if emulated { EMULATED_STARTERS } else { u32::MAX };
        let mut starters: Vec<u32> = asked.numbers.iter().map(|n| (*n).min(most)).collect();
        starters.dedup();
        Visit::Starts { starters, step_ms: asked.step_ms }
    });
    open_loop.chain(burst).chain(density).chain(starts).collect()
}

/// 1, 2, 4, … and last `most` itself.
fn doubling(most: u32) -> Vec<u32> {
    let most = most.max(1);
    (0..32).map(|power| 1 << power).take_while(|n| *n < most).chain([most]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_doubles_up_to_what_was_asked() {
        assert_eq!(doubling(1), [1]);
        assert_eq!(doubling(6), [1, 2, 4, 6]);
        assert_eq!(doubling(8), [1, 2, 4, 8]);
    }

    #[test]
    fn load_goes_to_the_headline_unless_another_is_named() {
        let cell = |workload: &str, case: &str| Cell {
            backend: "v8".into(),
            variant: "fresh".into(),
            guest: isobench_core::Guest::Js,
            engine: None,
            workload: workload.into(),
            case: case.into(),
        };
        let only =
            |only: &[&str]| Filter { only: only.iter().map(|p| p.parse().unwrap()).collect(), ..Filter::default() };
        assert!(wants(&only(&["v8/"]), &cell("echo", "small")));
        assert!(!wants(&only(&["v8/"]), &cell("echo", "large")));
        assert!(!wants(&only(&[]), &cell("json", "small")));
        assert!(wants(&only(&["/json/"]), &cell("json", "small")));
        assert!(!wants(&only(&["/json/"]), &cell("json", "large")));
        assert!(wants(&only(&["js/json/large"]), &cell("json", "large")));
    }
}

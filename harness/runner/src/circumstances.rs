//! What goes on around a block: read just before and just after it, written down with it.

use crate::machine;
use crate::place;
use crate::stopwatch::nanos;
use isobench_core::record::BlockRecord;
use isobench_core::{CellId, Experiment};
use std::hint::black_box;
use std::time::Instant;

/// Steps of the calibration loop: a chain of multiplications, each waiting for the one before, so that neither caches
/// nor memory nor how wide the processor is have a part in it. About 2 ms at 3 GHz: long enough that a slower clock or
/// another task on the same core shows, short beside a block.
const CALIBRATION_STEPS: u64 = 1_500_000;

/// The machine just before a block.
pub(crate) struct Before {
    at_unix_ms: u64,
    begun: Instant,
    calibration_ns: u64,
    others_runnable: Option<u64>,
    steal: Option<(u64, u64)>,
    pressure_us: Option<u64>,
    switches: u64,
}

impl Before {
    pub fn read() -> Before {
        let calibration_ns = calibrate();
        Before {
            at_unix_ms: place::unix_ms(),
            calibration_ns,
            others_runnable: machine::others_runnable(),
            steal: machine::steal_ticks(),
            pressure_us: machine::cpu_pressure_us(),
            switches: machine::involuntary_switches(),
            begun: Instant::now(),
        }
    }

    /// The block has just ended, and every process of it has been waited for.
    pub fn end(self, cell: CellId, block: u32, experiment: Experiment) -> BlockRecord {
        let wall_ns = nanos(self.begun.elapsed());
        let pressure_us = machine::cpu_pressure_us().zip(self.pressure_us).map(|(now, then)| now.saturating_sub(then));
        BlockRecord {
            cell,
            block,
            experiment: Some(experiment),
            at_unix_ms: self.at_unix_ms,
            wall_ns,
            steal_ppm: steal_ppm(self.steal, machine::steal_ticks()),
            cpu_pressure_ppm: pressure_us.map(|us| us * 1_000_000_000 / wall_ns.max(1)),
            involuntary_switches: Some(machine::involuntary_switches().saturating_sub(self.switches)),
            khz: machine::khz(),
            calibration_ns: Some([self.calibration_ns, calibrate()]),
            // After the loop, so that what a block's own end leaves to do is done.
            others_runnable: self.others_runnable.zip(machine::others_runnable()).map(<[u64; 2]>::from),
        }
    }
}

/// The same work always, in nanoseconds.
fn calibrate() -> u64 {
    let begun = Instant::now();
    // Knuth's MMIX generator: any odd multiplier will do, the chain is what counts.
    let chained = (0..black_box(CALIBRATION_STEPS))
        .fold(1_u64, |x, _| x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
    black_box(chained);
    nanos(begun.elapsed())
}

fn steal_ppm(before: Option<(u64, u64)>, after: Option<(u64, u64)>) -> u64 {
    let Some(((steal0, all0), (steal1, all1))) = before.zip(after) else { return 0 };
    (steal1.saturating_sub(steal0) * 1_000_000).checked_div(all1.saturating_sub(all0)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_described_by_what_lies_between_its_ends() {
        let record = Before::read().end(3, 7, Experiment::Footprint);
        assert_eq!((record.cell, record.block, record.experiment), (3, 7, Some(Experiment::Footprint)));
        assert!(record.wall_ns > 0 && record.calibration_ns.unwrap().iter().all(|ns| *ns > 0));
    }

    #[test]
    fn steal_is_a_share_of_all_ticks() {
        assert_eq!(steal_ppm(Some((10, 1000)), Some((15, 1100))), 50_000);
        assert_eq!(steal_ppm(Some((10, 1000)), Some((10, 1000))), 0);
        assert_eq!(steal_ppm(None, Some((10, 1000))), 0);
    }
}

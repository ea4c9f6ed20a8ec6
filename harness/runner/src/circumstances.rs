//! What goes on around a block: read just before and just after it, written down with it.

use crate::cgroup::Own;
use crate::machine;
use crate::place;
use crate::probe::dependent_steps;
use crate::processors::OURS;
use crate::stopwatch::nanos;
use isobench_core::record::BlockRecord;
use isobench_core::{CellId, Experiment};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Steps of the calibration loop: a chain of shifts and multiplications, each waiting for the one before, so that
/// neither caches nor memory nor how wide the processor is have a part in it. About 2 ms at 3 GHz: long enough that one
/// timer's interrupt does not show and a slower clock or another task on the same core does, short beside a block.
const CALIBRATION_STEPS: u64 = 1_200_000;

/// What one end of a block shows of the machine.
struct End {
    calibration_ns: u64,
    others_runnable: Option<u64>,
}

impl End {
    /// The calibration loop, and the fewest others that were seen runnable before and after it: who is there both times
    /// did not just wake for a moment.
    fn read() -> End {
        let before = OURS.others_runnable();
        let calibration_ns = calibrate();
        End { calibration_ns, others_runnable: before.min(OURS.others_runnable()) }
    }
}

/// The machine just before a block.
pub(crate) struct Before {
    at_unix_ms: u64,
    begun: Instant,
    end: End,
    steal: Option<(u64, u64)>,
    pressure_us: Option<u64>,
    switches: u64,
    own: Own,
    throttled: Option<Duration>,
}

impl Before {
    pub fn read() -> Before {
        let (end, own) = (End::read(), Own::find());
        Before {
            at_unix_ms: place::unix_ms(),
            end,
            steal: OURS.steal_ticks(),
            pressure_us: OURS.pressure_us(),
            switches: machine::involuntary_switches(),
            throttled: own.throttled(),
            own,
            begun: Instant::now(),
        }
    }

    /// The block has just ended, and every process of it has been waited for.
    /// So many processors were kept `awake` meanwhile.
    pub fn end(self, cell: CellId, block: u32, experiment: Experiment, awake: Option<u32>) -> BlockRecord {
        let wall_ns = nanos(self.begun.elapsed());
        let pressure_us = OURS.pressure_us().zip(self.pressure_us).map(|(now, then)| now.saturating_sub(then));
        let (steal_ppm, khz) = (steal_ppm(self.steal, OURS.steal_ticks()), OURS.khz());
        let throttled = self.own.throttled().zip(self.throttled).map(|(now, then)| now.saturating_sub(then));
        let involuntary_switches = Some(machine::involuntary_switches().saturating_sub(self.switches));
        let end = End::read();
        BlockRecord {
            cell,
            block,
            experiment: Some(experiment),
            at_unix_ms: self.at_unix_ms,
            wall_ns,
            steal_ppm,
            cpu_pressure_ppm: pressure_us.filter(|_| awake.is_none()).map(|us| us * 1_000_000_000 / wall_ns.max(1)),
            involuntary_switches,
            khz,
            calibration_ns: Some([self.end.calibration_ns, end.calibration_ns]),
            others_runnable: self.end.others_runnable.zip(end.others_runnable).map(<[u64; 2]>::from),
            throttled_us: throttled.map(|time| time.as_micros() as u64),
            awake,
        }
    }
}

/// The same work always, in nanoseconds.
fn calibrate() -> u64 {
    let begun = Instant::now();
    black_box(dependent_steps(1, black_box(CALIBRATION_STEPS)));
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
        let record = Before::read().end(3, 7, Experiment::Footprint, None);
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

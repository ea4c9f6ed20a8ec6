//! Starts by a rising number of starters: how many a second, and how long one takes.

use crate::load::Reached;
use crate::quantile::{LEVELS, samples_needed};
use crate::spread::Estimate;
use crate::summary::Latency;
use hdrhistogram::Histogram;
use isobench_core::record::{StartMode, Starts};
use serde::Serialize;
use std::collections::BTreeMap;

/// What one cell showed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Starters {
    /// Together before beside, each by rising number of starters.
    pub points: Vec<StartersPoint>,
    /// The tail that points are compared by: the highest of the quantiles up to the p99 that every point supports.
    pub tail: f64,
    /// What ended it.
    pub bound: Option<Reached>,
}

/// One number of starters in one mode.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StartersPoint {
    /// Whether all are timed, or one beside the others.
    pub mode: StartMode,
    /// Starters at work.
    pub n: u32,
    /// Instances started, answered and stopped a second by all of them: median over blocks.
    pub rate: Estimate,
    /// The rate over `n` times that of one starter in the same block, all working together: 1 is linear. Median over
    /// blocks; absent beside others, and where one starter alone was not measured.
    pub efficiency: Option<Estimate>,
    /// From just before `start` to the first correct answer, of the timed starts of all blocks.
    pub start: Latency,
    /// Their teardowns.
    pub destroy: Latency,
    /// Starts of all starters.
    pub starts: u64,
    /// Blocks.
    pub blocks: u32,
}

impl Starters {
    /// The points of one mode, by rising number of starters.
    pub fn of(&self, mode: StartMode) -> impl Iterator<Item = &StartersPoint> {
        self.points.iter().filter(move |point| point.mode == mode)
    }

    /// The point of a number of starters.
    pub fn at(&self, mode: StartMode, n: u32) -> Option<&StartersPoint> {
        self.of(mode).find(|point| point.n == n)
    }

    /// The number of starters, working together, with the most starts a second.
    pub fn best(&self) -> Option<&StartersPoint> {
        self.of(StartMode::Together).max_by(|a, b| a.rate.value.total_cmp(&b.rate.value))
    }
}

/// What one cell left.
#[derive(Debug, Default)]
pub(crate) struct StartersData(BTreeMap<(StartMode, u32), Visits>);

/// The visits of one number of starters.
#[derive(Debug)]
struct Visits {
    /// Starts per second by block.
    rates: BTreeMap<u32, f64>,
    starts: u64,
    start: Histogram<u64>,
    destroy: Histogram<u64>,
}

impl StartersData {
    pub fn add(&mut self, visit: Starts) -> Result<(), String> {
        if visit.elapsed_ns == 0 {
            return Err("it took no time".into());
        }
        let [start, destroy] =
            [crate::accumulate::decoded(&visit.hdr)?, crate::accumulate::decoded(&visit.destroy_hdr)?];
        let rate = visit.starts as f64 * 1e9 / visit.elapsed_ns as f64;
        match self.0.get_mut(&(visit.mode, visit.n)) {
            Some(visits) => {
                let other = |e| format!("of another range: {e}");
                visits.start.add(&start).map_err(other)?;
                visits.destroy.add(&destroy).map_err(other)?;
                visits.rates.insert(visit.block, rate);
                visits.starts += visit.starts;
            }
            None => {
                let visits = Visits { rates: [(visit.block, rate)].into(), starts: visit.starts, start, destroy };
                self.0.insert((visit.mode, visit.n), visits);
            }
        }
        Ok(())
    }

    /// The summary, with what ended the visits. `None` of nothing.
    pub fn summary(&self, bound: Option<Reached>) -> Option<Starters> {
        let points: Vec<StartersPoint> = self.0.iter().filter_map(|(key, visits)| self.point(*key, visits)).collect();
        let has = |q: f64| points.iter().all(|point| point.start.n >= samples_needed(q));
        let tail = LEVELS.iter().rev().map(|(q, _)| *q).find(|q| *q <= 0.99 && has(*q)).unwrap_or(0.5);
        (!points.is_empty()).then_some(Starters { points, tail, bound })
    }

    fn point(&self, (mode, n): (StartMode, u32), visits: &Visits) -> Option<StartersPoint> {
        let of_blocks = |values: &mut dyn Iterator<Item = f64>| Estimate::of_blocks(&values.collect::<Vec<f64>>());
        let alone = self.0.get(&(StartMode::Together, 1)).filter(|_| mode == StartMode::Together);
        let share = |(block, rate): (&u32, &f64)| Some(rate / (alone?.rates.get(block)? * f64::from(n)));
        Some(StartersPoint {
            mode,
            n,
            rate: of_blocks(&mut visits.rates.values().copied())?,
            efficiency: of_blocks(&mut visits.rates.iter().filter_map(share)),
            start: Latency::of(&visits.start),
            destroy: Latency::of(&visits.destroy),
            starts: visits.starts,
            blocks: visits.rates.len() as u32,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
    use proptest::prelude::*;

    fn hdr(ns: u64, count: u64) -> String {
        let mut histogram = Histogram::<u64>::new(3).unwrap();
        histogram.record_n(ns, count).unwrap();
        let mut bytes = Vec::new();
        V2DeflateSerializer::new().serialize(&histogram, &mut bytes).unwrap();
        base64::engine::general_purpose::STANDARD.encode(bytes)
    }

    /// A second of `n` starters in which they made so many starts, each of that time.
    fn visit(block: u32, mode: StartMode, n: u32, starts: u64, ns: u64) -> Starts {
        let timed = if mode == StartMode::Together { starts } else { starts / u64::from(n) };
        let [hdr, destroy_hdr] = [hdr(ns, timed), hdr(ns / 10, timed)];
        Starts { cell: 0, block, n, mode, starts, elapsed_ns: 1_000_000_000, hdr, destroy_hdr }
    }

    fn data(visits: Vec<Starts>) -> StartersData {
        let mut data = StartersData::default();
        visits.into_iter().for_each(|visit| data.add(visit).unwrap());
        data
    }

    #[test]
    fn rates_efficiency_and_tails_are_those_of_the_blocks() {
        use StartMode::{Beside, Together};
        let visits = vec![
            visit(1, Together, 1, 1_000, 900_000),
            visit(1, Together, 4, 2_000, 1_900_000),
            visit(2, Together, 1, 2_000, 450_000),
            visit(2, Together, 4, 4_000, 950_000),
            visit(2, Beside, 4, 360, 5_000_000),
        ];
        let starters = data(visits).summary(None).unwrap();
        let four = starters.best().unwrap();
        // Each block against its own single starter: the blocks differ by two, the share in neither.
        assert_eq!((four.n, four.rate.value, four.efficiency.unwrap().value), (4, 3_000.0, 0.5));
        assert_eq!((four.starts, four.blocks, four.start.n), (6_000, 2, 6_000));
        assert_eq!(starters.at(Together, 1).unwrap().efficiency.unwrap().value, 1.0);
        let beside = starters.at(Beside, 4).unwrap();
        assert_eq!((beside.efficiency, beside.start.n, beside.start.p99), (None, 90, None));
        // 90 starts beside others have no p99, so none is compared by it.
        assert_eq!(starters.tail, 0.9);
        assert!(data(vec![]).summary(None).is_none());
    }

    #[test]
    fn what_does_not_decode_is_refused() {
        let mut data = StartersData::default();
        let broken = Starts { hdr: "none".into(), ..visit(1, StartMode::Together, 1, 10, 10) };
        assert!(data.add(broken).unwrap_err().contains("not a histogram"));
        let instant = Starts { elapsed_ns: 0, ..visit(1, StartMode::Together, 1, 10, 10) };
        assert!(data.add(instant).is_err());
    }

    proptest! {
        /// Starters that do not disturb each other at all are linear, whatever the blocks' own speed.
        #[test]
        fn undisturbed_is_linear(speeds in prop::collection::vec(100u64..100_000, 1..12), n in 2u32..64) {
            let visits = speeds.iter().enumerate().flat_map(|(block, starts)| {
                let of = |n: u32| visit(block as u32, StartMode::Together, n, starts * u64::from(n), 1_000);
                [of(1), of(n)]
            });
            let starters = data(visits.collect()).summary(None).unwrap();
            let efficiency = starters.at(StartMode::Together, n).unwrap().efficiency.unwrap().value;
            prop_assert!((efficiency - 1.0).abs() < 1e-9, "{efficiency}");
        }
    }
}

//! Load beyond the closed loop: latency against rate with its knee, bursts, density.

use crate::quantile::{LEVELS, median, samples_needed};
use crate::spread::Estimate;
use crate::summary::Latency;
use hdrhistogram::Histogram;
use isobench_core::record::{BURST, Bound, BoundBy, DENSITY, Load, Policy};
use isobench_core::words::Experiment;
use serde::Serialize;
use std::collections::BTreeMap;

/// A rate is kept where answers come at least this often, as a share of the arrivals' own rate. Under 1, because first
/// and last latency differ, which with a hundred requests moves the rate of the answers by a few percent.
pub const KEEPS_UP: f64 = 0.95;

/// A rate is over the knee where its tail latency is over so many times the lowest of the curve. In the simplest queue
/// (M/M/1) the time from arrival to answer is exponential with mean 1/(μ−λ) (Kleinrock, "Queueing Systems", volume 1,
/// 1975, chapter 5), so every quantile is 1/(1−load) times that of an idle server, and five times is a load of 80 %:
/// beyond it a few percent more load double the latency.
pub const KNEE: f64 = 5.0;

/// One cell under one policy, by rising rate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoadCurve {
    /// How instances lived.
    pub policy: Policy,
    /// The rates.
    pub points: Vec<LoadPoint>,
    /// The tail that the knee is told by: the highest of the supported quantiles that every point has.
    pub tail: f64,
    /// Up to which rate it holds.
    pub knee: Knee,
}

/// Up to which rate a curve holds: answers keep up with arrivals ([`KEEPS_UP`]), none is given up, and the tail latency
/// stays under [`KNEE`] times its lowest value. Counted from the point with the lowest tail upwards, because an instance
/// that is kept alive is cold at low rates.
///
/// A stated limit and not Kneedle (Satopää et al., "Finding a 'Kneedle' in a Haystack", 2011): that looks for the point
/// farthest from the chord of the curve, which moves with the highest rate that was offered, and a sweep of seven noisy
/// points has no smooth curve to look at.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Knee {
    /// Under the lowest rate.
    Below,
    /// At the point of that index, the last that holds.
    At(usize),
    /// Over the highest rate.
    Beyond,
}

/// One rate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoadPoint {
    /// In percent of the cell's capacity, where the rate was set so.
    pub percent: Option<u32>,
    /// Requests per second that were to arrive: median over blocks.
    pub rate: f64,
    /// Answers per second, between the first and the last: median over blocks.
    pub achieved: Option<Estimate>,
    /// Answers per second over arrivals per second: median over blocks.
    pub kept: Option<f64>,
    /// From the intended start to the answer, of all blocks together.
    pub latency: Latency,
    /// Requests that arrived.
    pub offered: u64,
    /// Share of the answered that were sent late, because every instance was busy.
    pub late: f64,
    /// Share of the arrived that were given up.
    pub dropped: f64,
    /// Share of the answered that waited for a start of their own.
    pub cold: f64,
    /// Most instances alive at once.
    pub most_instances: u32,
    /// 99th percentile of how late the generator itself was, in the worst block: part of every latency.
    pub generator_p99: u64,
    /// Blocks.
    pub blocks: u32,
}

/// Requests at once against nothing running.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Burst {
    /// By rising number of requests.
    pub steps: Vec<BurstStep>,
    /// What ended it.
    pub bound: Option<Reached>,
}

/// One number of requests at once; times in nanoseconds from letting them go, medians over blocks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BurstStep {
    /// Requests.
    pub n: u32,
    /// To the first answer.
    pub first: Estimate,
    /// To half of the answers.
    pub half: Estimate,
    /// To all of them.
    pub all: Estimate,
    /// Blocks.
    pub blocks: u32,
}

/// As many instances as would live side by side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Density {
    /// By rising number of live instances.
    pub steps: Vec<DensityStep>,
    /// What ended it.
    pub bound: Option<Reached>,
}

/// One number of live instances; medians over blocks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DensityStep {
    /// Live instances.
    pub n: u32,
    /// Median start of those that made up the number, nanoseconds.
    pub start: Estimate,
    /// Slowest answer when each was asked once, nanoseconds.
    pub answer: Estimate,
    /// PSS of all of them and what they share, bytes.
    pub pss: Estimate,
    /// Blocks.
    pub blocks: u32,
}

/// How far it went. Blocks may differ: this is the one that got least far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reached {
    /// Requests at once, or live instances, that went well in every block.
    pub n: u32,
    /// The same in the block that got farthest.
    pub most: u32,
    /// What bound it.
    pub by: BoundBy,
    /// The bound in words, with its value.
    pub why: String,
}

/// What one cell left under load.
#[derive(Debug, Default)]
pub(crate) struct LoadData {
    rates: BTreeMap<(Policy, Rate), Vec<Load>>,
    latencies: BTreeMap<(Policy, Rate), Histogram<u64>>,
    /// Metric and number → the value of each block.
    steps: BTreeMap<(Experiment, String, u32), Vec<f64>>,
    bounds: Vec<Bound>,
}

/// What tells one point of a curve from another: a sweep's percentage, or the rate itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rate {
    Percent(u32),
    Millihertz(u64),
}

impl LoadData {
    pub fn add_load(&mut self, load: Load) -> Result<(), String> {
        let latency = crate::accumulate::decoded(&load.hdr)?;
        let key = (load.policy, load.percent.map_or(Rate::Millihertz(load.rate_mhz), Rate::Percent));
        match self.latencies.get_mut(&key) {
            Some(sum) => sum.add(&latency).map_err(|e| format!("of another range: {e}"))?,
            None => drop(self.latencies.insert(key, latency)),
        }
        self.rates.entry(key).or_default().push(load);
        Ok(())
    }

    pub fn add_step(&mut self, experiment: Experiment, metric: String, n: u32, values: &[u64]) {
        let values = values.iter().map(|v| *v as f64);
        self.steps.entry((experiment, metric, n)).or_default().extend(values);
    }

    pub fn add_bound(&mut self, bound: Bound) {
        self.bounds.push(bound);
    }

    /// Latency against rate, one curve a policy.
    pub fn curves(&self) -> Vec<LoadCurve> {
        let mut curves: Vec<LoadCurve> = Vec::new();
        for ((policy, rate), loads) in &self.rates {
            // A visit may be too short for a single request of a low rate: that is no point.
            let arrived = loads.iter().any(|load| load.offered > 0);
            let Some(latency) = self.latencies.get(&(*policy, *rate)).filter(|_| arrived) else { continue };
            let point = point(*rate, loads, latency);
            match curves.last_mut().filter(|curve| curve.policy == *policy) {
                Some(curve) => curve.points.push(point),
                None => {
                    curves.push(LoadCurve { policy: *policy, points: vec![point], tail: 0.5, knee: Knee::Below });
                }
            }
        }
        for curve in &mut curves {
            // A sweep's rates rise with its percentages in every block, and so do their medians.
            curve.points.sort_by(|a, b| a.rate.total_cmp(&b.rate));
            (curve.tail, curve.knee) = knee(&curve.points);
        }
        curves
    }

    pub fn burst(&self) -> Option<Burst> {
        let steps = self.numbers(Experiment::Burst).filter_map(|n| {
            let of = |metric: &str| self.step(Experiment::Burst, metric, n);
            let [first, half, all] = BURST.map(of);
            let (blocks, first) = first?;
            Some(BurstStep { n, first, half: half?.1, all: all?.1, blocks })
        });
        let steps: Vec<BurstStep> = steps.collect();
        (!steps.is_empty()).then(|| Burst { steps, bound: self.reached(Experiment::Burst) })
    }

    pub fn density(&self) -> Option<Density> {
        let steps = self.numbers(Experiment::Density).filter_map(|n| {
            let of = |metric: &str| self.step(Experiment::Density, metric, n);
            let [start, answer, pss, _available] = DENSITY.map(of);
            let (blocks, start) = start?;
            Some(DensityStep { n, start, answer: answer?.1, pss: pss?.1, blocks })
        });
        let steps: Vec<DensityStep> = steps.collect();
        (!steps.is_empty()).then(|| Density { steps, bound: self.reached(Experiment::Density) })
    }

    fn numbers(&self, experiment: Experiment) -> impl Iterator<Item = u32> {
        let of = self.steps.keys().filter(move |(e, ..)| *e == experiment);
        of.map(|(_, _, n)| *n).collect::<std::collections::BTreeSet<u32>>().into_iter()
    }

    fn step(&self, experiment: Experiment, metric: &str, n: u32) -> Option<(u32, Estimate)> {
        let values = self.steps.get(&(experiment, metric.to_string(), n))?;
        let estimate = Estimate::of_blocks(values)?;
        Some((values.len() as u32, estimate))
    }

    /// What ended the visits of an experiment, in the block that got least far.
    pub fn reached(&self, experiment: Experiment) -> Option<Reached> {
        let of = || self.bounds.iter().filter(|bound| bound.experiment == experiment);
        let least = of().min_by_key(|bound| bound.n)?;
        let most = of().map(|bound| bound.n).max().unwrap_or(least.n);
        Some(Reached { n: least.n, most, by: least.by, why: least.why.clone() })
    }
}

fn point(rate: Rate, loads: &[Load], latency: &Histogram<u64>) -> LoadPoint {
    let of_blocks = |value: fn(&Load) -> Option<f64>| loads.iter().filter_map(value).collect::<Vec<f64>>();
    let sum = |value: fn(&Load) -> u64| loads.iter().map(value).sum::<u64>();
    let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    let (offered, answered) = (sum(|l| l.offered), sum(|l| l.answered));
    LoadPoint {
        percent: if let Rate::Percent(percent) = rate { Some(percent) } else { None },
        rate: median(&of_blocks(|l| Some(l.rate_mhz as f64 / 1e3))).unwrap_or(0.0),
        achieved: Estimate::of_blocks(&of_blocks(achieved)),
        kept: median(&of_blocks(|l| Some(achieved(l)? / per_second(l.offered, l.offered_ns)?))),
        latency: Latency::of(latency),
        offered,
        late: share(sum(|l| l.late), answered),
        dropped: share(sum(|l| l.dropped), offered),
        cold: share(sum(|l| l.cold), answered),
        most_instances: loads.iter().map(|l| l.most_instances).max().unwrap_or(0),
        generator_p99: loads.iter().map(|l| l.generator_ns[1]).max().unwrap_or(0),
        blocks: loads.len() as u32,
    }
}

fn achieved(load: &Load) -> Option<f64> {
    per_second(load.answered, load.answered_ns)
}

/// Events per second from the span between the first and the last.
fn per_second(events: u64, span_ns: u64) -> Option<f64> {
    (events > 1 && span_ns > 0).then(|| (events - 1) as f64 * 1e9 / span_ns as f64)
}

/// The tail that every point has, and where it bends.
fn knee(points: &[LoadPoint]) -> (f64, Knee) {
    let has = |q: f64| points.iter().all(|point| point.latency.n >= samples_needed(q));
    // A p99.9 has too few requests behind it to bend a curve by.
    let levels = LEVELS.iter().rev().map(|(q, _)| *q).filter(|q| *q <= 0.99);
    let tail = levels.into_iter().find(|q| has(*q)).unwrap_or(0.5);
    let tails: Vec<f64> = points.iter().map(|p| p.latency.at(tail).unwrap_or(u64::MAX) as f64).collect();
    let Some(best) = (0..points.len()).min_by(|a, b| tails[*a].total_cmp(&tails[*b])) else {
        return (tail, Knee::Below);
    };
    let holds = |i: &usize| {
        let point = &points[*i];
        point.dropped == 0.0 && point.kept.is_none_or(|kept| kept >= KEEPS_UP) && tails[*i] <= tails[best] * KNEE
    };
    let knee = match (best..points.len()).take_while(holds).last() {
        None => Knee::Below,
        Some(last) if last + 1 == points.len() => Knee::Beyond,
        Some(last) => Knee::At(last),
    };
    (tail, knee)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Points of 100 requests with these p99s in ms, shares of answers and shares given up.
    fn points(of: &[(u64, f64, f64)]) -> Vec<LoadPoint> {
        let point = |(i, (ms, kept, dropped)): (usize, &(u64, f64, f64))| {
            let mut histogram = Histogram::new(3).unwrap();
            histogram.record_n(ms * 1_000_000, 100).unwrap();
            LoadPoint {
                percent: None,
                rate: (i + 1) as f64,
                achieved: None,
                kept: Some(*kept),
                latency: Latency::of(&histogram),
                offered: 100,
                late: 0.0,
                dropped: *dropped,
                cold: 0.0,
                most_instances: 1,
                generator_p99: 0,
                blocks: 1,
            }
        };
        of.iter().enumerate().map(point).collect()
    }

    #[test]
    fn the_knee_is_the_last_rate_that_holds() {
        let knee = |of: &[(u64, f64, f64)]| knee(&points(of)).1;
        assert_eq!(knee(&[(10, 1.0, 0.0), (12, 1.0, 0.0), (30, 0.99, 0.0), (80, 0.98, 0.0)]), Knee::At(2));
        assert_eq!(knee(&[(10, 1.0, 0.0), (12, 1.0, 0.0), (13, 0.9, 0.0)]), Knee::At(1));
        assert_eq!(knee(&[(10, 1.0, 0.0), (12, 1.0, 0.01)]), Knee::At(0));
        assert_eq!(knee(&[(10, 1.0, 0.0), (12, 1.0, 0.0)]), Knee::Beyond);
        assert_eq!(knee(&[(10, 0.5, 0.0), (12, 0.5, 0.0)]), Knee::Below);
        // Cold at low rates, then warm: the curve is judged from its best point on.
        assert_eq!(knee(&[(500, 1.0, 0.0), (10, 1.0, 0.0), (11, 1.0, 0.0), (60, 1.0, 0.0)]), Knee::At(2));
        assert_eq!(knee(&[]), Knee::Below);
    }

    #[test]
    fn the_tail_is_the_one_that_every_point_supports() {
        let mut few = points(&[(10, 1.0, 0.0), (12, 1.0, 0.0)]);
        assert_eq!(knee(&few).0, 0.99);
        let mut histogram = Histogram::new(3).unwrap();
        histogram.record_n(1_000_000, 20).unwrap();
        few[0].latency = Latency::of(&histogram);
        assert_eq!(knee(&few).0, 0.9);
    }

    proptest! {
        #[test]
        fn a_curve_that_gets_worse_has_no_later_knee(
            tails in prop::collection::vec(1u64..1000, 1..8), worse in 1u64..100,
        ) {
            let rank = |knee| match knee { Knee::Below => 0, Knee::At(i) => i + 1, Knee::Beyond => usize::MAX };
            let mut tails = tails;
            tails.sort_unstable();
            let of = |tails: &[u64]| tails.iter().map(|t| (*t, 1.0, 0.0)).collect::<Vec<_>>();
            let before = rank(knee(&points(&of(&tails))).1);
            *tails.last_mut().unwrap() *= worse;
            prop_assert!(rank(knee(&points(&of(&tails))).1) <= before);
        }
    }
}

//! The result: what every cell showed, and how far to trust it. Times are nanoseconds and memory is bytes, unrounded.

use crate::load::{Burst, Density, LoadCurve};
use crate::metric::{Headline, Metric};
use crate::noise::{Circumstances, Tally};
use crate::quantile::samples_needed;
use crate::settle::Shapes;
use crate::spread::Estimate;
use crate::starters::Starters;
use crate::undisturbed::Contention;
use isobench_core::fault::FaultKind;
use isobench_core::record::Mode;
use isobench_core::run::CellFault;
use isobench_core::words::{Cell, CellId, Flag, Model, Side};
use serde::Serialize;

/// What a run showed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Every cell, in the order of `run.json`.
    pub cells: Vec<CellSummary>,
    /// Samples that went in, those kept out of the headline included; calls counted by histograms are not among them.
    pub samples: u64,
    /// How long the calibration loop takes on an undisturbed block (see [`crate::noise::Reference`]), nanoseconds; absent
    /// where the run has none.
    pub calibration_ns: Option<f64>,
    /// How long the contention probe takes undisturbed (see [`crate::undisturbed`]), nanoseconds; absent where the run
    /// has none.
    pub probe_ns: Option<f64>,
    /// What could not be used, and why: a histogram that does not decode, a line for a cell that `run.json` lacks.
    pub defects: Vec<String>,
    /// What is missing from the samples, in sentences, set by the reader of the files; empty for a whole run.
    pub incomplete: Vec<String>,
}

/// What one cell showed. A cell with a fault has no numbers here, whatever its other blocks measured: those stay in
/// the samples.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CellSummary {
    /// Its id in the sample lines.
    pub id: CellId,
    /// The cell.
    pub cell: Cell,
    /// Which of several that measure the same cell; absent for most.
    pub side: Option<Side>,
    /// The model of its backend.
    pub model: Model,
    /// How far to trust its numbers.
    pub verdict: Verdict,
    /// Blocks that left any sample.
    pub blocks: u32,
    /// From nothing to the first correct answer: the headline.
    pub cold_start: Option<Starts>,
    /// The first start of each fresh runner process, where the backend runs in process.
    pub first_in_process: Option<Starts>,
    /// Starts 2 to 10 of each block that made at least 20: they find caches that the process has not filled yet. Later
    /// ones are the headline.
    pub early_starts: Option<Starts>,
    /// The first start of each block whose container image had just been imported.
    pub first_after_import: Option<Starts>,
    /// Calls on an instance that has answered before.
    pub warm_call: Option<WarmCall>,
    /// Memory, one entry a yardstick, the headline (`pss`) first.
    pub footprint: Vec<Yardstick>,
    /// Closed-loop throughput, warm before fresh, by rising concurrency.
    pub throughput: Vec<Throughput>,
    /// Latency against rate, one curve a policy.
    pub load: Vec<LoadCurve>,
    /// Many requests at once against nothing running.
    pub burst: Option<Burst>,
    /// As many instances as would live side by side.
    pub density: Option<Density>,
    /// Starts by a rising number of starters.
    pub starters: Option<Starters>,
    /// What went on around its blocks.
    pub circumstances: Circumstances,
    /// The numbers that it is compared by, with the value of every block.
    pub headlines: Vec<Headline>,
}

/// How far to trust a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing against it.
    Ok,
    /// A number, with something the reader must know.
    Flagged {
        /// What, each with the reason.
        flags: Vec<Flagged>,
    },
    /// No number.
    Error {
        /// Every kind of fault once, the first one first.
        faults: Vec<CellFault>,
    },
    /// Nothing was measured and nothing went wrong: the run ended before its turn.
    NotMeasured,
}

/// A flag with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Flagged {
    /// The flag.
    pub flag: Flag,
    /// The metric that it speaks of; absent where it speaks of the whole cell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<Metric>,
    /// Why, for a person.
    pub why: String,
}

impl Summary {
    /// All blocks of the run, and what disturbed them.
    pub fn blocks(&self) -> Tally {
        let mut all = Tally::default();
        self.cells.iter().for_each(|cell| all += cell.circumstances.all());
        all
    }
}

impl CellSummary {
    /// Whether it is a row of the ordinary tables: not the second half of an A/A pair, nor side B of an A/B run.
    pub fn is_shown(&self) -> bool {
        !matches!(self.side, Some(Side::Again | Side::B))
    }

    /// The flags that speak of `metric`, those of the whole cell included.
    pub fn flags_of(&self, metric: Metric) -> impl Iterator<Item = &Flagged> {
        self.flags().iter().filter(move |f| f.metric.is_none_or(|of| of == metric))
    }

    /// Whether `metric` carries `flag`.
    pub fn has_for(&self, metric: Metric, flag: Flag) -> bool {
        self.flags_of(metric).any(|f| f.flag == flag)
    }

    /// Whether the cell carries `flag`, for any of its metrics.
    pub fn has(&self, flag: Flag) -> bool {
        self.flags().iter().any(|f| f.flag == flag)
    }

    /// Its flags; none where it has a fault.
    pub fn flags(&self) -> &[Flagged] {
        match &self.verdict {
            Verdict::Flagged { flags } => flags,
            _ => &[],
        }
    }

    /// The name of the first fault.
    pub fn fault(&self) -> Option<FaultKind> {
        match &self.verdict {
            Verdict::Error { faults } => faults.first().map(|f| f.fault.kind),
            _ => None,
        }
    }

    /// A headline number.
    pub fn headline(&self, metric: Metric) -> Option<&Headline> {
        self.headlines.iter().find(|h| h.metric == metric)
    }

    /// What the contention probe saw around the samples of a metric; absent where nothing was probed.
    pub fn contention(&self, metric: Metric) -> Option<Contention> {
        match metric {
            Metric::ColdStart => self.cold_start.as_ref()?.total.contention,
            Metric::WarmCall => self.warm_call.as_ref()?.tail.contention,
            Metric::Memory | Metric::Throughput => None,
        }
    }

    /// The entry of one yardstick.
    pub fn yardstick(&self, metric: &str) -> Option<&Yardstick> {
        self.footprint.iter().find(|y| y.metric == metric)
    }

    /// The throughput at one concurrency.
    pub fn throughput_at(&self, mode: Mode, n: u32) -> Option<&Throughput> {
        self.throughput.iter().find(|t| t.mode == mode && t.n == n)
    }
}

/// A distribution. Every block counts once: the median is that of the blocks' medians, and the quantiles above weigh
/// the samples of each block alike (see [`crate::quantile::Pool`]). What the samples do not support is absent (see
/// [`crate::quantile::support`]).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measure {
    /// Samples.
    pub n: u64,
    /// Blocks they came from.
    pub blocks: u32,
    /// Median of the blocks' medians.
    pub p50: Estimate,
    /// 90th percentile, from 10 samples.
    pub p90: Option<Estimate>,
    /// 99th percentile, from 100 samples.
    pub p99: Option<Estimate>,
    /// 99.9th percentile, from 1000 samples.
    pub p999: Option<Estimate>,
    /// Smallest sample.
    pub min: f64,
    /// Largest sample.
    pub max: f64,
    /// What contention did to it; absent where nothing was probed.
    pub contention: Option<Contention>,
}

/// Cold starts of a cell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Starts {
    /// From just before `start` to the last byte of the first correct answer.
    pub total: Measure,
    /// The phases that add up to it, in order; of a split phase its parts. Medians do not add up to the median.
    pub phases: Vec<Phase>,
    /// Teardown, which is no part of the total.
    pub destroy: Option<Measure>,
    /// Up to [`CURVE_POINTS`] evenly spaced quantiles of the total, blocks weighing alike.
    pub curve: Vec<f64>,
}

/// Most points kept of a distribution to draw it with.
pub const CURVE_POINTS: usize = 201;

/// One phase of a cold start.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Phase {
    /// `create`, `boot`, `load`, `first_call`, or a part such as `create.api`.
    pub name: String,
    /// How long it took.
    pub time: Measure,
}

/// Warm calls of a cell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WarmCall {
    /// The headline: the settled part of each block's series, or its second half where none is (see
    /// [`crate::settle::shape`]).
    pub tail: Measure,
    /// Calls of the whole series, from call 0.
    pub calls: u64,
    /// Blocks by the shape of their series.
    pub shapes: Shapes,
    /// The same calls with the instance and the runner on one processor, where they are programs of their own: the settled
    /// part of each block's series.
    pub same_core: Option<Measure>,
    /// Medians of the first and the last halves of the blocks' series, where most of them never settled: no single
    /// number describes such a cell.
    pub halves: Option<[Estimate; 2]>,
    /// Up to [`CURVE_POINTS`] evenly spaced quantiles of the tail, blocks weighing alike.
    pub curve: Vec<f64>,
}

/// Memory by one yardstick.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Yardstick {
    /// One of [`isobench_core::record::YARDSTICKS`].
    pub metric: String,
    /// Blocks.
    pub blocks: u32,
    /// Bytes at each count of live instances, by rising count.
    pub points: Vec<Reading>,
    /// Bytes for each further instance; absent where only one count was read.
    pub slope: Option<Estimate>,
    /// Bytes that are there whatever the count.
    pub fixed: Option<Estimate>,
}

/// Memory at one count of live instances.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reading {
    /// Live instances, each having answered once.
    pub n: u32,
    /// Median over blocks, in bytes.
    pub bytes: Estimate,
}

/// Closed-loop throughput at one concurrency.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Throughput {
    /// Warm instances or a fresh one for every request.
    pub mode: Mode,
    /// Requests in flight.
    pub n: u32,
    /// Calls per second: median over blocks.
    pub rate: Estimate,
    /// Blocks.
    pub blocks: u32,
    /// Latency of a call, from the blocks' histograms added up, whatever disturbed them.
    pub latency: Latency,
    /// What contention did to the rate; absent where nothing was probed, as with several requests in flight.
    pub contention: Option<Contention>,
}

/// Latencies out of histograms of three significant digits, in nanoseconds: the value that at least that share of the
/// calls did not exceed. Supported from the same counts as any quantile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Latency {
    /// Calls.
    pub n: u64,
    /// Median; absent without calls.
    pub p50: Option<u64>,
    /// 90th percentile.
    pub p90: Option<u64>,
    /// 99th percentile.
    pub p99: Option<u64>,
    /// 99.9th percentile.
    pub p999: Option<u64>,
    /// Longest.
    pub max: u64,
}

impl Latency {
    /// What a histogram says.
    pub(crate) fn of(histogram: &hdrhistogram::Histogram<u64>) -> Latency {
        let at = |q: f64| (histogram.len() >= samples_needed(q)).then(|| histogram.value_at_quantile(q));
        Latency { n: histogram.len(), p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: histogram.max() }
    }

    /// One of [`LEVELS`](crate::quantile::LEVELS), where it is supported.
    pub fn at(&self, q: f64) -> Option<u64> {
        match q {
            0.5 => self.p50,
            0.9 => self.p90,
            0.99 => self.p99,
            0.999 => self.p999,
            _ => None,
        }
    }
}

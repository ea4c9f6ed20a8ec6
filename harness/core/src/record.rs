//! The lines of `samples.jsonl`: one JSON object a line, append-only, compact. Times are nanoseconds and memory is
//! bytes, as integers; rounding happens in the report and nowhere else.

use crate::fault::Fault;
use crate::words::{CellId, Experiment};
use serde::{Deserialize, Serialize};

/// What a value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Nanoseconds on the host's monotonic clock.
    Ns,
    /// Bytes.
    Bytes,
    /// A plain count.
    Count,
}

/// Why a sample is kept out of the headline. It is still kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SampleFlag {
    /// The first start in a fresh runner process, where the backend runs in process.
    FirstInProcess,
    /// Criterion's warm-up.
    WarmUp,
}

/// Metrics of `cold_start`: `total`, `destroy`, and the phases below.
///
/// The phases of one start are contiguous and add up to `total`. A backend may split one (`create.api`,
/// `create.start`), never rename it.
pub const PHASES: [&str; 4] = ["create", "boot", "load", "first_call"];

/// Metrics of `footprint`, the headline first. `fall_of_available` is how far the kernel's `MemAvailable` fell since
/// the N = 0 reading (0 where it rose).
pub const YARDSTICKS: [&str; 5] = ["pss", "uss", "rss", "cgroup", "fall_of_available"];

/// One line of `samples.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum Record {
    /// Consecutive samples of one metric.
    Samples(Samples),
    /// The latencies of one throughput visit.
    Histogram(Histogram),
    /// A visit that ended in a fault: an error row.
    Fault(FaultRecord),
    /// The circumstances of one block, written when it ends.
    Block(BlockRecord),
}

/// Consecutive samples of one metric of one block; the first has index `i`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Samples {
    /// The cell.
    #[serde(rename = "c")]
    pub cell: CellId,
    /// The block: one visit in one fresh runner process.
    #[serde(rename = "b")]
    pub block: u32,
    /// The experiment.
    #[serde(rename = "e")]
    pub experiment: Experiment,
    /// Phase or `total` or `destroy` for `cold_start`, `call` for `warm_call`, yardstick for `footprint`.
    #[serde(rename = "m")]
    pub metric: String,
    /// Live instances, where the experiment varies them (`footprint`).
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub n: Option<u32>,
    /// What the values count.
    #[serde(rename = "u")]
    pub unit: Unit,
    /// Index of the first value within its block.
    #[serde(rename = "i")]
    pub index: u32,
    /// Why these are kept out of the headline; empty for most.
    #[serde(rename = "f", default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<SampleFlag>,
    /// The values.
    #[serde(rename = "v")]
    pub values: Vec<u64>,
}

/// How the instances of a throughput visit live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// One request in flight on each of `n` warm instances.
    Warm,
    /// A fresh instance for every request: start, call, stop.
    Fresh,
}

/// One throughput visit: every latency in an HDR histogram.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Histogram {
    /// The cell.
    #[serde(rename = "c")]
    pub cell: CellId,
    /// The block.
    #[serde(rename = "b")]
    pub block: u32,
    /// Concurrency: instances with one request in flight each.
    #[serde(rename = "n")]
    pub n: u32,
    /// Warm instances or a fresh one per request.
    pub mode: Mode,
    /// Calls answered correctly.
    pub calls: u64,
    /// From the first request to the last answer.
    pub elapsed_ns: u64,
    /// HdrHistogram V2 encoding, DEFLATE-compressed, base64: nanoseconds, three significant digits.
    pub hdr: String,
}

/// A visit that ended in a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRecord {
    /// The cell.
    #[serde(rename = "c")]
    pub cell: CellId,
    /// The block.
    #[serde(rename = "b")]
    pub block: u32,
    /// The experiment in progress.
    #[serde(rename = "e")]
    pub experiment: Experiment,
    /// What went wrong.
    pub fault: Fault,
}

/// The circumstances of one block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockRecord {
    /// The cell.
    #[serde(rename = "c")]
    pub cell: CellId,
    /// The block.
    #[serde(rename = "b")]
    pub block: u32,
    /// Start, milliseconds since the Unix epoch (for people; durations never come from it).
    pub at_unix_ms: u64,
    /// How long the visit took, runner's start and end included.
    pub wall_ns: u64,
    /// Processor time the hypervisor took from all cores while the block ran, in parts per million of wall time × cores.
    pub steal_ppm: u64,
    /// Share of the block in which some task waited for a processor (`/proc/pressure/cpu`, `some`), in parts per
    /// million; absent where the kernel has no pressure accounting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_pressure_ppm: Option<u64>,
}

impl Record {
    /// The cell the line belongs to.
    pub fn cell(&self) -> CellId {
        match self {
            Record::Samples(r) => r.cell,
            Record::Histogram(r) => r.cell,
            Record::Fault(r) => r.cell,
            Record::Block(r) => r.cell,
        }
    }

    /// What went wrong, where the line is a fault's.
    pub fn fault(&self) -> Option<&Fault> {
        if let Record::Fault(record) = self { Some(&record.fault) } else { None }
    }
}

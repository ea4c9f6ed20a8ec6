//! The lines of `samples.jsonl`: one JSON object a line, append-only, compact. Times are nanoseconds and memory is
//! bytes, as integers; rounding happens in the report and nowhere else.

use crate::fault::Fault;
use crate::words::{CellId, Experiment};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most bytes of a line, here and in the runner protocol: a series of a million calls is 10 MB.
pub const LINE_LIMIT: u64 = 64 << 20;

/// What a value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SampleFlag {
    /// The first start in a fresh runner process, where the backend runs in process.
    FirstInProcess,
    /// The first start from a container image after its import.
    FirstAfterImport,
    /// Criterion's warm-up.
    WarmUp,
}

/// Metrics of `cold_start`: `total`, `destroy`, and the phases below.
///
/// The phases of one start are contiguous and add up to `total`. A backend may split one (`create.api`,
/// `create.start`), never rename it.
pub const PHASES: [&str; 4] = ["create", "boot", "load", "first_call"];

/// Metrics of `footprint`, the headline first. `fall_of_available` is how far the kernel's `MemAvailable` fell since
/// the N = 0 reading (0 where it rose); `guest_used` is what the kernels of instances that have one of their own say is
/// in use, `MemTotal` less `MemAvailable`, summed.
pub const YARDSTICKS: [&str; 6] = ["pss", "uss", "rss", "cgroup", "fall_of_available", "guest_used"];

/// Metrics of `burst`, nanoseconds from the moment all requests are let go, with `n` requests: until the first, half
/// and all of them were answered.
pub const BURST: [&str; 3] = ["first", "half", "all"];

/// Metrics of `density`, at each step with `n` live instances: `start` (the median start of the step, nanoseconds),
/// `answer` (the slowest answer when every live instance was asked once, nanoseconds), `pss` and `available` (bytes).
pub const DENSITY: [&str; 4] = ["start", "answer", "pss", "available"];

/// One line of `samples.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum Record {
    /// Consecutive samples of one metric.
    Samples(Samples),
    /// The latencies of one throughput visit.
    Histogram(Histogram),
    /// One open-loop visit at one rate.
    Load(Load),
    /// Starts by one number of starters.
    Starts(Starts),
    /// How far a burst, a density or a starts visit got, and what bound it.
    Bound(Bound),
    /// A visit that ended in a fault: an error row.
    Fault(FaultRecord),
    /// The circumstances of one block, written when it ends.
    Block(BlockRecord),
}

/// Consecutive samples of one metric of one block; the first has index `i`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// Phase or `total` or `destroy` for `cold_start`, `call` or `call_same_core` for `warm_call`, yardstick for
    /// `footprint`.
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
    /// How long the contention probe took just before the first and just after the last of what was measured here,
    /// nanoseconds. On the line of a start's `total` it holds for all lines of that start. Absent before schema 5, and
    /// where nothing is timed.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub probe_ns: Option<[u64; 2]>,
    /// One of so many values was kept: value `j` of the line is number `i + j × k` of its block. Absent: all were.
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    pub every: Option<u32>,
    /// The values.
    #[serde(rename = "v")]
    pub values: Vec<u64>,
}

/// A stretch of a closed loop between two readings of the contention probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stretch {
    /// Calls answered correctly.
    #[serde(rename = "c")]
    pub calls: u64,
    /// How long they took together, nanoseconds; the probe is not part of it.
    #[serde(rename = "ns")]
    pub elapsed_ns: u64,
    /// How long the contention probe took just before and just after, nanoseconds.
    #[serde(rename = "p")]
    pub probe_ns: [u64; 2],
}

/// How the instances of a throughput visit live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// One request in flight on each of `n` warm instances.
    Warm,
    /// A fresh instance for every request: start, call, stop.
    Fresh,
}

/// Longest time that histograms tell apart, in nanoseconds: an hour, far over any deadline. A longer one is counted as this.
pub const HISTOGRAM_CEILING_NS: u64 = 3_600_000_000_000;

/// One throughput visit: every latency in an HDR histogram.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// From the first request to the last answer; with `stretches`, the sum of theirs.
    pub elapsed_ns: u64,
    /// The visit cut into stretches of about 2 ms with a contention probe between them. Only with one request in flight:
    /// several loops contend with each other, which is part of what they measure. Absent before schema 5.
    #[serde(rename = "s", default, skip_serializing_if = "Vec::is_empty")]
    pub stretches: Vec<Stretch>,
    /// HdrHistogram V2 encoding, DEFLATE-compressed, base64: nanoseconds, three significant digits.
    pub hdr: String,
}

/// How instances live in an open loop. Of several idle ones the last used is called, so that those no longer needed
/// come to their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// A pool of that many warm instances, made before the first request and kept to the end.
    Warm(u32),
    /// A fresh instance for every request, stopped after its answer.
    Fresh,
    /// An instance is kept for that many milliseconds after its last answer; a request that finds none starts one.
    KeepAlive(u64),
}

/// One open-loop visit: requests arrive when a seeded Poisson process says so, whatever became of those before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// The cell.
    #[serde(rename = "c")]
    pub cell: CellId,
    /// The block.
    #[serde(rename = "b")]
    pub block: u32,
    /// How instances live.
    pub policy: Policy,
    /// Offered rate in millihertz: requests per 1,000 seconds.
    pub rate_mhz: u64,
    /// The rate in percent of what this visit found the cell to answer when it is never left without a request; absent
    /// where the rate was set outright.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u32>,
    /// Seed of the arrivals: exponential gaps by inversion from ChaCha8. With the rate it gives them all again.
    pub seed: u64,
    /// Requests that arrived.
    pub offered: u64,
    /// From the first arrival to the last.
    pub offered_ns: u64,
    /// Requests answered correctly.
    pub answered: u64,
    /// From the first answer to the last: with as much before the one as after the other, their rate compares with
    /// that of the arrivals.
    pub answered_ns: u64,
    /// Requests among the answered that were sent later than intended because every instance was busy.
    pub late: u64,
    /// Requests given up, because they had waited for an instance as long as a call may take.
    pub dropped: u64,
    /// Requests among the answered that waited for a start of their own.
    pub cold: u64,
    /// Most instances alive at once.
    pub most_instances: u32,
    /// The generator's own error, part of every latency: median and 99th percentile of how long after the intended start
    /// a request was sent for which an instance (or room for one) was free.
    pub generator_ns: [u64; 2],
    /// Latency from the intended start to the answer: HdrHistogram V2 encoding, DEFLATE-compressed, base64;
    /// nanoseconds, three significant digits.
    pub hdr: String,
}

/// How starters work at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StartMode {
    /// All start without a pause, and all are timed.
    Together,
    /// All but one start without a pause. The one is timed alone and rests between its starts: it comes to a machine
    /// that is busy with others of its kind.
    Beside,
}

/// Starts by one number of starters. A starter starts an instance, has its first answer, stops it, and again: what the
/// stop costs, and what it puts back into a pool, is within the rate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Starts {
    /// The cell.
    #[serde(rename = "c")]
    pub cell: CellId,
    /// The block.
    #[serde(rename = "b")]
    pub block: u32,
    /// Starters at work, the one of `beside` among them.
    #[serde(rename = "n")]
    pub n: u32,
    /// Whether all are timed, or one beside the others.
    pub mode: StartMode,
    /// Starts of all `n` that were answered correctly and stopped.
    pub starts: u64,
    /// From a starter's first start to the end of its last stop: the mean of all `n`.
    pub elapsed_ns: u64,
    /// The timed starts, from just before `start` to the last byte of the first correct answer: HdrHistogram V2
    /// encoding, DEFLATE-compressed, base64; nanoseconds, three significant digits.
    pub hdr: String,
    /// The timed instances' teardowns, encoded likewise.
    pub destroy_hdr: String,
}

/// What bound a burst, a density or a starts visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BoundBy {
    /// The next step would not fit into the memory budget.
    Memory,
    /// The most that was asked for.
    Count,
    /// A start took longer than the limit.
    StartTime,
    /// An instance did not answer within its deadline.
    Deadline,
    /// A start failed: the message says how.
    Failure,
    /// The harness reached a limit of its own (open files, processes, memory, disk): the row might have gone further.
    Harness,
    /// The next step would not fit into the time of a visit.
    Time,
}

/// How far a burst, a density or a starts visit got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    /// The cell.
    #[serde(rename = "c")]
    pub cell: CellId,
    /// The block.
    #[serde(rename = "b")]
    pub block: u32,
    /// `burst`, `density` or `starts`.
    #[serde(rename = "e")]
    pub experiment: Experiment,
    /// Most requests at once, live instances or starters that went well.
    pub n: u32,
    /// What bound it.
    pub by: BoundBy,
    /// The bound in words, with its value.
    pub why: String,
}

/// A visit that ended in a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BlockRecord {
    /// The cell.
    #[serde(rename = "c")]
    pub cell: CellId,
    /// The block.
    #[serde(rename = "b")]
    pub block: u32,
    /// The visit's experiment (`cold_start` for a visit that also took warm calls); absent in schema 1.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub experiment: Option<Experiment>,
    /// Start, milliseconds since the Unix epoch (for people; durations never come from it).
    pub at_unix_ms: u64,
    /// How long the visit took, runner's start and end included.
    pub wall_ns: u64,
    /// Processor time the hypervisor took from all cores while the block ran, in parts per million of wall time × cores.
    pub steal_ppm: u64,
    /// Share of the block in which some task waited for a processor (`/proc/pressure/cpu`, `some`), in parts per
    /// million; absent where the kernel has no pressure accounting, and where processors were kept awake: what keeps them
    /// awake waits all the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_pressure_ppm: Option<u64>,
    /// Times the kernel took the processor from the block's processes while they still wanted it (`ru_nivcsw` of the
    /// runner and of all it waited for); absent in schema 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub involuntary_switches: Option<u64>,
    /// Mean frequency of the processors at the end of the block; absent where the system does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub khz: Option<u64>,
    /// A fixed calibration loop, nanoseconds, just before and just after the block: the same work always, so that what
    /// changes is the machine. Absent in schema 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration_ns: Option<[u64; 2]>,
    /// Other tasks that wanted one of the processors that isobench may use, just before and just after the block (at
    /// each end the smaller of two looks, before and after the calibration loop): none of them is the block's own. Absent
    /// in schema 1, and if the tasks of others cannot be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub others_runnable: Option<[u64; 2]>,
    /// Microseconds in which a CPU quota kept the cgroups of isobench from running while the block ran, summed over
    /// processors. 0: not throttled. Absent: the kernel does not report it, or the run is of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttled_us: Option<u64>,
    /// Processors that were kept from halting while the block ran. Absent: none were (rows in process, load, a CPU quota,
    /// hardware threads that a spinner would slow), or the run is of before schema 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awake: Option<u32>,
}

impl Record {
    /// The cell the line belongs to.
    pub fn cell(&self) -> CellId {
        match self {
            Record::Samples(r) => r.cell,
            Record::Histogram(r) => r.cell,
            Record::Load(r) => r.cell,
            Record::Starts(r) => r.cell,
            Record::Bound(r) => r.cell,
            Record::Fault(r) => r.cell,
            Record::Block(r) => r.cell,
        }
    }

    /// The block the line belongs to.
    pub fn block(&self) -> u32 {
        match self {
            Record::Samples(r) => r.block,
            Record::Histogram(r) => r.block,
            Record::Load(r) => r.block,
            Record::Starts(r) => r.block,
            Record::Bound(r) => r.block,
            Record::Fault(r) => r.block,
            Record::Block(r) => r.block,
        }
    }

    /// What went wrong, where the line is a fault's.
    pub fn fault(&self) -> Option<&Fault> {
        if let Record::Fault(record) = self { Some(&record.fault) } else { None }
    }
}
